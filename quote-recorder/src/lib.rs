#![doc = include_str!("../README.md")]

mod metrics;
mod recorder;

use std::future::Future;
use std::time::Duration;

use anyhow::Context as _;
use cqrs::Store;
use service::Context;
use service::config::{DatabaseArgs, KafkaArgs};
use service::kafka::{BatchLimits, Kafka, StartFrom};
use service::topics::QUOTES;

/// The consumer group: its committed offsets say what is recorded.
pub const GROUP: &str = "quote-recorder";

/// 1,000 rows are where one statement stops getting cheaper per row; 200 ms is what a reader of prices does not notice.
const LIMITS: BatchLimits = BatchLimits {
    max_records: 1_000,
    max_wait: Duration::from_millis(200),
};

/// Settings of the recorder.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// Where the history is.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Where the quotes come from.
    #[command(flatten)]
    pub kafka: KafkaArgs,
}

/// Records quotes until told to end.
///
/// # Errors
/// If the database or the broker can't be reached at start, or the Kafka client fails for good.
pub async fn run(config: Config, context: Context) -> anyhow::Result<()> {
    metrics::describe();
    let (database, kafka) = (
        context.health.component("database"),
        context.health.component("kafka"),
    );

    let open = async {
        let store = Store::open(&config.database.store_settings())
            .await
            .context("opening the database")?;
        database.ready();
        let broker = Kafka::connect(&config.kafka.settings())
            .await
            .context("connecting to Kafka")?;
        let consumer = broker.consumer(GROUP, QUOTES, StartFrom::Committed, LIMITS)?;
        anyhow::Ok((store, consumer))
    };
    let Some(opened) = unless(&context, open).await else {
        return Ok(());
    };
    let (store, mut consumer) = opened?;

    let recorder = recorder::Recorder::new(store.history(), database, kafka);
    let result = recorder.run(&mut consumer, &context.shutdown).await;
    consumer.close().await;
    store.close().await;
    result
}

/// What `work` gives, or `None` if told to end first.
async fn unless<T>(context: &Context, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = context.shutdown.cancelled() => None,
        value = work => Some(value),
    }
}
