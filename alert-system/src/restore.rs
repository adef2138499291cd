//! Rebuilds a partition's rules and states from the compacted topics, before its quotes are read.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use cqrs::domain::{Alert, AlertPosition, RuleId, RuleSnapshot, RuleVersion, Ticker};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message as _, Offset, TopicPartitionList};
use service::codec::{decode_alert, decode_rule, decode_rule_key, decode_ticker, encode_ticker};
use service::kafka::{Kafka, KafkaError, Record};
use service::topics::{ALERTS, RULES, TICKERS, Topic};

use crate::acknowledgements::{AcknowledgedProducer, Write};
use crate::engine::RearmMargin;
use crate::engine::naive::Engine;

/// What was restored.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) engine: Engine,
    pub(crate) rules_end: i64,
    pub(crate) tickers_end: i64,
    /// Records that could not be decoded.
    pub(crate) malformed: Vec<(Record, String)>,
}

/// The newest record of one key, and whether it is also the last.
struct Newest<P, V> {
    position: P,
    value: V,
    payload: Vec<u8>,
    is_last: bool,
}

/// State of one key of a compacted topic.
enum Latest<P, V> {
    Value(Newest<P, V>),
    /// Deleted, for good; whether the tombstone is the last record.
    Deleted {
        is_last: bool,
    },
}

impl<P: Ord + Copy, V> Latest<P, V> {
    /// Takes the next record of this key, in offset order.
    fn take(&mut self, position: P, value: V, payload: &[u8]) {
        match self {
            Self::Deleted { is_last } => *is_last = false,
            Self::Value(newest) if position < newest.position => newest.is_last = false,
            Self::Value(newest) => {
                *newest = Newest {
                    position,
                    value,
                    payload: payload.to_vec(),
                    is_last: true,
                };
            }
        }
    }
}

type Keys<P, V> = HashMap<RuleId, Latest<P, V>>;

fn take<P: Ord + Copy, V>(keys: &mut Keys<P, V>, id: RuleId, position: P, value: V, payload: &[u8]) {
    match keys.entry(id) {
        std::collections::hash_map::Entry::Occupied(mut known) => {
            known.get_mut().take(position, value, payload)
        }
        std::collections::hash_map::Entry::Vacant(unknown) => {
            let payload = payload.to_vec();
            unknown.insert(Latest::Value(Newest {
                position,
                value,
                payload,
                is_last: true,
            }));
        }
    }
}

/// Reads `partition` of the three topics and brings the topics in order where the last record of a key is not the newest.
pub(crate) fn restore(
    kafka: &Kafka,
    partition: i32,
    margin: RearmMargin,
    producer: &mut AcknowledgedProducer,
) -> Result<Restored, KafkaError> {
    let start = Instant::now();
    let reader = Reader::open(kafka, partition)?;
    let mut malformed = Vec::new();
    let mut rules: Keys<RuleVersion, RuleSnapshot> = HashMap::new();
    let rules_end = reader.read(RULES, |message| {
        if let Err(error) = take_rule(&mut rules, message) {
            malformed.push((Record::of(RULES.name, message), error));
        }
    })?;
    let mut states: Keys<AlertPosition, Alert> = HashMap::new();
    reader.read(ALERTS, |message| {
        if let Err(error) = take_state(&mut states, message) {
            // The notifier sets these aside.
            tracing::warn!(
                kafka.offset = message.offset(),
                error,
                "an undecodable alert was skipped"
            );
        }
    })?;
    let mut engine = Engine::new(margin);
    repair(RULES, partition, &rules, producer)?;
    for (id, latest) in rules {
        match latest {
            Latest::Value(newest) => engine.apply(cqrs::domain::RuleChange::Changed(newest.value)),
            Latest::Deleted { .. } => engine.delete(id),
        };
    }
    repair(ALERTS, partition, &states, producer)?;
    for (id, latest) in states {
        if let Latest::Value(newest) = latest
            && !engine.restore_state(&newest.value)
        {
            // The rule was deleted while nobody watched.
            let key = id.to_string();
            producer.write(Write {
                topic: ALERTS,
                partition,
                key: &key,
                payload: None,
                trace: None,
            })?;
        }
    }
    let mut last_marks: HashMap<Ticker, i64> = HashMap::new();
    let tickers_end = reader.read(TICKERS, |message| match message.payload().map(decode_ticker) {
        Some(Ok(mark)) => {
            last_marks.insert(mark.ticker.clone(), mark.offset);
            engine.restore_mark(mark);
        }
        Some(Err(error)) => malformed.push((Record::of(TICKERS.name, message), error.to_string())),
        None => {}
    })?;
    repair_marks(partition, &engine, &last_marks, producer)?;
    producer.wait_for_all()?;
    metrics::histogram!("stockalert_restore_seconds").record(start.elapsed().as_secs_f64());
    tracing::info!(
        kafka.partition = partition,
        rules = engine.rules(),
        milliseconds = start.elapsed().as_millis(),
        "state restored"
    );
    Ok(Restored {
        engine,
        rules_end,
        tickers_end,
        malformed,
    })
}

