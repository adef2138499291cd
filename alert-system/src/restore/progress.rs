use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How far a restore is, counted in offsets: records that were compacted away count as read.
#[derive(Debug)]
pub(crate) struct Progress {
    total: AtomicU64,
    done: AtomicU64,
    started: Instant,
    told: Mutex<Instant>,
}

impl Progress {
    /// The log gets a line this often.
    const TELL: Duration = Duration::from_secs(3);

    pub(super) fn new() -> Self {
        Self {
            total: AtomicU64::new(0),
            done: AtomicU64::new(0),
            started: Instant::now(),
            told: Mutex::new(Instant::now()),
        }
    }

    pub(super) fn expect(&self, records: u64) {
        self.total.fetch_add(records, Ordering::Relaxed);
    }

    pub(super) fn advance(&self, records: u64) {
        self.done.fetch_add(records, Ordering::Relaxed);
    }

    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// A line in the log, if the last is some seconds old.
    pub(super) fn tell(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() < Self::TELL {
            return;
        }
        *told = Instant::now();
        let (done, total, elapsed) = (self.done(), self.total(), self.elapsed());
        tracing::info!(
            records = done,
            of = total,
            percent = percent(done, total),
            records_per_second = per_second(done, elapsed),
            seconds_left = seconds_left(done, total, elapsed),
            "restoring"
        );
    }
}

/// In whole percent.
pub(crate) fn percent(done: u64, total: u64) -> u64 {
    (done * 100)
        .checked_div(total)
        .map_or(0, |percent| percent.min(100))
}

pub(crate) fn per_second(done: u64, elapsed: Duration) -> u64 {
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    (done * 1_000).checked_div(millis).unwrap_or(0)
}

/// At the speed so far, rounded up; not known before anything was read.
pub(crate) fn seconds_left(done: u64, total: u64, elapsed: Duration) -> Option<u64> {
    match per_second(done, elapsed) {
        0 => None,
        speed => Some(total.saturating_sub(done).div_ceil(speed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_estimated_at_the_speed_so_far() {
        let elapsed = Duration::from_secs(4);
        assert_eq!(percent(430, 1_000), 43);
        assert_eq!(per_second(400, elapsed), 100);
        assert_eq!(seconds_left(400, 1_000, elapsed), Some(6));
        assert_eq!(seconds_left(0, 1_000, elapsed), None);
        assert_eq!(percent(0, 0), 0);
    }
}
