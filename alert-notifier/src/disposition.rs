//! What becomes of a message that was not sent.

use std::time::Duration;

use cqrs::domain::{ChatId, Language, Timestamp};
use cqrs::{ClaimedMessage, Outcome};

use crate::config::Retries;
use crate::sender::SendError;
use crate::text::words;

/// How long to believe a messenger that wants to be left alone.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// Write this down.
    Finish(Outcome),
    /// Rewrite the chat's id, then try again at once.
    Move(ChatId),
    /// Send nothing to anybody until the messenger takes the bot again.
    StopSending,
}

/// Sorts a failed attempt to send `message`.
pub(crate) fn dispose(
    error: &SendError,
    message: &ClaimedMessage,
    retries: Retries,
    now: Timestamp,
) -> Disposition {
    let reason = error.to_string();
    // Not since it was planned: it may have been held for days, and then deserves more than one try.
    let missed = message
        .tried_since
        .is_some_and(|since| now.since(since) >= retries.give_up_after);
    let retry = |ambiguous| Outcome::Retry {
        at: now.plus(pause_after(message.attempt, retries)),
        reason: reason.clone(),
        ambiguous,
    };
    Disposition::Finish(match error {
        SendError::Moved { to } => return Disposition::Move(*to),
        SendError::Unauthorized => return Disposition::StopSending,
        SendError::NoChat | SendError::Refused(_) => Outcome::Undeliverable { reason },
        SendError::Blocked(_) => Outcome::ChatSuspended { reason },
        SendError::TooManyRequests { .. } | SendError::NotConnected(_) | SendError::Unclear(_) if missed => {
            let time = words::duration(retries.give_up_after, Language::En);
            Outcome::Undeliverable {
                reason: format!("missed: it could not be sent for {time}; at last: {error}"),
            }
        }
        SendError::TooManyRequests { retry_after } => Outcome::HoldChat {
            until: now.plus((*retry_after).min(LONGEST_RETRY_AFTER)),
            reason,
        },
        SendError::NotConnected(_) => retry(false),
        SendError::Unclear(_) => retry(true),
    })
}

fn pause_after(attempt: u32, retries: Retries) -> Duration {
    let doublings = attempt.saturating_sub(1).min(16);
    retries
        .first_pause
        .saturating_mul(1 << doublings)
        .min(retries.longest_pause)
}

#[cfg(test)]
mod tests {
    use cqrs::Heading;
    use cqrs::domain::{DeliveryId, UserId};

    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_000_000_000);

    fn message(attempt: u32) -> ClaimedMessage {
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
            claimed_at: START,
            reclaimed: false,
            may_be_repeat: false,
            planned_at: START,
            tried_since: Some(START),
        }
    }

    fn after(error: &SendError, attempt: u32, now: Timestamp) -> Disposition {
        dispose(error, &message(attempt), Retries::default(), now)
    }

    #[test]
    fn what_can_never_arrive_is_undeliverable_at_once() {
        for error in [
            SendError::NoChat,
            SendError::Refused("Bad Request: chat not found".into()),
        ] {
            let expected = Outcome::Undeliverable {
                reason: error.to_string(),
            };
            assert_eq!(after(&error, 1, START), Disposition::Finish(expected));
        }
    }

    #[test]
    fn a_chat_that_takes_no_messages_is_suspended() {
        let error = SendError::Blocked("Forbidden: bot was blocked by the user".into());
        let reason = "the chat takes no messages: Forbidden: bot was blocked by the user".to_owned();
        assert_eq!(
            after(&error, 1, START),
            Disposition::Finish(Outcome::ChatSuspended { reason })
        );
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
                after(&error, attempt, START),
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
            let Disposition::Finish(Outcome::Retry { ambiguous, .. }) = after(&error, 1, START) else {
                panic!("{error} is not tried again");
            };
            assert_eq!(ambiguous, expected, "{error}");
        }
    }

    #[test]
    fn too_many_requests_holds_the_chat_for_as_long_as_asked_and_an_hour_at_most() {
        for (asked, held) in [(17, 17), (3_600, 3_600), (1_000_000, 3_600)] {
            let error = SendError::TooManyRequests {
                retry_after: Duration::from_secs(asked),
            };
            let expected = Outcome::HoldChat {
                until: START.plus(Duration::from_secs(held)),
                reason: error.to_string(),
            };
            assert_eq!(after(&error, 7, START), Disposition::Finish(expected));
        }
    }

    #[test]
    fn after_a_day_it_is_no_longer_news() {
        let late = START.plus(Retries::default().give_up_after);
        for error in [
            SendError::Unclear("502".into()),
            SendError::NotConnected("refused".into()),
            SendError::TooManyRequests {
                retry_after: Duration::from_secs(1),
            },
        ] {
            let Disposition::Finish(Outcome::Undeliverable { reason }) = after(&error, 100, late) else {
                panic!("{error} is tried again");
            };
            assert!(
                reason.starts_with("missed: it could not be sent for 1 d; at last: "),
                "{reason}"
            );
            let italian = crate::text::reasons::reason(&reason, Language::It);
            assert!(
                italian.starts_with(
                    "perso: non è stato possibile inviarlo per 1 g; alla fine: il servizio di messaggi "
                ),
                "{italian}"
            );
        }
    }

    #[test]
    fn what_was_not_tried_yet_is_tried_again_however_old_it_is() {
        let late = START.plus(Retries::default().give_up_after * 30);
        let mut held = message(1);
        held.tried_since = None;
        for error in [
            SendError::Unclear("502".into()),
            SendError::NotConnected("refused".into()),
            SendError::TooManyRequests {
                retry_after: Duration::from_secs(1),
            },
        ] {
            let disposition = dispose(&error, &held, Retries::default(), late);
            assert!(
                matches!(
                    disposition,
                    Disposition::Finish(Outcome::Retry { .. } | Outcome::HoldChat { .. })
                ),
                "{disposition:?}"
            );
        }
    }

    #[test]
    fn a_refused_token_stops_all_however_late_it_is() {
        let late = START.plus(Duration::from_secs(1_000_000));
        assert_eq!(after(&SendError::Unauthorized, 3, late), Disposition::StopSending);
    }
}
