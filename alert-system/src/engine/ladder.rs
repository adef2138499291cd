/// One threshold of one rule. Ordered by key, then by slot, so that each of many rules on one price is found at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rung {
    /// The threshold, in the direction in which it fires: a price that reaches or passes it upwards.
    pub(super) key: i64,
    /// Whose it is.
    pub(super) slot: u32,
}

/// The thresholds of one ticker on one side, sorted, with a cursor: those before it have fired, those after it are armed.
/// A price that moves takes the cursor along and touches only what it passes.
///
/// That the fired ones are a prefix is what makes it fast, and holds because the point where a threshold is armed again
/// grows with the threshold. Whoever does not fit (a rule made between two that fired, a margin of its own) is not `admitted`
/// and is kept elsewhere.
///
/// Sorted in segments of at most 1,024, so that adding and removing one moves 12 KiB at most, whatever the ladder's length.
#[derive(Debug, Default)]
pub(super) struct Ladder {
    segments: Vec<Segment>,
    /// The first rung of each segment, close together: what a search reads.
    firsts: Vec<Rung>,
    cursor: Place,
}

#[derive(Debug, Default)]
struct Segment {
    keys: Vec<i64>,
    slots: Vec<u32>,
}

/// A position between rungs: before rung `index` of `segment`. The cursor's index is never its segment's length: that
/// place is called the beginning of the next segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    segment: usize,
    index: usize,
}

const MOST: usize = if cfg!(test) { 8 } else { 1_024 };
/// How full segments are built, to leave room.
const FULL: usize = MOST * 3 / 4;

impl Ladder {
    /// From sorted rungs, of which the first `fired` have fired.
    pub(super) fn from_sorted(rungs: &[Rung], fired: usize) -> Self {
        let segments: Vec<_> = rungs.chunks(FULL).map(Segment::from_sorted).collect();
        let firsts = rungs.chunks(FULL).map(|chunk| chunk[0]).collect();
        let cursor = Place {
            segment: fired / FULL,
            index: fired % FULL,
        };
        let mut ladder = Self {
            segments,
            firsts,
            cursor,
        };
        ladder.normalise();
        ladder
    }

    /// The lowest key that is armed.
    pub(super) fn next_to_fire(&self) -> Option<i64> {
        Some(self.at_cursor()?.key)
    }

    /// The highest key that has fired.
    pub(super) fn last_fired(&self) -> Option<i64> {
        Some(self.rung(self.before_cursor()?).key)
    }

    /// Fires all that `price` reaches.
    pub(super) fn advance(&mut self, price: i64, passed: &mut Vec<u32>) {
        while let Some(segment) = self.segments.get(self.cursor.segment) {
            let start = self.cursor.index;
            let reached = segment.keys[start..]
                .iter()
                .take_while(|key| **key <= price)
                .count();
            passed.extend_from_slice(&segment.slots[start..start + reached]);
            self.cursor.index += reached;
            if self.cursor.index < segment.keys.len() {
                return;
            }
            self.cursor = Place {
                segment: self.cursor.segment + 1,
                index: 0,
            };
        }
    }

    /// Arms all that `price` is far enough below. `rearms_at` gives, for a key, the highest price that does so.
    pub(super) fn retreat(&mut self, price: i64, rearms_at: impl Fn(i64) -> i64, passed: &mut Vec<u32>) {
        while let Some(place) = self.before_cursor() {
            let rung = self.rung(place);
            if price > rearms_at(rung.key) {
                return;
            }
            passed.push(rung.slot);
            self.cursor = place;
        }
    }

    /// Whether a rung that has fired, or has not, can be here: whether the cursor would say so of it.
    pub(super) fn admits(&self, rung: Rung, fired: bool) -> bool {
        if fired {
            self.at_cursor().is_none_or(|next| rung < next)
        } else {
            self.before_cursor().is_none_or(|place| rung > self.rung(place))
        }
    }

    /// Adds a rung that is admitted.
    pub(super) fn insert(&mut self, rung: Rung, fired: bool) {
        if self.segments.is_empty() {
            self.segments.push(Segment::from_sorted(&[rung]));
            self.firsts.push(rung);
            self.cursor = Place {
                segment: usize::from(fired),
                index: 0,
            };
            return;
        }
        let place = self.find(rung);
        let after_last = Place {
            segment: place.segment + 1,
            index: 0,
        };
        let segment = &mut self.segments[place.segment];
        let at_cursor =
            place == self.cursor || (place.index == segment.keys.len() && after_last == self.cursor);
        segment.insert(place.index, rung);
        if place.index == 0 {
            self.firsts[place.segment] = rung;
        }
        if at_cursor && !fired {
            self.cursor = place;
        } else if (at_cursor || place < self.cursor) && place.segment == self.cursor.segment {
            self.cursor.index += 1;
        }
        if self.segments[place.segment].keys.len() > MOST {
            self.split(place.segment);
        }
    }

