use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use cqrs::domain::Timestamp;

use super::counts::{Snapshot, Totals};
use crate::screen::printable;

/// One line on the terminal that tells how far it is; standard output is left to the result.
#[derive(Debug)]
pub(super) struct Progress {
    on: bool,
    before: Snapshot,
    /// Since when quotes wait and nothing is heard of any, after the start.
    silent_since: Option<Duration>,
}

/// As wide as a terminal that doesn't tell how wide it is.
const WIDTH: usize = 80;
/// What is shorter needs no mention.
const WORTH_TELLING: Duration = Duration::from_secs(1);

impl Progress {
    pub(super) fn detect() -> Self {
        Self {
            on: io::stderr().is_terminal(),
            before: Snapshot::default(),
            silent_since: None,
        }
    }

    /// Also where there is no terminal.
    pub(super) fn say(&self, text: &str) {
        // Nobody is left to tell where this fails.
        let _ = writeln!(io::stderr(), "{}", printable(text));
    }

    /// That it does not end yet, and why.
    pub(super) fn explain(&self, text: &str) {
        self.end();
        self.say(text);
    }

    pub(super) fn show(&mut self, now: Snapshot) {
        let silent = self.silent(now);
        if self.on {
            let mut terminal = io::stderr().lock();
            // A line that is wider than the terminal would not be renewed but repeated.
            let width = terminal_size::terminal_size_of(&terminal)
                .map_or(WIDTH, |(terminal_size::Width(width), _)| usize::from(width));
            let line: String = line(self.before, now, silent)
                .chars()
                .take(width.saturating_sub(1))
                .collect();
            let _ = write!(terminal, "\r{line}\u{1b}[K").and_then(|()| terminal.flush());
        }
        self.before = now;
    }

    /// How long quotes have been waiting of which nothing is heard.
    fn silent(&mut self, now: Snapshot) -> Duration {
        let heard = |snapshot: Snapshot| snapshot.acknowledged + snapshot.failed;
        if self.before.waiting() == 0 || now.waiting() == 0 || heard(now) != heard(self.before) {
            self.silent_since = None;
            return Duration::ZERO;
        }
        now.at
            .saturating_sub(*self.silent_since.get_or_insert(self.before.at))
    }

