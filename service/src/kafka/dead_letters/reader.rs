use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use super::letter::Entry;
use super::scan::scan;
use super::{DeadLetter, Destination, Obstacle, Place, Replayer, plan};
use crate::kafka::{Kafka, KafkaError, KafkaSettings, Producer, admin};
use crate::topics::{DEAD_LETTERS, QUOTES};

/// The dead letters can't be read.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// No service ever ran with this broker, or it is another system's.
    #[error("there is no topic {} at {bootstrap_servers}", DEAD_LETTERS.name)]
    NoTopic {
        /// Where it was looked for.
        bootstrap_servers: String,
    },
    /// The broker was reached and then gave nothing.
    #[error("{topic}, partition {partition}, gave no record for {seconds} s")]
    Stalled {
        /// What was read.
        topic: &'static str,
        /// What was read.
        partition: i32,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The broker could not do its work.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
}

/// What reading all letters gave.
#[derive(Debug)]
pub struct Reading<S> {
    /// What the letters were folded into.
    pub state: S,
    /// Letters that were replayed, by their offset, and where to (of several times, the last).
    pub replays: BTreeMap<i64, Place>,
    /// The offsets that the topic had.
    pub offsets: Range<i64>,
}

/// Reads the dead letters without leaving a trace: joins no group, commits nothing, creates no topic.
#[derive(Debug)]
pub struct DeadLetterReader {
    kafka: Kafka,
    /// Partition counts of all topics that exist.
    partitions: BTreeMap<String, i32>,
}

impl DeadLetterReader {
    /// How long a broker is looked for: a person waits.
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
    /// How long the broker may take to acknowledge a replayed record.
    const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);

    /// Looks for a broker that has the topic.
    ///
    /// # Errors
    /// If none answers within 10 s, or it lacks the topic.
    pub async fn open(settings: &KafkaSettings) -> Result<Self, DeadLetterError> {
        let partitions = admin::existing_topics(settings, Self::CONNECT_TIMEOUT).await?;
        if !partitions.contains_key(DEAD_LETTERS.name) {
            let bootstrap_servers = settings.bootstrap_servers.clone();
            return Err(DeadLetterError::NoTopic { bootstrap_servers });
        }
        let kafka = Kafka {
            settings: settings.clone(),
            partitions: partitions.get(QUOTES.name).copied().unwrap_or_default(),
        };
        Ok(Self { kafka, partitions })
    }

    /// Folds all letters, oldest first.
    ///
    /// # Errors
    /// If the broker fails or gives nothing for 15 s.
    pub async fn read<S: Send + 'static>(
        &self,
        state: S,
        mut step: impl FnMut(&mut S, DeadLetter) + Send + 'static,
    ) -> Result<Reading<S>, DeadLetterError> {
        let empty = (state, BTreeMap::new());
        let ((state, replays), offsets) = scan(
            &self.kafka,
            DEAD_LETTERS.name,
            0,
            empty,
            move |(state, replays), message| match Entry::of(message) {
                Entry::Letter(letter) => step(state, letter),
                Entry::Replayed(letter, place) => {
                    replays.insert(letter, place);
                }
            },
        )
        .await?;
        Ok(Reading {
            state,
            replays,
            offsets,
        })
    }

    /// For each of these letters, in this order: where its record would be appended, or why it must not be. Reads the
    /// compacted topics' partitions concerned, and counts the records of earlier letters as appended.
    ///
    /// # Errors
    /// If the broker fails.
    pub async fn plan(
        &self,
        letters: &[DeadLetter],
        replays: &BTreeMap<i64, Place>,
    ) -> Result<Vec<Result<Destination, Obstacle>>, DeadLetterError> {
        plan::plan(&self.kafka, &self.partitions, letters, replays).await
    }

    /// A writer of replayed records.
    ///
    /// # Errors
    /// If the client refuses a setting.
    pub fn replayer(&self) -> Result<Replayer, KafkaError> {
        let config = self.kafka.producer_config(Self::MESSAGE_TIMEOUT, Duration::ZERO);
        Ok(Replayer::new(Producer::create(&config, self.kafka.partitions)?))
    }
}
