//! Looks at open episodes when their time comes.

use std::sync::Arc;
use std::time::Duration;

use cqrs::{Ledger, StoreError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::metrics;

/// Episodes in one transaction.
const LIMIT: u32 = 200;
/// Longest sleep: reminders also become due by `/set`, on any instance.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// Shortest, so that instances that look at the same episodes do not run in circles.
const SHORTEST_SLEEP: Duration = Duration::from_millis(50);

/// Plans reminders until shutdown.
pub(crate) async fn run(ledger: Ledger, clock: Clock, planned: Arc<Notify>, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        let sleep = match look(&ledger, &clock, &planned).await {
            Ok(sleep) => sleep,
            Err(error) => {
                tracing::warn!(%error, "open episodes could not be looked at; trying again");
                LONGEST_SLEEP
            }
        };
        shutdown.run_until_cancelled(tokio::time::sleep(sleep)).await;
    }
}

async fn look(ledger: &Ledger, clock: &Clock, planned: &Notify) -> Result<Duration, StoreError> {
    let checked = ledger.check_episodes(clock.now(), LIMIT).await?;
    metrics::checked(checked);
    if checked.reminders + checked.repaired > 0 {
        planned.notify_one();
    }
    let next = ledger.next_check().await?;
    Ok(next.map_or(LONGEST_SLEEP, |next| {
        next.since(clock.now()).clamp(SHORTEST_SLEEP, LONGEST_SLEEP)
    }))
}
