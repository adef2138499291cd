use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use cqrs::domain::Timestamp;
use serde::Serialize;

/// Rows that are shown where some are no quotes.
const ROWS_SHOWN: usize = 5;
const NO_ROW: i64 = i64::MIN;

/// How far the feed is. Shared by all its threads.
#[derive(Debug)]
pub(super) struct Counts {
    start: Instant,
    first_sent: OnceLock<Duration>,
    sent: AtomicU64,
    acknowledged: AtomicU64,
    failed: AtomicU64,
    /// When the last report came, after the start; and the longest waits for one, since somebody looked and in all. In
    /// microseconds.
    last_report: AtomicU64,
    slowest_lately: AtomicU64,
    slowest: AtomicU64,
    missed: AtomicU64,
    /// Time of the last row, in microseconds; and when the next one is due, in microseconds after the start.
    row: AtomicI64,
    next_row: AtomicU64,
    bad_rows: Mutex<BadRows>,
    fault: OnceLock<String>,
}

#[derive(Debug, Default)]
struct BadRows {
    count: u64,
    first: Vec<String>,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Snapshot {
    /// After the start.
    pub at: Duration,
    pub sent: u64,
    pub acknowledged: u64,
    pub failed: u64,
    /// The longest wait for an acknowledgement since the last snapshot.
    pub slowest: Duration,
    pub missed: u64,
    /// Time of the file's row that was published last.
    pub row: Option<Timestamp>,
    /// How long until the next one is due.
    pub next_row: Duration,
}

impl Snapshot {
    /// Quotes of which it is not known yet what became of them.
    pub(super) const fn waiting(&self) -> u64 {
        self.sent.saturating_sub(self.acknowledged + self.failed)
    }
}

/// How it went: with `--json`, exactly this.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Totals {
    pub sent: u64,
    pub acknowledged: u64,
    pub not_acknowledged: u64,
    /// Due, but given up because the rate could not be kept.
    pub missed: u64,
    pub skipped_rows: u64,
    /// From the first quote sent to the last acknowledgement.
    pub seconds: f64,
    /// Acknowledged ones.
    pub quotes_per_second: f64,
    pub slowest_acknowledgement_ms: f64,
    #[serde(skip)]
    pub bad_rows: Vec<String>,
    #[serde(skip)]
    pub fault: Option<String>,
}

