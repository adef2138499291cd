//! Commits what was done without stopping the work: alerts acknowledged, then marks written and acknowledged, then offsets
//! committed. Pure: the worker does what `step` says.

use std::time::{Duration, Instant};

use cqrs::domain::TickerMark;

use crate::acknowledgements::Lane;

/// A checkpoint is due so long after the first record was handled ...
const AFTER: Duration = Duration::from_secs(2);
/// ... or after so many quotes. Together: what a crash makes the successor read again. (More checkpoints
/// would cost: each writes a record of every ticker that was touched.)
const QUOTES: usize = 500_000;
/// Marks written in one turn, so that no turn takes long.
const CHUNK: usize = 256;

/// How far a partition was when the checkpoint began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offsets {
    pub(crate) partition: i32,
    pub(crate) next_quote: Option<i64>,
    pub(crate) next_rule: i64,
    pub(crate) tickers_end: i64,
}

/// What a checkpoint makes durable.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// The last evaluated quotes of tickers, with their partitions.
    pub(crate) marks: Vec<(i32, TickerMark)>,
    pub(crate) offsets: Vec<Offsets>,
}

/// What is to be done now.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// Nothing, or wait for acknowledgements.
    Nothing,
    /// Write these marks.
    Write(&'a [(i32, TickerMark)]),
    /// Commit these offsets; the checkpoint that began then has ended.
    Commit(Vec<Offsets>, Instant),
}

/// Where the checkpoint is, and when the next is due.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    phase: Phase,
    /// Where the alerts go that are raised now.
    lane: Lane,
    first: Option<Instant>,
    quotes: usize,
}

#[derive(Debug)]
enum Phase {
    Idle,
    /// Waits until the alerts before the snapshot are acknowledged.
    Alerts {
        snapshot: Snapshot,
        before: Lane,
        since: Instant,
    },
    /// Writes marks, and waits until they are acknowledged.
    Marks {
        snapshot: Snapshot,
        written: usize,
        since: Instant,
    },
}

impl Checkpoint {
    pub(crate) const fn new() -> Self {
        Self {
            phase: Phase::Idle,
            lane: Lane::AlertsEven,
            first: None,
            quotes: 0,
        }
    }

    /// Where the alerts go that are raised now.
    pub(crate) const fn lane(&self) -> Lane {
        self.lane
    }

    /// Something was handled that is to be committed, with so many quotes.
    pub(crate) fn handled(&mut self, quotes: usize, now: Instant) {
        self.first.get_or_insert(now);
        self.quotes += quotes;
    }

    pub(crate) const fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// Whether anything was handled that no checkpoint has in hand.
    pub(crate) const fn has_work(&self) -> bool {
        self.first.is_some()
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let waited = self.first.is_some_and(|first| now.duration_since(first) >= AFTER);
        self.is_idle() && (waited || self.quotes >= QUOTES)
    }

    /// Whether the next step writes marks, so that there is no time to lose.
    pub(crate) fn is_writing(&self) -> bool {
        matches!(&self.phase, Phase::Marks { snapshot, written, .. } if *written < snapshot.marks.len())
    }

    /// Begins with what holds now. Only when idle.
    pub(crate) fn begin(&mut self, snapshot: Snapshot, now: Instant) {
        let before = self.lane;
        // The other lane is empty: the checkpoint before this one waited for it.
        self.lane = match before {
            Lane::AlertsEven => Lane::AlertsOdd,
            Lane::AlertsOdd | Lane::Marks => Lane::AlertsEven,
        };
        self.first = None;
        self.quotes = 0;
        self.phase = Phase::Alerts {
            snapshot,
            before,
            since: now,
        };
    }

