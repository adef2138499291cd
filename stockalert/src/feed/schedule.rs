use std::num::NonZeroU32;
use std::time::Duration;

/// How often is looked what is due.
pub(super) const BEAT: Duration = Duration::from_millis(1);
/// Most that is due at once, however long nobody looked. The rest follows at twice the rate.
const MOST_AT_ONCE: Duration = Duration::from_millis(20);
/// What is later than this is given up. After a broker was away for a minute, no market would say all at once what it had
/// to say in it.
const PATIENCE: Duration = Duration::from_secs(1);

/// So many quotes per second, counted from the start, so that no beat's lateness adds up. Without a clock.
#[derive(Debug)]
pub(super) struct Schedule {
    per_second: u64,
    /// When it was last looked.
    looked: Duration,
    /// Quotes that were due so far, the missed ones among them.
    done: u64,
    missed: u64,
}

impl Schedule {
    pub(super) fn new(per_second: NonZeroU32) -> Self {
        Self {
            per_second: per_second.get().into(),
            looked: Duration::ZERO,
            done: 0,
            missed: 0,
        }
    }

    /// How many quotes are to be made now, `elapsed` after the start.
    pub(super) fn due(&mut self, elapsed: Duration) -> u64 {
        let since = elapsed.saturating_sub(self.looked);
        self.looked = elapsed;
        let late = self.quotes_in(elapsed).saturating_sub(self.done);
        let given_up = late.saturating_sub(self.quotes_in(PATIENCE));
        let most = self.quotes_in((since * 2).min(MOST_AT_ONCE)).max(1);
        let due = (late - given_up).min(most);
        self.missed += given_up;
        self.done += given_up + due;
        due
    }

    /// Quotes that were due for so long that they were given up.
    pub(super) const fn missed(&self) -> u64 {
        self.missed
    }

    fn quotes_in(&self, time: Duration) -> u64 {
        let quotes = time.as_nanos() * u128::from(self.per_second) / 1_000_000_000;
        u64::try_from(quotes).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(per_second: u32) -> Schedule {
        Schedule::new(NonZeroU32::new(per_second).unwrap())
    }

    const fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn late_and_uneven_beats_lose_nothing() {
        for per_second in [1, 7, 999, 1_000, 100_000, 1_234_567] {
            let mut schedule = schedule(per_second);
            let (mut now, mut sent) = (0, 0);
            for step in (0..).map(|n: u64| 700 + n * 7_919 % 2_600) {
                now += step;
                sent += schedule.due(micros(now));
                if now > 10_000_000 {
                    break;
                }
            }
            let wanted = schedule.quotes_in(micros(now));
            assert!(wanted - sent <= 2, "{per_second}/s: {sent} of {wanted}");
            assert_eq!(schedule.missed(), 0);
        }
    }

    #[test]
    fn a_hiccup_is_made_up_for_at_twice_the_rate_without_a_burst() {
        let mut schedule = schedule(100_000);
        let mut sent: u64 = (1..=100).map(|beat| schedule.due(micros(beat * 1_000))).sum();
        assert_eq!(sent, 10_000);
        // 300 ms later.
        let first = schedule.due(micros(400_000));
        assert_eq!(first, 2_000, "20 ms worth");
        sent += first;
        let mut beats = 0;
        while sent < schedule.quotes_in(micros(400_000 + beats * 1_000)) {
            beats += 1;
            let due = schedule.due(micros(400_000 + beats * 1_000));
            assert!(due <= 200, "{due}");
            sent += due;
        }
        assert_eq!(beats, 280);
        assert_eq!(schedule.missed(), 0);
    }

    #[test]
    fn what_is_more_than_a_second_late_is_given_up_and_counted() {
        let mut schedule = schedule(1_000);
        assert_eq!(schedule.due(Duration::from_secs(60)), 20);
        assert_eq!(schedule.missed(), 59_000);
        let rest: u64 = (1..=2_000)
            .map(|beat| schedule.due(micros(60_000_000 + beat * 1_000)))
            .sum();
        assert_eq!(20 + rest + schedule.missed(), 62_000);
        assert_eq!(schedule.missed(), 59_000);
    }
}
