use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError as ClientError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use tokio::sync::{mpsc, oneshot};

use super::{KafkaError, Record};
use crate::topics::Topic;

/// Where reading of an assigned partition starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartFrom {
    /// After what the group committed; from the beginning where nothing was.
    Committed,
    /// From the beginning, at each assignment: for state that is rebuilt from a compacted topic. A rebalance leaves the
    /// partitions alone that stay (cooperative-sticky), so that only what moves is rebuilt.
    Beginning,
}

/// When a batch is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most records in one.
    pub max_records: usize,
    /// Longest wait for more after the first record.
    pub max_wait: Duration,
}

/// Records in the order of their partitions.
#[derive(Debug, Default)]
pub struct Batch {
    /// At least one.
    pub records: Vec<Record>,
}

/// What a consumer meets.
#[derive(Debug)]
pub enum ConsumerEvent {
    /// Partitions that are now this consumer's.
    Assigned(Vec<i32>),
    /// Partitions that are no longer.
    Revoked(Vec<i32>),
    /// Records.
    Batch(Batch),
}

/// Reads one topic in a group, on a thread of its own (an async consumer may fail to wake, and a slow handler must not
/// keep the client from being polled for long). Nothing is committed but by `commit`.
pub struct BatchConsumer {
    events: mpsc::Receiver<Result<ConsumerEvent, KafkaError>>,
    client: Arc<BaseConsumer<GroupContext>>,
    topic: Topic,
    left: oneshot::Receiver<()>,
}

impl std::fmt::Debug for BatchConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchConsumer")
            .field("topic", &self.topic.name)
            .finish_non_exhaustive()
    }
}

/// Batches waiting to be handled; the client's own queue is behind them.
const QUEUE: usize = 2;

impl BatchConsumer {
    pub(super) fn start(
        config: &ClientConfig,
        topic: Topic,
        start: StartFrom,
        limits: BatchLimits,
    ) -> Result<Self, KafkaError> {
        let (sender, events) = mpsc::channel(QUEUE);
        let context = GroupContext {
            start,
            rebalances: std::sync::Mutex::default(),
            closing: AtomicBool::new(false),
        };
        let client: Arc<BaseConsumer<GroupContext>> = Arc::new(config.create_with_context(context)?);
        client.subscribe(&[topic.name])?;
        let polled = Arc::clone(&client);
        let (leaving, left) = oneshot::channel();
        std::thread::Builder::new()
            .name(format!("consume-{}", topic.name))
            .spawn(move || {
                poll(polled, topic, limits, &sender);
                let _ = leaving.send(());
            })
            .map_err(|_| KafkaError::Ended)?;
        Ok(Self {
            events,
            client,
            topic,
            left,
        })
    }

    /// The next event. Waits for one; safe to cancel.
    ///
    /// # Errors
    /// If the client failed for good: make a new consumer, or end.
    pub async fn next(&mut self) -> Result<ConsumerEvent, KafkaError> {
        self.events.recv().await.unwrap_or(Err(KafkaError::Ended))
    }

    /// Tells the group that a batch's work is done. Does not wait; a commit that fails is logged and made up for by the
    /// next, or by handling the records again.
    ///
    /// # Errors
    /// If the client refuses at once.
    pub fn commit(&self, batch: &Batch) -> Result<(), KafkaError> {
        self.commit_offsets(batch, CommitMode::Async)
    }

    /// As `commit`, and waits for the broker's answer: for the last batch before the end.
    ///
    /// # Errors
    /// If the broker refuses or does not answer.
    pub fn commit_and_wait(&self, batch: &Batch) -> Result<(), KafkaError> {
        self.commit_offsets(batch, CommitMode::Sync)
    }

    /// Leaves the group, so that others take over at once instead of after the session timeout. Commit before. Gives up
    /// after 10 s. (A consumer that is just dropped leaves too, but nobody waits for it.)
    pub async fn close(self) {
        let Self {
            events,
            client,
            topic,
            left,
        } = self;
        // The polling thread ends once nobody listens, and drops the last reference to the client.
        drop(events);
        drop(client);
        if tokio::time::timeout(Duration::from_secs(10), left).await.is_err() {
            tracing::warn!(topic = topic.name, "the consumer did not leave its group in time");
        }
    }

