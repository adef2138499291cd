use cqrs::domain::{Side, Timestamp};

use super::chunked::Chunked;
use super::entry::{Entry, Reason, Standing};
use super::ladder::{Ladder, Rung};
use super::waiting::{Asleep, Loose};
use super::{RearmMargin, Tick, Transition, side_after};

/// The active rules of one ticker, each in the place where the quote that changes its side will find it.
#[derive(Debug, Default)]
pub(super) struct Book {
    highs: Ladder,
    lows: Ladder,
    loose: Loose,
    asleep: Asleep,
    restated_at: Option<Timestamp>,
}

/// The prices between which nothing happens, both excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Band {
    pub(super) above: i64,
    pub(super) below: i64,
}

impl Band {
    /// No prices: every quote is looked at closely.
    const NOTHING: Self = Self {
        above: i64::MAX,
        below: i64::MIN,
    };

    /// All prices.
    pub(super) const EVERYTHING: Self = Self {
        above: i64::MIN,
        below: i64::MAX,
    };

    /// Narrows it to these triggers.
    pub(super) fn narrow(&mut self, (down, up): (Option<i64>, Option<i64>)) {
        self.above = down.map_or(self.above, |down| self.above.max(down));
        self.below = up.map_or(self.below, |up| self.below.min(up));
    }
}

impl Book {
    /// From the entries of a ticker at once. Those of `slots` that are active are put in their places.
    pub(super) fn build(slots: &[u32], entries: &mut Chunked<Entry>, margin: RearmMargin) -> Self {
        let mut book = Self::default();
        let fitting: Vec<u32> = slots
            .iter()
            .copied()
            .filter(|slot| entries[*slot].active && entries[*slot].fits_ladders(margin))
            .collect();
        let rungs = |rung: fn(&Entry, u32) -> Option<Rung>, side: Side| {
            let mut rungs: Vec<_> = fitting
                .iter()
                .filter_map(|slot| rung(&entries[*slot], *slot))
                .collect();
            rungs.sort_unstable();
            let fired = rungs
                .iter()
                .filter(|rung| entries[rung.slot].side == side)
                .count();
            (rungs, fired)
        };
        let (mut highs, high_fired) = rungs(Entry::high, Side::Above);
        let (mut lows, low_fired) = rungs(Entry::low, Side::Below);
        for slot in &fitting {
            entries[*slot].standing = Standing::Filed;
        }
        // Those whose state the cursors would not express are set apart, from both ladders.
        for (rungs, fired, side) in [(&highs, high_fired, Side::Above), (&lows, low_fired, Side::Below)] {
            for (index, rung) in rungs.iter().enumerate() {
                if (index < fired) != (entries[rung.slot].side == side) {
                    entries[rung.slot].standing = Standing::Out;
                }
            }
        }
        let build = |rungs: &mut Vec<Rung>, side: Side| {
            rungs.retain(|rung| entries[rung.slot].standing == Standing::Filed);
            let fired = rungs
                .iter()
                .filter(|rung| entries[rung.slot].side == side)
                .count();
            Ladder::from_sorted(rungs, fired)
        };
        book.highs = build(&mut highs, Side::Above);
        book.lows = build(&mut lows, Side::Below);
        for slot in slots {
            let entry = &mut entries[*slot];
            if entry.active && entry.standing == Standing::Out {
                book.loose.insert(*slot, entry.triggers(margin));
                entry.standing = Standing::Loose;
            }
        }
        book
    }

    /// When the ticker's prices were last restated.
    pub(super) const fn restated_at(&self) -> Option<Timestamp> {
        self.restated_at
    }

    /// From now on rules from before `at` see no quote. They stay where they are until one nominates them. False: that is
    /// known.
    pub(super) fn restate(&mut self, at: Option<Timestamp>) -> bool {
        let is_new = at > self.restated_at;
        if is_new {
            self.restated_at = at;
        }
        is_new
    }

