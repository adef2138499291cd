//! When each ticker is polled.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use cqrs::domain::Ticker;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::{BEATS_SKIPPED, TICKERS_WATCHED};
use crate::watchlist::WatchChange;

/// Polls each watched ticker once per `interval` until `shutdown`, then waits for the polls in hand.
///
/// The tickers are spread over the interval by their hash, so that a thousand of them are not asked for at once. A
/// ticker's beats stay where they are, however long polls take; a beat on which the ticker's last poll still runs is
/// left out, and so are beats that pass while `limit` polls run. `poll` is given what it returned the last time, or a
/// default when the ticker is newly watched. `watched` is how many there are.
///
/// # Errors
/// If a poll panicked.
pub async fn run<S, P, F>(
    interval: Duration,
    limit: usize,
    mut changes: mpsc::Receiver<WatchChange>,
    shutdown: CancellationToken,
    watched: Arc<AtomicU64>,
    poll: P,
) -> anyhow::Result<()>
where
    S: Default + Send + 'static,
    P: Fn(Ticker, S) -> F,
    F: Future<Output = S> + Send + 'static,
{
    let mut beats = Beats::new(interval, watched);
    let mut running: JoinSet<(Ticker, S)> = JoinSet::new();
    loop {
        let next = beats.next().filter(|_| running.len() < limit);
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(ended) = running.join_next() => {
                let (ticker, state) = ended.context("a poll ended by a fault in the program")?;
                beats.ended(&ticker, state);
            }
            change = changes.recv() => match change {
                Some(WatchChange::Watch(ticker)) => beats.watch(ticker),
                Some(WatchChange::Unwatch(ticker)) => beats.unwatch(&ticker),
                None => break,
            },
            () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                if let Some((ticker, state)) = beats.start() {
                    let polled = poll(ticker.clone(), state);
                    running.spawn(async move { (ticker, polled.await) });
                }
            }
        }
    }
    while let Some(ended) = running.join_next().await {
        ended.context("a poll ended by a fault in the program")?;
    }
    Ok(())
}

/// The watched tickers and their next beats.
struct Beats<S> {
    interval: Duration,
    epoch: Instant,
    watched: HashMap<Ticker, Entry<S>>,
    due: BTreeSet<(Instant, Ticker)>,
    /// Also those that were unwatched meanwhile: watched again, they must not be polled twice at a time.
    running: HashSet<Ticker>,
    count: Arc<AtomicU64>,
}

struct Entry<S> {
    due: Instant,
    state: S,
}

impl<S: Default> Beats<S> {
    fn new(interval: Duration, count: Arc<AtomicU64>) -> Self {
        Self {
            interval,
            count,
            epoch: Instant::now(),
            watched: HashMap::new(),
            due: BTreeSet::new(),
            running: HashSet::new(),
        }
    }

