use rdkafka::producer::FutureRecord;

use super::letter::{header, headers};
use crate::kafka::{KafkaError, Producer, Record};
use crate::topics::DEAD_LETTERS;

/// Where records go that can't be decoded or handled, with their origin, so that the work goes on.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    producer: Producer,
    group: &'static str,
}

impl DeadLetters {
    /// Longest text of an error that is kept.
    const MAX_ERROR: usize = 1_000;

    /// For the records of one consumer group.
    #[must_use]
    pub const fn new(producer: Producer, group: &'static str) -> Self {
        Self { producer, group }
    }

    /// Writes the record as received, with headers that say where it was and what was wrong, and waits for the
    /// acknowledgement. The record itself is never logged: it may hold anything.
    ///
    /// # Errors
    /// If it is not acknowledged: then the record's offset must not be committed.
    pub async fn send(&self, record: &Record, error: &str) -> Result<(), KafkaError> {
        let partition = record.partition.to_string();
        let offset = record.offset.to_string();
        let timestamp = record
            .timestamp
            .map_or(String::new(), |time| (time.as_micros() / 1_000).to_string());
        let error: String = error.chars().take(Self::MAX_ERROR).collect();
        let headers = headers(&[
            (header::TOPIC, record.topic),
            (header::PARTITION, &partition),
            (header::OFFSET, &offset),
            (header::TIMESTAMP, &timestamp),
            (header::GROUP, self.group),
            (header::ERROR, &error),
        ]);
        let mut letter: FutureRecord<'_, [u8], [u8]> =
            FutureRecord::to(DEAD_LETTERS.name).partition(0).headers(headers);
        if let Some(key) = &record.key {
            letter = letter.key(key);
        }
        if let Some(payload) = &record.payload {
            letter = letter.payload(payload);
        }
        self.producer
            .enqueue(DEAD_LETTERS.name, letter)
            .await?
            .wait()
            .await?;
        metrics::counter!("stockalert_dead_letters_total", "topic" => record.topic, "group" => self.group)
            .increment(1);
        tracing::error!(
            kafka.topic = record.topic,
            kafka.partition = record.partition,
            kafka.offset = record.offset,
            error,
            "a record can't be handled and is set aside as a dead letter"
        );
        Ok(())
    }
}