    /// What is to be done now. `outstanding` says how many records of a lane are not acknowledged.
    pub(crate) fn step(&mut self, outstanding: impl Fn(Lane) -> usize) -> Step<'_> {
        if let Phase::Alerts {
            snapshot,
            before,
            since,
        } = &mut self.phase
        {
            if outstanding(*before) > 0 {
                return Step::Nothing;
            }
            self.phase = Phase::Marks {
                snapshot: std::mem::take(snapshot),
                written: 0,
                since: *since,
            };
        }
        let Phase::Marks {
            snapshot,
            written,
            since,
        } = &mut self.phase
        else {
            return Step::Nothing;
        };
        if *written == snapshot.marks.len() {
            if outstanding(Lane::Marks) > 0 {
                return Step::Nothing;
            }
            let step = Step::Commit(std::mem::take(&mut snapshot.offsets), *since);
            self.phase = Phase::Idle;
            return step;
        }
        let from = *written;
        *written = snapshot.marks.len().min(from + CHUNK);
        // Borrowed anew: the arm above gave `phase` away.
        match &self.phase {
            Phase::Marks {
                snapshot, written, ..
            } => Step::Write(&snapshot.marks[from..*written]),
            Phase::Idle | Phase::Alerts { .. } => Step::Nothing,
        }
    }

    /// Leaves out partitions that are no longer this instance's: whoever has them reads their quotes again.
    pub(crate) fn forget(&mut self, gone: &[i32]) {
        let (snapshot, written) = match &mut self.phase {
            Phase::Idle => return,
            Phase::Alerts { snapshot, .. } => (snapshot, &mut 0),
            Phase::Marks {
                snapshot, written, ..
            } => (snapshot, written),
        };
        let kept_of_written = snapshot.marks[..*written]
            .iter()
            .filter(|(partition, _)| !gone.contains(partition))
            .count();
        snapshot.marks.retain(|(partition, _)| !gone.contains(partition));
        snapshot
            .offsets
            .retain(|offsets| !gone.contains(&offsets.partition));
        *written = kept_of_written;
    }
}

#[cfg(test)]
mod tests {
    use cqrs::domain::Timestamp;

    use super::*;

    fn mark(partition: i32, offset: i64) -> (i32, TickerMark) {
        let mark = TickerMark {
            ticker: format!("T{partition}").parse().unwrap(),
            price: "1".parse().unwrap(),
            event_time: Timestamp::EPOCH,
            ingest_time: Timestamp::EPOCH,
            offset,
            restated_at: None,
        };
        (partition, mark)
    }

    fn offsets(partition: i32, next: i64) -> Offsets {
        Offsets {
            partition,
            next_quote: Some(next),
            next_rule: 0,
            tickers_end: 0,
        }
    }

    fn snapshot(partitions: i32, next: i64) -> Snapshot {
        Snapshot {
            marks: (0..partitions).map(|p| mark(p, next - 1)).collect(),
            offsets: (0..partitions).map(|p| offsets(p, next)).collect(),
        }
    }

    #[test]
    fn marks_wait_for_alerts_and_offsets_wait_for_marks() {
        let now = Instant::now();
        let mut checkpoint = Checkpoint::new();
        let before = checkpoint.lane();
        checkpoint.begin(snapshot(2, 10), now);
        let waiting = |lane: Lane| usize::from(lane == before);
        assert!(matches!(checkpoint.step(waiting), Step::Nothing));
        assert_ne!(checkpoint.lane(), before, "later alerts are counted apart");
        let only_later_alerts = |lane: Lane| usize::from(lane != before && lane != Lane::Marks);
        assert!(matches!(checkpoint.step(only_later_alerts), Step::Write(marks) if marks.len() == 2));
        let marks_on_their_way = |lane: Lane| usize::from(lane == Lane::Marks);
        assert!(matches!(checkpoint.step(marks_on_their_way), Step::Nothing));
        assert!(!checkpoint.is_idle());
        assert!(matches!(checkpoint.step(only_later_alerts), Step::Commit(offsets, _) if offsets.len() == 2));
        assert!(checkpoint.is_idle());
    }

    #[test]
    fn many_marks_are_written_in_chunks() {
        let mut checkpoint = Checkpoint::new();
        checkpoint.begin(snapshot(600, 10), Instant::now());
        let mut written = Vec::new();
        while let Step::Write(marks) = checkpoint.step(|_| 0) {
            written.push(marks.len());
        }
        assert_eq!(written, [256, 256, 88]);
        assert!(checkpoint.is_idle());
    }

