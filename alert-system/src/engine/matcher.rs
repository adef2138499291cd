use cqrs::domain::{Alert, AlertPosition, Price, RuleId, RuleSnapshot, Side, Ticker, TickerMark, Timestamp};

use super::RearmMargin;
use super::book::{Band, Book};
use super::chunked::Chunked;
use super::entry::{Entry, Standing};
use super::names::Names;
use super::sharded::Sharded;
use std::hash::BuildHasher as _;

/// A ticker of one engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TickerIndex(pub(super) u32);

/// What evaluation needs of a quote.
#[derive(Debug, Clone, Copy)]
pub struct Tick {
    /// Whose price it is.
    pub ticker: TickerIndex,
    /// The price.
    pub price: Price,
    /// When the price was made.
    pub event_time: Timestamp,
    /// When the quote entered the system.
    pub ingest_time: Timestamp,
    /// Where it lies in its partition.
    pub offset: i64,
}

/// What became of a quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuoteFate {
    /// Compared with the ticker's rules; it is the ticker's last evaluated quote now.
    Evaluated,
    /// Nobody watches its ticker.
    NotWatched,
    /// Older than the ticker's last evaluated quote: dropped.
    Late,
    /// At or before the ticker's recorded offset: it was evaluated before.
    Repeated,
}

/// A rule that changed sides. Small: one quote may make millions of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    pub(super) slot: u32,
    pub(super) from: Side,
    /// The side it is on now.
    pub side: Side,
    pub(super) already_outside: bool,
}

/// The rules of one partition with their states. Pure: see the module.
#[derive(Debug)]
pub struct Engine {
    pub(super) margin: RearmMargin,
    pub(super) rules: usize,
    /// Rules by slot; the slots of deleted ones are used again.
    pub(super) entries: Chunked<Entry>,
    free: Chunked<u32>,
    slots: Sharded<u32>,
    /// Deleted for good. A late record of one of these must not bring it back.
    deleted: Sharded<RuleId>,
    /// By ticker index: its name, what every quote looks at, what a quote that reaches a threshold looks at.
    pub(super) tickers: Chunked<Ticker>,
    pub(super) guards: Chunked<Guard>,
    pub(super) books: Chunked<Book>,
    names: Names,
    /// Tickers evaluated since their marks were taken.
    touched: Vec<u32>,
    candidates: Vec<u32>,
}

/// All that a quote which reaches no threshold needs, in one cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Guard {
    pub(super) band: Band,
    /// Of the last evaluated quote; the offset is -1 before the first.
    pub(super) price: Option<Price>,
    pub(super) event_time: Timestamp,
    pub(super) ingest_time: Timestamp,
    pub(super) offset: i64,
    pub(super) rules: u32,
    touched: bool,
}

impl Guard {
    const NEW: Self = Self {
        band: Band::EVERYTHING,
        price: None,
        event_time: Timestamp::from_micros(i64::MIN),
        ingest_time: Timestamp::from_micros(i64::MIN),
        offset: -1,
        rules: 0,
        touched: false,
    };

    #[inline]
    fn touch(&mut self, index: u32, touched: &mut Vec<u32>) {
        if !self.touched {
            self.touched = true;
            touched.push(index);
        }
    }
}

/// As many shards as keep the pause of one that grows far below a millisecond, with ten million rules.
const RULE_SHARDS: usize = 4_096;
const DELETED_SHARDS: usize = 512;

impl Engine {
    /// Memory of one rule's own data in bytes; what is more serves to find it.
    pub const BYTES_OF_A_RULE: usize = size_of::<Entry>();

    /// No rules.
    #[must_use]
    pub fn new(margin: RearmMargin) -> Self {
        Self {
            margin,
            rules: 0,
            entries: Chunked::default(),
            free: Chunked::default(),
            slots: Sharded::new(RULE_SHARDS),
            deleted: Sharded::new(DELETED_SHARDS),
            tickers: Chunked::default(),
            guards: Chunked::default(),
            books: Chunked::default(),
            names: Names::default(),
            touched: Vec::new(),
            candidates: Vec::new(),
        }
    }

    /// How many rules there are.
    #[must_use]
    pub fn rules(&self) -> usize {
        self.rules
    }

