use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use service::Context;
use service::kafka::{DeadLetters, Kafka};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::Config;
use crate::engine::RearmMargin;
use crate::error::Error;
use crate::watchdog::{self, Beat};
use crate::worker::{GROUP, Setup, Worker};

/// Evaluates quotes until shutdown.
///
/// # Errors
/// If the broker can't be reached, or gave up a record that had to be written, or nothing moves: the process must be
/// started again, and goes on where the last commit was.
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
    health.not_ready("waiting for partitions");
    let beat = Arc::new(Beat::default());
    // Ends the thread also where this function returns early.
    let shutdown = context.shutdown.child_token();
    let _stop = shutdown.clone().drop_guard();
    let setup = Setup {
        dead_letters: DeadLetters::new(producer, GROUP),
        margin: RearmMargin::from_permille(config.rearm_margin_permille),
        runtime: Handle::current(),
        beat: Arc::clone(&beat),
        kafka,
        health,
    };
    let (ending, ended) = oneshot::channel();
    let stopped = shutdown.clone();
    std::thread::Builder::new()
        .name("alert-system".into())
        .spawn(move || {
            let work = || -> Result<(), Error> { Worker::start(setup)?.work(&stopped) };
            let _ = ending.send(work());
        })
        .context("the worker's thread could not start")?;
    tokio::select! {
        result = ended => Ok(result.context("the worker's thread died")??),
        error = watchdog::watch(&beat) => Err(error.into()),
        error = watchdog::overdue(&shutdown, &beat) => Err(error.into()),
    }
}
