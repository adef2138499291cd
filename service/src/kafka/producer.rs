use std::time::Duration;

use cqrs::domain::Ticker;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _};

use super::KafkaError;
use crate::TraceParent;
use crate::topics::{Topic, partition_of};

/// One record to write.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Where to.
    pub topic: Topic,
    /// What it is about: chooses the partition.
    pub ticker: &'a Ticker,
    /// Its key.
    pub key: &'a [u8],
    /// Its value; none for a tombstone.
    pub payload: Option<&'a [u8]>,
    /// The trace it belongs to.
    pub trace: Option<TraceParent>,
}

/// Writes records, each acknowledged by all in-sync replicas, in order, without copies. Cheap to clone.
#[derive(Clone)]
pub struct Producer {
    client: FutureProducer,
    partitions: i32,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer")
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

/// The acknowledgement of one record.
#[must_use = "a record that nobody waits for may be lost unseen"]
pub struct Acknowledgement {
    delivery: DeliveryFuture,
    topic: &'static str,
}

impl std::fmt::Debug for Acknowledgement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acknowledgement")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

impl Acknowledgement {
    /// Waits until the record is on all in-sync replicas.
    ///
    /// # Errors
    /// If it was given up after the producer's message timeout.
    pub async fn wait(self) -> Result<(), KafkaError> {
        self.wait_for_offset().await.map(drop)
    }

    /// As `wait`; returns where in its partition the record is.
    pub(super) async fn wait_for_offset(self) -> Result<i64, KafkaError> {
        match self.delivery.await {
            Ok(Ok(delivery)) => Ok(delivery.offset),
            Ok(Err((error, _))) => Err(KafkaError::NotAcknowledged {
                topic: self.topic,
                reason: error.to_string(),
            }),
            Err(_) => Err(KafkaError::Ended),
        }
    }
}

impl Producer {
    pub(super) fn create(config: &ClientConfig, partitions: i32) -> Result<Self, KafkaError> {
        Ok(Self {
            client: config.create()?,
            partitions,
        })
    }

    /// Hands a record to the client, waiting while its queue is full. Records of one partition are written in the order
    /// of these calls.
    ///
    /// # Errors
    /// If the client refuses the record.
    pub async fn send(&self, record: Outgoing<'_>) -> Result<Acknowledgement, KafkaError> {
        let partition = if record.topic.by_ticker {
            partition_of(record.ticker, self.partitions)
        } else {
            0
        };
        let mut outgoing: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(record.topic.name)
            .partition(partition)
            .key(record.key);
        if let Some(payload) = record.payload {
            outgoing = outgoing.payload(payload);
        }
        if let Some(trace) = record.trace {
            let value = trace.to_string();
            let header = Header {
                key: TraceParent::HEADER,
                value: Some(&value),
            };
            outgoing = outgoing.headers(OwnedHeaders::new_with_capacity(1).insert(header));
        }
        self.enqueue(record.topic.name, outgoing).await
    }

    /// As `send`, into the one partition of a topic that is not partitioned by ticker.
    ///
    /// # Errors
    /// If the client refuses the record.
    pub async fn send_to_single(
        &self,
        topic: Topic,
        key: &[u8],
        payload: Option<&[u8]>,
    ) -> Result<Acknowledgement, KafkaError> {
        debug_assert!(!topic.by_ticker, "{} has many partitions", topic.name);
        let mut outgoing: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(topic.name).partition(0).key(key);
        if let Some(payload) = payload {
            outgoing = outgoing.payload(payload);
        }
        self.enqueue(topic.name, outgoing).await
    }

    pub(super) async fn enqueue(
        &self,
        topic: &'static str,
        mut outgoing: FutureRecord<'_, [u8], [u8]>,
    ) -> Result<Acknowledgement, KafkaError> {
        loop {
            match self.client.send_result(outgoing) {
                Ok(delivery) => return Ok(Acknowledgement { delivery, topic }),
                Err((ClientError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                    outgoing = refused;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    /// Waits until all that was sent is acknowledged or given up, at most `timeout`.
    pub async fn flush(&self, timeout: Duration) {
        let client = self.client.clone();
        // `flush` itself waits in steps of 100 ms on the calling thread.
        let flushed = tokio::task::spawn_blocking(move || client.flush(timeout)).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!(
                in_flight = self.client.in_flight_count(),
                "records were left unacknowledged"
            );
        }
    }
}
