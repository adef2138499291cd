use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::bail;
use cqrs::domain::Quote;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use service::TraceParent;
use service::codec::encode_quote;
use service::kafka::Kafka;

const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Writes many records from one thread.
pub(crate) struct Writer {
    client: BaseProducer<Failures>,
}

#[derive(Debug, Default)]
struct Failures(AtomicU64);

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Writer {
    /// `linger` is how long a record waits for company.
    pub(crate) fn open(kafka: &Kafka, linger: Duration) -> anyhow::Result<Self> {
        let config = kafka.producer_config(MESSAGE_TIMEOUT, linger);
        Ok(Self {
            client: config.create_with_context(Failures::default())?,
        })
    }

    /// For records that appear all at once, at `publish`: they are written in transactions.
    pub(crate) fn hidden(kafka: &Kafka, linger: Duration) -> anyhow::Result<Self> {
        let mut config = kafka.producer_config(MESSAGE_TIMEOUT, linger);
        config.set("transactional.id", "bench");
        let client: BaseProducer<Failures> = config.create_with_context(Failures::default())?;
        client.init_transactions(TRANSACTION_TIMEOUT)?;
        Ok(Self { client })
    }

    pub(crate) fn begin(&self) -> anyhow::Result<()> {
        Ok(self.client.begin_transaction()?)
    }

    pub(crate) fn publish(&self) -> anyhow::Result<()> {
        Ok(self.client.commit_transaction(TRANSACTION_TIMEOUT)?)
    }

    /// Hands a record to the client, waiting while its queue is full.
    pub(crate) fn write(
        &self,
        topic: &str,
        partition: i32,
        key: &str,
        payload: &[u8],
        trace: Option<TraceParent>,
    ) -> anyhow::Result<()> {
        let trace = trace.map(|trace| trace.to_string());
        self.write_as_is(topic, partition, key, payload, trace.as_deref())
    }

    /// As `write`, with the trace's text made beforehand.
    pub(crate) fn write_as_is(
        &self,
        topic: &str,
        partition: i32,
        key: &str,
        payload: &[u8],
        trace: Option<&str>,
    ) -> anyhow::Result<()> {
        let mut record: BaseRecord<'_, str, [u8]> = BaseRecord::to(topic)
            .partition(partition)
            .key(key)
            .payload(payload);
        if trace.is_some() {
            let header = Header {
                key: TraceParent::HEADER,
                value: trace,
            };
            record = record.headers(OwnedHeaders::new_with_capacity(1).insert(header));
        }
        loop {
            match self.client.send(record) {
                Ok(()) => return Ok(()),
                Err((ClientError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                    record = refused;
                    self.client.poll(Duration::from_millis(1));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    /// As the data-collector writes a quote.
    pub(crate) fn write_quote(&self, topic: &str, partition: i32, quote: &Quote) -> anyhow::Result<()> {
        let trace = Some(TraceParent::generate());
        self.write(
            topic,
            partition,
            quote.ticker.as_str(),
            &encode_quote(quote),
            trace,
        )
    }

    /// Takes the delivery reports that have come.
    pub(crate) fn poll(&self) {
        self.client.poll(Duration::ZERO);
    }

    /// Waits until all records are acknowledged.
    pub(crate) fn finish(&self) -> anyhow::Result<()> {
        // `flush` waits in steps of 100 ms.
        while self.client.in_flight_count() > 0 {
            self.client.poll(Duration::from_millis(1));
        }
        match self.client.context().0.load(Ordering::Relaxed) {
            0 => Ok(()),
            failures => bail!("{failures} records were not acknowledged"),
        }
    }
}
