use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use service::TraceParent;
use service::topics::QUOTES;
use tokio_util::sync::CancellationToken;

use super::batch::{Encoded, Inbox};
use super::counts::Counts;

/// How long a full queue is left to empty.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(1);

/// The client; a thread of its own takes the reports.
pub(super) type Client = ThreadedProducer<Reports>;

/// Counts what became of the quotes.
#[derive(Debug)]
pub(super) struct Reports(pub Arc<Counts>);

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    /// When it was sent, in microseconds after the start.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, sent_at: usize) {
        let failure = result.as_ref().err().map(|(error, _)| error.to_string());
        self.0.report(u64::try_from(sent_at).unwrap_or(u64::MAX), failure);
    }
}

/// Does nothing but hand quotes to the client, until there are no more or they are wanted no more.
pub(super) fn send_all(inbox: &Inbox, client: &Client, counts: &Counts, stop: &CancellationToken) {
    while let Some(batch) = inbox.next(stop) {
        counts.begin();
        for record in batch.records() {
            if !send(client, record, counts, stop) {
                return;
            }
        }
        inbox.give_back(batch);
    }
}

/// False: no use in going on.
fn send(client: &Client, record: Encoded<'_>, counts: &Counts, stop: &CancellationToken) -> bool {
    let now = counts.now();
    let trace = Header {
        key: TraceParent::HEADER,
        value: Some(record.trace),
    };
    let mut outgoing: BaseRecord<'_, [u8], [u8], usize> =
        BaseRecord::with_opaque_to(QUOTES.name, usize::try_from(now).unwrap_or(usize::MAX))
            .partition(record.partition)
            .key(record.key)
            .payload(record.value)
            .headers(OwnedHeaders::new_with_capacity(1).insert(trace));
    counts.sending();
    loop {
        match client.send(outgoing) {
            Ok(()) => return true,
            Err((ClientError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                if stop.is_cancelled() {
                    counts.kept();
                    return false;
                }
                outgoing = refused;
                std::thread::sleep(QUEUE_FULL_PAUSE);
            }
            // The client takes nothing any more.
            Err((error, _)) => {
                counts.report(now, Some(error.to_string()));
                return false;
            }
        }
    }
}