impl Counts {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            first_sent: OnceLock::new(),
            sent: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            last_report: AtomicU64::new(0),
            slowest_lately: AtomicU64::new(0),
            slowest: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            row: AtomicI64::new(NO_ROW),
            next_row: AtomicU64::new(0),
            bad_rows: Mutex::default(),
            fault: OnceLock::new(),
        }
    }

    /// Microseconds after the start.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn begin(&self) {
        self.first_sent.get_or_init(|| self.start.elapsed());
    }

    /// Before it is given to the client, or its acknowledgement might be counted first.
    pub(super) fn sending(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// It was not given to the client after all.
    pub(super) fn kept(&self) {
        self.sent.fetch_sub(1, Ordering::Relaxed);
    }

    /// What became of a quote that was sent at `sent_at`.
    pub(super) fn report(&self, sent_at: u64, failure: Option<String>) {
        let now = self.now();
        let waited = now.saturating_sub(sent_at);
        self.last_report.fetch_max(now, Ordering::Relaxed);
        self.slowest_lately.fetch_max(waited, Ordering::Relaxed);
        match failure {
            None => {
                self.slowest.fetch_max(waited, Ordering::Relaxed);
                self.acknowledged.fetch_add(1, Ordering::Release);
            }
            Some(reason) => {
                self.fault.get_or_init(|| reason);
                self.failed.fetch_add(1, Ordering::Release);
            }
        }
    }

    /// `missed` in all.
    pub(super) fn missed(&self, missed: u64) {
        self.missed.store(missed, Ordering::Relaxed);
    }

    /// A row is published now.
    pub(super) fn row(&self, time: Timestamp) {
        self.row.store(time.as_micros(), Ordering::Relaxed);
    }

    /// The next row is waited for.
    pub(super) fn next_row(&self, due: Instant) {
        let due = due.saturating_duration_since(self.start).as_micros();
        self.next_row
            .store(u64::try_from(due).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn bad_row(&self, error: &dyn std::fmt::Display) {
        let mut rows = self.bad_rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.count += 1;
        if rows.first.len() < ROWS_SHOWN {
            rows.first.push(error.to_string());
        }
    }

    /// Whether it is known of every quote what became of it.
    pub(super) fn is_settled(&self) -> bool {
        let settled = self.acknowledged.load(Ordering::Acquire) + self.failed.load(Ordering::Acquire);
        settled == self.sent.load(Ordering::Acquire)
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let at = self.start.elapsed();
        let row = Some(self.row.load(Ordering::Relaxed)).filter(|micros| *micros != NO_ROW);
        Snapshot {
            at,
            acknowledged: self.acknowledged.load(Ordering::Acquire),
            failed: self.failed.load(Ordering::Acquire),
            sent: self.sent.load(Ordering::Acquire),
            slowest: Duration::from_micros(self.slowest_lately.swap(0, Ordering::Relaxed)),
            missed: self.missed.load(Ordering::Relaxed),
            row: row.map(Timestamp::from_micros),
            next_row: Duration::from_micros(self.next_row.load(Ordering::Relaxed)).saturating_sub(at),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub(super) fn totals(&self) -> Totals {
        let acknowledged = self.acknowledged.load(Ordering::Acquire);
        let sent = self.sent.load(Ordering::Acquire);
        let end = Duration::from_micros(self.last_report.load(Ordering::Relaxed));
        let seconds = self
            .first_sent
            .get()
            .map_or(0.0, |first| end.saturating_sub(*first).as_secs_f64());
        let slowest = Duration::from_micros(self.slowest.load(Ordering::Relaxed));
        let rows = self.bad_rows.lock().unwrap_or_else(PoisonError::into_inner);
        Totals {
            sent,
            acknowledged,
            not_acknowledged: sent.saturating_sub(acknowledged),
            missed: self.missed.load(Ordering::Relaxed),
            skipped_rows: rows.count,
            seconds,
            quotes_per_second: if seconds > 0.0 {
                acknowledged as f64 / seconds
            } else {
                0.0
            },
            slowest_acknowledgement_ms: slowest.as_secs_f64() * 1e3,
            bad_rows: rows.first.clone(),
            fault: self.fault.get().cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_settled_once_it_is_known_of_every_quote_what_became_of_it() {
        let counts = Counts::new();
        counts.begin();
        assert!(counts.is_settled());
        for _ in 0..4 {
            counts.sending();
        }
        counts.kept();
        counts.report(0, None);
        counts.report(0, Some("no".into()));
        assert!(!counts.is_settled());
        assert_eq!(
            counts.totals().not_acknowledged,
            2,
            "one failed, of one it is not known"
        );
        counts.report(0, Some("no again".into()));
        assert!(counts.is_settled());
        let totals = counts.totals();
        assert_eq!(
            (totals.sent, totals.acknowledged, totals.not_acknowledged),
            (3, 1, 2)
        );
        assert_eq!(totals.fault.as_deref(), Some("no"), "the first reason");
    }

    #[test]
    fn all_bad_rows_are_counted_and_the_first_are_shown() {
        let counts = Counts::new();
        for line in 1..=100 {
            counts.bad_row(&format!("line {line}"));
        }
        let totals = counts.totals();
        assert_eq!(totals.skipped_rows, 100);
        assert_eq!(
            totals.bad_rows,
            ["line 1", "line 2", "line 3", "line 4", "line 5"]
        );
    }
}
