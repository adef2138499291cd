//! What becomes of a message that was not sent.

use std::time::Duration;

use cqrs::domain::{ChatId, Timestamp};
use cqrs::{ClaimedMessage, Outcome};

use crate::sender::SendError;

/// A message that could not be sent for so long is no longer news.
const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// Pause after the first failure; doubled with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// How long to believe a messenger that wants to be left alone.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// What to write down, and what else to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// Nothing else.
    Finish(Outcome),
    /// Leave this user alone for a while.
    Hold {
        /// To write down.
        outcome: Outcome,
        /// For so long.
        pause: Duration,
    },
    /// Rewrite the chat's id, then try again at once.
    Move(ChatId),
    /// Send nothing to anybody until the messenger takes the bot again.
    StopSending(Outcome),
}

/// Sorts a failed attempt to send `delivery`.
pub(crate) fn dispose(error: &SendError, delivery: &ClaimedMessage, now: Timestamp) -> Disposition {
    let undeliverable = || {
        Disposition::Finish(Outcome::Undeliverable {
            reason: error.to_string(),
        })
    };
    let retry = |pause: Duration, ambiguous: bool| {
        if now.since(delivery.planned_at) >= GIVE_UP_AFTER {
            let reason = format!("given up after a day: {error}");
            return Outcome::Undeliverable { reason };
        }
        Outcome::Retry {
            at: now.plus(pause),
            reason: error.to_string(),
            ambiguous,
        }
    };
    match error {
        SendError::NoChat | SendError::Unreachable(_) | SendError::Refused(_) => undeliverable(),
        SendError::TooManyRequests { retry_after } => {
            let pause = (*retry_after).min(LONGEST_RETRY_AFTER);
            Disposition::Hold {
                outcome: retry(pause, false),
                pause,
            }
        }
        SendError::Moved { to } => Disposition::Move(*to),
        SendError::Unauthorized => Disposition::StopSending(retry(Duration::ZERO, false)),
        SendError::NotConnected(_) => Disposition::Finish(retry(pause_after(delivery.attempt), false)),
        SendError::Unclear(_) => Disposition::Finish(retry(pause_after(delivery.attempt), true)),
    }
}

fn pause_after(attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(16);
    FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use cqrs::Heading;
    use cqrs::domain::{DeliveryId, UserId};

    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_000_000_000);

    fn delivery(attempt: u32) -> ClaimedMessage {
        ClaimedMessage {
            key: DeliveryId::generate(),
            user_id: UserId::generate(),
            recipient: cqrs::Recipient {
                chat: Some(ChatId::new(1)),
                language: Default::default(),
                time_zone: Default::default(),
            },
            items: Vec::new(),
            heading: Heading::Plain,
            reply_to: None,
            send_in: Duration::ZERO,
            attempt,
            claimed_by: "me".to_owned(),
            reclaimed: false,
            planned_at: START,
        }
    }

    #[test]
    fn what_can_never_arrive_is_undeliverable_at_once() {
        for error in [
            SendError::NoChat,
            SendError::Unreachable("Forbidden: bot was blocked by the user".into()),
            SendError::Refused("400 Bad Request".into()),
        ] {
            let expected = Outcome::Undeliverable {
                reason: error.to_string(),
            };
            assert_eq!(
                dispose(&error, &delivery(1), START),
                Disposition::Finish(expected)
            );
        }
    }

    #[test]
    fn pauses_double_up_to_five_minutes() {
        for (attempt, seconds) in [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (4_000_000_000, 300)] {
            let error = SendError::Unclear("502 Bad Gateway".into());
            let expected = Outcome::Retry {
                at: START.plus(Duration::from_secs(seconds)),
                reason: error.to_string(),
                ambiguous: true,
            };
            assert_eq!(
                dispose(&error, &delivery(attempt), START),
                Disposition::Finish(expected),
                "{attempt}"
            );
        }
    }

    #[test]
    fn only_what_may_have_arrived_is_ambiguous() {
        for (error, expected) in [
            (SendError::Unclear("none within 15 s".into()), true),
            (SendError::NotConnected("connection refused".into()), false),
        ] {
            let Disposition::Finish(Outcome::Retry { ambiguous, .. }) = dispose(&error, &delivery(1), START)
            else {
                panic!("{error} is not tried again");
            };
            assert_eq!(ambiguous, expected, "{error}");
        }
    }

    #[test]
    fn too_many_requests_holds_the_user_for_as_long_as_asked() {
        let pause = Duration::from_secs(17);
        let error = SendError::TooManyRequests { retry_after: pause };
        let outcome = Outcome::Retry {
            at: START.plus(pause),
            reason: error.to_string(),
            ambiguous: false,
        };
        assert_eq!(
            dispose(&error, &delivery(7), START),
            Disposition::Hold { outcome, pause }
        );
    }

    #[test]
    fn after_a_day_it_is_no_longer_news() {
        let late = START.plus(GIVE_UP_AFTER);
        for error in [
            SendError::Unclear("502".into()),
            SendError::TooManyRequests {
                retry_after: FIRST_PAUSE,
            },
        ] {
            let (Disposition::Finish(outcome) | Disposition::Hold { outcome, .. }) =
                dispose(&error, &delivery(100), late)
            else {
                panic!("{error}");
            };
            assert!(matches!(outcome, Outcome::Undeliverable { .. }), "{outcome:?}");
        }
    }

    #[test]
    fn a_refused_token_stops_all_and_loses_nothing() {
        let outcome = Outcome::Retry {
            at: START,
            reason: SendError::Unauthorized.to_string(),
            ambiguous: false,
        };
        assert_eq!(
            dispose(&SendError::Unauthorized, &delivery(3), START),
            Disposition::StopSending(outcome)
        );
    }
}
