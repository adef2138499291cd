use rdkafka::producer::FutureRecord;

use super::letter::{header, headers};
use super::{DeadLetter, Destination, Place};
use crate::kafka::{KafkaError, Producer};
use crate::topics::DEAD_LETTERS;

/// A letter was not replayed, or nothing says that it was.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The record may or may not have been appended: there is no acknowledgement.
    #[error(transparent)]
    Append(KafkaError),
    /// The record was appended, but the mark that says so was not written.
    #[error("the record was appended to {place}, but the mark that says so was not written: {source}")]
    Mark {
        /// Where the record is.
        place: Place,
        /// What was wrong.
        source: KafkaError,
    },
}

/// Appends letters' records to the topics that they came from, and marks the letters as replayed.
#[derive(Debug)]
pub struct Replayer {
    producer: Producer,
}

impl Replayer {
    pub(super) const fn new(producer: Producer) -> Self {
        Self { producer }
    }

    /// Appends the record, waits for the acknowledgement, and then marks the letter. Something that happens in between
    /// leaves a letter that looks as if it was not replayed; replaying it again changes nothing for the readers.
    ///
    /// # Errors
    /// If either is not acknowledged.
    pub async fn replay(&self, letter: &DeadLetter, to: Destination) -> Result<Place, ReplayError> {
        let offset = letter.offset.to_string();
        let place = self
            .append(letter, to, &offset)
            .await
            .map_err(ReplayError::Append)?;
        match self.mark(&place, &offset).await {
            Ok(()) => Ok(place),
            Err(source) => Err(ReplayError::Mark { place, source }),
        }
    }

    async fn append(&self, letter: &DeadLetter, to: Destination, offset: &str) -> Result<Place, KafkaError> {
        let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(to.topic)
            .partition(to.partition)
            .headers(headers(&[(header::REPLAYED_FROM, offset)]));
        if let Some(key) = &letter.key {
            record = record.key(key);
        }
        if let Some(payload) = &letter.payload {
            record = record.payload(payload);
        }
        let acknowledgement = self.producer.enqueue(to.topic, record).await?;
        Ok(Place {
            topic: to.topic.to_owned(),
            partition: to.partition,
            offset: acknowledgement.wait_for_offset().await?,
        })
    }

    async fn mark(&self, place: &Place, letter: &str) -> Result<(), KafkaError> {
        let headers = headers(&[
            (header::REPLAYED, letter),
            (header::TOPIC, &place.topic),
            (header::PARTITION, &place.partition.to_string()),
            (header::OFFSET, &place.offset.to_string()),
        ]);
        let mark = FutureRecord::to(DEAD_LETTERS.name).partition(0).headers(headers);
        self.producer.enqueue(DEAD_LETTERS.name, mark).await?.wait().await
    }
}
