//! Appends the newest record of a key again where an older one came after it: a paused writer may have woken up late, and
//! compaction keeps the last.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rdkafka::Message as _;
use rdkafka::message::BorrowedMessage;
use service::codec::StateDecoder;
use service::kafka::Kafka;
use service::topics::{ALERTS, RULES, TICKERS};

use super::Progress;
use super::reader::{Event, Reader, Span};
use crate::acknowledgements::{Lane, Lanes, Write, Writer};
use crate::error::Error;

/// Keys of one partition of a topic whose last record is not the newest.
pub(super) type Keys = HashSet<Box<[u8]>>;

/// The newest of several records of a key has the greatest rank. A tombstone is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Value(i64, i64, i64),
    Tombstone,
}

/// The newest record of a key so far.
struct Newest {
    rank: Rank,
    payload: Option<Vec<u8>>,
}

/// Reads the topic's partition a second time, which is rare, for the exact bytes.
pub(super) fn append_newest(
    kafka: &Kafka,
    span: Span,
    keys: &Keys,
    writer: &RepairWriter,
) -> Result<(), Error> {
    // A client of its own: what the first one's statistics say of this span's end is old.
    let reader = Reader::open(kafka)?;
    let mut decoder = StateDecoder::default();
    let mut newest: HashMap<Box<[u8]>, Newest> = HashMap::new();
    reader.read(
        &[span],
        &Progress::new(),
        |_| false,
        |_, event| {
            let Event::Record(message) = event else {
                return Ok(());
            };
            let Some(key) = message.key().filter(|key| keys.contains(*key)) else {
                return Ok(());
            };
            let Some(rank) = rank(&mut decoder, span, message) else {
                return Ok(());
            };
            if newest.get(key).is_none_or(|known| rank > known.rank) {
                let payload = message.payload().map(<[u8]>::to_vec);
                newest.insert(key.into(), Newest { rank, payload });
            }
            Ok(())
        },
    )?;
    for (key, Newest { payload, .. }) in &newest {
        tracing::warn!(
            kafka.topic = span.topic.name,
            kafka.key = %String::from_utf8_lossy(key),
            "an old record came last; the newest is appended again"
        );
        writer.write(span, key, payload.as_deref())?;
    }
    Ok(())
}

/// None for a record that can't be decoded, or is a test.
fn rank(decoder: &mut StateDecoder, span: Span, message: &BorrowedMessage<'_>) -> Option<Rank> {
    let Some(payload) = message.payload() else {
        return Some(Rank::Tombstone);
    };
    let key = message.key();
    if span.topic == RULES {
        let rule = decoder.rule(key, payload).ok()?;
        Some(Rank::Value(rule.version.get(), rule.generation, 0))
    } else if span.topic == ALERTS {
        let (_, position, _) = decoder.state(key, payload).ok()??;
        Some(Rank::Value(
            position.version.get(),
            position.generation,
            position.offset,
        ))
    } else {
        debug_assert_eq!(span.topic, TICKERS, "no other topic is restored from");
        Some(Rank::Value(decoder.mark(payload).ok()?.offset, 0, 0))
    }
}

/// Writes repairs, whose acknowledgements are waited for before the partition is handed over.
pub(super) struct RepairWriter {
    writer: Writer,
    lanes: Lanes,
}

impl RepairWriter {
    pub(super) fn create(kafka: &Kafka) -> Result<Self, Error> {
        let lanes = Lanes::default();
        let config = kafka.producer_config(Duration::from_secs(120), Duration::from_millis(5));
        Ok(Self {
            writer: Writer::create(&config, &lanes)?,
            lanes,
        })
    }

    pub(super) fn write(&self, span: Span, key: &[u8], payload: Option<&[u8]>) -> Result<(), Error> {
        let write = Write {
            topic: span.topic,
            partition: span.partition,
            key,
            payload,
            trace: None,
        };
        Ok(self.writer.write(Lane::Marks, write, || {})?)
    }

    /// Waits until all is on all in-sync replicas.
    pub(super) fn wait(&self) -> Result<(), Error> {
        while self.lanes.outstanding(Lane::Marks) > 0 {
            self.lanes.check()?;
            self.writer.poll(Duration::from_millis(1));
        }
        Ok(())
    }
}
