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
/// Sorted in segments of at most 256, so that adding and removing one moves 3 KiB at most, whatever the ladder's length.
#[derive(Debug, Default)]
pub(super) struct Ladder {
    segments: Vec<Segment>,
    cursor: Place,
}

#[derive(Debug)]
struct Segment {
    /// Beside the others', so that a search for the right segment reads nothing else.
    first: Rung,
    rungs: Vec<Packed>,
}

/// A rung in 12 bytes instead of 16.
#[derive(Debug, Clone, Copy)]
#[repr(C, packed(4))]
struct Packed {
    key: i64,
    slot: u32,
}

impl From<Rung> for Packed {
    fn from(Rung { key, slot }: Rung) -> Self {
        Self { key, slot }
    }
}

impl From<Packed> for Rung {
    fn from(packed: Packed) -> Self {
        Self {
            key: packed.key,
            slot: packed.slot,
        }
    }
}

/// A position between rungs: before rung `index` of `segment`. The cursor's index is never its segment's length: that
/// place is called the beginning of the next segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    segment: usize,
    index: usize,
}

const MOST: usize = if cfg!(test) { 8 } else { 256 };
/// How full segments are built, to leave room.
const FULL: usize = MOST * 3 / 4;

impl Ladder {
    /// From sorted rungs, of which the first `fired` have fired.
    pub(super) fn from_sorted(rungs: &[Rung], fired: usize) -> Self {
        let segments: Vec<_> = rungs.chunks(FULL).filter_map(Segment::from_sorted).collect();
        let cursor = Place {
            segment: fired / FULL,
            index: fired % FULL,
        };
        let mut ladder = Self { segments, cursor };
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
            let rest = &segment.rungs[self.cursor.index..];
            let reached = rest.iter().take_while(|rung| rung.key <= price).count();
            passed.extend(rest[..reached].iter().map(|rung| rung.slot));
            self.cursor.index += reached;
            if self.cursor.index < segment.rungs.len() {
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
            self.segments.extend(Segment::from_sorted(&[rung]));
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
            place == self.cursor || (place.index == segment.rungs.len() && after_last == self.cursor);
        segment.insert(place.index, rung);
        if at_cursor && !fired {
            self.cursor = place;
        } else if (at_cursor || place < self.cursor) && place.segment == self.cursor.segment {
            self.cursor.index += 1;
        }
        if self.segments[place.segment].rungs.len() > MOST {
            self.split(place.segment);
        }
    }

    /// Takes a rung out; false if it is not here.
    pub(super) fn remove(&mut self, rung: Rung) -> bool {
        let place = self.find(rung);
        let Some(segment) = self.segments.get_mut(place.segment) else {
            return false;
        };
        if segment.rungs.get(place.index).copied().map(Rung::from) != Some(rung) {
            return false;
        }
        segment.rungs.remove(place.index);
        let left = segment.rungs.len();
        if let Some(first) = segment.rungs.first() {
            segment.first = (*first).into();
        }
        if place.segment == self.cursor.segment && place.index < self.cursor.index {
            self.cursor.index -= 1;
        }
        self.normalise();
        if left == 0 {
            self.segments.remove(place.segment);
            if self.cursor.segment > place.segment {
                self.cursor.segment -= 1;
            }
        } else if left < MOST / 4 {
            self.merge(place.segment);
        }
        true
    }

    fn split(&mut self, segment: usize) {
        let middle = self.segments[segment].rungs.len() / 2;
        let upper = self.segments[segment].split_off(middle);
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
        let length = self.segments[segment].rungs.len();
        if length + next.rungs.len() > MOST / 2 {
            return;
        }
        let next = self.segments.remove(segment + 1);
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
            .segments
            .partition_point(|segment| segment.first <= rung)
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
            index: self.segments[segment].rungs.len() - 1,
        })
    }

    fn normalise(&mut self) {
        if let Some(segment) = self.segments.get(self.cursor.segment)
            && self.cursor.index == segment.rungs.len()
        {
            self.cursor = Place {
                segment: self.cursor.segment + 1,
                index: 0,
            };
        }
    }
}

impl Segment {
    fn from_sorted(rungs: &[Rung]) -> Option<Self> {
        let mut packed = Vec::with_capacity(rungs.len() + spare(rungs.len()));
        packed.extend(rungs.iter().copied().map(Packed::from));
        Some(Self {
            first: *rungs.first()?,
            rungs: packed,
        })
    }

    fn rung(&self, index: usize) -> Rung {
        self.rungs[index].into()
    }

    fn find(&self, rung: Rung) -> usize {
        self.rungs.partition_point(|other| Rung::from(*other) < rung)
    }

    fn insert(&mut self, index: usize, rung: Rung) {
        if self.rungs.len() == self.rungs.capacity() {
            self.rungs.reserve_exact(spare(self.rungs.len()));
        }
        self.rungs.insert(index, rung.into());
        self.first = self.first.min(rung);
    }

    /// Keeps those before `middle`; returns the others.
    fn split_off(&mut self, middle: usize) -> Self {
        let rungs = self.rungs.split_off(middle);
        self.rungs.shrink_to(middle + spare(middle));
        Self {
            first: rungs[0].into(),
            rungs,
        }
    }

    fn append(&mut self, other: &Self) {
        self.rungs.reserve_exact(other.rungs.len());
        self.rungs.extend_from_slice(&other.rungs);
    }
}

/// Room for so many more. Not as many again, as a `Vec` would have it: of ten million rules, that would stay empty.
fn spare(length: usize) -> usize {
    (length / 16).max(2)
}
