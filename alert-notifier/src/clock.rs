//! The database's clock, as far as this process knows it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use cqrs::domain::Timestamp;
use cqrs::{Ledger, StoreError};

/// Worth telling: an operator's clocks are to agree.
const WORTH_TELLING: Duration = Duration::from_secs(2);

/// What the ledger is told the time by. Instances whose own clocks differ would otherwise take over each other's claims too
/// soon, or plan messages for later.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock {
    /// Microseconds that the database's clock is ahead of this machine's.
    ahead: Arc<AtomicI64>,
}

impl Clock {
    /// Now, by the database's clock when it was last read.
    pub(crate) fn now(&self) -> Timestamp {
        let ahead = self.ahead.load(Ordering::Relaxed);
        Timestamp::from_micros(Timestamp::now().as_micros().saturating_add(ahead))
    }

    /// Reads the database's clock.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn read(&self, ledger: &Ledger) -> Result<(), StoreError> {
        let asked = Timestamp::now().as_micros();
        let there = ledger.clock().await?.as_micros();
        let here = asked + (Timestamp::now().as_micros() - asked) / 2;
        let ahead = there - here;
        self.ahead.store(ahead, Ordering::Relaxed);
        if Duration::from_micros(ahead.unsigned_abs()) >= WORTH_TELLING {
            tracing::warn!(
                ahead_ms = ahead / 1_000,
                "the database's clock and this machine's differ; times of deliveries are by the database's"
            );
        }
        Ok(())
    }
}
