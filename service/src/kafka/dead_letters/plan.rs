use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use rdkafka::Message as _;

use super::content::{Content, Kind, Position};
use super::scan::scan;
use super::{DeadLetter, DeadLetterError, Place};
use crate::codec::DecodeError;
use crate::kafka::Kafka;
use crate::topics::{Cleanup, partition_of};

/// Where a letter's record belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// Its topic.
    pub topic: &'static str,
    /// Its partition.
    pub partition: i32,
}

/// Why a letter's record must not be appended again.
#[derive(Debug, thiserror::Error)]
pub enum Obstacle {
    /// Nobody knows where it was.
    #[error("its headers do not say where the record was")]
    NoOrigin,
    /// From elsewhere.
    #[error("it comes from \"{topic}\", which is no topic of this system")]
    UnknownTopic {
        /// What the header says.
        topic: String,
    },
    /// The topic or its partition is gone.
    #[error("{topic} has {count} partitions now, and the record was in partition {partition}")]
    NoPartition {
        /// The topic.
        topic: &'static str,
        /// Where the record was.
        partition: i32,
        /// How many partitions there are; 0: the topic is gone.
        count: i32,
    },
    /// It would come straight back.
    #[error("it still can't be decoded, so it would come straight back: {0}")]
    Undecodable(#[from] DecodeError),
    /// Whoever works on the ticker would not see it.
    #[error(
        "the record was in partition {partition} of {topic}, and records of {ticker} belong in {belongs} of {count}"
    )]
    WrongPartition {
        /// The topic.
        topic: &'static str,
        /// Where the record was.
        partition: i32,
        /// What it is about.
        ticker: String,
        /// Where that belongs.
        belongs: i32,
        /// How many partitions there are.
        count: i32,
    },
    /// Somebody did it.
    #[error("replayed already, to {0}")]
    Replayed(Place),
    /// The topic keeps the last record of each key, which must stay the newest.
    #[error("{topic} has a newer record of {identity} already, at offset {offset} of partition {partition}")]
    Superseded {
        /// The topic.
        topic: &'static str,
        /// The rule or ticker.
        identity: String,
        /// Of the newer record.
        partition: i32,
        /// Of the newer record.
        offset: i64,
    },
    /// The same, among the letters themselves.
    #[error("letter {letter} holds a newer record of {identity}")]
    OlderThanLetter {
        /// The rule or ticker.
        identity: String,
        /// The newer one.
        letter: i64,
    },
}

impl Obstacle {
    /// Whether nothing is left to be done about the letter, rather than something being wrong with it.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        match self {
            Self::Replayed(_) | Self::Superseded { .. } | Self::OlderThanLetter { .. } => true,
            Self::NoOrigin
            | Self::UnknownTopic { .. }
            | Self::NoPartition { .. }
            | Self::Undecodable(_)
            | Self::WrongPartition { .. } => false,
        }
    }
}

/// A letter that may be replayed if its topic does not have anything newer.
#[derive(Debug)]
struct Candidate {
    kind: Kind,
    partition: i32,
    content: Content,
}

impl Candidate {
    fn of(letter: &DeadLetter, partitions: &BTreeMap<String, i32>) -> Result<Self, Obstacle> {
        let origin = letter.origin.as_ref().ok_or(Obstacle::NoOrigin)?;
        let kind = Kind::named(&origin.topic).ok_or_else(|| Obstacle::UnknownTopic {
            topic: origin.topic.clone(),
        })?;
        let (topic, partition) = (kind.topic().name, origin.partition);
        let count = partitions.get(topic).copied().unwrap_or_default();
        if !(0..count).contains(&partition) {
            return Err(Obstacle::NoPartition {
                topic,
                partition,
                count,
            });
        }
        let content = Content::of(kind, letter.key.as_deref(), letter.payload.as_deref())?;
        if let Some(ticker) = &content.ticker
            && partition_of(ticker, count) != partition
        {
            return Err(Obstacle::WrongPartition {
                topic,
                partition,
                ticker: ticker.to_string(),
                belongs: partition_of(ticker, count),
                count,
            });
        }
        Ok(Self {
            kind,
            partition,
            content,
        })
    }

    const fn destination(&self) -> Destination {
        Destination {
            topic: self.kind.topic().name,
            partition: self.partition,
        }
    }

    /// Whether the topic's last record of a key counts, for ever.
    const fn is_compacted(&self) -> bool {
        match self.kind.topic().cleanup {
            Cleanup::Compact(_) => true,
            Cleanup::Delete(_) => false,
        }
    }
}

/// Where the newest record about something is.
#[derive(Debug, Clone, Copy)]
enum Holder {
    Record(i64),
    Letter(i64),
}

type Newest = HashMap<String, (Position, Holder)>;

pub(super) async fn plan(
    kafka: &Kafka,
    partitions: &BTreeMap<String, i32>,
    letters: &[DeadLetter],
    replays: &BTreeMap<i64, Place>,
) -> Result<Vec<Result<Destination, Obstacle>>, DeadLetterError> {
    let mut known: BTreeMap<(Kind, i32), Newest> = BTreeMap::new();
    let mut plan = Vec::with_capacity(letters.len());
    for letter in letters {
        if let Some(place) = replays.get(&letter.offset) {
            plan.push(Err(Obstacle::Replayed(place.clone())));
            continue;
        }
        let candidate = match Candidate::of(letter, partitions) {
            Ok(candidate) => candidate,
            Err(obstacle) => {
                plan.push(Err(obstacle));
                continue;
            }
        };
        if !candidate.is_compacted() {
            plan.push(Ok(candidate.destination()));
            continue;
        }
        let newest = match known.entry((candidate.kind, candidate.partition)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(read(kafka, candidate.kind, candidate.partition).await?),
        };
        plan.push(take(newest, candidate, letter.offset));
    }
    Ok(plan)
}

/// A candidate is as good as appended, unless something newer is there. What is equally new may come again: the letter's
/// own record is still in the topic, where its readers passed it by.
fn take(newest: &mut Newest, candidate: Candidate, letter: i64) -> Result<Destination, Obstacle> {
    let destination = candidate.destination();
    let Content {
        identity, position, ..
    } = candidate.content;
    match newest.get(&identity) {
        Some((newer, holder)) if *newer > position => Err(match *holder {
            Holder::Record(offset) => Obstacle::Superseded {
                topic: destination.topic,
                identity,
                partition: destination.partition,
                offset,
            },
            Holder::Letter(letter) => Obstacle::OlderThanLetter { identity, letter },
        }),
        _ => {
            newest.insert(identity, (position, Holder::Letter(letter)));
            Ok(destination)
        }
    }
}

/// The newest record of everything in a partition. What can't be decoded counts for nobody.
async fn read(kafka: &Kafka, kind: Kind, partition: i32) -> Result<Newest, DeadLetterError> {
    let newest = scan(
        kafka,
        kind.topic().name,
        partition,
        Newest::new(),
        move |newest, message| {
            let Ok(content) = Content::of(kind, message.key(), message.payload()) else {
                return;
            };
            let found = (content.position, Holder::Record(message.offset()));
            let known = newest.entry(content.identity).or_insert(found);
            if content.position >= known.0 {
                *known = found;
            }
        },
    );
    Ok(newest.await?.0)
}
