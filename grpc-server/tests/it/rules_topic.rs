//! The rules topic as its readers see it.

use std::time::{Duration, Instant};

use cqrs::domain::{RuleId, RuleSnapshot, Ticker};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use service::codec::{decode_rule, decode_rule_key};
use service::kafka::{Kafka, KafkaSettings};
use service::topics::{RULES, partition_of};

use crate::app::PATIENCE;

/// One record; no snapshot: the rule is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RuleRecord {
    pub(crate) rule_id: RuleId,
    pub(crate) snapshot: Option<RuleSnapshot>,
    pub(crate) partition: i32,
}

impl RuleRecord {
    /// The rule's version; none: it is gone.
    pub(crate) fn version(&self) -> Option<i64> {
        self.snapshot.as_ref().map(|snapshot| snapshot.version.get())
    }
}

/// Reads the topic from its beginning: with a broker that others use, their rules too.
pub(crate) struct RulesTopic {
    consumer: BaseConsumer,
    partitions: i32,
    pub(crate) records: Vec<RuleRecord>,
}

impl RulesTopic {
    pub(crate) async fn open(settings: &KafkaSettings) -> Self {
        let kafka = Kafka::connect(settings).await.unwrap();
        let consumer: BaseConsumer = kafka
            .consumer_config(&format!("test-{}", uuid::Uuid::new_v4()))
            .create()
            .unwrap();
        let mut all = TopicPartitionList::new();
        for partition in 0..kafka.partitions() {
            all.add_partition_offset(RULES.name, partition, Offset::Beginning)
                .unwrap();
        }
        consumer.assign(&all).unwrap();
        Self {
            consumer,
            partitions: kafka.partitions(),
            records: Vec::new(),
        }
    }

    /// Reads until the records so far are as they shall be.
    pub(crate) async fn read_until(&mut self, what: &str, condition: impl Fn(&[RuleRecord]) -> bool) {
        let start = Instant::now();
        while !condition(&self.records) {
            assert!(
                start.elapsed() < PATIENCE,
                "never: {what}; the topic holds {:#?}",
                self.records
            );
            self.read_for(Duration::from_millis(20)).await;
        }
    }

    /// Reads what is there.
    pub(crate) async fn read_for(&mut self, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            match self.consumer.poll(Duration::ZERO) {
                Some(message) => {
                    let message = message.unwrap();
                    let rule_id = decode_rule_key(message.key()).unwrap();
                    let snapshot = message.payload().map(|bytes| decode_rule(bytes).unwrap());
                    self.records.push(RuleRecord {
                        rule_id,
                        snapshot,
                        partition: message.partition(),
                    });
                }
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    pub(crate) fn partition_of(&self, ticker: &str) -> i32 {
        partition_of(&ticker.parse::<Ticker>().unwrap(), self.partitions)
    }
}

/// A rule's records in their order.
pub(crate) fn records_of<'a>(
    records: &'a [RuleRecord],
    rule: &proto::v1::Rule,
) -> impl DoubleEndedIterator<Item = &'a RuleRecord> {
    let id: RuleId = rule.id.parse().unwrap();
    records.iter().filter(move |record| record.rule_id == id)
}

/// The versions of a rule's records in their order.
pub(crate) fn versions_of(records: &[RuleRecord], rule: &proto::v1::Rule) -> Vec<Option<i64>> {
    records_of(records, rule).map(RuleRecord::version).collect()
}
