use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};
use service::TraceParent;
use service::kafka::KafkaError;
use service::topics::Topic;

/// Writes records from one thread and lets it wait until all of them are acknowledged.
pub(crate) struct AcknowledgedProducer {
    client: ThreadedProducer<Acknowledgements>,
    sent: u64,
}

/// One record to write, to the partition that its owner works on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Write<'a> {
    pub(crate) topic: Topic,
    pub(crate) partition: i32,
    pub(crate) key: &'a str,
    pub(crate) payload: Option<&'a [u8]>,
    pub(crate) trace: Option<TraceParent>,
}

/// Counts delivery reports. `flush` would not do: its success does not mean delivered, and it waits in steps of 100 ms.
#[derive(Clone)]
struct Acknowledgements {
    acknowledged: Arc<AtomicU64>,
    failure: Arc<Mutex<Option<(String, String)>>>,
    waiting: Thread,
}

impl AcknowledgedProducer {
    /// For use by the thread that calls this.
    pub(crate) fn create(config: &ClientConfig) -> Result<Self, KafkaError> {
        let context = Acknowledgements {
            acknowledged: Arc::default(),
            failure: Arc::default(),
            waiting: std::thread::current(),
        };
        Ok(Self {
            client: config.create_with_context(context)?,
            sent: 0,
        })
    }

    /// Hands a record to the client, waiting while its queue is full.
    pub(crate) fn write(&mut self, write: Write<'_>) -> Result<(), KafkaError> {
        let mut record: BaseRecord<'_, str, [u8]> = BaseRecord::to(write.topic.name)
            .partition(write.partition)
            .key(write.key);
        if let Some(payload) = write.payload {
            record = record.payload(payload);
        }
        if let Some(trace) = write.trace {
            let value = trace.to_string();
            let header = Header {
                key: TraceParent::HEADER,
                value: Some(&value),
            };
            record = record.headers(OwnedHeaders::new_with_capacity(1).insert(header));
        }
        loop {
            match self.client.send(record) {
                Ok(()) => break,
                Err((ClientError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                    record = refused;
                    std::thread::park_timeout(Duration::from_millis(2));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
        self.sent += 1;
        Ok(())
    }

    /// Waits until all records written so far are on all in-sync replicas.
    ///
    /// # Errors
    /// If one was given up after the message timeout: nothing that rests on it may be committed.
    pub(crate) fn wait_for_all(&self) -> Result<(), KafkaError> {
        let context = self.client.context();
        loop {
            let failure = context
                .failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if let Some((topic, reason)) = failure {
                let topic = service::topics::ALL
                    .iter()
                    .find(|known| known.name == topic)
                    .map_or("?", |known| known.name);
                return Err(KafkaError::NotAcknowledged { topic, reason });
            }
            if context.acknowledged.load(Ordering::Acquire) >= self.sent {
                return Ok(());
            }
            // Each delivery report unparks this thread; the timeout only guards against a report that came in between.
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl ClientContext for Acknowledgements {}

impl ProducerContext for Acknowledgements {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.acknowledged.fetch_add(1, Ordering::Release);
            }
            Err((error, message)) => {
                use rdkafka::Message as _;
                let failure = (message.topic().to_owned(), error.to_string());
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
            }
        }
        self.waiting.unpark();
    }
}