    fn next(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    fn watch(&mut self, ticker: Ticker) {
        if self.watched.contains_key(&ticker) {
            return;
        }
        let due = self.beat_after(&ticker, Instant::now());
        self.due.insert((due, ticker.clone()));
        self.watched.insert(
            ticker,
            Entry {
                due,
                state: S::default(),
            },
        );
        self.count();
    }

    fn unwatch(&mut self, ticker: &Ticker) {
        if let Some(entry) = self.watched.remove(ticker) {
            self.due.remove(&(entry.due, ticker.clone()));
        }
        self.count();
    }

    /// The ticker whose beat has come, if its last poll has ended.
    fn start(&mut self) -> Option<(Ticker, S)> {
        let (_, ticker) = self.due.pop_first()?;
        let due = self.beat_after(&ticker, Instant::now());
        let entry = self.watched.get_mut(&ticker)?;
        entry.due = due;
        self.due.insert((due, ticker.clone()));
        if !self.running.insert(ticker.clone()) {
            metrics::counter!(BEATS_SKIPPED).increment(1);
            return None;
        }
        Some((ticker, std::mem::take(&mut entry.state)))
    }

    fn ended(&mut self, ticker: &Ticker, state: S) {
        self.running.remove(ticker);
        if let Some(entry) = self.watched.get_mut(ticker) {
            entry.state = state;
        }
    }

    /// The ticker's first beat after `now`: one interval away at most.
    fn beat_after(&self, ticker: &Ticker, now: Instant) -> Instant {
        let interval = self.interval.as_nanos().max(1);
        let phase = u128::from(crate::hash(ticker)) % interval;
        let elapsed = now.saturating_duration_since(self.epoch).as_nanos();
        let behind = (elapsed + interval - phase) % interval;
        now + Duration::from_nanos(u64::try_from(interval - behind).unwrap_or(u64::MAX))
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of tickers is far below 2^52")]
    fn count(&self) {
        metrics::gauge!(TICKERS_WATCHED).set(self.watched.len() as f64);
        self.count.store(self.watched.len() as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    type Polls = Arc<Mutex<Vec<(Ticker, Instant, usize)>>>;

    const INTERVAL: Duration = Duration::from_secs(10);

    struct Trial {
        changes: mpsc::Sender<WatchChange>,
        shutdown: CancellationToken,
        /// Ticker, time, and the state that was given.
        polls: Polls,
        /// Polls running now, and the most so far.
        most_at_once: Arc<Mutex<(usize, usize)>>,
        task: tokio::task::JoinHandle<anyhow::Result<()>>,
    }

    /// Polls take `takes`; the state counts a ticker's polls.
    fn start(limit: usize, takes: Duration) -> Trial {
        let (changes, receiver) = mpsc::channel(100_000);
        let shutdown = CancellationToken::new();
        let polls = Polls::default();
        let most_at_once = Arc::new(Mutex::new((0, 0)));
        let (seen, load) = (Arc::clone(&polls), Arc::clone(&most_at_once));
        let poll = move |ticker: Ticker, state: usize| {
            let (seen, load) = (Arc::clone(&seen), Arc::clone(&load));
            async move {
                seen.lock().unwrap().push((ticker, Instant::now(), state));
                {
                    let mut load = load.lock().unwrap();
                    load.0 += 1;
                    load.1 = load.1.max(load.0);
                }
                tokio::time::sleep(takes).await;
                load.lock().unwrap().0 -= 1;
                state + 1
            }
        };
        let count = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(run(
            INTERVAL,
            limit,
            receiver,
            shutdown.clone(),
            Arc::clone(&count),
            poll,
        ));
        Trial {
            changes,
            shutdown,
            polls,
            most_at_once,
            task,
        }
    }

    fn ticker(number: usize) -> Ticker {
        format!("T{number}").parse().unwrap()
    }

    impl Trial {
        async fn watch(&self, number: usize) {
            self.changes
                .send(WatchChange::Watch(ticker(number)))
                .await
                .unwrap();
        }

        fn times_of(&self, number: usize) -> Vec<Instant> {
            let polls = self.polls.lock().unwrap();
            polls
                .iter()
                .filter(|(polled, ..)| *polled == ticker(number))
                .map(|(_, at, _)| *at)
                .collect()
        }

        async fn end(self) -> usize {
            self.shutdown.cancel();
            self.task.await.unwrap().unwrap();
            self.most_at_once.lock().unwrap().1
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_ticker_is_polled_once_per_interval_without_drift() {
        let trial = start(100, Duration::from_secs(3));
        let start = Instant::now();
        for number in 0..50 {
            trial.watch(number).await;
        }
        tokio::time::sleep(INTERVAL * 20 + Duration::from_millis(5)).await;
        let mut firsts = Vec::new();
        for number in 0..50 {
            let times = trial.times_of(number);
            assert_eq!(times.len(), 20);
            assert!(times[0] - start <= INTERVAL + Duration::from_millis(1));
            // Paused time moves in whole milliseconds.
            let drift = (times[19] - times[0]).abs_diff(INTERVAL * 19);
            assert!(drift <= Duration::from_millis(2), "{drift:?}");
            firsts.push((times[0] - start).as_secs());
        }
        for second in 0..10 {
            let share = firsts.iter().filter(|first| **first == second).count();
            assert!(share < 20, "spread over the interval: {firsts:?}");
        }
        trial.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_poll_leaves_beats_out_and_never_overlaps() {
        let trial = start(100, Duration::from_secs(25));
        trial.watch(1).await;
        tokio::time::sleep(INTERVAL * 30 + Duration::from_millis(5)).await;
        let times = trial.times_of(1);
        assert_eq!(times.len(), 10, "each third beat");
        let states: Vec<usize> = trial
            .polls
            .lock()
            .unwrap()
            .iter()
            .map(|(_, _, state)| *state)
            .collect();
        assert_eq!(
            states,
            (0..10).collect::<Vec<_>>(),
            "what a poll returns, the next is given"
        );
        assert_eq!(trial.end().await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticker_watched_again_while_its_poll_runs_is_not_polled_twice_at_a_time() {
        let trial = start(100, Duration::from_secs(25));
        trial.watch(1).await;
        for _ in 0..30 {
            tokio::time::sleep(Duration::from_secs(4)).await;
            trial.changes.send(WatchChange::Unwatch(ticker(1))).await.unwrap();
            trial.watch(1).await;
        }
        assert!(trial.times_of(1).len() > 1);
        assert_eq!(trial.end().await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_polls_than_the_limit_run_at_once_and_every_ticker_gets_its_turn() {
        let trial = start(4, Duration::from_secs(1));
        for number in 0..40 {
            trial.watch(number).await;
        }
        tokio::time::sleep(INTERVAL * 4).await;
        for number in 0..40 {
            assert!(trial.times_of(number).len() >= 2, "{number}");
        }
        assert_eq!(trial.end().await, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unwatched_ticker_is_polled_no_more() {
        let trial = start(4, Duration::ZERO);
        trial.watch(1).await;
        tokio::time::sleep(INTERVAL * 3).await;
        trial.changes.send(WatchChange::Unwatch(ticker(1))).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        let before = trial.times_of(1).len();
        assert_eq!(before, 3);
        tokio::time::sleep(INTERVAL * 5).await;
        assert_eq!(trial.times_of(1).len(), before);
        trial.end().await;
    }
}
