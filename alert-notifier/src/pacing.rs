//! When the messenger's limits let the next message go. In the memory of each instance: together, instances may go beyond
//! them, and then the messenger's own "too many requests" holds them back.

use std::collections::HashMap;
use std::time::Duration;

use cqrs::domain::UserId;
use tokio::time::Instant;

use cqrs::Pace;

/// Hands out places in the stream of messages. A user stands for their chat, of which each has one.
#[derive(Debug)]
pub(crate) struct Pacing {
    pace: Pace,
    /// The next free place in the stream of all messages, of which each takes its share of a second.
    all: Instant,
    /// The earliest time for a user's next message.
    users: HashMap<UserId, Instant>,
}

/// Users remembered before those whose time has passed are forgotten.
const FORGET_ABOVE: usize = 10_000;

impl Pacing {
    pub(crate) fn new(pace: Pace, now: Instant) -> Self {
        Self {
            pace,
            all: now,
            users: HashMap::new(),
        }
    }

    /// Takes the next free place for a message to `user`; gives its time.
    pub(crate) fn reserve(&mut self, user: UserId, now: Instant) -> Instant {
        let place = self.all.max(now);
        self.all = place + Duration::from_secs(1) / self.pace.per_second.max(1);
        let at = self.users.get(&user).map_or(place, |at| place.max(*at));
        self.hold(user, at + self.pace.per_chat, now);
        at
    }

    /// No message to `user` before `until`.
    pub(crate) fn hold(&mut self, user: UserId, until: Instant, now: Instant) {
        if self.users.len() > FORGET_ABOVE {
            self.users.retain(|_, at| *at > now);
        }
        let at = self.users.entry(user).or_insert(until);
        *at = until.max(*at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        per_chat: Duration::from_secs(1),
        per_second: 30,
        per_group: Duration::from_secs(3),
    };

    #[tokio::test(start_paused = true)]
    async fn one_user_gets_one_message_a_second() {
        let now = Instant::now();
        let mut pacing = Pacing::new(PACE, now);
        let user = UserId::generate();
        let waits: Vec<_> = (0..3)
            .map(|_| (pacing.reserve(user, now) - now).as_millis())
            .collect();
        assert_eq!(waits, [0, 1_000, 2_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn many_users_share_the_stream_of_thirty_a_second() {
        let now = Instant::now();
        let mut pacing = Pacing::new(PACE, now);
        let times: Vec<_> = (0..91).map(|_| pacing.reserve(UserId::generate(), now)).collect();
        assert_eq!(times[0], now);
        for window in times.windows(31) {
            assert!(window[30] - window[0] >= Duration::from_millis(999));
        }
        assert!(times[90] - now <= Duration::from_millis(3_001));
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_on_hold_waits_and_others_do_not() {
        let now = Instant::now();
        let mut pacing = Pacing::new(PACE, now);
        let user = UserId::generate();
        pacing.hold(user, now + Duration::from_secs(17), now);
        assert_eq!(pacing.reserve(user, now), now + Duration::from_secs(17));
        assert!(pacing.reserve(UserId::generate(), now) < now + Duration::from_secs(1));
    }
}
