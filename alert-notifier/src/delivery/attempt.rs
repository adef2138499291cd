//! One message, from its place in the messenger's stream to its outcome in the ledger.

use std::sync::Arc;

use cqrs::domain::Timestamp;
use cqrs::{ClaimedMessage, Outcome};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{DATABASE_PAUSE, Shared};
use crate::disposition::{Disposition, dispose};
use crate::metrics;
use crate::sender::Sender;
use crate::text::alerts::render;
use crate::text::reasons;

/// Why a message is tried again that was on its way to a chat's old id.
const MOVED: &str = "the chat moved";

/// Whether the messenger takes the bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Granted,
    Refused,
}

/// When a claimed message may be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    /// Its place in the stream.
    pub(super) at: Instant,
    /// With less left of its claim, another instance might take it over in the middle of the send.
    pub(super) too_late: Instant,
}

/// Sends one message when its turn comes, unless `halt` comes first.
pub(super) async fn attempt<S: Sender>(
    shared: Arc<Shared<S>>,
    message: ClaimedMessage,
    turn: Turn,
    halt: CancellationToken,
) -> Access {
    if message.reclaimed {
        metrics::ambiguous();
        tracing::warn!(message.key = %message.key, "a send was left without an outcome and is repeated");
    }
    let waited = if turn.at < turn.too_late {
        halt.run_until_cancelled(tokio::time::sleep_until(turn.at)).await
    } else {
        None
    };
    if waited.is_none() || Instant::now() > turn.too_late {
        shared.release(&message).await;
        return Access::Granted;
    }
    shared.deliver(message, turn.too_late).await
}

impl<S: Sender> Shared<S> {
    async fn deliver(&self, mut message: ClaimedMessage, too_late: Instant) -> Access {
        let outgoing = render(&message, Timestamp::now());
        // A chat moves once; a messenger that says so again and again is not followed for ever.
        for _ in 0..2 {
            let sent = self
                .sender
                .send(message.recipient.chat, &outgoing, message.reply_to)
                .await;
            let error = match sent {
                Ok(message_id) => {
                    self.finish(&message, &Outcome::Sent { message_id }).await;
                    return Access::Granted;
                }
                Err(error) => error,
            };
            match dispose(&error, &message, self.retries, self.clock.now()) {
                Disposition::Finish(outcome) => {
                    self.finish(&message, &outcome).await;
                    return Access::Granted;
                }
                Disposition::StopSending => {
                    self.release(&message).await;
                    return Access::Refused;
                }
                Disposition::Move(to) => {
                    let outcome = match self.follow(&mut message, to).await {
                        None if Instant::now() > too_late => Some(Outcome::Retry {
                            at: self.clock.now(),
                            reason: MOVED.to_owned(),
                            ambiguous: false,
                        }),
                        outcome => outcome,
                    };
                    if let Some(outcome) = outcome {
                        self.finish(&message, &outcome).await;
                        return Access::Granted;
                    }
                }
            }
        }
        let reason = reasons::MOVES_ON.to_owned();
        self.finish(&message, &Outcome::Undeliverable { reason }).await;
        Access::Granted
    }

    /// Rewrites the chat's id. Gives the outcome if the message can't go there.
    async fn follow(&self, message: &mut ClaimedMessage, to: cqrs::domain::ChatId) -> Option<Outcome> {
        let from = message.recipient.chat?;
        match self.ledger.move_chat(from, to).await {
            Ok(true) => {
                message.recipient.chat = Some(to);
                None
            }
            Ok(false) => Some(Outcome::Undeliverable {
                reason: reasons::MOVED_TO_ANOTHERS.to_owned(),
            }),
            Err(error) => {
                tracing::warn!(%error, "a chat's new id could not be stored; it will be asked for again");
                Some(Outcome::Retry {
                    at: self.clock.now().plus(self.retries.first_pause),
                    reason: MOVED.to_owned(),
                    ambiguous: false,
                })
            }
        }
    }

    /// Gives back what was not sent.
    async fn release(&self, message: &ClaimedMessage) {
        if let Err(error) = self.ledger.release_claim(message).await {
            tracing::warn!(%error, message.key = %message.key, "a claim could not be given back and runs out by itself");
        }
    }

    /// Writes the outcome down, however long the database takes: a send whose outcome is lost is repeated. Gives up once
    /// the claim has run out, when another instance repeats it all the same.
    async fn finish(&self, message: &ClaimedMessage, outcome: &Outcome) {
        let sent_at = self.clock.now();
        metrics::ended(message, outcome, sent_at);
        log(message, outcome);
        let start = Instant::now();
        loop {
            match self.ledger.finish(message, outcome, sent_at).await {
                Ok(true) => break,
                Ok(false) => {
                    tracing::warn!(message.key = %message.key, "a claim was taken over before its outcome was known");
                    break;
                }
                Err(error) if start.elapsed() < self.claim_timeout => {
                    tracing::warn!(%error, message.key = %message.key, "a send's outcome could not be stored; trying again");
                    tokio::time::sleep(DATABASE_PAUSE).await;
                }
                Err(error) => {
                    tracing::error!(%error, message.key = %message.key, "a send's outcome is lost; it will be repeated");
                    break;
                }
            }
        }
    }
}

fn log(message: &ClaimedMessage, outcome: &Outcome) {
    match outcome {
        Outcome::Sent { .. } => {
            for item in &message.items {
                tracing::info!(message.key = %message.key, rule.id = %item.rule_id, stock.ticker = %item.facts.ticker, kind = ?item.facts.kind, "sent");
            }
        }
        Outcome::Retry { reason, .. } | Outcome::HoldChat { reason, .. } => {
            tracing::warn!(message.key = %message.key, attempt = message.attempt, reason, "not sent; trying again");
        }
        Outcome::Undeliverable { reason } | Outcome::ChatSuspended { reason } => {
            tracing::warn!(message.key = %message.key, items = message.items.len(), reason, "undeliverable");
        }
    }
}
