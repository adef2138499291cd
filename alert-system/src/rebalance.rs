use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};

/// What the group decided, to be carried out by the thread that polls.
#[derive(Debug)]
pub(crate) enum Rebalance {
    /// These partitions of the quotes topic are this instance's, once it calls `assign`.
    Assign(TopicPartitionList),
    /// This instance's partitions go, once it calls `unassign`.
    Revoke,
}

/// Notes rebalances instead of carrying them out inside `poll`: state is restored before `assign`, and work is finished
/// before `unassign`. The group waits for both.
#[derive(Debug, Default)]
pub(crate) struct RebalanceContext {
    noted: Mutex<Vec<Rebalance>>,
    closing: AtomicBool,
}

impl RebalanceContext {
    pub(crate) fn take(&self) -> Vec<Rebalance> {
        std::mem::take(&mut self.noted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on, partitions are given up as asked: nobody will look at the notes any more.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }
}

impl ClientContext for RebalanceContext {}

impl ConsumerContext for RebalanceContext {
    fn rebalance(
        &self,
        client: &BaseConsumer<Self>,
        error: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        if self.closing.load(Ordering::Relaxed) {
            if let Err(error) = client.unassign() {
                tracing::warn!(%error, "partitions could not be given up while closing");
            }
            return;
        }
        let rebalance = if error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            Rebalance::Assign(partitions.clone())
        } else {
            Rebalance::Revoke
        };
        self.noted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(rebalance);
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::warn!(%error, "a commit failed; the next one makes up for it");
        }
    }
}
