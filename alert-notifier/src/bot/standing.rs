//! Whether Telegram lets this instance be the bot, for those who look after it.

use std::time::Duration;

use service::ComponentHealth;
use teloxide::{ApiError, RequestError};
use tokio::time::Instant;

use crate::sender::SendError;

/// For as long two of our own instances may get in each other's way: a lease changes hands faster.
const LASTING: Duration = Duration::from_secs(15);
const CONFLICT: &str = "another program gets this bot's updates from Telegram (409 Conflict); stop it, or set \
                        TELEGRAM_BOT_TOKEN to the token of a bot that no other program uses";

/// Not ready while Telegram refuses what only people can mend. What passes by itself changes nothing.
#[derive(Debug)]
pub(crate) struct Standing {
    health: ComponentHealth,
    refused: bool,
    /// When a conflict was first met since the last success.
    conflict_since: Option<Instant>,
}

impl Standing {
    pub(crate) const fn new(health: ComponentHealth) -> Self {
        Self {
            health,
            refused: false,
            conflict_since: None,
        }
    }

    /// Telegram does what it is asked for, or another instance is the one that asks.
    pub(super) fn good(&mut self) {
        self.refused = false;
        self.conflict_since = None;
        self.health.ready();
    }

    /// A request failed.
    pub(super) fn failed(&mut self, error: &RequestError, now: Instant) {
        let reason = match error {
            RequestError::Api(ApiError::InvalidToken) => Some(SendError::Unauthorized.to_string()),
            RequestError::Api(error) if is_conflict(error) => {
                let since = *self.conflict_since.get_or_insert(now);
                (now.duration_since(since) >= LASTING).then(|| CONFLICT.to_owned())
            }
            RequestError::Api(_)
            | RequestError::MigrateToChatId(_)
            | RequestError::RetryAfter(_)
            | RequestError::Network(_)
            | RequestError::InvalidJson { .. }
            | RequestError::Io(_) => None,
        };
        match reason {
            Some(reason) => {
                self.refused = true;
                self.health.not_ready(reason);
            }
            None if self.refused => {}
            None => self.health.ready(),
        }
    }
}

/// Another poller, or a webhook that was set meanwhile.
fn is_conflict(error: &ApiError) -> bool {
    if let ApiError::Unknown(text) = error {
        return text.starts_with("Conflict:");
    }
    matches!(
        error,
        ApiError::TerminatedByOtherGetUpdates | ApiError::CantGetUpdates
    )
}

#[cfg(test)]
mod tests {
    use service::Health;

    use super::*;

    #[test]
    fn only_what_people_have_to_mend_makes_it_unready_and_what_works_ready_again() {
        let health = Health::default();
        let mut standing = Standing::new(health.component("bot"));
        let is_ready = || health.readiness().is_ok();
        let unknown = |text: &str| RequestError::Api(ApiError::Unknown(text.to_owned()));
        let conflict = || RequestError::Api(ApiError::TerminatedByOtherGetUpdates);
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        assert!(!is_ready(), "nothing is known yet");
        standing.failed(&unknown("Internal Server Error"), start);
        assert!(is_ready(), "the rest of the service works without Telegram");
        standing.failed(&conflict(), start);
        standing.failed(&conflict(), later(14));
        assert!(is_ready());
        standing.failed(&unknown("Conflict: can't use getUpdates method"), later(15));
        assert_eq!(health.readiness(), Err(format!("bot: {CONFLICT}\n")));
        standing.failed(&unknown("Internal Server Error"), later(16));
        assert!(!is_ready(), "nobody mended it");
        standing.good();
        standing.failed(&conflict(), later(20));
        assert!(is_ready(), "the time begins anew");
        standing.failed(&RequestError::Api(ApiError::InvalidToken), later(21));
        assert!(health.readiness().unwrap_err().contains("TELEGRAM_BOT_TOKEN"));
        standing.good();
        assert!(is_ready());
    }
}
