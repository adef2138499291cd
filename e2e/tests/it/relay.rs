//! The outbox relay while its process is killed and paused under writers' hands: every version of every rule reaches the
//! topic, in order, and the newest one is the last.

mod run;
mod writers;

use e2e::is_full;

use crate::system;
use run::RelayRun;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka and MariaDB; run by make test"]
async fn a_killed_relay_publishes_every_version_of_every_rule_in_order_on_kafka_and_mariadb() {
    let _turn = system::beside_others().await;
    let (kills, commands) = if is_full() { (50, 50_000) } else { (4, 1_500) };
    let mut run = RelayRun::start(commands, kills).await;
    for kill in 0..kills {
        // Alone at first, so that nobody takes over but the one that is started again; then beside one and two others.
        run.has_instances(1 + 3 * kill / kills).await;
        run.kill_one().await;
    }
    run.all_is_published().await;
    run.print("kills");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka and MariaDB; run by make test"]
async fn a_leading_relay_paused_for_longer_than_its_lease_leaves_the_newest_versions_last_on_kafka_and_mariadb()
 {
    let _turn = system::beside_others().await;
    let (pauses, commands) = if is_full() { (50, 50_000) } else { (3, 900) };
    let mut run = RelayRun::start(commands, pauses).await;
    run.has_instances(2).await;
    for _ in 0..pauses {
        run.pause_the_leader().await;
    }
    run.all_is_published().await;
    run.print("pauses");
}