    /// The index of a ticker that a rule or a mark has named.
    #[must_use]
    pub fn ticker(&self, ticker: &str) -> Option<TickerIndex> {
        self.names.find(ticker, &self.tickers).map(TickerIndex)
    }

    /// Takes a version of a rule. False if it is not newer than what is known: nothing changed.
    pub fn change(&mut self, rule: &RuleSnapshot) -> bool {
        let Some(slot) = self.slot(rule.rule_id) else {
            if self.is_deleted(rule.rule_id) {
                return false;
            }
            let slot = self.add(rule);
            self.put(slot);
            return true;
        };
        let entry = &self.entries[slot];
        if rule.version <= entry.version {
            self.renew(slot, rule);
            return false;
        }
        if self.tickers[entry.ticker] != rule.ticker {
            tracing::warn!(rule.id = %rule.rule_id, "a rule changed its ticker, which no rule does; ignored");
            return false;
        }
        let ticker = entry.ticker;
        self.displace(slot);
        self.entries[slot] = Entry::new(rule, ticker);
        self.put(slot);
        true
    }

    /// Takes a deletion. True if the rule was known: its state is to be deleted.
    pub fn delete(&mut self, rule_id: RuleId) -> bool {
        if !self.is_deleted(rule_id) {
            self.deleted
                .insert(&rule_id, rule_id, |hasher, id| hasher.hash_one(id));
        }
        let entries = &self.entries;
        let Some(slot) = self
            .slots
            .remove(&rule_id, |slot| entries[slot].rule_id == rule_id)
        else {
            return false;
        };
        self.displace(slot);
        self.entries[slot].standing = Standing::Free;
        self.guards[self.entries[slot].ticker].rules -= 1;
        self.rules -= 1;
        self.free.push(slot);
        true
    }

    /// Compares a quote with its ticker's rules and appends the transitions. Costs the same however many rules there are,
    /// unless it reaches a threshold: then as much as the thresholds that it passes.
    #[inline]
    pub fn on_quote(&mut self, tick: &Tick, transitions: &mut Vec<Transition>) -> QuoteFate {
        let index = tick.ticker.0;
        let guard = &mut self.guards[index];
        if guard.rules == 0 {
            return QuoteFate::NotWatched;
        }
        if tick.offset <= guard.offset {
            return QuoteFate::Repeated;
        }
        if tick.event_time < guard.event_time {
            return QuoteFate::Late;
        }
        let seen_until = guard.ingest_time;
        guard.price = Some(tick.price);
        guard.event_time = tick.event_time;
        guard.ingest_time = tick.ingest_time;
        guard.offset = tick.offset;
        guard.touch(index, &mut self.touched);
        let units = tick.price.units();
        if units <= guard.band.above || units >= guard.band.below {
            self.cross(tick, seen_until, transitions);
        }
        QuoteFate::Evaluated
    }

    /// Takes note that a ticker's prices are counted anew, from the quote on that comes next: rules from before `at` are not
    /// compared with it, nor with any after it. Ignored, as the quote will be, if nobody watches the ticker.
    #[cold]
    pub fn restate(&mut self, ticker: TickerIndex, at: Timestamp) {
        let index = ticker.0;
        if self.guards[index].rules == 0 {
            return;
        }
        if self.books[index].restate(Some(at)) {
            self.guards[index].touch(index, &mut self.touched);
        }
    }

    #[cold]
    fn cross(&mut self, tick: &Tick, seen_until: Timestamp, transitions: &mut Vec<Transition>) {
        let index = tick.ticker.0;
        let book = &mut self.books[index];
        self.candidates.clear();
        book.nominate(tick, &mut self.entries, self.margin, &mut self.candidates);
        for slot in self.candidates.drain(..) {
            let entry = &mut self.entries[slot];
            if let Some(mut transition) = book.settle(slot, tick, entry, self.margin) {
                transition.already_outside = entry.state_offset().is_none() && seen_until < entry.updated_at;
                entry.state = Some((entry.generation, tick.offset));
                transitions.push(transition);
            }
        }
        self.guards[index].band = book.band(self.margin);
    }

