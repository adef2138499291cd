//! A day of trades through real servers into users' chats, compared with the oracle.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking and print what they measured"
)]

mod api_run;
mod cancelled_calls;
mod collectors;
mod engine;
mod engine_run;
mod hostile_connections;
mod market_days;
mod notifier_kills;
mod notifier_run;
mod relay;
mod settings;
mod system;
mod telegram_stub;

use system::System;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka and MariaDB; run by make test"]
async fn one_alert_system_tells_each_user_exactly_what_the_oracle_says_on_kafka_and_mariadb() {
    let _turn = system::one_at_a_time().await;
    let mut system = System::start(1).await;
    system.register_users().await;
    system.replay("0").await;
    system.settle().await;
    system.compare_with_the_oracle("1 instance");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka and MariaDB; run by make test"]
async fn three_alert_systems_tell_each_user_exactly_what_the_oracle_says_on_kafka_and_mariadb() {
    let _turn = system::one_at_a_time().await;
    let mut system = System::start(3).await;
    system.register_users().await;
    system.replay("0").await;
    system.settle().await;
    system.compare_with_the_oracle("3 instances");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka and MariaDB; run by make test"]
async fn killed_alert_systems_and_notifiers_lose_and_repeat_nothing_on_kafka_and_mariadb() {
    let _turn = system::one_at_a_time().await;
    let mut system = System::start(1).await;
    system.register_users().await;
    system.replay(&system::speed_for_kills()).await;
    system.kill_in_the_middle(system::kills()).await;
    system.settle().await;
    system.compare_with_the_oracle("kills");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka and MariaDB; run by make test"]
async fn a_killed_broker_and_a_killed_database_lose_and_repeat_nothing_on_kafka_and_mariadb() {
    let _turn = system::one_at_a_time().await;
    let mut system = System::start(1).await;
    system.register_users().await;
    system.replay(&system::speed_for_kills()).await;
    system.kill_servers_in_the_middle().await;
    system.settle().await;
    system.compare_with_the_oracle("killed servers");
}
