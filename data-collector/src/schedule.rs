//! When each ticker is polled.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use cqrs::domain::{Ticker, Timestamp};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::{BEATS_SKIPPED, TICKERS_WATCHED};
use crate::watchlist::WatchChange;

/// How long a ticker may be without a holder while it passes from one instance to another: the session timeout of a killed
/// one, the heartbeat by which the others hear of it, and reading its rules. A beat of that time may have been missed.
const HANDOVER: Duration = Duration::from_secs(15);
/// When missed beats are made up for. Not before: of the rules that are read, a later one may say that the ticker is not
/// wanted any more. And not all at once.
const MADE_UP_AFTER: Duration = Duration::from_millis(500);
const MADE_UP_WITHIN: Duration = Duration::from_secs(2);

/// Polls each watched ticker once per `interval` until `shutdown`, then waits for the polls in hand.
///
/// The tickers are spread over the interval by their hash, so that a thousand of them are not asked for at once. A
/// ticker's beats stay where they are, however long polls take; a beat on which the ticker's last poll still runs is
/// left out, and so are beats that pass while `limit` polls run. A poll whose ticker is watched no more is dropped: it may
/// still wait for the provider, and somebody else asks now. `poll` is given what it returned the last time, or a
/// default when the ticker is newly watched. `watched` is how many there are.
///
/// Beats follow from the ticker and the wall clock, so that they are the same in every instance: a ticker that passes to
/// another one keeps its rhythm. The new holder can't know whether the last beat was kept. If that was less than
/// `HANDOVER` ago, it polls soon, and leaves out a beat that would come right after; so a ticker is silent for no longer
/// than `interval` and the time that it had no holder, and is polled once too often at most.
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
    let mut beats = Beats::new(interval, Timestamp::now(), watched);
    let mut running: JoinSet<(Ticker, Option<S>)> = JoinSet::new();
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
                if let Some((ticker, state, dropped)) = beats.start() {
                    let polled = poll(ticker.clone(), state);
                    running.spawn(async move { (ticker, dropped.run_until_cancelled(polled).await) });
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
    /// A moment, and how far into the interval the wall clock was then. It is asked once: steps of it move no beats.
    origin: (Instant, u128),
    watched: HashMap<Ticker, Entry<S>>,
    due: BTreeSet<(Instant, Ticker)>,
    /// Also those that were unwatched meanwhile: watched again, they must not be polled twice at a time. With what drops
    /// their polls.
    running: HashMap<Ticker, CancellationToken>,
    count: Arc<AtomicU64>,
}

struct Entry<S> {
    due: Instant,
    /// Whether that is no beat, but in the place of one that may have been missed.
    makes_up: bool,
    state: S,
}

impl<S: Default> Beats<S> {
    fn new(interval: Duration, now: Timestamp, count: Arc<AtomicU64>) -> Self {
        let wall = u128::try_from(now.as_micros()).unwrap_or(0) * 1_000;
        Self {
            interval,
            count,
            origin: (Instant::now(), wall % interval.as_nanos().max(1)),
            watched: HashMap::new(),
            due: BTreeSet::new(),
            running: HashMap::new(),
        }
    }

    fn next(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    fn watch(&mut self, ticker: Ticker) {
        if self.watched.contains_key(&ticker) {
            return;
        }
        let now = Instant::now();
        let next = self.beat_after(&ticker, now);
        let soon = now + MADE_UP_AFTER + spread(&ticker, MADE_UP_WITHIN);
        // The last beat was an interval before the next.
        let makes_up = self.interval < HANDOVER + (next - now) && soon < next;
        let due = if makes_up { soon } else { next };
        self.due.insert((due, ticker.clone()));
        self.watched.insert(
            ticker,
            Entry {
                due,
                makes_up,
                state: S::default(),
            },
        );
        self.count();
    }

    fn unwatch(&mut self, ticker: &Ticker) {
        if let Some(entry) = self.watched.remove(ticker) {
            self.due.remove(&(entry.due, ticker.clone()));
        }
        if let Some(drops) = self.running.get(ticker) {
            drops.cancel();
        }
        self.count();
    }

    /// The ticker whose beat has come, if its last poll has ended; and what tells that the poll is to be dropped.
    fn start(&mut self) -> Option<(Ticker, S, CancellationToken)> {
        let (_, ticker) = self.due.pop_first()?;
        let now = Instant::now();
        let mut due = self.beat_after(&ticker, now);
        let entry = self.watched.get_mut(&ticker)?;
        if std::mem::take(&mut entry.makes_up) && due - now < HANDOVER.min(self.interval / 2) {
            due += self.interval;
        }
        entry.due = due;
        self.due.insert((due, ticker.clone()));
        if self.running.contains_key(&ticker) {
            metrics::counter!(BEATS_SKIPPED).increment(1);
            return None;
        }
        let drops = CancellationToken::new();
        self.running.insert(ticker.clone(), drops.clone());
        Some((ticker, std::mem::take(&mut entry.state), drops))
    }

    /// None: the poll was dropped.
    fn ended(&mut self, ticker: &Ticker, state: Option<S>) {
        self.running.remove(ticker);
        if let (Some(entry), Some(state)) = (self.watched.get_mut(ticker), state) {
            entry.state = state;
        }
    }

    /// The ticker's first beat after `now`: one interval away at most.
    fn beat_after(&self, ticker: &Ticker, now: Instant) -> Instant {
        let interval = self.interval.as_nanos().max(1);
        let phase = spread(ticker, self.interval).as_nanos();
        let (origin, wall) = self.origin;
        let elapsed = wall + now.saturating_duration_since(origin).as_nanos();
        let behind = (elapsed + interval - phase) % interval;
        now + Duration::from_nanos(u64::try_from(interval - behind).unwrap_or(u64::MAX))
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of tickers is far below 2^52")]
    fn count(&self) {
        metrics::gauge!(TICKERS_WATCHED).set(self.watched.len() as f64);
        self.count.store(self.watched.len() as u64, Ordering::Relaxed);
    }
}

/// The ticker's place in a time over which tickers are spread.
fn spread(ticker: &Ticker, over: Duration) -> Duration {
    let place = u128::from(crate::hash(ticker)) % over.as_nanos().max(1);
    Duration::from_nanos(u64::try_from(place).unwrap_or(0))
}

#[cfg(test)]
mod tests;
