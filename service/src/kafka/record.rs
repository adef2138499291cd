use cqrs::domain::Timestamp;
use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, Headers as _};

use crate::TraceParent;

/// One record of a topic, as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its topic.
    pub topic: &'static str,
    /// Its partition.
    pub partition: i32,
    /// Its offset in the partition.
    pub offset: i64,
    /// When it was appended or made, by the broker's setting.
    pub timestamp: Option<Timestamp>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; none for a tombstone.
    pub payload: Option<Vec<u8>>,
    /// The trace it belongs to.
    pub trace: Option<TraceParent>,
}

impl Record {
    /// Copies a record out of the client's memory.
    #[must_use]
    pub fn of(topic: &'static str, message: &BorrowedMessage<'_>) -> Self {
        Self {
            topic,
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message
                .timestamp()
                .to_millis()
                .map(|ms| Timestamp::from_micros(ms.saturating_mul(1_000))),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            trace: Self::trace_of(message),
        }
    }

    /// The trace that a record's header names, if one.
    #[must_use]
    pub fn trace_of(message: &BorrowedMessage<'_>) -> Option<TraceParent> {
        message
            .headers()?
            .iter()
            .find(|header| header.key == TraceParent::HEADER)
            .and_then(|header| std::str::from_utf8(header.value?).ok()?.parse().ok())
    }
}
