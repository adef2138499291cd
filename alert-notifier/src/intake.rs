//! From topics into the ledger.

use std::sync::Arc;
use std::time::Duration;

use cqrs::StoreError;
use service::ComponentHealth;
use service::codec::DecodeError;
use service::kafka::{
    BatchConsumer, BatchLimits, ConsumerEvent, DeadLetters, Kafka, KafkaError, Record, StartFrom,
};
use service::topics::Topic;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

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

/// What is read from a topic, and what is done with it.
pub(crate) trait Folding: Send + Sync + 'static {
    /// What a record says.
    type Change: Send + Sync;

    /// Where it is read.
    const TOPIC: Topic;
    /// The consumer group.
    const GROUP: &'static str;
    /// What is logged, and told by readiness, when folding fails.
    const FAILURE: &'static str;

    /// What a record says; none: nothing.
    fn change_of(record: &Record) -> Result<Option<Self::Change>, DecodeError>;

    /// Into the ledger. Gives how many messages were planned.
    fn fold(&self, changes: &[Self::Change]) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// Folds a topic until shutdown.
#[derive(Debug)]
pub(crate) struct Intake<F> {
    folding: F,
    consumer: BatchConsumer,
    dead_letters: DeadLetters,
    /// Told when a fold planned something.
    planned: Arc<Notify>,
    shutdown: CancellationToken,
    health: ComponentHealth,
}

impl<F: Folding> Intake<F> {
    pub(crate) fn new(
        kafka: &Kafka,
        folding: F,
        planned: Arc<Notify>,
        shutdown: CancellationToken,
        health: ComponentHealth,
    ) -> Result<Self, KafkaError> {
        let producer = kafka.producer(DEAD_LETTER_TIMEOUT, Duration::ZERO)?;
        let consumer = kafka.consumer(F::GROUP, F::TOPIC, StartFrom::Committed, LIMITS)?;
        let dead_letters = DeadLetters::new(producer, F::GROUP);
        Ok(Self {
            folding,
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
            tracing::warn!(
                %error,
                kafka.topic = F::TOPIC.name,
                "the last commit failed; its records will be folded again, which changes nothing"
            );
        }
        self.consumer.close().await;
        Ok(())
    }

    /// Folds the records and sets those aside that can't be read. False: shutdown came first.
    async fn handle(&self, records: &[Record]) -> bool {
        let mut changes = Vec::with_capacity(records.len());
        for record in records {
            match F::change_of(record) {
                Ok(change) => changes.extend(change),
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
        let folded = self.persist(F::FAILURE, || self.folding.fold(&changes));
        let Some(planned) = folded.await else { return false };
        if planned > 0 {
            self.planned.notify_one();
        }
        true
    }

    /// Tries until it works, or until shutdown.
    async fn persist<T, E: std::fmt::Display, W: Future<Output = Result<T, E>>>(
        &self,
        failure: &str,
        work: impl Fn() -> W,
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
