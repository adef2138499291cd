use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, Message as _};
use service::TraceParent;
use service::kafka::KafkaError;
use service::topics::Topic;

/// Records whose acknowledgements are counted together. The reports of different partitions come in any order, so that one
/// count over all could never be waited for while more is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Alerts of every second checkpoint ...
    AlertsEven,
    /// ... and of those in between.
    AlertsOdd,
    /// Tickers' records.
    Marks,
}

impl Lane {
    const ALL: [Self; 3] = [Self::AlertsEven, Self::AlertsOdd, Self::Marks];

    const fn index(self) -> usize {
        match self {
            Self::AlertsEven => 0,
            Self::AlertsOdd => 1,
            Self::Marks => 2,
        }
    }
}

/// Counts what is written and not yet on all in-sync replicas. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lanes {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    outstanding: [AtomicUsize; Lane::ALL.len()],
    failed: AtomicBool,
    failure: Mutex<Option<KafkaError>>,
}

impl Lanes {
    /// How many records of the lane are not acknowledged.
    pub(crate) fn outstanding(&self, lane: Lane) -> usize {
        self.shared.outstanding[lane.index()].load(Ordering::Acquire)
    }

    /// How many alerts are not acknowledged.
    pub(crate) fn outstanding_alerts(&self) -> usize {
        self.outstanding(Lane::AlertsEven) + self.outstanding(Lane::AlertsOdd)
    }

    fn outstanding_in_all(&self) -> usize {
        Lane::ALL.into_iter().map(|lane| self.outstanding(lane)).sum()
    }

    /// A record is about to be written.
    pub(crate) fn begin(&self, lane: Lane) {
        self.shared.outstanding[lane.index()].fetch_add(1, Ordering::AcqRel);
    }

    /// A record is on all in-sync replicas, or was never handed to the client.
    pub(crate) fn end(&self, lane: Lane) {
        self.shared.outstanding[lane.index()].fetch_sub(1, Ordering::AcqRel);
    }

    /// A record was given up: its lane never gets empty again, so that nothing that rests on it is committed.
    pub(crate) fn fail(&self, error: KafkaError) {
        self.shared
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
        self.shared.failed.store(true, Ordering::Release);
    }

    /// # Errors
    /// If a record was given up.
    pub(crate) fn check(&self) -> Result<(), KafkaError> {
        if !self.shared.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        let failure = self
            .shared
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        Err(failure.unwrap_or(KafkaError::Ended))
    }
}

/// One record to write, to the partition that its owner works on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Write<'a> {
    pub(crate) topic: Topic,
    pub(crate) partition: i32,
    pub(crate) key: &'a [u8],
    pub(crate) payload: Option<&'a [u8]>,
    pub(crate) trace: Option<TraceParent>,
}

/// Writes records whose acknowledgements are counted by lane. (`flush` would not do: its success does not mean delivered,
/// and it waits in steps of 100 ms.) Whoever writes also calls `poll`: a thread of its own that waits for each report would
/// cost more than all else that is done with a record.
pub(crate) struct Writer {
    client: BaseProducer<DeliveryReports>,
    lanes: Lanes,
}

impl Writer {
    pub(crate) fn create(config: &ClientConfig, lanes: &Lanes) -> Result<Self, ClientError> {
        let reports = DeliveryReports { lanes: lanes.clone() };
        Ok(Self {
            client: config.create_with_context(reports)?,
            lanes: lanes.clone(),
        })
    }

    /// Takes the reports that come within so long.
    pub(crate) fn poll(&self, wait: Duration) {
        self.client.poll(wait);
    }

    /// Takes all reports that have come.
    pub(crate) fn take_reports(&self) {
        let mut before = usize::MAX;
        // Without time to wait, the client takes those of one request and no more.
        while self.lanes.outstanding_in_all() < before {
            before = self.lanes.outstanding_in_all();
            self.client.poll(Duration::ZERO);
        }
    }

    /// Hands a record to the client. While its queue is full, calls `waiting` every 2 ms.
    pub(crate) fn write(
        &self,
        lane: Lane,
        write: Write<'_>,
        mut waiting: impl FnMut(),
    ) -> Result<(), KafkaError> {
        let mut record: BaseRecord<'_, [u8], [u8], usize> =
            BaseRecord::with_opaque_to(write.topic.name, lane.index())
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
        self.lanes.begin(lane);
        loop {
            match self.client.send(record) {
                Ok(()) => return Ok(()),
                Err((ClientError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                    self.lanes.check()?;
                    record = refused;
                    waiting();
                    self.poll(Duration::from_millis(2));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }
}

struct DeliveryReports {
    lanes: Lanes,
}

impl ClientContext for DeliveryReports {}

impl ProducerContext for DeliveryReports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, lane: usize) {
        match (result, Lane::ALL.get(lane)) {
            (Ok(_), Some(lane)) => self.lanes.end(*lane),
            (Ok(_), None) => self.lanes.fail(KafkaError::Ended),
            (Err((error, message)), _) => {
                let topic = service::topics::ALL
                    .iter()
                    .find(|known| known.name == message.topic())
                    .map_or("?", |known| known.name);
                self.lanes.fail(KafkaError::NotAcknowledged {
                    topic,
                    reason: error.to_string(),
                });
            }
        }
    }
}