    pub(super) fn end(&self) {
        if self.on && self.before != Snapshot::default() {
            let _ = writeln!(io::stderr());
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn line(before: Snapshot, now: Snapshot, silent: Duration) -> String {
    let seconds = now.at.saturating_sub(before.at).as_secs_f64().max(1e-3);
    let rate = now.acknowledged.saturating_sub(before.acknowledged) as f64 / seconds;
    let mut line = format!("{:>5.0} s  ", now.at.as_secs_f64());
    if let Some(row) = now.row {
        // Its seconds are enough.
        let second = Timestamp::from_micros(row.as_micros().div_euclid(1_000_000) * 1_000_000);
        line.push_str(&format!("{second}  "));
    }
    line.push_str(&format!("{} acknowledged  {rate:.0}/s  ", now.acknowledged));
    if now.failed > 0 {
        line.push_str(&format!("{} FAILED  ", now.failed));
    }
    if now.missed > 0 {
        line.push_str(&format!("{} NOT MADE  ", now.missed));
    }
    let waiting = now.waiting();
    line.push_str(&if waiting > 0 && silent >= WORTH_TELLING {
        format!("{waiting} waiting, NO ANSWER for {} s", silent.as_secs())
    } else if waiting == 0 && now.next_row >= WORTH_TELLING {
        format!("next row in {} s", now.next_row.as_secs())
    } else {
        format!("{waiting} waiting, up to {} ms", now.slowest.as_millis())
    });
    line
}

/// For people, after the end.
pub(super) fn summary(totals: &Totals) -> String {
    let mut text = format!(
        "Quotes sent: {}; acknowledged: {} in {:.1} s, {:.0}/s; the slowest after {:.0} ms.\n",
        totals.sent,
        totals.acknowledged,
        totals.seconds,
        totals.quotes_per_second,
        totals.slowest_acknowledgement_ms
    );
    if totals.missed > 0 {
        text.push_str(&format!(
            "Due but never made, because this machine or the broker could not keep the rate: {}.\n",
            totals.missed
        ));
    }
    if totals.skipped_rows > 0 {
        text.push_str(&format!("Rows skipped: {}.\n", totals.skipped_rows));
        for row in &totals.bad_rows {
            text.push_str(&format!("  {}\n", printable(row)));
        }
        if u64::try_from(totals.bad_rows.len()).is_ok_and(|shown| shown < totals.skipped_rows) {
            text.push_str("  ...\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_what_happened_since_the_last_one() {
        let before = Snapshot {
            at: Duration::from_secs(9),
            sent: 900_500,
            acknowledged: 900_000,
            ..Snapshot::default()
        };
        let now = Snapshot {
            at: Duration::from_secs(11),
            sent: 1_100_700,
            acknowledged: 1_100_000,
            slowest: Duration::from_micros(12_345),
            ..Snapshot::default()
        };
        let at_once = |before, now| line(before, now, Duration::ZERO);
        assert_eq!(
            at_once(before, now),
            "   11 s  1100000 acknowledged  100000/s  700 waiting, up to 12 ms"
        );
        let failing = Snapshot {
            failed: 3,
            missed: 4,
            ..now
        };
        assert!(at_once(before, failing).ends_with("  3 FAILED  4 NOT MADE  697 waiting, up to 12 ms"));
        at_once(now, now);
    }

    #[test]
    fn a_row_that_is_far_away_is_told_from_a_broker_that_does_not_answer() {
        let mut progress = Progress {
            on: false,
            before: Snapshot::default(),
            silent_since: None,
        };
        let mut at = |second, sent, acknowledged| {
            let now = Snapshot {
                at: Duration::from_secs(second),
                sent,
                acknowledged,
                row: Some(Timestamp::from_micros(1_381_132_800_688_000)),
                next_row: Duration::from_millis(170_900),
                ..Snapshot::default()
            };
            let before = progress.before;
            let silent = progress.silent(now);
            progress.show(now);
            line(before, now, silent)
        };
        assert_eq!(
            at(9, 5, 5),
            "    9 s  2013-10-07T08:00:00Z  5 acknowledged  1/s  next row in 170 s"
        );
        // The wait for it is shorter than the time in which nothing was sent.
        assert!(at(60, 6, 5).ends_with("  1 waiting, up to 0 ms"));
        assert!(at(61, 7, 5).ends_with("  2 waiting, NO ANSWER for 1 s"));
        assert!(at(70, 9, 5).ends_with("  4 waiting, NO ANSWER for 10 s"));
        assert!(at(71, 9, 8).ends_with("  1 waiting, up to 0 ms"));
        assert!(at(72, 9, 8).ends_with("  1 waiting, NO ANSWER for 1 s"));
        assert!(at(73, 9, 9).ends_with("  next row in 170 s"));
    }

    #[test]
    fn what_did_not_come_to_pass_is_told() {
        let totals = Totals {
            sent: 10,
            acknowledged: 9,
            not_acknowledged: 1,
            missed: 7,
            skipped_rows: 6,
            seconds: 2.0,
            quotes_per_second: 4.5,
            slowest_acknowledgement_ms: 3.21,
            bad_rows: vec!["line 2: it has 1 \u{1b} fields".into()],
            fault: None,
        };
        assert_eq!(
            summary(&totals),
            "Quotes sent: 10; acknowledged: 9 in 2.0 s, 4/s; the slowest after 3 ms.\n\
             Due but never made, because this machine or the broker could not keep the rate: 7.\n\
             Rows skipped: 6.\n  line 2: it has 1 \u{fffd} fields\n  ...\n"
        );
    }
}
