use std::ops::Range;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message as _, Offset, TopicPartitionList};

use super::DeadLetterError;
use crate::kafka::ends::ToldOfEnds;
use crate::kafka::{Kafka, KafkaError};

/// How long the broker may take to say where a partition ends.
const WATERMARKS: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(200);
/// How long reading may make no progress at all.
const STALLED: Duration = Duration::from_secs(15);

/// Folds a partition's records from its beginning to the end that it has now, in no group, and changes nothing at the
/// broker. Returns the offsets that the partition had.
pub(super) async fn scan<S: Send + 'static>(
    kafka: &Kafka,
    topic: &'static str,
    partition: i32,
    mut state: S,
    mut step: impl FnMut(&mut S, &BorrowedMessage<'_>) + Send + 'static,
) -> Result<(S, Range<i64>), DeadLetterError> {
    // Assigned by hand and never committed: the group's name only satisfies the client.
    let mut config = kafka.consumer_config("stockalert-dead-letters");
    config.set("enable.partition.eof", "true");
    let reading = tokio::task::spawn_blocking(move || {
        let client: BaseConsumer<ToldOfEnds> =
            config.create_with_context(ToldOfEnds).map_err(KafkaError::from)?;
        let offsets = read(&client, topic, partition, |message| step(&mut state, message))?;
        Ok((state, offsets))
    });
    reading.await.map_err(|_| KafkaError::Ended)?
}

fn read(
    client: &BaseConsumer<ToldOfEnds>,
    topic: &'static str,
    partition: i32,
    mut each: impl FnMut(&BorrowedMessage<'_>),
) -> Result<Range<i64>, DeadLetterError> {
    let (low, end) = watermarks(client, topic, partition)?;
    if low == end {
        return Ok(low..end);
    }
    let mut partitions = TopicPartitionList::new();
    partitions
        .add_partition_offset(topic, partition, Offset::Beginning)
        .map_err(KafkaError::from)?;
    client.assign(&partitions).map_err(KafkaError::from)?;
    let mut progress = Instant::now();
    loop {
        match client.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                progress = Instant::now();
                if message.offset() < end {
                    each(&message);
                }
                if message.offset() + 1 >= end {
                    return Ok(low..end);
                }
            }
            // The last records before the end may have been compacted away. The end was taken before this fetch.
            Some(Err(ClientError::PartitionEOF(_))) => return Ok(low..end),
            Some(Err(error)) => {
                tracing::warn!(%error, kafka.topic = topic, "reading met an error and goes on");
            }
            None => {}
        }
        if progress.elapsed() > STALLED {
            return Err(DeadLetterError::Stalled {
                topic,
                partition,
                seconds: STALLED.as_secs(),
            });
        }
    }
}

/// The partition's first offset and the one after its last. A broker that has just started, or hands its partitions over,
/// refuses for a moment.
fn watermarks(
    client: &BaseConsumer<ToldOfEnds>,
    topic: &str,
    partition: i32,
) -> Result<(i64, i64), KafkaError> {
    let start = Instant::now();
    loop {
        let patience = WATERMARKS.saturating_sub(start.elapsed());
        match client.fetch_watermarks(topic, partition, patience) {
            Ok(offsets) => return Ok(offsets),
            Err(error) if patience <= RETRY => return Err(error.into()),
            Err(_) => std::thread::sleep(RETRY),
        }
    }
}