fn take_rule(
    rules: &mut Keys<RuleVersion, RuleSnapshot>,
    message: &BorrowedMessage<'_>,
) -> Result<(), String> {
    let id = decode_rule_key(message.key()).map_err(|error| error.to_string())?;
    match message.payload() {
        None => {
            rules.insert(id, Latest::Deleted { is_last: true });
        }
        Some(payload) => {
            let rule = decode_rule(payload).map_err(|error| error.to_string())?;
            if rule.rule_id != id {
                return Err(service::codec::DecodeError::Key.to_string());
            }
            take(rules, id, rule.version, rule, payload);
        }
    }
    Ok(())
}

fn take_state(states: &mut Keys<AlertPosition, Alert>, message: &BorrowedMessage<'_>) -> Result<(), String> {
    let id = decode_rule_key(message.key()).map_err(|error| error.to_string())?;
    match message.payload() {
        None => {
            states.insert(id, Latest::Deleted { is_last: true });
        }
        Some(payload) => {
            let state = decode_alert(payload).map_err(|error| error.to_string())?;
            take(states, id, state.position, state, payload);
        }
    }
    Ok(())
}

/// Appends the newest record of a key again where an older one came after it: a paused writer may have woken up late, and
/// compaction keeps the last.
fn repair<P: Ord + Copy, V>(
    topic: Topic,
    partition: i32,
    keys: &Keys<P, V>,
    producer: &mut AcknowledgedProducer,
) -> Result<(), KafkaError> {
    for (id, latest) in keys {
        let payload = match latest {
            Latest::Value(newest) if !newest.is_last => Some(newest.payload.as_slice()),
            Latest::Deleted { is_last: false } => None,
            Latest::Value(_) | Latest::Deleted { .. } => continue,
        };
        tracing::warn!(kafka.topic = topic.name, rule.id = %id, "an old record came last; the newest is appended again");
        let key = id.to_string();
        producer.write(Write {
            topic,
            partition,
            key: &key,
            payload,
            trace: None,
        })?;
    }
    Ok(())
}

/// As `repair`, for the tickers topic.
fn repair_marks(
    partition: i32,
    engine: &Engine,
    last: &HashMap<Ticker, i64>,
    producer: &mut AcknowledgedProducer,
) -> Result<(), KafkaError> {
    for (ticker, last) in last {
        if let Some(newest) = engine.mark(ticker).filter(|mark| mark.offset > *last) {
            tracing::warn!(stock.ticker = %ticker, "an old mark came last; the newest is appended again");
            let payload = encode_ticker(newest);
            let key = ticker.as_str();
            producer.write(Write {
                topic: TICKERS,
                partition,
                key,
                payload: Some(&payload),
                trace: None,
            })?;
        }
    }
    Ok(())
}

struct Reader {
    client: BaseConsumer,
    partition: i32,
}

impl Reader {
    /// How long the broker may take to say where a partition ends.
    const WATERMARKS: Duration = Duration::from_secs(30);
    /// How long reading may make no progress at all.
    const STALLED: Duration = Duration::from_secs(60);

    fn open(kafka: &Kafka, partition: i32) -> Result<Self, KafkaError> {
        // Assigned by hand and never committed: the group's name only satisfies the client.
        let mut config = kafka.consumer_config("alert-system-restore");
        config.set("enable.partition.eof", "true");
        Ok(Self {
            client: config.create()?,
            partition,
        })
    }

    /// Reads a topic's partition from its beginning to the end it has now; returns that end.
    fn read(&self, topic: Topic, mut each: impl FnMut(&BorrowedMessage<'_>)) -> Result<i64, KafkaError> {
        let (low, end) = self
            .client
            .fetch_watermarks(topic.name, self.partition, Self::WATERMARKS)?;
        if low == end {
            return Ok(end);
        }
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_offset(topic.name, self.partition, Offset::Beginning)?;
        self.client.assign(&partitions)?;
        let mut progress = Instant::now();
        loop {
            match self.client.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    progress = Instant::now();
                    if message.offset() < end {
                        each(&message);
                    }
                    if message.offset() + 1 >= end {
                        break;
                    }
                }
                // The last records before the end may have been compacted away. The end was taken before this fetch, so
                // that it lies at or behind the place where the fetch found nothing more.
                Some(Err(ClientError::PartitionEOF(_))) => break,
                Some(Err(error)) => {
                    tracing::warn!(%error, kafka.topic = topic.name, "restoring met an error and goes on")
                }
                None if progress.elapsed() > Self::STALLED => {
                    let reason = format!(
                        "{} gave no record for {} s while restoring",
                        topic.name,
                        Self::STALLED.as_secs()
                    );
                    return Err(KafkaError::Topics(reason));
                }
                None => {}
            }
        }
        self.client.unassign()?;
        Ok(end)
    }
}
