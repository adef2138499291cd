//! Reads what lies in the topics, from outside of all groups.

use std::time::{Duration, Instant};

use anyhow::bail;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use service::kafka::Record;
use service::topics::Topic;

const PATIENCE: Duration = Duration::from_secs(60);

fn client(bootstrap_servers: &str, group: &str) -> anyhow::Result<BaseConsumer> {
    Ok(ClientConfig::new()
        .set("bootstrap.servers", bootstrap_servers)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .create()?)
}

/// The end offset of each partition; empty while the topic does not exist.
///
/// # Errors
/// If the broker does not answer.
pub fn ends(bootstrap_servers: &str, topic: Topic) -> anyhow::Result<Vec<i64>> {
    let client = client(bootstrap_servers, "e2e")?;
    let metadata = client.fetch_metadata(Some(topic.name), PATIENCE)?;
    let partitions = metadata
        .topics()
        .first()
        .map_or(0, |topic| topic.partitions().len());
    (0..i32::try_from(partitions)?)
        .map(|partition| end(&client, topic, partition))
        .collect()
}

/// A broker that has just started does not lead its partitions at once.
fn end(client: &BaseConsumer, topic: Topic, partition: i32) -> anyhow::Result<i64> {
    let start = Instant::now();
    loop {
        match client.fetch_watermarks(topic.name, partition, PATIENCE) {
            Ok((_, end)) => return Ok(end),
            Err(error) if start.elapsed() > PATIENCE => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// How many records of a topic a group has not committed yet.
///
/// # Errors
/// If the broker does not answer.
pub fn lag(bootstrap_servers: &str, group: &str, topic: Topic) -> anyhow::Result<i64> {
    let ends = ends(bootstrap_servers, topic)?;
    let mut partitions = TopicPartitionList::new();
    for partition in 0..i32::try_from(ends.len())? {
        partitions.add_partition(topic.name, partition);
    }
    let committed = client(bootstrap_servers, group)?.committed_offsets(partitions, PATIENCE)?;
    let behind = ends
        .iter()
        .zip(committed.elements())
        .map(|(end, committed)| match committed.offset() {
            Offset::Offset(offset) => end - offset,
            Offset::Beginning | Offset::End | Offset::Stored | Offset::Invalid | Offset::OffsetTail(_) => {
                *end
            }
        });
    Ok(behind.sum())
}

/// All records of a topic from the beginning to its end now, in the order of their partitions.
///
/// # Errors
/// If the broker does not answer.
pub fn read_all(bootstrap_servers: &str, topic: Topic) -> anyhow::Result<Vec<Record>> {
    let ends = ends(bootstrap_servers, topic)?;
    let client = client(bootstrap_servers, "e2e")?;
    let mut partitions = TopicPartitionList::new();
    for partition in 0..i32::try_from(ends.len())? {
        partitions.add_partition_offset(topic.name, partition, Offset::Beginning)?;
    }
    client.assign(&partitions)?;
    let total = usize::try_from(ends.iter().sum::<i64>())?;
    let mut records = Vec::with_capacity(total);
    let start = Instant::now();
    while records.len() < total {
        match client.poll(Duration::from_millis(100)) {
            Some(message) => records.push(Record::of(topic.name, &message?)),
            None if start.elapsed() > PATIENCE => {
                bail!("{} gave {} of {total} records", topic.name, records.len())
            }
            None => {}
        }
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}
