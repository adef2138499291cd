//! What `--json` prints of dead letters; part of the command line's contract, as `crate::view`.

use std::collections::BTreeMap;

use cqrs::domain::Timestamp;
use serde::Serialize;
use service::kafka::dead_letters::{DeadLetter, Place};

#[derive(Debug, Clone, Serialize)]
pub(super) struct Letter {
    pub offset: i64,
    pub set_aside_time: Option<jiff::Timestamp>,
    pub group: String,
    pub error: String,
    /// Null where the headers do not say.
    pub origin: Option<Origin>,
    /// Null while it was not replayed.
    pub replayed_to: Option<Origin>,
}

/// Where a record is.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Origin {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

#[derive(Debug, Serialize)]
pub(super) struct WholeLetter {
    #[serde(flatten)]
    pub letter: Letter,
    pub origin_time: Option<jiff::Timestamp>,
    /// Bytes that are not printable ASCII are escaped.
    pub key: Option<String>,
    /// Null for a tombstone.
    pub value_size: Option<usize>,
    pub value_hex: Option<String>,
    /// Null where the value is no message of the topic.
    pub fields: Option<BTreeMap<&'static str, Option<String>>>,
    pub replayable: bool,
    /// Why not.
    pub obstacle: Option<String>,
    pub headers: Vec<Header>,
}

#[derive(Debug, Serialize)]
pub(super) struct Header {
    pub name: String,
    pub value: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Replay {
    pub dry_run: bool,
    pub letters: Vec<Replayed>,
}

/// What became of one letter.
#[derive(Debug, Serialize)]
pub(super) struct Replayed {
    pub letter: i64,
    pub outcome: Outcome,
    pub topic: Option<String>,
    pub partition: Option<i32>,
    /// Of the record that was appended.
    pub offset: Option<i64>,
    /// Why the letter was not replayed.
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Appended,
    WouldBeAppended,
    /// Nothing is left to do: replayed already, or the topic has something newer.
    Skipped,
    /// It must not be appended.
    Refused,
    /// It may or may not have been appended, or is not marked.
    Failed,
    /// Another one failed before.
    NotTried,
}

impl Letter {
    pub(super) fn new(letter: &DeadLetter, replayed_to: Option<&Place>) -> Self {
        Self {
            offset: letter.offset,
            set_aside_time: letter.set_aside.and_then(time),
            group: letter.group.clone(),
            error: letter.error.clone(),
            origin: letter.origin.as_ref().map(Origin::from),
            replayed_to: replayed_to.map(Origin::from),
        }
    }
}

impl From<&Place> for Origin {
    fn from(place: &Place) -> Self {
        Self {
            topic: place.topic.clone(),
            partition: place.partition,
            offset: place.offset,
        }
    }
}

impl Replayed {
    pub(super) const fn without_place(letter: i64, outcome: Outcome, reason: Option<String>) -> Self {
        Self {
            letter,
            outcome,
            topic: None,
            partition: None,
            offset: None,
            reason,
        }
    }
}

/// None for a time that no calendar has.
pub(super) fn time(time: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_microsecond(time.as_micros()).ok()
}
