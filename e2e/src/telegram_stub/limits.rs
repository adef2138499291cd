//! How often Telegram takes messages: one a second to a chat, 20 a minute to a group, 30 a second in all.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// One every `interval` in the long run, and `burst` of them at once.
#[derive(Debug, Clone, Copy)]
struct Limit {
    interval: Duration,
    burst: u32,
}

// Each allows a little at once, as Telegram does: messages that were sent in time may arrive close together.
const PER_CHAT: Limit = Limit {
    interval: Duration::from_secs(1),
    burst: 2,
};
const PER_GROUP: Limit = Limit {
    interval: Duration::from_secs(3),
    burst: 20,
};
const OVERALL: Limit = Limit {
    interval: Duration::from_nanos(1_000_000_000 / 30),
    burst: 30,
};

/// When the next message would come if all were spaced evenly (the virtual scheduling of GCRA).
#[derive(Debug, Default)]
pub(super) struct Limits {
    overall: Option<Instant>,
    chats: HashMap<i64, Instant>,
    pub(super) refused: u32,
}

impl Limits {
    /// Takes a message to `chat`, or says how many seconds to wait.
    pub(super) fn take(&mut self, chat: i64, now: Instant) -> Result<(), u64> {
        let limit = if chat < 0 { PER_GROUP } else { PER_CHAT };
        let of_chat = limit.next(self.chats.get(&chat).copied(), now);
        let overall = OVERALL.next(self.overall, now);
        match (of_chat, overall) {
            (Ok(of_chat), Ok(overall)) => {
                self.chats.insert(chat, of_chat);
                self.overall = Some(overall);
                Ok(())
            }
            (Err(wait), _) | (Ok(_), Err(wait)) => {
                self.refused += 1;
                Err(wait.as_secs() + 1)
            }
        }
    }
}

impl Limit {
    fn next(self, expected: Option<Instant>, now: Instant) -> Result<Instant, Duration> {
        let expected = expected.unwrap_or(now).max(now);
        let early = expected.duration_since(now);
        let tolerance = self.interval * (self.burst - 1);
        if early > tolerance {
            Err(early - tolerance)
        } else {
            Ok(expected + self.interval)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_that_gets_more_than_one_message_a_second_is_refused_and_others_are_not() {
        let (mut limits, start) = (Limits::default(), Instant::now());
        assert_eq!(limits.take(1, start), Ok(()));
        assert_eq!(limits.take(1, start), Ok(()));
        assert_eq!(limits.take(1, start), Err(1 + 1));
        assert_eq!(limits.take(2, start), Ok(()));
        assert_eq!(limits.take(1, start + Duration::from_secs(1)), Ok(()));
        assert_eq!(limits.refused, 1);
    }

    #[test]
    fn all_chats_together_get_thirty_a_second() {
        let (mut limits, start) = (Limits::default(), Instant::now());
        let taken = (0..10_000_u32).filter(|n| {
            limits
                .take(i64::from(*n), start + Duration::from_millis(1) * *n)
                .is_ok()
        });
        // Ten seconds at thirty, and thirty at once.
        let taken = taken.count();
        assert!((328..=331).contains(&taken), "{taken}");
    }
}
