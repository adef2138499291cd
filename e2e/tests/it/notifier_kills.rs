//! `kill -9` of the notifier at each step between an alert and its delivery, written down: nothing is lost, nothing comes
//! twice but what nobody can know, and the order stays.

use e2e::is_full;

use crate::notifier_run::{NotifierRun, Step};
use crate::system;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka and MariaDB; run by make test"]
async fn a_notifier_killed_at_any_step_of_a_delivery_tells_everything_once_and_in_order_on_kafka_and_mariadb()
{
    let _turn = system::one_at_a_time().await;
    let rounds = if is_full() { 10 } else { 1 };
    let mut run = NotifierRun::start(rounds).await;
    for step in Step::ALL {
        for _ in 0..rounds {
            run.kill_at(step).await;
        }
    }
    run.all_news_are_told().await;
    run.compare_news();
    run.remind_everybody(rounds).await;
    run.everything_is_back_in_range().await;
    run.compare_all().await;
}
