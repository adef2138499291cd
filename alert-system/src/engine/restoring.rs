use cqrs::domain::{AlertPosition, RuleId, RuleSnapshot, Side, TickerMark};

use super::RearmMargin;
use super::book::Book;
use super::entry::{Entry, Standing};
use super::matcher::Engine;

/// What a record of the alerts topic is to its rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateFate {
    /// Nothing newer was read before.
    Newest,
    /// It came after a newer one.
    Old,
    /// Its rule does not exist, or no longer.
    NoRule,
}

/// An engine whose rules and states are still being read from the compacted topics: all rules before any state, in the
/// order of each topic. Of several records of one key the newest counts, whatever their order.
#[derive(Debug)]
pub struct Restoring {
    engine: Engine,
    expected: usize,
}

impl Restoring {
    /// Nothing read yet. `expected` says how many rules there may be: room is made for them at once.
    #[must_use]
    pub fn new(margin: RearmMargin, expected: usize) -> Self {
        let mut engine = Engine::new(margin);
        engine.expect(expected);
        Self { engine, expected }
    }

    /// How many rules were read and not deleted.
    #[must_use]
    pub fn rules(&self) -> usize {
        self.engine.rules()
    }

    /// Takes a version of a rule. False if it came after a newer one, or after the rule's deletion.
    pub fn rule(&mut self, rule: &RuleSnapshot) -> bool {
        let engine = &mut self.engine;
        let Some(slot) = engine.slot(rule.rule_id) else {
            if engine.is_deleted(rule.rule_id) {
                return false;
            }
            engine.add(rule);
            return true;
        };
        let entry = &mut engine.entries[slot];
        if rule.version < entry.version {
            return false;
        }
        if rule.version == entry.version {
            entry.generation = entry.generation.max(rule.generation);
        } else if engine.tickers[entry.ticker] == rule.ticker {
            *entry = Entry::new(rule, entry.ticker);
        } else {
            tracing::warn!(rule.id = %rule.rule_id, "a rule changed its ticker, which no rule does; ignored");
        }
        true
    }

    /// Takes a deletion, which is final.
    pub fn delete_rule(&mut self, rule_id: RuleId) {
        self.engine.delete(rule_id);
    }

    /// Takes a rule's state.
    pub fn state(&mut self, rule_id: RuleId, position: AlertPosition, side: Side) -> StateFate {
        let Some(slot) = self.engine.slot(rule_id) else {
            return StateFate::NoRule;
        };
        let entry = &mut self.engine.entries[slot];
        if position.version != entry.version {
            // Another version's state says nothing of this one; it matters only if it hides this one's.
            return if position.version < entry.version && entry.state.is_some() {
                StateFate::Old
            } else {
                StateFate::Newest
            };
        }
        let state = (position.generation, position.offset);
        if entry.state.is_some_and(|known| state < known) {
            return StateFate::Old;
        }
        entry.state = Some(state);
        entry.side = side;
        StateFate::Newest
    }

    /// Takes a ticker's last evaluated quote. False if it came after a newer one.
    pub fn mark(&mut self, mark: &TickerMark) -> bool {
        let index = self.engine.index_of(&mark.ticker);
        let (guard, book) = (&mut self.engine.guards[index], &mut self.engine.books[index]);
        // A late quote may restate prices, and nothing else.
        if (mark.offset, mark.restated_at) < (guard.offset, book.restated_at()) {
            return false;
        }
        book.restate(mark.restated_at);
        guard.price = Some(mark.price);
        guard.event_time = mark.event_time;
        guard.ingest_time = mark.ingest_time;
        guard.offset = mark.offset;
        true
    }

    /// Puts every rule in its place.
    #[must_use]
    pub fn finish(self) -> Engine {
        let mut engine = self.engine;
        if engine.rules() < self.expected / 2 {
            // A rule may have many records.
            engine.shrink();
        }
        let (slots, starts) = by_ticker(&engine);
        for (index, bounds) in (0..).zip(starts.windows(2)) {
            let slots = &slots[bounds[0]..bounds[1]];
            let mut book = Book::build(slots, &mut engine.entries, engine.margin);
            book.restate(engine.books[index].restated_at());
            engine.guards[index].band = book.band(engine.margin);
            engine.books[index] = book;
        }
        engine
    }
}

/// The slots of all rules, those of one ticker side by side, and where each ticker's begin.
fn by_ticker(engine: &Engine) -> (Vec<u32>, Vec<usize>) {
    let mut starts = vec![0];
    let mut end = 0;
    for guard in engine.guards.iter() {
        end += guard.rules as usize;
        starts.push(end);
    }
    let mut next = starts.clone();
    let mut slots = vec![0; end];
    for (slot, entry) in (0..).zip(engine.entries.iter()) {
        if entry.standing != Standing::Free {
            let place = &mut next[entry.ticker as usize];
            slots[*place] = slot;
            *place += 1;
        }
    }
    (slots, starts)
}
