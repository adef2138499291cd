use std::fmt;

use cqrs::domain::Timestamp;
use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, Header, Headers as _, OwnedHeaders};

/// Names of the headers. Letters keep them for 30 days: names are only added.
pub(super) mod header {
    pub(crate) const TOPIC: &str = "topic";
    pub(crate) const PARTITION: &str = "partition";
    pub(crate) const OFFSET: &str = "offset";
    pub(crate) const TIMESTAMP: &str = "timestamp";
    pub(crate) const GROUP: &str = "group";
    pub(crate) const ERROR: &str = "error";
    /// On a mark, a record of the dead letters' topic itself: the offset of the letter that was replayed; the other
    /// headers say where to.
    pub(crate) const REPLAYED: &str = "replayed";
    /// On a record that was replayed: the offset of its letter.
    pub(crate) const REPLAYED_FROM: &str = "replayed-from";
}

/// Headers with texts as values.
pub(super) fn headers(pairs: &[(&str, &str)]) -> OwnedHeaders {
    let empty = OwnedHeaders::new_with_capacity(pairs.len());
    pairs.iter().fold(empty, |all, (key, value)| {
        let value = Some(*value);
        all.insert(Header { key, value })
    })
}

/// Where a record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its topic; whatever a header says.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset in the partition.
    pub offset: i64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            topic,
            partition,
            offset,
        } = self;
        write!(f, "{topic}, partition {partition}, offset {offset}")
    }
}

/// One record that was set aside. Its key, value and texts may hold anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its own offset in the dead letters' topic: its name.
    pub offset: i64,
    /// When it was set aside.
    pub set_aside: Option<Timestamp>,
    /// Where the record was; none where the headers do not say.
    pub origin: Option<Place>,
    /// When the record was appended there.
    pub origin_time: Option<Timestamp>,
    /// The consumer group that set it aside.
    pub group: String,
    /// What was wrong with it.
    pub error: String,
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// The record's value; none for a tombstone.
    pub payload: Option<Vec<u8>>,
    /// All headers, the above included.
    pub headers: Vec<(String, String)>,
}

/// One record of the dead letters' topic.
#[derive(Debug)]
pub(super) enum Entry {
    Letter(DeadLetter),
    /// The letter of this offset was replayed.
    Replayed(i64, Place),
}

impl Entry {
    pub(super) fn of(message: &BorrowedMessage<'_>) -> Self {
        let headers: Vec<(String, String)> = message
            .headers()
            .into_iter()
            .flat_map(|headers| headers.iter())
            .map(|header| {
                let value = String::from_utf8_lossy(header.value.unwrap_or_default());
                (header.key.to_owned(), value.into_owned())
            })
            .collect();
        let text = |name| {
            headers
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value)
        };
        let number = |name| text(name).and_then(|text| text.parse::<i64>().ok());
        let place = || {
            Some(Place {
                topic: text(header::TOPIC)?.clone(),
                partition: i32::try_from(number(header::PARTITION)?).ok()?,
                offset: number(header::OFFSET)?,
            })
        };
        if let Some((letter, to)) = number(header::REPLAYED).zip(place()) {
            return Self::Replayed(letter, to);
        }
        Self::Letter(DeadLetter {
            offset: message.offset(),
            set_aside: message.timestamp().to_millis().map(from_millis),
            origin: place(),
            origin_time: number(header::TIMESTAMP).map(from_millis),
            group: text(header::GROUP).cloned().unwrap_or_default(),
            error: text(header::ERROR).cloned().unwrap_or_default(),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            headers,
        })
    }
}

fn from_millis(millis: i64) -> Timestamp {
    Timestamp::from_micros(millis.saturating_mul(1_000))
}
