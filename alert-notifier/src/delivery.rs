//! Claims deliveries and sends them: one at a time for each user, many users at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cqrs::domain::Timestamp;
use cqrs::{ClaimLimits, ClaimedMessage, DeliveryKind, Ledger, MessageItem, Outcome};
use service::ComponentHealth;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::disposition::{Disposition, dispose};
use crate::metrics;
use crate::pacing::Pacing;
use crate::render::render;
use crate::sender::{SendError, Sender};

/// Sends at once. At 30 messages a second and half a second each, 15 keep the messenger busy.
const MAX_IN_HAND: usize = 32;
/// How often to look for deliveries that nobody announced: those of other instances, and those that are tried again.
const POLL: Duration = Duration::from_millis(250);
/// How often to try the messenger while it refuses the bot.
const CHECK: Duration = Duration::from_secs(5);
/// How often to count what waits.
const COUNT: Duration = Duration::from_secs(10);
/// Messages are claimed this long before they may be sent.
const LOOK_AHEAD: Duration = Duration::from_secs(1);
/// Between two tries while the database fails.
const DATABASE_PAUSE: Duration = Duration::from_secs(1);

/// What every send needs.
#[derive(Debug)]
struct Shared<S> {
    ledger: Ledger,
    sender: S,
    pacing: Mutex<Pacing>,
    claim_timeout: Duration,
    shutdown: CancellationToken,
}

/// Sends what is planned until shutdown.
#[derive(Debug)]
pub(crate) struct Worker<S> {
    shared: Arc<Shared<S>>,
    /// Unique for this start of the process: what an earlier one left behind is not its own.
    instance: String,
    /// There is something to send.
    planned: Arc<Notify>,
    health: ComponentHealth,
}

/// Whether the messenger takes the bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Granted,
    Refused,
}

impl<S: Sender> Worker<S> {
    pub(crate) fn new(
        ledger: Ledger,
        sender: S,
        planned: Arc<Notify>,
        claim_timeout: Duration,
        shutdown: CancellationToken,
        health: ComponentHealth,
    ) -> Self {
        let pacing = Mutex::new(Pacing::new(sender.pace(), Instant::now()));
        Self {
            shared: Arc::new(Shared {
                ledger,
                sender,
                pacing,
                claim_timeout,
                shutdown,
            }),
            instance: uuid::Uuid::new_v4().to_string(),
            planned,
            health,
        }
    }

