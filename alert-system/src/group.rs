use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};

/// What the group decided, to be carried out by the thread that polls.
#[derive(Debug)]
pub(crate) enum Rebalance {
    /// These partitions come, once this instance calls `incremental_assign`.
    Assign(TopicPartitionList),
    /// These partitions go, once this instance calls `incremental_unassign`.
    Revoke(TopicPartitionList),
}

/// Notes what the client reports, for the thread that polls. Rebalances in particular are not carried out inside `poll`:
/// work is finished before `incremental_unassign`. The client waits for the call, delivers no quotes meanwhile, and reports
/// no other rebalance before it.
#[derive(Debug, Default)]
pub(crate) struct GroupContext {
    rebalances: Mutex<Vec<Rebalance>>,
    closing: AtomicBool,
}

impl GroupContext {
    pub(crate) fn take_rebalances(&self) -> Vec<Rebalance> {
        std::mem::take(&mut self.rebalances.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on, partitions are given up as asked: nobody will look at the notes any more.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }
}

impl ClientContext for GroupContext {}

impl ConsumerContext for GroupContext {
    fn rebalance(
        &self,
        client: &BaseConsumer<Self>,
        error: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let assigned = error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Relaxed) {
            let answered = if assigned {
                client.incremental_assign(partitions)
            } else {
                client.incremental_unassign(partitions)
            };
            if let Err(error) = answered {
                tracing::warn!(%error, "partitions could not be given up while closing");
            }
            return;
        }
        let rebalance = if assigned {
            Rebalance::Assign(partitions.clone())
        } else {
            Rebalance::Revoke(partitions.clone())
        };
        self.rebalances
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(rebalance);
    }
}