    /// The record of a transition that `on_quote` has just found for `tick`: the rule's new state.
    #[must_use]
    pub fn alert(&self, tick: &Tick, transition: &Transition, currency: &str, now: Timestamp) -> Alert {
        let entry = &self.entries[transition.slot];
        // For a return, the threshold that had been crossed.
        let crossed = if transition.side == Side::In {
            transition.from
        } else {
            transition.side
        };
        let threshold = if crossed == Side::Below {
            entry.range.low()
        } else {
            entry.range.high()
        };
        Alert {
            rule_id: entry.rule_id,
            user_id: entry.user_id,
            ticker: self.tickers[entry.ticker].clone(),
            position: AlertPosition {
                version: entry.version,
                generation: entry.generation,
                offset: tick.offset,
            },
            side: transition.side,
            price: tick.price,
            threshold: threshold.unwrap_or(tick.price),
            currency: currency.to_owned(),
            quote_time: tick.event_time,
            quote_ingest_time: tick.ingest_time,
            raised_at: now,
            already_outside: transition.already_outside,
        }
    }

    /// Whether a quote was evaluated since the marks were taken.
    #[must_use]
    pub fn has_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Appends the last evaluated quotes of the tickers that had one since the last call.
    pub fn take_touched(&mut self, marks: &mut Vec<TickerMark>) {
        for index in std::mem::take(&mut self.touched) {
            self.guards[index].touched = false;
            marks.extend(self.mark(index));
        }
    }

    fn mark(&self, index: u32) -> Option<TickerMark> {
        let guard = &self.guards[index];
        Some(TickerMark {
            ticker: self.tickers[index].clone(),
            price: guard.price?,
            event_time: guard.event_time,
            ingest_time: guard.ingest_time,
            offset: guard.offset,
            restated_at: self.books[index].restated_at(),
        })
    }

    pub(super) fn slot(&self, rule_id: RuleId) -> Option<u32> {
        self.slots
            .find(&rule_id, |slot| self.entries[slot].rule_id == rule_id)
    }

    pub(super) fn is_deleted(&self, rule_id: RuleId) -> bool {
        self.deleted.find(&rule_id, |id| id == rule_id).is_some()
    }

    /// The same rule in a log that was built anew: what it compares with then is of the new log.
    pub(super) fn renew(&mut self, slot: u32, rule: &RuleSnapshot) {
        let entry = &mut self.entries[slot];
        if rule.version == entry.version && rule.generation > entry.generation {
            self.displace(slot);
            self.entries[slot].generation = rule.generation;
            self.put(slot);
        }
    }

    /// Makes room for so many rules.
    pub(super) fn expect(&mut self, rules: usize) {
        self.slots.reserve(rules);
    }

    /// Gives room back that was made for far more rules than came.
    pub(super) fn shrink(&mut self) {
        let entries = &self.entries;
        self.slots
            .shrink(|hasher, slot| hasher.hash_one(entries[slot].rule_id));
    }

    /// A slot for a new rule, not yet in its place.
    pub(super) fn add(&mut self, rule: &RuleSnapshot) -> u32 {
        let ticker = self.index_of(&rule.ticker);
        let entry = Entry::new(rule, ticker);
        let slot = if let Some(slot) = self.free.pop() {
            self.entries[slot] = entry;
            slot
        } else {
            self.entries.push(entry)
        };
        let entries = &self.entries;
        self.slots.insert(&rule.rule_id, slot, |hasher, slot| {
            hasher.hash_one(entries[slot].rule_id)
        });
        self.guards[ticker].rules += 1;
        self.rules += 1;
        slot
    }

    pub(super) fn index_of(&mut self, ticker: &Ticker) -> u32 {
        if let Some(TickerIndex(index)) = self.ticker(ticker.as_str()) {
            return index;
        }
        let index = self.tickers.push(ticker.clone());
        self.guards.push(Guard::NEW);
        self.books.push(Book::default());
        self.names.insert(ticker.as_str(), index);
        index
    }

    fn put(&mut self, slot: u32) {
        let entry = &mut self.entries[slot];
        if entry.active {
            let index = entry.ticker;
            self.books[index].place(slot, entry, self.margin);
            self.guards[index].band.narrow(entry.triggers(self.margin));
        }
    }

    /// The band stays as it is: too narrow costs the next quote that leaves it a closer look, no more.
    fn displace(&mut self, slot: u32) {
        let entry = &mut self.entries[slot];
        if entry.standing != Standing::Out {
            self.books[entry.ticker].displace(slot, entry, self.margin);
        }
    }
}
