use std::time::Duration;

use anyhow::Context as _;
use service::Context;
use service::kafka::{DeadLetters, Kafka, KafkaError};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::Config;
use crate::engine::RearmMargin;
use crate::worker::{GROUP, Worker};

/// Evaluates quotes until shutdown.
///
/// # Errors
/// If the broker can't be reached, or gave up a record that had to be written: the process must be started again, and
/// goes on where the last commit was.
pub async fn run(config: Config, context: Context) -> anyhow::Result<()> {
    let health = context.health.component("alert-system");
    health.not_ready("waiting for Kafka");
    let Some(kafka) = context
        .shutdown
        .run_until_cancelled(Kafka::connect(&config.kafka.settings()))
        .await
    else {
        return Ok(());
    };
    let kafka = kafka?;
    let producer = kafka.producer(Duration::from_secs(120), Duration::ZERO)?;
    let dead_letters = DeadLetters::new(producer, GROUP);
    let margin = RearmMargin::from_permille(config.rearm_margin_permille);
    let runtime = Handle::current();
    let shutdown = context.shutdown.clone();
    health.not_ready("waiting for partitions");
    let (ending, ended) = oneshot::channel();
    std::thread::Builder::new()
        .name("alert-system".into())
        .spawn(move || {
            let work = || -> Result<(), KafkaError> {
                Worker::start(kafka, margin, dead_letters, runtime, health)?.work(&shutdown)
            };
            let _ = ending.send(work());
        })
        .context("the worker's thread could not start")?;
    ended.await.context("the worker's thread died")??;
    Ok(())
}
