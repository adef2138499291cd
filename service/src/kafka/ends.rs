use rdkafka::ClientContext;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Of a client that asks to be told where a partition ends (`enable.partition.eof`), which comes as an error and is none.
#[derive(Debug, Clone, Copy)]
pub(super) struct ToldOfEnds;

impl ClientContext for ToldOfEnds {
    fn error(&self, error: KafkaError, reason: &str) {
        if !matches!(error, KafkaError::Global(RDKafkaErrorCode::PartitionEOF)) {
            tracing::error!(%error, reason, "the client of the broker met an error");
        }
    }
}

impl ConsumerContext for ToldOfEnds {}
