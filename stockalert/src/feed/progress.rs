use std::io::{self, IsTerminal as _, Write as _};

use super::counts::{Snapshot, Totals};
use crate::screen::printable;

/// One line on the terminal that tells how far it is; standard output is left to the result.
#[derive(Debug)]
pub(super) struct Progress {
    on: bool,
    before: Snapshot,
}

impl Progress {
    pub(super) fn detect() -> Self {
        Self {
            on: io::stderr().is_terminal(),
            before: Snapshot::default(),
        }
    }

    /// Also where there is no terminal.
    pub(super) fn say(&self, text: &str) {
        // Nobody is left to tell where this fails.
        let _ = writeln!(io::stderr(), "{}", printable(text));
    }

    pub(super) fn show(&mut self, now: Snapshot) {
        if self.on {
            let mut terminal = io::stderr().lock();
            let _ = write!(terminal, "\r{}\u{1b}[K", line(self.before, now)).and_then(|()| terminal.flush());
        }
        self.before = now;
    }

    pub(super) fn end(&self) {
        if self.on && self.before != Snapshot::default() {
            let _ = writeln!(io::stderr());
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn line(before: Snapshot, now: Snapshot) -> String {
    let seconds = now.at.saturating_sub(before.at).as_secs_f64().max(1e-3);
    let rate = now.acknowledged.saturating_sub(before.acknowledged) as f64 / seconds;
    let waiting = now.sent.saturating_sub(now.acknowledged + now.failed);
    let mut line = format!(
        "{:>5.0} s  {} sent  {} acknowledged  {rate:.0}/s  {waiting} waiting, up to {} ms",
        now.at.as_secs_f64(),
        now.sent,
        now.acknowledged,
        now.slowest.as_millis()
    );
    if now.failed > 0 {
        line.push_str(&format!("  {} FAILED", now.failed));
    }
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
    use std::time::Duration;

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
            failed: 0,
            slowest: Duration::from_micros(12_345),
        };
        assert_eq!(
            line(before, now),
            "   11 s  1100700 sent  1100000 acknowledged  100000/s  700 waiting, up to 12 ms"
        );
        let failing = Snapshot { failed: 3, ..now };
        assert!(line(before, failing).ends_with("697 waiting, up to 12 ms  3 FAILED"));
        line(now, now);
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