    /// The prices between which nothing happens.
    pub(super) fn band(&self, margin: RearmMargin) -> Band {
        if !self.asleep.is_empty() {
            // Some quote wakes them, whatever its price.
            return Band::NOTHING;
        }
        let mut band = Band::EVERYTHING;
        let rearm = |ladder: &Ladder| ladder.last_fired().map(|key| margin.rearms_at(key));
        band.narrow((rearm(&self.highs), self.highs.next_to_fire()));
        let lows = (self.lows.next_to_fire(), rearm(&self.lows));
        // A key as low as there is stands for a price that does not exist.
        let price = |key: i64| key.checked_neg();
        band.narrow((lows.0.and_then(price), lows.1.and_then(price)));
        band.narrow((self.loose.highest_down(), self.loose.lowest_up()));
        band
    }

    /// Puts an active entry in its place.
    pub(super) fn place(&mut self, slot: u32, entry: &mut Entry, margin: RearmMargin) {
        let (high, low) = (entry.high(slot), entry.low(slot));
        let (is_above, is_below) = (entry.side == Side::Above, entry.side == Side::Below);
        let admitted = entry.fits_ladders(margin)
            && high.is_none_or(|high| self.highs.admits(high, is_above))
            && low.is_none_or(|low| self.lows.admits(low, is_below));
        if !admitted {
            self.loose.insert(slot, entry.triggers(margin));
            entry.standing = Standing::Loose;
            return;
        }
        if let Some(high) = high {
            self.highs.insert(high, is_above);
        }
        if let Some(low) = low {
            self.lows.insert(low, is_below);
        }
        entry.standing = Standing::Filed;
    }

    /// Takes an entry out of its place.
    pub(super) fn displace(&mut self, slot: u32, entry: &mut Entry, margin: RearmMargin) {
        match std::mem::replace(&mut entry.standing, Standing::Out) {
            Standing::Free | Standing::Out => {}
            Standing::Filed => {
                if let Some(high) = entry.high(slot) {
                    self.highs.remove(high);
                }
                if let Some(low) = entry.low(slot) {
                    self.lows.remove(low);
                }
            }
            Standing::Loose => self.loose.remove(slot, entry.triggers(margin)),
            Standing::Asleep(reason) => self.asleep.remove(slot, entry, reason),
        }
    }

    /// Appends to `candidates` the entries whose side this quote may change. The ladders' cursors are past them; the
    /// others are out of their places.
    pub(super) fn nominate(
        &mut self,
        tick: &Tick,
        entries: &mut Chunked<Entry>,
        margin: RearmMargin,
        candidates: &mut Vec<u32>,
    ) {
        let price = tick.price.units();
        self.asleep.wake(tick, candidates);
        self.loose
            .take(price, |slot| entries[slot].triggers(margin), candidates);
        for slot in &*candidates {
            entries[*slot].standing = Standing::Out;
        }
        self.highs.advance(price, candidates);
        self.highs.retreat(price, |key| margin.rearms_at(key), candidates);
        self.lows.advance(-price, candidates);
        self.lows.retreat(-price, |key| margin.rearms_at(key), candidates);
    }

    /// Decides what becomes of one candidate, and puts it back in a place.
    pub(super) fn settle(
        &mut self,
        slot: u32,
        tick: &Tick,
        entry: &mut Entry,
        margin: RearmMargin,
    ) -> Option<Transition> {
        if let Standing::Asleep(_) = entry.standing {
            // Nominated by both ladders, and put to sleep the first time.
            return None;
        }
        if self.restated_at.is_some_and(|at| entry.updated_at < at) {
            // Only its owner's next word brings it back.
            self.displace(slot, entry, margin);
            return None;
        }
        if let Some(reason) = entry.blocked(tick) {
            self.sleep(slot, entry, reason, margin);
            return None;
        }
        let from = entry.side;
        entry.side = side_after(entry.range, margin, from, tick.price);
        if entry.standing == Standing::Out {
            self.place(slot, entry, margin);
        }
        (entry.side != from).then_some(Transition {
            slot,
            from,
            side: entry.side,
            already_outside: false,
        })
    }

    fn sleep(&mut self, slot: u32, entry: &mut Entry, reason: Reason, margin: RearmMargin) {
        self.displace(slot, entry, margin);
        self.asleep.insert(slot, entry, reason);
        entry.standing = Standing::Asleep(reason);
    }
}
