//! Finishing the work: before partitions go, and before the process ends.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer as _};

use super::{Worker, committable, log_commit_error};
use crate::checkpoint::Offsets;
use crate::error::Error;
use crate::evaluator::Progress;
use crate::group::Rebalance;

/// How long finishing the work may delay the end of the process.
const SHUTDOWN: Duration = Duration::from_secs(8);

impl Worker {
    /// Brings all that was done to its end, commit included. False: there was no time.
    pub(super) fn settle(&mut self, deadline: Instant) -> Result<bool, Error> {
        loop {
            self.beat.doing("finishing the work of partitions");
            self.evaluator.lanes.check()?;
            match self.evaluator.step_checkpoint(true)? {
                Progress::Waits if self.evaluator.checkpoint.is_idle() => return Ok(true),
                Progress::Waits => std::thread::sleep(Duration::from_millis(1)),
                Progress::Wrote => {}
                Progress::Ended(offsets) => self.commit_and_wait(&offsets, deadline)?,
            }
            if Instant::now() >= deadline {
                return Ok(self.evaluator.checkpoint.is_idle() && !self.evaluator.checkpoint.has_work());
            }
        }
    }

    /// The client may wait for a coordinator for longer than there is time.
    fn commit_and_wait(&self, offsets: &[Offsets], deadline: Instant) -> Result<(), Error> {
        let offsets = committable(offsets)?;
        if offsets.count() == 0 {
            return Ok(());
        }
        let (done, committed) = mpsc::channel();
        let quotes = Arc::clone(&self.quotes);
        std::thread::Builder::new()
            .name("commit".into())
            .spawn(move || {
                if let Err(error) = quotes.commit(&offsets, CommitMode::Sync) {
                    log_commit_error(&error);
                }
                // Before anyone goes on: the last reference to the client is to be dropped by the worker.
                drop(quotes);
                let _ = done.send(());
            })
            .map_err(|source| Error::Thread {
                thread: "commit",
                source,
            })?;
        if committed
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            .is_err()
        {
            tracing::warn!("the broker did not answer a commit in time");
        }
        Ok(())
    }

    /// Lets the client close: it does not before its last question is answered.
    pub(super) fn leave(&self) {
        self.beat.doing("leaving the group");
        self.quotes.context().close();
        for rebalance in self.quotes.context().take_rebalances() {
            let answered = match rebalance {
                Rebalance::Assign(partitions) => self.quotes.incremental_assign(&partitions),
                Rebalance::Revoke(partitions) => self.quotes.incremental_unassign(&partitions),
            };
            if let Err(error) = answered {
                tracing::warn!(%error, "a rebalance could not be answered at the end");
            }
        }
    }

    /// Finishes the work and leaves the group.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        let owned: Vec<i32> = self
            .evaluator
            .partitions
            .iter()
            .map(|(number, _)| number)
            .collect();
        self.restores.stop(owned.into_iter());
        if !self.settle(Instant::now() + SHUTDOWN)? {
            tracing::warn!("the end came before all work was committed; it is done again");
        }
        self.leave();
        // First of all: others take over as soon as this instance has left.
        drop(self.quotes);
        Ok(())
    }
}
