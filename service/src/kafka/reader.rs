use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use tokio::sync::mpsc;

use super::ends::ToldOfEnds;
use super::{Batch, BatchLimits, KafkaError, Record};
use crate::topics::Topic;

/// What a reader meets.
#[derive(Debug)]
pub enum ReaderEvent {
    /// Records.
    Batch(Batch),
    /// All that was there when reading began has been handed over. Comes once.
    CaughtUp,
}

/// Reads all of one topic, from the beginning and on and on, without a group: every reader gets everything. On a thread of
/// its own, as [`BatchConsumer`](super::BatchConsumer). Ends when it is dropped.
pub struct TopicReader {
    events: mpsc::Receiver<Result<ReaderEvent, KafkaError>>,
    topic: Topic,
}

impl std::fmt::Debug for TopicReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TopicReader")
            .field("topic", &self.topic.name)
            .finish_non_exhaustive()
    }
}

/// Batches waiting to be handled; the client's own queue is behind them.
const QUEUE: usize = 2;
/// How long the client is waited for at once: within this time the thread hears that nobody listens any more.
const STEP: Duration = Duration::from_millis(100);
/// How long the broker may take to say where a partition ends, before it is asked again.
const ASKED_FOR: Duration = Duration::from_secs(2);

impl TopicReader {
    pub(super) fn start(
        mut config: ClientConfig,
        topic: Topic,
        partitions: i32,
        limits: BatchLimits,
    ) -> Result<Self, KafkaError> {
        // The last records before an end may have been compacted away: then only this says that it was reached.
        config.set("enable.partition.eof", "true");
        // What comes after is in no hurry; the embedded broker would be asked a hundred times a second.
        config.set("fetch.wait.max.ms", "500");
        let client: BaseConsumer<ToldOfEnds> = config.create_with_context(ToldOfEnds)?;
        let (sender, events) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name(format!("read-{}", topic.name))
            .spawn(move || {
                if let Err(error) = read(&client, topic, partitions, limits, &sender) {
                    let _ = sender.blocking_send(Err(error));
                }
            })
            .map_err(|_| KafkaError::Ended)?;
        Ok(Self { events, topic })
    }

    /// The next event. Waits for one; safe to cancel. A broker that is away is waited for.
    ///
    /// # Errors
    /// If the client failed for good.
    pub async fn next(&mut self) -> Result<ReaderEvent, KafkaError> {
        self.events.recv().await.unwrap_or(Err(KafkaError::Ended))
    }
}

/// The partitions that have not been read to the end that they had at first.
struct Behind {
    /// By partition. None: read so far.
    ends: Vec<Option<i64>>,
    is_told: bool,
}

impl Behind {
    /// All records of `partition` before `next` have been read.
    fn read(&mut self, partition: i32, next: i64) {
        let end = usize::try_from(partition)
            .ok()
            .and_then(|at| self.ends.get_mut(at));
        if let Some(end) = end
            && end.is_some_and(|end| end <= next)
        {
            *end = None;
        }
    }

    /// Once, when nothing is behind.
    fn is_over(&mut self) -> bool {
        let is_news = !self.is_told && self.ends.iter().all(Option::is_none);
        self.is_told |= is_news;
        is_news
    }
}

fn read(
    client: &BaseConsumer<ToldOfEnds>,
    topic: Topic,
    partitions: i32,
    limits: BatchLimits,
    events: &mpsc::Sender<Result<ReaderEvent, KafkaError>>,
) -> Result<(), KafkaError> {
    let Some(mut behind) = ends(client, topic, partitions, events) else {
        return Ok(());
    };
    let mut reading = TopicPartitionList::new();
    for partition in 0..partitions {
        reading.add_partition_offset(topic.name, partition, Offset::Beginning)?;
    }
    client.assign(&reading)?;
    let mut batch = Batch::default();
    let mut first = Instant::now();
    while !events.is_closed() {
        let wait = if batch.records.is_empty() {
            STEP
        } else {
            limits.max_wait.saturating_sub(first.elapsed()).min(STEP)
        };
        match client.poll(wait) {
            Some(Ok(message)) => {
                if batch.records.is_empty() {
                    first = Instant::now();
                }
                behind.read(message.partition(), message.offset() + 1);
                batch.records.push(Record::of(topic.name, &message));
            }
            Some(Err(ClientError::PartitionEOF(partition))) => behind.read(partition, i64::MAX),
            Some(Err(error @ ClientError::MessageConsumptionFatal(_))) => return Err(error.into()),
            Some(Err(error)) => {
                tracing::warn!(%error, topic = topic.name, "the reader met an error and goes on");
            }
            None => {}
        }
        let is_over = behind.is_over();
        let is_due = batch.records.len() >= limits.max_records || first.elapsed() >= limits.max_wait;
        let full = (!batch.records.is_empty() && (is_due || is_over))
            .then(|| ReaderEvent::Batch(std::mem::take(&mut batch)));
        for event in full.into_iter().chain(is_over.then_some(ReaderEvent::CaughtUp)) {
            if events.blocking_send(Ok(event)).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Where the partitions end now, asked until it is known. None: nobody listens any more.
fn ends(
    client: &BaseConsumer<ToldOfEnds>,
    topic: Topic,
    partitions: i32,
    events: &mpsc::Sender<Result<ReaderEvent, KafkaError>>,
) -> Option<Behind> {
    let mut ends = Vec::new();
    let mut is_failing = false;
    for partition in 0..partitions {
        let (low, end) = loop {
            match client.fetch_watermarks(topic.name, partition, ASKED_FOR) {
                Ok(offsets) => break offsets,
                Err(error) if !is_failing => {
                    is_failing = true;
                    tracing::warn!(%error, topic = topic.name, "the broker does not say where the topic ends; it is asked again");
                }
                Err(_) => {}
            }
            if events.is_closed() {
                return None;
            }
            std::thread::sleep(STEP);
        };
        ends.push((low < end).then_some(end));
    }
    Some(Behind { ends, is_told: false })
}
