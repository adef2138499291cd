//! Claims messages and sends them: one at a time for each user, many users at once.

mod attempt;

use std::sync::Arc;
use std::time::Duration;

use cqrs::{ClaimLimits, ClaimedMessage, Flapping, Ledger};
use service::ComponentHealth;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Retries;
use crate::metrics;
use crate::sender::{SendError, Sender};
use attempt::{Access, Turn, attempt};

/// Messages in hand for each that the messenger takes in a second: those of the look-ahead, and three seconds of sends
/// without an answer, so that a few slow chats hold nobody up.
const IN_HAND_PER_SECOND: u32 = 4;
/// Fewest and most messages in hand.
const IN_HAND: std::ops::RangeInclusive<u32> = 32..=512;
/// How often to look for messages that nobody announced: those of other instances, and those that are tried again.
const POLL: Duration = Duration::from_millis(250);
/// How often to try the messenger while it refuses the bot.
const CHECK: Duration = Duration::from_secs(5);
/// How often to count what waits, and to read the database's clock.
const COUNT: Duration = Duration::from_secs(10);
/// Messages are claimed so long before their place in the messenger's stream: long enough for the stream never to wait for
/// the database, short enough for urgent messages not to wait for those claimed before them.
const LOOK_AHEAD: Duration = Duration::from_secs(1);
/// Between two tries while the database fails.
const DATABASE_PAUSE: Duration = Duration::from_secs(1);

/// What every send needs.
#[derive(Debug)]
struct Shared<S> {
    ledger: Ledger,
    clock: Clock,
    sender: S,
    claim_timeout: Duration,
    retries: Retries,
    flapping: Flapping,
}

/// Sends what is planned until shutdown.
#[derive(Debug)]
pub(crate) struct Worker<S> {
    shared: Arc<Shared<S>>,
    /// Unique for this start of the process: what an earlier one left behind is not its own.
    instance: String,
    /// There is something to send.
    planned: Arc<Notify>,
    shutdown: CancellationToken,
    health: ComponentHealth,
    /// Most messages in hand.
    room: usize,
}

impl<S: Sender> Worker<S> {
    pub(crate) fn new(
        ledger: Ledger,
        clock: Clock,
        sender: S,
        planned: Arc<Notify>,
        config: &crate::Config,
        shutdown: CancellationToken,
        health: ComponentHealth,
    ) -> Self {
        let in_hand = sender.pace().per_second.saturating_mul(IN_HAND_PER_SECOND);
        let in_hand = in_hand.clamp(*IN_HAND.start(), *IN_HAND.end());
        Self {
            shared: Arc::new(Shared {
                ledger,
                clock,
                sender,
                claim_timeout: config.claim_timeout,
                retries: config.retries,
                flapping: config.flapping,
            }),
            instance: uuid::Uuid::new_v4().to_string(),
            planned,
            shutdown,
            health,
            room: usize::try_from(in_hand).unwrap_or(usize::MAX),
        }
    }

    pub(crate) async fn run(self) {
        let mut sends: JoinSet<Access> = JoinSet::new();
        // Lets those that wait for their turn go: at shutdown, and while the messenger refuses the bot.
        let mut halt = self.shutdown.child_token();
        let mut counted: Option<Instant> = None;
        while !self.shutdown.is_cancelled() {
            if counted.is_none_or(|at| at.elapsed() >= COUNT) {
                self.look_around().await;
                counted = Some(Instant::now());
            }
            let room = self.room.saturating_sub(sends.len());
            let begun = Instant::now();
            let claimed = self.claim(room).await;
            let more = !claimed.is_empty() && claimed.len() == room;
            let received = Instant::now();
            for message in claimed {
                let turn = Turn {
                    at: received + message.send_in,
                    too_late: begun + self.shared.claim_timeout / 2,
                };
                sends.spawn(attempt(Arc::clone(&self.shared), message, turn, halt.clone()));
            }
            if self.wait(&mut sends, more).await == Access::Refused {
                halt.cancel();
                self.wait_for_access(&mut sends).await;
                halt = self.shutdown.child_token();
            }
        }
        // Sends have their own time limit; those that only wait for their turn are given back.
        while sends.join_next().await.is_some() {}
    }

    /// Until there may be something to claim. `more`: there was no room for all.
    async fn wait(&self, sends: &mut JoinSet<Access>, more: bool) -> Access {
        let poll = tokio::time::sleep(POLL);
        tokio::pin!(poll);
        loop {
            tokio::select! {
                biased;
                Some(ended) = sends.join_next(), if !sends.is_empty() => {
                    if matches!(ended, Ok(Access::Refused)) {
                        return Access::Refused;
                    }
                    // One look for each that ends would keep the database busy with looking.
                    if more && sends.len() <= self.room / 2 {
                        return Access::Granted;
                    }
                }
                () = self.shutdown.cancelled() => return Access::Granted,
                () = self.planned.notified() => return Access::Granted,
                () = &mut poll => return Access::Granted,
            }
        }
    }

    async fn claim(&self, room: usize) -> Vec<ClaimedMessage> {
        if room == 0 {
            return Vec::new();
        }
        let limits = ClaimLimits {
            timeout: self.shared.claim_timeout,
            messages: u32::try_from(room).unwrap_or(u32::MAX),
            pace: self.shared.sender.pace(),
            look_ahead: LOOK_AHEAD,
            flapping: self.shared.flapping,
        };
        match self
            .shared
            .ledger
            .claim(&self.instance, self.shared.clock.now(), limits)
            .await
        {
            Ok(claimed) => {
                self.health.ready();
                claimed
            }
            Err(error) => {
                tracing::warn!(%error, "messages could not be claimed; trying again");
                self.health.not_ready("the database fails");
                self.shutdown
                    .run_until_cancelled(tokio::time::sleep(DATABASE_PAUSE))
                    .await;
                Vec::new()
            }
        }
    }

    async fn look_around(&self) {
        if let Err(error) = self.shared.clock.read(&self.shared.ledger).await {
            tracing::debug!(%error, "the database's clock could not be read");
        }
        match self.shared.ledger.backlog().await {
            Ok(backlog) => metrics::waiting(backlog.waiting),
            Err(error) => tracing::debug!(%error, "what waits could not be counted"),
        }
    }

    /// Sends nothing until the messenger takes the bot (again).
    async fn wait_for_access(&self, sends: &mut JoinSet<Access>) {
        let reason = SendError::Unauthorized.to_string();
        tracing::error!("{reason}; nothing is sent until then");
        self.health.not_ready(reason);
        while sends.join_next().await.is_some() {}
        while self
            .shutdown
            .run_until_cancelled(tokio::time::sleep(CHECK))
            .await
            .is_some()
        {
            match self.shared.sender.check().await {
                Err(SendError::Unauthorized) => {}
                _ => break,
            }
        }
    }
}