    #[test]
    fn a_partition_that_went_is_neither_written_nor_committed() {
        let mut checkpoint = Checkpoint::new();
        checkpoint.begin(snapshot(600, 10), Instant::now());
        assert!(matches!(checkpoint.step(|_| 0), Step::Write(_)));
        checkpoint.forget(&[0, 300]);
        let mut rest = Vec::new();
        loop {
            match checkpoint.step(|_| 0) {
                Step::Write(marks) => rest.extend(marks.iter().map(|(partition, _)| *partition)),
                Step::Commit(offsets, _) => {
                    assert_eq!(offsets.len(), 598);
                    break;
                }
                Step::Nothing => panic!("nothing is outstanding"),
            }
        }
        let expected: Vec<i32> = (256..600).filter(|partition| *partition != 300).collect();
        assert_eq!(rest, expected);
    }

    #[test]
    fn it_is_due_some_time_after_the_first_record_or_after_many_quotes() {
        let now = Instant::now();
        let mut checkpoint = Checkpoint::new();
        assert!(!checkpoint.is_due(now + Duration::from_secs(60)));
        checkpoint.handled(1, now);
        checkpoint.handled(1, now + AFTER / 2);
        assert!(!checkpoint.is_due(now + AFTER / 2));
        assert!(checkpoint.is_due(now + AFTER));
        checkpoint.begin(Snapshot::default(), now + AFTER);
        checkpoint.handled(QUOTES, now + AFTER);
        assert!(!checkpoint.is_due(now + AFTER), "one at a time");
        assert!(matches!(checkpoint.step(|_| 0), Step::Commit(..)));
        assert!(checkpoint.is_due(now + AFTER));
    }

    /// Alerts are acknowledged in any order, over many checkpoints: whenever a mark is written, all alerts of quotes up to
    /// it are acknowledged, and whenever an offset is committed, so are the marks of the quotes before it.
    #[test]
    fn no_mark_is_ever_ahead_of_its_alerts_and_no_offset_ahead_of_its_marks() {
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut below = move |limit: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random % 1_000_003).unwrap() % limit
        };
        for _ in 0..200 {
            let mut checkpoint = Checkpoint::new();
            let (mut offset, mut committed) = (0_i64, 0_i64);
            let mut alerts: Vec<(Lane, i64)> = Vec::new();
            let mut marks: Vec<i64> = Vec::new();
            for _ in 0..500 {
                match below(5) {
                    0 | 1 => {
                        alerts.push((checkpoint.lane(), offset));
                        offset += 1;
                    }
                    2 if !alerts.is_empty() => {
                        let _ = alerts.swap_remove(below(alerts.len()));
                    }
                    3 if !marks.is_empty() => {
                        let _ = marks.swap_remove(below(marks.len()));
                    }
                    _ if checkpoint.is_idle() => {
                        let snapshot = Snapshot {
                            marks: (0..600).map(|p| mark(p, offset - 1)).collect(),
                            offsets: vec![offsets(0, offset)],
                        };
                        checkpoint.begin(snapshot, Instant::now());
                    }
                    _ => {
                        let step = checkpoint.step(|lane| match lane {
                            Lane::Marks => marks.len(),
                            Lane::AlertsEven | Lane::AlertsOdd => {
                                alerts.iter().filter(|(of, _)| *of == lane).count()
                            }
                        });
                        match step {
                            Step::Nothing => {}
                            Step::Write(chunk) => {
                                let newest = chunk.iter().map(|(_, mark)| mark.offset).max().unwrap();
                                assert!(alerts.iter().all(|(_, alert)| *alert > newest));
                                marks.extend(chunk.iter().take(3).map(|(_, mark)| mark.offset));
                            }
                            Step::Commit(offsets, _) => {
                                let next = offsets[0].next_quote.unwrap();
                                assert!(marks.is_empty() && next >= committed);
                                committed = next;
                            }
                        }
                    }
                }
            }
        }
    }
}
