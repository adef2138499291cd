//! Gets what users write, on one instance at a time: Telegram allows a bot one poller.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cqrs::Leases;
use teloxide::payloads::GetUpdatesSetters as _;
use teloxide::prelude::Requester as _;
use teloxide::types::Update;
use teloxide::{Bot, RequestError};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::incoming::lane;
use super::{Courier, UPDATES, reason};

/// The name of the lease.
const LEASE: &str = "telegram-updates";
/// A killed poller is replaced within this time and one look.
const TTL: Duration = Duration::from_secs(10);
/// How often the poller renews its lease, and others look whether it is free.
const RENEW: Duration = Duration::from_secs(3);
/// How long one request waits for users to write something, in seconds.
const LONG_POLL: u32 = 10;
/// Updates in one answer: what one chat sends at once holds the others up.
const AT_ONCE: u8 = 50;
/// Chats that are answered at once.
const LANES: usize = 16;
/// How long the updates of one answer may take together: their chats' are handled at once, but each chat's one by one.
const BATCH_LIMIT: Duration = Duration::from_secs(60);
/// How long updates in hand may take once polling shall end.
const DRAIN: Duration = Duration::from_secs(5);
/// Longest wait for Telegram to take the last confirmation.
const FAREWELL: Duration = Duration::from_secs(3);
/// Longest pause after a failed request.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Answers users whenever this instance holds the lease, until shutdown. `holder` names the instance.
pub(crate) async fn poll(
    bot: Bot,
    courier: Arc<Courier>,
    leases: Leases,
    holder: String,
    shutdown: CancellationToken,
) {
    while !shutdown.is_cancelled() {
        match leases.acquire(LEASE, &holder, TTL).await {
            Ok(Some(_)) => {
                tracing::info!("this instance answers the bot's users");
                lead(&bot, &courier, &leases, &holder, &shutdown).await;
                if let Err(error) = leases.release(LEASE, &holder).await {
                    tracing::warn!(%error, "the lease on the bot's updates could not be given up and runs out by itself");
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the lease on the bot's updates could not be asked for"),
        }
        shutdown.run_until_cancelled(tokio::time::sleep(RENEW)).await;
    }
}

/// Polls until the lease is lost or shutdown.
async fn lead(
    bot: &Bot,
    courier: &Arc<Courier>,
    leases: &Leases,
    holder: &str,
    shutdown: &CancellationToken,
) {
    let stop = shutdown.child_token();
    let lost = async {
        lease_lost(leases, holder).await;
        stop.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = pump(bot, courier, &stop) => {}
        () = lost => {}
    }
}

/// Gets updates and has them handled, until `stop`. Telegram is told that it may forget updates only after they were
/// handled, so those that a killed instance had in hand come again.
async fn pump(bot: &Bot, courier: &Arc<Courier>, stop: &CancellationToken) {
    let mut next = None;
    let mut failures = 0;
    while let Some(answer) = stop.run_until_cancelled(updates(bot, next)).await {
        match answer {
            Ok(updates) => {
                failures = 0;
                let Some(last) = updates.iter().map(|update| update.id.0).max() else {
                    continue;
                };
                if handle_all(courier, updates, stop).await.is_none() {
                    tracing::warn!("commands in hand were cut off; the next poller takes them up");
                    return;
                }
                next = i32::try_from(last).ok().and_then(|last| last.checked_add(1));
            }
            Err(error) => {
                let pause = pause(&error, failures);
                failures += 1;
                let error = reason(&error);
                tracing::warn!(error, "updates could not be got from Telegram; trying again");
                stop.run_until_cancelled(tokio::time::sleep(pause)).await;
            }
        }
    }
    if let Some(next) = next {
        let farewell = async { bot.get_updates().offset(next).limit(1).timeout(0).await };
        if !matches!(tokio::time::timeout(FAREWELL, farewell).await, Ok(Ok(_))) {
            tracing::debug!("Telegram could not be told which updates were handled; they come again");
        }
    }
}

async fn updates(bot: &Bot, offset: Option<i32>) -> Result<Vec<Update>, RequestError> {
    let mut request = bot
        .get_updates()
        .timeout(LONG_POLL)
        .limit(AT_ONCE)
        .allowed_updates(UPDATES);
    if let Some(offset) = offset {
        request = request.offset(offset);
    }
    request.await
}

/// 1, 2, 4, ... s, or as long as Telegram says.
fn pause(error: &RequestError, failures: u32) -> Duration {
    let usual = Duration::from_secs(1 << failures.min(5)).min(LONGEST_PAUSE);
    match error {
        RequestError::RetryAfter(wait) => usual.max(wait.duration()),
        RequestError::Api(_)
        | RequestError::MigrateToChatId(_)
        | RequestError::Network(_)
        | RequestError::InvalidJson { .. }
        | RequestError::Io(_) => usual,
    }
}

/// Each chat's updates in their order, chats at once. None: cut off, some time after `stop`.
async fn handle_all(courier: &Arc<Courier>, updates: Vec<Update>, stop: &CancellationToken) -> Option<()> {
    let mut lanes = BTreeMap::<i64, Vec<Update>>::new();
    for update in updates {
        lanes.entry(lane(&update)).or_default().push(update);
    }
    let turns = Arc::new(Semaphore::new(LANES));
    let mut tasks = JoinSet::new();
    for updates in lanes.into_values() {
        let (courier, turns) = (Arc::clone(courier), Arc::clone(&turns));
        // A task of its own: what panics in it loses only its own updates, and does not come again and again.
        tasks.spawn(async move {
            let _turn = turns.acquire().await;
            for update in updates {
                courier.handle(&update).await;
            }
        });
    }
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(panicked = error.is_panic(), "an update could not be handled");
            }
        }
    };
    let cut_off = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        () = all => Some(()),
        () = cut_off => None,
        () = tokio::time::sleep(BATCH_LIMIT) => {
            tracing::warn!("updates took too long together; those not yet handled were given up");
            Some(())
        }
    }
}

/// Renews the lease; returns when it is another's, or may be.
async fn lease_lost(leases: &Leases, holder: &str) {
    let mut held_until = Instant::now() + TTL;
    loop {
        tokio::time::sleep(RENEW).await;
        let asked = Instant::now();
        match leases.acquire(LEASE, holder, TTL).await {
            Ok(Some(_)) => held_until = asked + TTL,
            Ok(None) => {
                tracing::warn!("another instance answers the bot's users now");
                return;
            }
            Err(error) if asked + RENEW < held_until => {
                tracing::warn!(%error, "the lease on the bot's updates could not be renewed; trying again");
            }
            Err(error) => {
                tracing::warn!(%error, "the lease on the bot's updates has run out");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use teloxide::ApiError;
    use teloxide::types::Seconds;

    use super::*;

    #[test]
    fn pauses_grow_and_are_at_least_what_telegram_asks_for() {
        let refused = RequestError::Api(ApiError::TerminatedByOtherGetUpdates);
        let pauses: Vec<u64> = (0..7)
            .map(|failures| pause(&refused, failures).as_secs())
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10, 10]);
        let wait = RequestError::RetryAfter(Seconds::from_seconds(30));
        assert_eq!(pause(&wait, 0).as_secs(), 30);
    }
}
