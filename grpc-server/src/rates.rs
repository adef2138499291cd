//! How often somebody may do something: so many times at once, and then at a steady pace.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most keys that are remembered: about 3 MiB. Who comes when all places are taken shares one place with all others of
/// that kind, so that a crowd of strangers costs no memory and takes nothing from those already known.
const MOST_KEYS: usize = 65_536;

/// How often, at most, the places of those are given back who have not come for so long that they start anew anyway.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Remembers for each key the moment up to which it has used its share (the "generic cell rate algorithm": one time per
/// key, no timers).
#[derive(Debug)]
pub(crate) struct Rates<K> {
    /// Between two, at the steady pace.
    interval: Duration,
    /// How far ahead of that pace a key may be.
    tolerance: Duration,
    most_keys: usize,
    shares: Mutex<Shares<K>>,
}

#[derive(Debug)]
struct Shares<K> {
    used_until: HashMap<K, Instant>,
    /// Of all who found no place.
    others: Option<Instant>,
    swept_at: Option<Instant>,
}

impl<K: Eq + Hash> Rates<K> {
    /// `count` in each `period`, of which up to `burst` at once.
    pub(crate) fn new(count: u32, period: Duration, burst: u32) -> Self {
        Self::bounded(count, period, burst, MOST_KEYS)
    }

    fn bounded(count: u32, period: Duration, burst: u32, most_keys: usize) -> Self {
        let interval = period / count.max(1);
        Self {
            interval,
            tolerance: interval * burst.max(1).saturating_sub(1),
            most_keys,
            shares: Mutex::new(Shares {
                used_until: HashMap::new(),
                others: None,
                swept_at: None,
            }),
        }
    }

    /// Whether one would be allowed, which is not counted.
    ///
    /// # Errors
    /// How long to wait before it would be.
    pub(crate) fn look(&self, key: &K, now: Instant) -> Result<(), Duration> {
        let shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = shares.used_until.len() < self.most_keys;
        let others = if has_room { None } else { shares.others };
        let used_until = shares.used_until.get(key).copied().or(others);
        let ahead = used_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        match ahead.checked_sub(self.tolerance) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => Ok(()),
        }
    }

    /// Counts one. What is refused is not counted.
    ///
    /// # Errors
    /// How long to wait before it would be allowed.
    pub(crate) fn take(&self, key: K, now: Instant) -> Result<(), Duration> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let used_until = shares.of(key, self.most_keys, now);
        let ahead = used_until.saturating_duration_since(now);
        if ahead > self.tolerance {
            return Err(ahead - self.tolerance);
        }
        *used_until = now + ahead + self.interval;
        Ok(())
    }

    /// Counts so many more, allowed or not; but never has anybody wait for longer than these take at the steady pace.
    pub(crate) fn charge(&self, key: K, count: u32, now: Instant) {
        let cost = self.interval * count;
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let used_until = shares.of(key, self.most_keys, now);
        let ahead = used_until.saturating_duration_since(now) + cost;
        *used_until = now + ahead.min(self.tolerance + cost);
    }
}

impl<K: Eq + Hash> Shares<K> {
    /// The key's own, or that of all for whom there is no place.
    fn of(&mut self, key: K, most_keys: usize, now: Instant) -> &mut Instant {
        if self.used_until.len() >= most_keys && !self.used_until.contains_key(&key) {
            self.sweep(now);
        }
        if self.used_until.len() < most_keys || self.used_until.contains_key(&key) {
            self.used_until.entry(key).or_insert(now)
        } else {
            self.others.get_or_insert(now)
        }
    }

    fn sweep(&mut self, now: Instant) {
        let recent = self
            .swept_at
            .is_some_and(|at| now.saturating_duration_since(at) < SWEEP_EVERY);
        if !recent {
            self.swept_at = Some(now);
            self.used_until.retain(|_, until| *until > now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_and_then_a_steady_pace() {
        let rates = Rates::new(10, SECOND, 5);
        let start = Instant::now();
        for n in 0..5 {
            assert_eq!(rates.take("a", start), Ok(()), "{n}");
        }
        let wait = rates.take("a", start).unwrap_err();
        assert_eq!(wait, SECOND / 10);
        assert_eq!(rates.look(&"a", start), Err(wait));
        assert_eq!(rates.look(&"a", start + wait), Ok(()), "to look counts nothing");
        assert_eq!(rates.take("b", start), Ok(()), "others have their own share");
        assert_eq!(rates.take("a", start + wait), Ok(()));
        assert!(rates.take("a", start + wait).is_err());
        // In the long run, 10 a second and no more.
        let taken = (0..10_000u32)
            .filter(|n| rates.take("c", start + SECOND / 1_000 * *n).is_ok())
            .count();
        assert_eq!(taken, 5 + 99);
    }

    #[test]
    fn what_is_charged_is_waited_for_but_not_for_longer() {
        let rates = Rates::new(10, SECOND, 5);
        let start = Instant::now();
        rates.charge("a", 3, start);
        assert_eq!(rates.take("a", start), Ok(()));
        assert_eq!(rates.take("a", start), Ok(()));
        assert!(rates.take("a", start).is_err());
        for _ in 0..100 {
            rates.charge("a", 20, start);
        }
        assert_eq!(rates.take("a", start), Err(2 * SECOND));
        assert_eq!(rates.take("b", start), Ok(()));
    }

    #[test]
    fn strangers_without_end_take_no_more_places_and_nothing_from_those_known() {
        let rates = Rates::bounded(1, SECOND, 3, 100);
        let start = Instant::now();
        assert_eq!(rates.take(0, start), Ok(()));
        let allowed = (1..100_000).filter(|key| rates.take(*key, start).is_ok()).count();
        assert_eq!(
            allowed,
            99 + 3,
            "the places, and one burst of all others together"
        );
        assert_eq!(rates.shares.lock().unwrap().used_until.len(), 100);
        assert_eq!(rates.take(0, start), Ok(()), "who was known goes on");
        let later = start + SECOND * 60;
        assert_eq!(rates.take(1_000_000, later), Ok(()));
        assert_eq!(
            rates.shares.lock().unwrap().used_until.len(),
            1,
            "places are given back"
        );
    }
}
