//! Rules that the ladders can't hold, each by itself.

use std::collections::BTreeSet;

use super::Tick;
use super::entry::{Entry, Reason};

/// Rules with triggers of their own: made between two thresholds that had fired, or with a margin of their own.
#[derive(Debug, Default)]
pub(super) struct Loose {
    ups: BTreeSet<(i64, u32)>,
    downs: BTreeSet<(i64, u32)>,
}

/// The prices at which a rule's side changes: the highest downwards, the lowest upwards.
type Triggers = (Option<i64>, Option<i64>);

impl Loose {
    pub(super) fn insert(&mut self, slot: u32, (down, up): Triggers) {
        self.downs.extend(down.map(|down| (down, slot)));
        self.ups.extend(up.map(|up| (up, slot)));
    }

    pub(super) fn remove(&mut self, slot: u32, (down, up): Triggers) {
        if let Some(down) = down {
            self.downs.remove(&(down, slot));
        }
        if let Some(up) = up {
            self.ups.remove(&(up, slot));
        }
    }

    /// The highest price that changes a side downwards.
    pub(super) fn highest_down(&self) -> Option<i64> {
        Some(self.downs.last()?.0)
    }

    /// The lowest price that changes a side upwards.
    pub(super) fn lowest_up(&self) -> Option<i64> {
        Some(self.ups.first()?.0)
    }

    /// Takes out all that `price` triggers.
    pub(super) fn take(&mut self, price: i64, triggers: impl Fn(u32) -> Triggers, taken: &mut Vec<u32>) {
        while let Some((_, slot)) = self.ups.first().copied().filter(|(up, _)| *up <= price) {
            self.remove(slot, triggers(slot));
            taken.push(slot);
        }
        while let Some((_, slot)) = self.downs.last().copied().filter(|(down, _)| *down >= price) {
            self.remove(slot, triggers(slot));
            taken.push(slot);
        }
    }
}

/// Rules that wait for a quote that they may see, sorted by what they wait for.
#[derive(Debug, Default)]
pub(super) struct Asleep {
    /// By the offset of their state: a later quote wakes them.
    ahead: BTreeSet<(i64, u32)>,
    /// By the time of their update: a quote ingested then or later wakes them.
    early: BTreeSet<(i64, u32)>,
    /// By the time of their expiry: a quote ingested before wakes them.
    expired: BTreeSet<(i64, u32)>,
}

impl Asleep {
    pub(super) fn insert(&mut self, slot: u32, entry: &Entry, reason: Reason) {
        let (set, key) = self.place(entry, reason);
        set.insert((key, slot));
    }

    pub(super) fn remove(&mut self, slot: u32, entry: &Entry, reason: Reason) {
        let (set, key) = self.place(entry, reason);
        set.remove(&(key, slot));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ahead.is_empty() && self.early.is_empty() && self.expired.is_empty()
    }

    /// Takes out all that one of their conditions no longer holds back.
    pub(super) fn wake(&mut self, tick: &Tick, woken: &mut Vec<u32>) {
        let ingested = tick.ingest_time.as_micros();
        while self
            .ahead
            .first()
            .is_some_and(|(offset, _)| *offset < tick.offset)
        {
            woken.extend(self.ahead.pop_first().map(|(_, slot)| slot));
        }
        while self
            .early
            .first()
            .is_some_and(|(updated, _)| *updated <= ingested)
        {
            woken.extend(self.early.pop_first().map(|(_, slot)| slot));
        }
        while self
            .expired
            .last()
            .is_some_and(|(expires, _)| *expires > ingested)
        {
            woken.extend(self.expired.pop_last().map(|(_, slot)| slot));
        }
    }

    fn place(&mut self, entry: &Entry, reason: Reason) -> (&mut BTreeSet<(i64, u32)>, i64) {
        match reason {
            Reason::Ahead => (&mut self.ahead, entry.state_offset().unwrap_or(i64::MIN)),
            Reason::Early => (&mut self.early, entry.updated_at.as_micros()),
            Reason::Expired => {
                let expires_at = entry
                    .expires_at
                    .map_or(i64::MAX, |expires_at| expires_at.as_micros());
                (&mut self.expired, expires_at)
            }
        }
    }
}
