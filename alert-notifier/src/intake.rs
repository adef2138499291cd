//! From the alerts topic into the ledger.

use std::sync::Arc;
use std::time::Duration;

use cqrs::domain::Timestamp;
use cqrs::{Ledger, LedgerChange};
use service::codec::{AlertRecord, DecodeError, decode_alert_record, decode_rule_key};
use service::kafka::{
    BatchConsumer, BatchLimits, ConsumerEvent, DeadLetters, Kafka, KafkaError, Record, StartFrom,
};
use service::{ComponentHealth, topics};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::metrics;

/// The consumer group.
pub(crate) const GROUP: &str = "alert-notifier";

/// Few enough to be folded in milliseconds, soon enough to add little to the way from quote to message.
const LIMITS: BatchLimits = BatchLimits {
    max_records: 500,
    max_wait: Duration::from_millis(10),
};
/// How long a dead letter may take to be acknowledged before it is tried again.
const DEAD_LETTER_TIMEOUT: Duration = Duration::from_secs(30);
/// First pause while the database or the broker fails; doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Folds alerts until shutdown.
#[derive(Debug)]
pub(crate) struct Intake {
    ledger: Ledger,
    consumer: BatchConsumer,
    dead_letters: DeadLetters,
    /// Told when a fold planned something.
    planned: Arc<Notify>,
    shutdown: CancellationToken,
    health: ComponentHealth,
}

impl Intake {
    pub(crate) fn new(
        kafka: &Kafka,
        ledger: Ledger,
        planned: Arc<Notify>,
        shutdown: CancellationToken,
        health: ComponentHealth,
    ) -> Result<Self, KafkaError> {
        let producer = kafka.producer(DEAD_LETTER_TIMEOUT, Duration::ZERO)?;
        let consumer = kafka.consumer(GROUP, topics::ALERTS, StartFrom::Committed, LIMITS)?;
        let dead_letters = DeadLetters::new(producer, GROUP);
        Ok(Self {
            ledger,
            consumer,
            dead_letters,
            planned,
            shutdown,
            health,
        })
    }

    /// Returns `Ok` at shutdown, with what was folded committed.
    pub(crate) async fn run(mut self) -> Result<(), KafkaError> {
        self.health.ready();
        let shutdown = self.shutdown.clone();
        let mut last = None;
        while let Some(event) = shutdown.run_until_cancelled(self.consumer.next()).await {
            let batch = match event? {
                ConsumerEvent::Assigned(_) | ConsumerEvent::Revoked(_) => continue,
                ConsumerEvent::Batch(batch) => batch,
            };
            if !self.handle(&batch.records).await {
                // Not committed: whoever reads these records next folds them.
                break;
            }
            self.consumer.commit(&batch)?;
            last = Some(batch);
        }
        if let Some(batch) = last
            && let Err(error) = self.consumer.commit_and_wait(&batch)
        {
            tracing::warn!(%error, "the last commit failed; its alerts will be folded again, which changes nothing");
        }
        self.consumer.close().await;
        Ok(())
    }

    /// Folds the records and sets those aside that can't be read. False: shutdown came first.
    async fn handle(&self, records: &[Record]) -> bool {
        let mut changes = Vec::with_capacity(records.len());
        for record in records {
            match change_of(record) {
                Ok(change) => changes.push(change),
                Err(error) => {
                    let reason = error.to_string();
                    let sent = self.persist("a dead letter could not be written", || {
                        self.dead_letters.send(record, &reason)
                    });
                    if sent.await.is_none() {
                        return false;
                    }
                }
            }
        }
        let folded = self.persist("alerts could not be folded", || {
            self.ledger.fold(&changes, Timestamp::now())
        });
        let Some(folded) = folded.await else { return false };
        metrics::folded(folded);
        if folded.planned > 0 {
            self.planned.notify_one();
        }
        true
    }

    /// Tries until it works, or until shutdown.
    async fn persist<T, E: std::fmt::Display, F: Future<Output = Result<T, E>>>(
        &self,
        failure: &str,
        work: impl Fn() -> F,
    ) -> Option<T> {
        let mut pause = FIRST_PAUSE;
        loop {
            match work().await {
                Ok(done) => {
                    self.health.ready();
                    return Some(done);
                }
                Err(error) => {
                    tracing::warn!(%error, "{failure}; trying again");
                    self.health.not_ready(failure);
                }
            }
            self.shutdown
                .run_until_cancelled(tokio::time::sleep(pause))
                .await?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// What a record says. A tombstone says that its rule was deleted.
fn change_of(record: &Record) -> Result<LedgerChange, DecodeError> {
    let rule_id = decode_rule_key(record.key.as_deref())?;
    match &record.payload {
        None => Ok(LedgerChange::RuleDeleted(rule_id)),
        Some(payload) => {
            let (of_rule, change) = match decode_alert_record(payload)? {
                AlertRecord::State(alert) => (alert.rule_id, LedgerChange::Alert(alert)),
                AlertRecord::Test(alert) => (alert.rule_id, LedgerChange::TestAlert(alert)),
            };
            if of_rule == rule_id {
                Ok(change)
            } else {
                Err(DecodeError::Key)
            }
        }
    }
}
