use std::time::{Duration, Instant};

use cqrs::domain::{Quote, Timestamp};
use cqrs::{QuoteHistory, StoreError};
use metrics::{counter, gauge, histogram};
use service::ComponentHealth;
use service::codec::{DecodeError, decode_quote};
use service::kafka::{Batch, BatchConsumer, ConsumerEvent, Record};
use tokio_util::sync::CancellationToken;

use crate::metrics::{FAILURES, LAG_SECONDS, QUOTES, WRITE_SECONDS};

/// After the first failed write; doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// A database that is back is noticed within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Writes batches of quotes, one after the other.
pub(crate) struct Recorder {
    history: QuoteHistory,
    database: ComponentHealth,
    kafka: ComponentHealth,
}

impl Recorder {
    pub(crate) const fn new(
        history: QuoteHistory,
        database: ComponentHealth,
        kafka: ComponentHealth,
    ) -> Self {
        Self {
            history,
            database,
            kafka,
        }
    }

    /// Until told to end, or the client fails for good.
    pub(crate) async fn run(
        &self,
        consumer: &mut BatchConsumer,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<()> {
        loop {
            let event = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                event = consumer.next() => event?,
            };
            match event {
                // Nothing is kept per partition, and records in hand are committed even if their partition goes to
                // another instance: at worst it records them again.
                ConsumerEvent::Assigned(_) => self.kafka.ready(),
                ConsumerEvent::Revoked(_) => self
                    .kafka
                    .not_ready("its partitions were taken, new ones are on the way"),
                ConsumerEvent::Batch(batch) => {
                    if !self.record(&batch, shutdown).await {
                        return Ok(());
                    }
                    if shutdown.is_cancelled() {
                        consumer.commit_and_wait(&batch)?;
                        return Ok(());
                    }
                    consumer.commit(&batch)?;
                }
            }
        }
    }

    /// Writes a batch, however long the database fails. False: told to end before it was written.
    async fn record(&self, batch: &Batch, shutdown: &CancellationToken) -> bool {
        let quotes: Vec<_> = batch.records.iter().filter_map(readable).collect();
        let mut pause = FIRST_PAUSE;
        loop {
            let start = Instant::now();
            match self.history.record(&quotes).await {
                Ok(new) => {
                    self.database.ready();
                    histogram!(WRITE_SECONDS).record(start.elapsed().as_secs_f64());
                    count(&quotes, new);
                    return true;
                }
                Err(error) => self.failed(&error, quotes.len()),
            }
            tokio::select! {
                () = shutdown.cancelled() => return false,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
    }

    fn failed(&self, error: &StoreError, quotes: usize) {
        counter!(FAILURES).increment(1);
        self.database.not_ready(error.to_string());
        tracing::warn!(%error, quotes, "quotes could not be recorded; trying again");
    }
}

fn readable(record: &Record) -> Option<(Quote, i64)> {
    match record.payload.as_deref().map(decode_quote) {
        Some(Ok(quote)) => return Some((quote, record.offset)),
        Some(Err(error)) => pass_over(record, Some(&error)),
        None => pass_over(record, None),
    }
    None
}

/// Not an error here: the alert system sets the same record aside, with a louder word.
fn pass_over(record: &Record, error: Option<&DecodeError>) {
    counter!(QUOTES, "outcome" => "unreadable").increment(1);
    tracing::debug!(
        kafka.partition = record.partition,
        kafka.offset = record.offset,
        error = error.map_or_else(|| "it has no value".to_owned(), ToString::to_string),
        "a record that is no quote is passed over"
    );
}

fn count(quotes: &[(Quote, i64)], new: u64) {
    let all = u64::try_from(quotes.len()).unwrap_or(u64::MAX);
    counter!(QUOTES, "outcome" => "recorded").increment(new);
    counter!(QUOTES, "outcome" => "repeated").increment(all.saturating_sub(new));
    if let Some(newest) = quotes.iter().map(|(quote, _)| quote.ingest_time).max() {
        gauge!(LAG_SECONDS).set(Timestamp::now().since(newest).as_secs_f64());
    }
}