    fn commit_offsets(&self, batch: &Batch, mode: CommitMode) -> Result<(), KafkaError> {
        let mut offsets = TopicPartitionList::new();
        for record in &batch.records {
            match offsets.find_partition(self.topic.name, record.partition) {
                // Committable is the offset after the last one done.
                Some(mut element) => element.set_offset(Offset::Offset(record.offset + 1))?,
                None => offsets.add_partition_offset(
                    self.topic.name,
                    record.partition,
                    Offset::Offset(record.offset + 1),
                )?,
            }
        }
        Ok(self.client.commit(&offsets, mode)?)
    }
}

fn poll(
    client: Arc<BaseConsumer<GroupContext>>,
    topic: Topic,
    limits: BatchLimits,
    events: &mpsc::Sender<Result<ConsumerEvent, KafkaError>>,
) {
    let mut batch = Batch::default();
    let mut first = Instant::now();
    while !events.is_closed() {
        let wait = if batch.records.is_empty() {
            Duration::from_millis(100)
        } else {
            limits
                .max_wait
                .saturating_sub(first.elapsed())
                .min(Duration::from_millis(100))
        };
        let event = match client.poll(wait) {
            Some(Ok(message)) => {
                if batch.records.is_empty() {
                    first = Instant::now();
                }
                batch.records.push(Record::of(topic.name, &message));
                None
            }
            Some(Err(error)) if is_fatal(&error) => Some(Err(error.into())),
            Some(Err(error)) => {
                tracing::warn!(%error, topic = topic.name, "the consumer met an error and goes on");
                None
            }
            None => None,
        };
        let due = !batch.records.is_empty()
            && (batch.records.len() >= limits.max_records || first.elapsed() >= limits.max_wait);
        let rebalances = client.context().take_rebalances();
        // Records read before a rebalance are handed over before it.
        let full = if due || (!rebalances.is_empty() && !batch.records.is_empty()) {
            Some(Ok(ConsumerEvent::Batch(std::mem::take(&mut batch))))
        } else {
            None
        };
        for event in full
            .into_iter()
            .chain(rebalances.into_iter().map(Ok))
            .chain(event)
        {
            if events.blocking_send(event).is_err() {
                break;
            }
        }
    }
    client.context().closing.store(true, Ordering::Relaxed);
    drop(client);
}

fn is_fatal(error: &ClientError) -> bool {
    matches!(error, ClientError::MessageConsumptionFatal(_))
}

#[derive(Debug)]
struct GroupContext {
    start: StartFrom,
    rebalances: std::sync::Mutex<Vec<ConsumerEvent>>,
    closing: AtomicBool,
}

impl GroupContext {
    fn take_rebalances(&self) -> Vec<ConsumerEvent> {
        std::mem::take(
            &mut self
                .rebalances
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }

    fn note(&self, event: ConsumerEvent) {
        if !self.closing.load(Ordering::Relaxed) {
            self.rebalances
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .push(event);
        }
    }
}

impl ClientContext for GroupContext {}

impl ConsumerContext for GroupContext {
    // The default ignores what assign and unassign answer. Which of the two protocols it is follows from `start`: see
    // `Kafka::consumer`.
    fn rebalance(
        &self,
        client: &BaseConsumer<Self>,
        error: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let numbers = || {
            partitions
                .elements()
                .iter()
                .map(|element| element.partition())
                .collect::<Vec<_>>()
        };
        let result = if error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.note(ConsumerEvent::Assigned(numbers()));
            tracing::info!(partitions = ?numbers(), "partitions assigned");
            match self.start {
                StartFrom::Committed => client.assign(partitions),
                StartFrom::Beginning => partitions
                    .set_all_offsets(Offset::Beginning)
                    .and_then(|()| client.incremental_assign(partitions)),
            }
        } else {
            self.note(ConsumerEvent::Revoked(numbers()));
            tracing::info!(partitions = ?numbers(), "partitions revoked");
            match self.start {
                StartFrom::Committed => client.unassign(),
                StartFrom::Beginning => client.incremental_unassign(partitions),
            }
        };
        if let Err(error) = result {
            tracing::error!(%error, "an assignment of partitions failed");
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::warn!(%error, "a commit failed; the records may be handled again");
        }
    }
}
