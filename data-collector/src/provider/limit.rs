//! A provider's own limit: so many calls, credits or weights in so much time.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// At most `budget` in any stretch of time of length `per`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Calls, or whatever the provider counts.
    pub budget: u32,
    /// How long each counts.
    pub per: Duration,
}

/// Holds calls to a [`Rate`], over all tasks, or to this process's share of it.
///
/// In *any* stretch of the rate's length, so also in each of the provider's own minutes, wherever they begin. A token bucket
/// of the same size would let nearly twice as much through in one of them.
#[derive(Debug)]
pub struct Limiter {
    window: Mutex<Window>,
    /// Who waits, waits in line.
    turn: tokio::sync::Mutex<()>,
}

impl Limiter {
    /// One that has let nothing through yet.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self {
            window: Mutex::new(Window::new(rate)),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// What may be spent in a stretch of time.
    #[must_use]
    pub fn budget(&self) -> u32 {
        self.window().budget
    }

    /// From now on holds `part` of `whole` of the rate, and at least 1: others have the rest, and the provider counts them
    /// together.
    pub fn share(&self, part: u32, whole: u32) {
        let mut window = self.window();
        let budget = u64::from(window.rate.budget) * u64::from(part) / u64::from(whole.max(1));
        window.budget = u32::try_from(budget).unwrap_or(u32::MAX).max(1);
    }

    /// Waits until `cost` fits, and spends it. To be awaited before a call goes through its breaker, whose time limit is
    /// for the provider, not for the line in front of it. Dropped while it waits, it has spent nothing.
    pub async fn acquire(&self, cost: u32) {
        let _turn = self.turn.lock().await;
        loop {
            let ready_at = {
                let now = Instant::now();
                let mut window = self.window();
                let ready_at = window.ready_at(cost, now);
                if ready_at <= now {
                    window.spend(cost, now);
                    return;
                }
                ready_at
            };
            tokio::time::sleep_until(ready_at).await;
        }
    }

    /// Spends `cost` at once, also beyond the budget: for what a call turned out to need besides. Later calls wait for it.
    pub fn charge(&self, cost: u32) {
        self.window().spend(cost, Instant::now());
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was spent when, as long as it counts. Pure: time is given.
#[derive(Debug)]
struct Window {
    rate: Rate,
    /// This process's share of the rate's.
    budget: u32,
    /// In order of time; at most as many as the budget, as nothing costs less than 1.
    spent: VecDeque<(Instant, u32)>,
    total: u32,
}

impl Window {
    fn new(rate: Rate) -> Self {
        Self {
            rate,
            budget: rate.budget,
            spent: VecDeque::new(),
            total: 0,
        }
    }

    /// When `cost` fits: `now`, or when enough of what was spent no longer counts. What is above the whole budget fits when
    /// nothing counts any more.
    fn ready_at(&mut self, cost: u32, now: Instant) -> Instant {
        while let Some((at, cost)) = self.spent.front().copied()
            && at + self.rate.per <= now
        {
            self.spent.pop_front();
            self.total = self.total.saturating_sub(cost);
        }
        let mut total = self.total;
        let room = self.budget.saturating_sub(cost.max(1));
        let mut ready_at = now;
        for (at, cost) in &self.spent {
            if total <= room {
                break;
            }
            total = total.saturating_sub(*cost);
            ready_at = *at + self.rate.per;
        }
        ready_at
    }

    fn spend(&mut self, cost: u32, now: Instant) {
        self.spent.push_back((now, cost.max(1)));
        self.total = self.total.saturating_add(cost.max(1));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn rate(budget: u32) -> Rate {
        Rate { budget, per: MINUTE }
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_goes_through_at_once_and_the_rest_waits_in_line() {
        let limiter = Arc::new(Limiter::new(rate(8)));
        let start = Instant::now();
        let mut ends = Vec::new();
        for number in 0..20 {
            limiter.acquire(1).await;
            ends.push((number, (Instant::now() - start).as_secs()));
        }
        let minutes: Vec<u64> = ends.iter().map(|(_, seconds)| seconds / 60).collect();
        assert_eq!(minutes.iter().filter(|minute| **minute == 0).count(), 8);
        assert_eq!(minutes.iter().filter(|minute| **minute == 1).count(), 8);
        assert_eq!(minutes.iter().filter(|minute| **minute == 2).count(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_call_needed_besides_is_waited_for_by_the_next() {
        let limiter = Limiter::new(rate(4));
        limiter.acquire(2).await;
        limiter.charge(10);
        let start = Instant::now();
        limiter.acquire(4).await;
        assert_eq!((Instant::now() - start).as_secs(), 60);
        limiter.acquire(100).await;
        assert_eq!(
            (Instant::now() - start).as_secs(),
            120,
            "more than the budget is let through alone, not never"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_waiting_has_spent_nothing() {
        let limiter = Limiter::new(rate(1));
        limiter.acquire(1).await;
        for _ in 0..10 {
            let waiting = tokio::time::timeout(Duration::from_secs(1), limiter.acquire(1)).await;
            assert!(waiting.is_err());
        }
        let start = Instant::now();
        limiter.acquire(1).await;
        assert!(Instant::now() - start <= MINUTE);
    }

    #[tokio::test(start_paused = true)]
    async fn several_processes_share_a_rate_and_each_has_at_least_one_call() {
        let limiters: Vec<Limiter> = (0..3).map(|_| Limiter::new(rate(20))).collect();
        for (limiter, part) in limiters.iter().zip([5, 4, 3]) {
            limiter.share(part, 12);
        }
        let budgets: Vec<u32> = limiters.iter().map(Limiter::budget).collect();
        assert_eq!(budgets, [8, 6, 5]);
        let start = Instant::now();
        for _ in 0..12 {
            limiters[1].acquire(1).await;
        }
        assert_eq!((Instant::now() - start).as_secs(), 60);
        // The others are gone.
        limiters[1].share(12, 12);
        for _ in 0..14 {
            limiters[1].acquire(1).await;
        }
        assert_eq!((Instant::now() - start).as_secs(), 60);
        for (part, whole) in [(0, 12), (1, 100), (1, 0)] {
            limiters[0].share(part, whole);
            assert!(limiters[0].budget() >= 1);
        }
    }

    proptest! {
        /// Wherever the provider's minute begins, no more than the budget falls into it.
        #[test]
        fn no_stretch_of_time_holds_more_than_the_budget(
            budget in 1_u32..20,
            calls in proptest::collection::vec((0_u64..30_000, 1_u32..6), 1..80),
        ) {
            let mut window = Window::new(rate(budget));
            let start = Instant::now();
            let mut now = start;
            let mut spent: Vec<(Instant, u32)> = Vec::new();
            for (pause, cost) in calls {
                let cost = cost.min(budget);
                now += Duration::from_millis(pause);
                now = window.ready_at(cost, now);
                prop_assert_eq!(window.ready_at(cost, now), now, "ready when it said so");
                window.spend(cost, now);
                spent.push((now, cost));
            }
            for (from, _) in &spent {
                let within: u32 = spent
                    .iter()
                    .filter(|(at, _)| from <= at && *at < *from + MINUTE)
                    .map(|(_, cost)| cost)
                    .sum();
                prop_assert!(within <= budget, "{within} of {budget}");
            }
            prop_assert!(window.spent.len() <= budget as usize);
        }
    }
}