    pub(crate) async fn run(self) {
        let shutdown = self.shared.shutdown.clone();
        let mut sends: JoinSet<Access> = JoinSet::new();
        let mut counted: Option<Instant> = None;
        while !shutdown.is_cancelled() {
            if counted.is_none_or(|at| at.elapsed() >= COUNT) {
                self.count_waiting().await;
                counted = Some(Instant::now());
            }
            let mut refused = false;
            while let Some(ended) = sends.try_join_next() {
                refused |= matches!(ended, Ok(Access::Refused));
            }
            if refused {
                self.wait_for_access(&mut sends).await;
                continue;
            }
            let claimed = self.claim(MAX_IN_HAND - sends.len()).await;
            if claimed.is_empty() || sends.len() + claimed.len() >= MAX_IN_HAND {
                for delivery in claimed {
                    sends.spawn(attempt(Arc::clone(&self.shared), delivery));
                }
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    // A user's next message may go, or there is room for another user's.
                    Some(ended) = sends.join_next(), if !sends.is_empty() => {
                        if matches!(ended, Ok(Access::Refused)) {
                            self.wait_for_access(&mut sends).await;
                        }
                    }
                    () = self.planned.notified() => {}
                    () = tokio::time::sleep(POLL) => {}
                }
            } else {
                for delivery in claimed {
                    sends.spawn(attempt(Arc::clone(&self.shared), delivery));
                }
            }
        }
        // Sends have their own time limit; those that only wait for their turn end at once.
        while sends.join_next().await.is_some() {}
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
        };
        match self
            .shared
            .ledger
            .claim(&self.instance, Timestamp::now(), limits)
            .await
        {
            Ok(claimed) => {
                self.health.ready();
                claimed
            }
            Err(error) => {
                tracing::warn!(%error, "deliveries could not be claimed; trying again");
                self.health.not_ready("the database fails");
                self.shared
                    .shutdown
                    .run_until_cancelled(tokio::time::sleep(DATABASE_PAUSE))
                    .await;
                Vec::new()
            }
        }
    }

    async fn count_waiting(&self) {
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
        let shutdown = &self.shared.shutdown;
        while shutdown
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

/// One attempt to send one delivery, from its turn to its outcome in the ledger.
async fn attempt<S: Sender>(shared: Arc<Shared<S>>, mut delivery: ClaimedMessage) -> Access {
    if delivery.reclaimed {
        metrics::ambiguous();
        tracing::warn!(delivery.id = %delivery.key, "a send was left without an outcome and is repeated");
    }
    let claimed_at = Instant::now();
    let turn = shared.pacing().reserve(delivery.user_id, claimed_at);
    let too_late = claimed_at + shared.claim_timeout / 2;
    // With too little left of the claim, another instance might take the delivery over in the middle of the send.
    if turn > too_late
        || shared
            .shutdown
            .run_until_cancelled(tokio::time::sleep_until(turn))
            .await
            .is_none()
        || Instant::now() > too_late
    {
        let wait = turn.saturating_duration_since(Instant::now());
        let reason = "waits for its turn".to_owned();
        let outcome = Outcome::Retry {
            at: Timestamp::now().plus(wait),
            reason,
            ambiguous: false,
        };
        shared.finish(&delivery, &outcome).await;
        return Access::Granted;
    }
    let text = delivery
        .items
        .iter()
        .map(|item| render(&item.facts))
        .collect::<Vec<_>>()
        .join("\n\n");
    // A chat moves once; a messenger that says so again and again is not followed for ever.
    for _ in 0..2 {
        let error = match shared.sender.send(delivery.recipient.chat, &text).await {
            Ok(message_id) => {
                shared.finish(&delivery, &Outcome::Sent { message_id }).await;
                return Access::Granted;
            }
            Err(error) => error,
        };
        match dispose(&error, &delivery, Timestamp::now()) {
            Disposition::Finish(outcome) => {
                shared.finish(&delivery, &outcome).await;
                return Access::Granted;
            }
            Disposition::Hold { outcome, pause } => {
                let now = Instant::now();
                shared.pacing().hold(delivery.user_id, now + pause, now);
                shared.finish(&delivery, &outcome).await;
                return Access::Granted;
            }
            Disposition::StopSending(outcome) => {
                shared.finish(&delivery, &outcome).await;
                return Access::Refused;
            }
            Disposition::Move(to) => {
                if let Some(from) = delivery.recipient.chat
                    && let Err(error) = shared.ledger.move_chat(from, to).await
                {
                    tracing::warn!(%error, "a chat's new id could not be stored; it will be asked for again");
                }
                delivery.recipient.chat = Some(to);
            }
        }
    }
    let reason = "the chat moves again and again".to_owned();
    shared.finish(&delivery, &Outcome::Undeliverable { reason }).await;
    Access::Granted
}

impl<S: Sender> Shared<S> {
    fn pacing(&self) -> std::sync::MutexGuard<'_, Pacing> {
        self.pacing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the outcome down, however long the database takes: a send whose outcome is lost is repeated. Gives up once
    /// the claim has run out, when another instance repeats it all the same.
    async fn finish(&self, delivery: &ClaimedMessage, outcome: &Outcome) {
        let sent_at = Timestamp::now();
        count(delivery, outcome, sent_at);
        let start = Instant::now();
        loop {
            match self.ledger.finish(delivery, outcome, sent_at).await {
                Ok(true) => return,
                Ok(false) => {
                    tracing::warn!(delivery.id = %delivery.key, "a claim was taken over before its outcome was known");
                    return;
                }
                Err(error) if start.elapsed() < self.claim_timeout => {
                    tracing::warn!(%error, delivery.id = %delivery.key, "a send's outcome could not be stored; trying again");
                    tokio::time::sleep(DATABASE_PAUSE).await;
                }
                Err(error) => {
                    tracing::error!(%error, delivery.id = %delivery.key, "a send's outcome is lost; it will be repeated");
                    return;
                }
            }
        }
    }
}

fn count(delivery: &ClaimedMessage, outcome: &Outcome, now: Timestamp) {
    for item in &delivery.items {
        count_item(delivery, item, outcome, now);
    }
}

fn count_item(delivery: &ClaimedMessage, item: &MessageItem, outcome: &Outcome, now: Timestamp) {
    let kind = item.facts.kind;
    match outcome {
        Outcome::Sent { .. } => {
            metrics::attempted(kind, "sent");
            // A reminder's quote is as old as it is.
            if kind != DeliveryKind::Reminder {
                metrics::latency(now.since(item.facts.quote_ingest_time));
            }
            tracing::info!(delivery.id = %delivery.key, rule.id = %item.rule_id, stock.ticker = %item.facts.ticker, ?kind, "sent");
        }
        Outcome::Retry {
            ambiguous, reason, ..
        } => {
            metrics::attempted(kind, "retry");
            if *ambiguous {
                metrics::ambiguous();
            }
            tracing::warn!(delivery.id = %delivery.key, attempt = delivery.attempt, reason, "not sent; trying again");
        }
        Outcome::HoldChat { reason, .. } => {
            metrics::attempted(kind, "retry");
            tracing::warn!(delivery.id = %delivery.key, attempt = delivery.attempt, reason, "not sent; trying again");
        }
        Outcome::Undeliverable { reason } | Outcome::ChatSuspended { reason } => {
            metrics::attempted(kind, "undeliverable");
            tracing::warn!(delivery.id = %delivery.key, reason, "undeliverable");
        }
    }
}
