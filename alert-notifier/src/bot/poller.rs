//! Gets what users write, on one instance at a time: Telegram allows a bot one poller.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cqrs::Leases;
use cqrs::domain::ChatId;
use serde::Serialize;
use teloxide::requests::{JsonRequest, Payload};
use teloxide::types::{AllowedUpdate, Update};
use teloxide::{Bot, RequestError};
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backlog::{Backlog, Task};
use super::incoming::{Incoming, incoming};
use super::{Courier, Standing, UPDATES, reason};

/// The name of the lease.
const LEASE: &str = "telegram-updates";
/// A killed poller is replaced within this time and one look.
const TTL: Duration = Duration::from_secs(10);
/// How often the poller renews its lease, and others look whether it is free.
const RENEW: Duration = Duration::from_secs(3);
/// How long one request waits for users to write something, in seconds.
const LONG_POLL: u32 = 10;
/// Updates in one answer: as many as Telegram gives.
const AT_ONCE: u8 = 100;
/// While an update is not yet handled Telegram answers at once, with that one again: this long is between two looks.
const LOOK: Duration = Duration::from_millis(250);
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
    mut standing: Standing,
    shutdown: CancellationToken,
) {
    while !shutdown.is_cancelled() {
        match leases.acquire(LEASE, &holder, TTL).await {
            Ok(Some(_)) => {
                tracing::info!("this instance answers the bot's users");
                lead(&bot, &courier, &leases, &holder, &mut standing, &shutdown).await;
                if let Err(error) = leases.release(LEASE, &holder).await {
                    tracing::warn!(%error, "the lease on the bot's updates could not be given up and runs out by itself");
                }
            }
            Ok(None) => standing.good(),
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
    standing: &mut Standing,
    shutdown: &CancellationToken,
) {
    let stop = shutdown.child_token();
    let lost = async {
        lease_lost(leases, holder).await;
        stop.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = pump(bot, courier, standing, &stop) => {}
        () = lost => {}
    }
}

/// Gets updates and has them handled, until `stop`. Telegram is told that it may forget updates only after they were
/// handled, so those that a killed instance had in hand come again.
async fn pump(bot: &Bot, courier: &Arc<Courier>, standing: &mut Standing, stop: &CancellationToken) {
    let mut hands = Hands::new(Arc::clone(courier));
    let mut failures = 0;
    while !stop.is_cancelled() {
        let request = updates(bot, hands.backlog.offset(), AT_ONCE, LONG_POLL);
        match stop.run_until_cancelled(hands.during(request)).await {
            None => break,
            Some(Ok(updates)) => {
                failures = 0;
                standing.good();
                hands.take(&updates);
                let look = tokio::time::timeout(LOOK, hands.empty());
                // Either may end it.
                let _ = stop.run_until_cancelled(look).await;
            }
            Some(Err(error)) => {
                standing.failed(&error, Instant::now());
                let pause = tokio::time::sleep(pause(&error, failures));
                failures += 1;
                let error = reason(&error);
                tracing::warn!(error, "updates could not be got from Telegram; trying again");
                stop.run_until_cancelled(hands.during(pause)).await;
            }
        }
    }
    if tokio::time::timeout(DRAIN, hands.empty()).await.is_err() {
        tracing::warn!("commands in hand were cut off; the next poller takes them up");
        hands.tasks.abort_all();
    }
    if let Some(offset) = hands.backlog.offset() {
        let farewell = updates(bot, Some(offset), 1, 0);
        if !matches!(tokio::time::timeout(FAREWELL, farewell).await, Ok(Ok(_))) {
            tracing::debug!("Telegram could not be told which updates were handled; they come again");
        }
    }
}

/// What is being done about the updates that came.
struct Hands {
    courier: Arc<Courier>,
    backlog: Backlog<Incoming>,
    tasks: JoinSet<()>,
    /// Whose updates the tasks handle, and since when.
    begun: HashMap<Id, (ChatId, Instant)>,
}

impl Hands {
    fn new(courier: Arc<Courier>) -> Self {
        Self {
            courier,
            backlog: Backlog::default(),
            tasks: JoinSet::new(),
            begun: HashMap::new(),
        }
    }

    fn take(&mut self, updates: &[Update]) {
        for update in updates {
            let wanted = incoming(update).map(|incoming| (incoming.chat, incoming));
            self.backlog.take(update.id.0, wanted);
        }
        self.begin();
    }

    fn begin(&mut self) {
        while let Some((chat, task)) = self.backlog.begin() {
            let courier = Arc::clone(&self.courier);
            // A task of its own: what panics in it loses only its own update, and does not come again and again.
            let begun = self.tasks.spawn(async move {
                match task {
                    Task::Handle(incoming) => courier.handle(&incoming).await,
                    Task::Refuse(incoming) => courier.refuse(&incoming).await,
                }
            });
            self.begun.insert(begun.id(), (chat, Instant::now()));
        }
    }

    /// Until one ends; what comes after it begins. May be dropped at any time.
    async fn one(&mut self) {
        let id = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => {
                tracing::error!(panicked = error.is_panic(), "an update could not be handled");
                error.id()
            }
            None => return std::future::pending().await,
        };
        if let Some((chat, since)) = self.begun.remove(&id) {
            self.backlog.end(chat, since.elapsed());
        }
        self.begin();
    }

    /// Until all that came is handled.
    async fn empty(&mut self) {
        while !self.backlog.is_empty() {
            self.one().await;
        }
    }

    /// What goes on until `other` ends.
    async fn during<T>(&mut self, other: impl Future<Output = T>) -> T {
        tokio::pin!(other);
        loop {
            tokio::select! {
                result = &mut other => return result,
                () = self.one() => {}
            }
        }
    }
}

async fn updates(
    bot: &Bot,
    offset: Option<i64>,
    limit: u8,
    timeout: u32,
) -> Result<Vec<Update>, RequestError> {
    let payload = GetUpdates {
        offset,
        limit,
        timeout,
        allowed_updates: UPDATES,
    };
    JsonRequest::new(bot.clone(), payload).await
}

/// teloxide's own has no offset behind an update from 2,147,483,647 on: that one would come again for ever.
#[derive(Clone, Serialize)]
struct GetUpdates {
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    limit: u8,
    timeout: u32,
    allowed_updates: [AllowedUpdate; 3],
}

impl Payload for GetUpdates {
    type Output = Vec<Update>;

    const NAME: &'static str = "GetUpdates";

    fn timeout_hint(&self) -> Option<Duration> {
        Some(Duration::from_secs(self.timeout.into()))
    }
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
    use serde_json::json;
    use teloxide::ApiError;
    use teloxide::types::Seconds;

    use super::*;

    #[test]
    fn any_offset_can_be_asked_for() {
        let payload = GetUpdates {
            offset: Some(2_147_483_648),
            limit: 1,
            timeout: 0,
            allowed_updates: UPDATES,
        };
        assert_eq!(
            serde_json::to_value(payload).unwrap(),
            json!({"offset": 2_147_483_648_u32, "limit": 1, "timeout": 0,
                   "allowed_updates": ["message", "edited_message", "callback_query"]})
        );
    }

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
