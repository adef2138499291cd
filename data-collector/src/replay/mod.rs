//! Past prices from a CSV file, published again at a chosen speed.
//!
//! A source that pushes: every row is published, in the file's order, whatever rules exist. Rows keep their time, so
//! that times may step back as they did; their readers decide what is too late.

mod rows;

use std::fs::File;
use std::future::Future;
use std::io::BufReader;
use std::path::PathBuf;
use std::time::Duration;

use cqrs::domain::{Quote, Timestamp};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use service::kafka::KafkaError;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::metrics::ROWS_SKIPPED;
use crate::publish::Publisher;

pub use rows::{HEADER, ReplayError, RowError, Rows};

/// What quotes name as their source.
pub const NAME: &str = "replay";

/// Rows read ahead of their publication.
const READ_AHEAD: usize = 1_024;
/// Quotes that wait for their acknowledgement: enough to fill the client's batches, few enough to bound memory.
const MAX_IN_FLIGHT: usize = 20_000;
/// Bad rows that are logged one by one; the others are only counted.
const BAD_ROWS_LOGGED: u64 = 20;
/// How often a running replay tells how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// A file that was opened and has the right header.
pub type OpenFile = Rows<BufReader<File>>;

/// What is replayed, and how fast.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// The CSV file.
    pub path: PathBuf,
    /// How many times faster than it happened; 0: as fast as possible. Not negative.
    pub speed: f64,
}

/// How a replay went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Rows acknowledged by the broker.
    pub published: u64,
    /// Rows that the broker did not acknowledge in time.
    pub undelivered: u64,
    /// Rows that are no quotes.
    pub skipped: u64,
}

impl Replay {
    /// Publishes the file from `rows`, which the caller opened, until its end or until shutdown; returns when everything
    /// that was sent is acknowledged or given up. While the client's queue is full, it waits.
    pub async fn run(&self, rows: OpenFile, publisher: &Publisher, shutdown: &CancellationToken) -> Totals {
        let (sender, mut receiver) = mpsc::channel(READ_AHEAD);
        // A file can block (a network's, a pipe): it is read on a thread that may.
        tokio::task::spawn_blocking(move || {
            rows.into_iter()
                .try_for_each(|row| sender.blocking_send(row).ok())
        });
        let mut totals = Totals::default();
        let mut pace = Pace::new(self.speed);
        let mut next: Option<(Quote, Instant)> = None;
        let mut in_flight = FuturesUnordered::new();
        let mut progress = tokio::time::interval_at(Instant::now() + PROGRESS_INTERVAL, PROGRESS_INTERVAL);
        progress.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut at_end = false;
        while !at_end || next.is_some() || !in_flight.is_empty() {
            let is_free = in_flight.len() < MAX_IN_FLIGHT;
            let due = next.as_ref().map_or_else(Instant::now, |(_, due)| *due);
            tokio::select! {
                biased;
                () = shutdown.cancelled(), if !at_end || next.is_some() => {
                    (at_end, next) = (true, None);
                    receiver.close();
                }
                Some(result) = in_flight.next(), if !in_flight.is_empty() => totals.settled(result),
                _ = progress.tick() => tracing::info!(?totals, "replaying"),
                () = tokio::time::sleep_until(due), if next.is_some() && is_free => {
                    if let Some((quote, _)) = next.take() {
                        in_flight.extend(totals.send(quote, publisher).await);
                    }
                }
                row = receiver.recv(), if next.is_none() && !at_end && is_free => match row {
                    Some(Ok(quote)) => match pace.due(quote.event_time) {
                        Some(due) => next = Some((quote, due)),
                        None => in_flight.extend(totals.send(quote, publisher).await),
                    },
                    Some(Err(error)) => totals.skip(&error),
                    None => at_end = true,
                },
            }
        }
        totals
    }
}

impl Totals {
    async fn send(
        &mut self,
        quote: Quote,
        publisher: &Publisher,
    ) -> Option<impl Future<Output = Result<(), KafkaError>> + use<>> {
        let quote = Quote {
            ingest_time: Timestamp::now(),
            ..quote
        };
        match publisher.send(&quote).await {
            Ok(acknowledgement) => Some(acknowledgement),
            Err(error) => {
                self.settled(Err(error));
                None
            }
        }
    }

    fn settled(&mut self, result: Result<(), KafkaError>) {
        match result {
            Ok(()) => self.published += 1,
            Err(error) => {
                // A broker that is away fails thousands at once; the totals tell how many.
                if self.undelivered == 0 {
                    tracing::error!("a row was not published, and maybe more: {error}");
                }
                self.undelivered += 1;
            }
        }
    }

    fn skip(&mut self, error: &RowError) {
        metrics::counter!(ROWS_SKIPPED).increment(1);
        self.skipped += 1;
        if self.skipped <= BAD_ROWS_LOGGED {
            tracing::warn!("a row is skipped: {error}");
        }
        if self.skipped == BAD_ROWS_LOGGED {
            tracing::warn!("further bad rows are only counted");
        }
    }
}

/// When each row is due.
#[derive(Debug)]
pub struct Pace {
    speed: f64,
    start: Option<(Timestamp, Instant)>,
}

impl Pace {
    /// `speed` times as fast as it happened; 0: always due.
    #[must_use]
    pub const fn new(speed: f64) -> Self {
        Self { speed, start: None }
    }

    /// When a row of `event_time` is due, counted from the first row; none: at once. A row whose time steps back is due
    /// at once, because its moment has passed.
    pub fn due(&mut self, event_time: Timestamp) -> Option<Instant> {
        if self.speed == 0.0 {
            return None;
        }
        let (first, start) = *self.start.get_or_insert_with(|| (event_time, Instant::now()));
        let elapsed = event_time.since(first).as_secs_f64() / self.speed;
        // A gap of years at a tiny speed is past what an instant can hold: wait "for ever".
        let elapsed = Duration::try_from_secs_f64(elapsed).unwrap_or(Duration::MAX);
        Some(
            start
                .checked_add(elapsed)
                .unwrap_or_else(|| start + Duration::from_secs(30 * 365 * 86_400)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn rows_are_due_as_far_apart_as_they_happened_divided_by_the_speed() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let start = Instant::now();
        let mut pace = Pace::new(10.0);
        assert_eq!(pace.due(at(100)), Some(start));
        assert_eq!(pace.due(at(160)), Some(start + Duration::from_secs(6)));
        assert_eq!(pace.due(at(40)), Some(start), "late rows are due at once");
        assert_eq!(pace.due(at(130)), Some(start + Duration::from_secs(3)));
        assert_eq!(Pace::new(0.0).due(at(1)), None);
        let mut slow = Pace::new(1e-300);
        slow.due(at(1));
        assert!(
            slow.due(at(2))
                .is_some_and(|due| due > start + Duration::from_secs(86_400))
        );
    }
}
