use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::error::Error;

/// How far a partition was read, and how far it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) partition: i32,
    /// The next record to be handled.
    pub(crate) next: i64,
    /// The next one to be written.
    pub(crate) end: i64,
}

impl Position {
    /// Records that wait.
    pub(crate) const fn lag(&self) -> i64 {
        self.end.saturating_sub(self.next)
    }
}

/// Notices partitions that have quotes and give none: a client can get stuck without a word.
#[derive(Debug, Default)]
pub(crate) struct LagWatch {
    /// Where each partition that lags stood when it did so first, and since when.
    behind: HashMap<i32, (Position, Instant)>,
}

impl LagWatch {
    /// How long a partition that lags may stand still.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Takes the positions of all partitions whose quotes are to be read.
    ///
    /// # Errors
    /// If one of them stood still for too long.
    pub(crate) fn observe(&mut self, positions: &[Position], now: Instant) -> Result<(), Error> {
        let behind = positions.iter().filter(|position| position.lag() > 0);
        let before = std::mem::take(&mut self.behind);
        for position in behind {
            let (first, since) = match before.get(&position.partition) {
                Some((first, since)) if first.next == position.next => (*first, *since),
                _ => (*position, now),
            };
            // Ends that are no record's (a transaction's mark) are passed with the next quote, and no reason to worry.
            let more_came = position.end > first.end;
            if more_came && now.duration_since(since) >= Self::PATIENCE {
                return Err(Error::NoProgress {
                    partition: position.partition,
                    seconds: Self::PATIENCE.as_secs(),
                    lag: position.lag(),
                });
            }
            self.behind.insert(position.partition, (first, since));
        }
        Ok(())
    }

    /// Nothing is known, so nothing stands still.
    pub(crate) fn forget(&mut self) {
        self.behind.clear();
    }
}

/// Notices records that are not read: look after look finds the same position, and some that were there before.
#[derive(Debug)]
pub(crate) struct UnreadWatch {
    /// So many looks must have found the same.
    looks: u32,
    seen: HashMap<i32, Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    next: i64,
    looks: u32,
    /// The end up to which reading anew was tried.
    tried: i64,
}

impl UnreadWatch {
    pub(crate) fn after(looks: u32) -> Self {
        Self {
            looks,
            seen: HashMap::new(),
        }
    }

    /// Takes a partition's position; true: it should be read anew from there.
    pub(crate) fn stands_still(&mut self, position: Position) -> bool {
        if position.lag() <= 0 {
            self.seen.remove(&position.partition);
            return false;
        }
        let seen = self.seen.entry(position.partition).or_insert(Seen {
            next: position.next,
            looks: 0,
            tried: -1,
        });
        if seen.next != position.next {
            (seen.next, seen.looks) = (position.next, 0);
        }
        // Once for one end: where the last records are compacted away, there is nothing to read.
        let anew = seen.looks >= self.looks && seen.tried < position.end;
        if anew {
            (seen.looks, seen.tried) = (0, position.end);
        } else {
            seen.looks += 1;
        }
        anew
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(next: i64, end: i64) -> Position {
        Position {
            partition: 3,
            next,
            end,
        }
    }

    #[test]
    fn a_partition_that_lags_and_stands_still_is_noticed() {
        let (mut watch, start) = (LagWatch::default(), Instant::now());
        assert!(watch.observe(&[at(10, 15)], start).is_ok());
        assert!(
            watch
                .observe(&[at(10, 19)], start + LagWatch::PATIENCE / 2)
                .is_ok()
        );
        let stuck = watch.observe(&[at(10, 19)], start + LagWatch::PATIENCE);
        assert!(matches!(
            stuck,
            Err(Error::NoProgress {
                partition: 3,
                lag: 9,
                ..
            })
        ));
    }

    #[test]
    fn one_that_moves_catches_up_is_paused_or_unknown_is_not() {
        let (mut watch, start) = (LagWatch::default(), Instant::now());
        let half = LagWatch::PATIENCE / 2;
        assert!(watch.observe(&[at(10, 15)], start).is_ok());
        assert!(watch.observe(&[at(11, 15)], start + half).is_ok());
        assert!(watch.observe(&[at(11, 15)], start + half * 2).is_ok());
        assert!(watch.observe(&[at(16, 16)], start + half * 2).is_ok());
        assert!(watch.observe(&[at(16, 20)], start + half * 3).is_ok());
        assert!(watch.observe(&[], start + half * 4).is_ok());
        assert!(watch.observe(&[at(16, 20)], start + half * 5).is_ok());
        watch.forget();
        assert!(watch.observe(&[at(16, 20)], start + half * 7).is_ok());
    }

    #[test]
    fn an_end_that_is_no_records_is_no_standstill() {
        let (mut watch, start) = (LagWatch::default(), Instant::now());
        for minutes in 0..10 {
            let now = start + LagWatch::PATIENCE * minutes;
            assert!(watch.observe(&[at(10, 11)], now).is_ok());
        }
        let now = start + LagWatch::PATIENCE * 10;
        assert!(
            watch.observe(&[at(10, 12)], now).is_err(),
            "a quote came and was not read"
        );
    }

    #[test]
    fn records_that_are_not_read_are_read_anew_once_for_what_is_there() {
        let mut watch = UnreadWatch::after(2);
        assert!(!watch.stands_still(at(10, 10)));
        assert!(!watch.stands_still(at(10, 12)), "they have just come");
        assert!(!watch.stands_still(at(10, 12)));
        assert!(watch.stands_still(at(10, 12)));
        for _ in 0..5 {
            assert!(!watch.stands_still(at(10, 12)), "nothing is there to read");
        }
        assert!(watch.stands_still(at(10, 13)), "more came");
        assert!(!watch.stands_still(at(11, 14)), "they move");
        assert!(!watch.stands_still(at(12, 14)));
        assert!(!watch.stands_still(at(13, 14)));
        assert!(!watch.stands_still(at(14, 14)));
    }
}