    /// Takes a rung out; false if it is not here.
    pub(super) fn remove(&mut self, rung: Rung) -> bool {
        let place = self.find(rung);
        let Some(segment) = self.segments.get_mut(place.segment) else {
            return false;
        };
        if segment.keys.get(place.index) != Some(&rung.key) || segment.slots[place.index] != rung.slot {
            return false;
        }
        segment.keys.remove(place.index);
        segment.slots.remove(place.index);
        let left = segment.keys.len();
        if place.index == 0 && left > 0 {
            self.firsts[place.segment] = segment.first();
        }
        if place.segment == self.cursor.segment && place.index < self.cursor.index {
            self.cursor.index -= 1;
        }
        self.normalise();
        if left == 0 {
            self.segments.remove(place.segment);
            self.firsts.remove(place.segment);
            if self.cursor.segment > place.segment {
                self.cursor.segment -= 1;
            }
        } else if left < MOST / 4 {
            self.merge(place.segment);
        }
        true
    }

    fn split(&mut self, segment: usize) {
        let (middle, upper) = self.segments[segment].split();
        self.firsts.insert(segment + 1, upper.first());
        self.segments.insert(segment + 1, upper);
        if self.cursor.segment > segment {
            self.cursor.segment += 1;
        } else if self.cursor.segment == segment && self.cursor.index >= middle {
            self.cursor = Place {
                segment: segment + 1,
                index: self.cursor.index - middle,
            };
        }
    }

    /// Joins a small segment with the next, where both together are small: memory follows the number of rungs down.
    fn merge(&mut self, segment: usize) {
        let Some(next) = self.segments.get(segment + 1) else {
            return;
        };
        let length = self.segments[segment].keys.len();
        if length + next.keys.len() > MOST / 2 {
            return;
        }
        let next = self.segments.remove(segment + 1);
        self.firsts.remove(segment + 1);
        self.segments[segment].append(&next);
        if self.cursor.segment == segment + 1 {
            self.cursor = Place {
                segment,
                index: length + self.cursor.index,
            };
        } else if self.cursor.segment > segment + 1 {
            self.cursor.segment -= 1;
        }
    }

    /// Where a rung is, or belongs.
    fn find(&self, rung: Rung) -> Place {
        let segment = self
            .firsts
            .partition_point(|first| *first <= rung)
            .saturating_sub(1);
        let index = self.segments.get(segment).map_or(0, |segment| segment.find(rung));
        Place { segment, index }
    }

    fn rung(&self, place: Place) -> Rung {
        self.segments[place.segment].rung(place.index)
    }

    fn at_cursor(&self) -> Option<Rung> {
        let segment = self.segments.get(self.cursor.segment)?;
        Some(segment.rung(self.cursor.index))
    }

    fn before_cursor(&self) -> Option<Place> {
        let Place { segment, index } = self.cursor;
        if index > 0 {
            return Some(Place {
                segment,
                index: index - 1,
            });
        }
        let segment = segment.checked_sub(1)?;
        Some(Place {
            segment,
            index: self.segments[segment].keys.len() - 1,
        })
    }

    fn normalise(&mut self) {
        if let Some(segment) = self.segments.get(self.cursor.segment)
            && self.cursor.index == segment.keys.len()
        {
            self.cursor = Place {
                segment: self.cursor.segment + 1,
                index: 0,
            };
        }
    }
}

impl Segment {
    fn from_sorted(rungs: &[Rung]) -> Self {
        Self {
            keys: rungs.iter().map(|rung| rung.key).collect(),
            slots: rungs.iter().map(|rung| rung.slot).collect(),
        }
    }

    fn rung(&self, index: usize) -> Rung {
        Rung {
            key: self.keys[index],
            slot: self.slots[index],
        }
    }

    fn first(&self) -> Rung {
        self.rung(0)
    }

    fn find(&self, rung: Rung) -> usize {
        let start = self.keys.partition_point(|key| *key < rung.key);
        let equal = self.keys[start..].partition_point(|key| *key == rung.key);
        start + self.slots[start..start + equal].partition_point(|slot| *slot < rung.slot)
    }

    fn insert(&mut self, index: usize, rung: Rung) {
        if self.keys.len() == self.keys.capacity() {
            // Not doubled: ten million rules' worth of room would stay empty.
            let more = (self.keys.len() / 8).max(4);
            self.keys.reserve_exact(more);
            self.slots.reserve_exact(more);
        }
        self.keys.insert(index, rung.key);
        self.slots.insert(index, rung.slot);
    }

    /// Keeps the lower half; returns its length and the upper half.
    fn split(&mut self) -> (usize, Self) {
        let middle = self.keys.len() / 2;
        let upper = Self {
            keys: self.keys.split_off(middle),
            slots: self.slots.split_off(middle),
        };
        self.keys.shrink_to_fit();
        self.slots.shrink_to_fit();
        (middle, upper)
    }

    fn append(&mut self, other: &Self) {
        self.keys.reserve_exact(other.keys.len());
        self.slots.reserve_exact(other.slots.len());
        self.keys.extend_from_slice(&other.keys);
        self.slots.extend_from_slice(&other.slots);
    }
}
