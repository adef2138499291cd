//! What is in the topics.

use cqrs::domain::{FeedChange, Price, Timestamp};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use service::codec::{QuoteDecoder, decode_feed};
use service::kafka::Kafka;
use service::topics::{FEEDS, QUOTES, Topic};

use crate::trial::PATIENCE;

/// A price, and the mark of a quote that is counted anew.
pub(super) type Seen = (Price, Option<Timestamp>);

/// The records of a topic's one partition, by key and value.
fn records(kafka: &Kafka, topic: Topic) -> Vec<(Vec<u8>, Vec<u8>)> {
    let client: BaseConsumer = kafka.consumer_config("test-log").create().unwrap();
    let (_, end) = client.fetch_watermarks(topic.name, 0, PATIENCE).unwrap();
    let mut partition = TopicPartitionList::new();
    partition
        .add_partition_offset(topic.name, 0, Offset::Beginning)
        .unwrap();
    client.assign(&partition).unwrap();
    let mut records = Vec::new();
    let mut next = 0;
    while next < end {
        let message = client.poll(PATIENCE).expect("a record in time").unwrap();
        next = message.offset() + 1;
        records.push((
            message.key().unwrap().to_vec(),
            message.payload().unwrap().to_vec(),
        ));
    }
    records
}

pub(super) fn quotes(kafka: &Kafka) -> Vec<Seen> {
    let mut decoder = QuoteDecoder::default();
    let mut seen = Vec::new();
    for (_, value) in records(kafka, QUOTES) {
        let quote = decoder.decode(&value).unwrap();
        seen.push((quote.price, quote.restated_at));
    }
    seen
}

pub(super) fn feeds(kafka: &Kafka) -> Vec<FeedChange> {
    let records = records(kafka, FEEDS).into_iter();
    records
        .map(|(key, value)| decode_feed(Some(&key), &value).unwrap())
        .collect()
}
