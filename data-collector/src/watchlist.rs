//! Which tickers are polled: those with at least one active rule, learned from the rules topic, and those of the ticker
//! file.
//!
//! The instances of the collector share the rules topic's partitions as one consumer group, so each ticker is polled by
//! one of them: the one that holds its partition.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use cqrs::domain::{RuleId, RuleSnapshot, RuleVersion, Ticker, Timestamp};
use service::topics::partition_of;

/// A ticker to poll from now on, or no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchChange {
    /// Poll it.
    Watch(Ticker),
    /// Poll it no longer.
    Unwatch(Ticker),
}

/// The rules of the assigned partitions, as far as polling needs them. Without I/O.
#[derive(Debug)]
pub struct Watchlist {
    partition_count: i32,
    pinned: Vec<Ticker>,
    partitions: HashMap<i32, Partition>,
    /// Reasons to poll each ticker: its active rules, and the ticker file.
    reasons: HashMap<Ticker, usize>,
}

#[derive(Debug, Default)]
struct Partition {
    rules: HashMap<RuleId, Known>,
    /// When active rules expire, soonest first.
    expiries: BTreeSet<(Timestamp, RuleId)>,
}

/// What is known of a rule.
#[derive(Debug)]
enum Known {
    /// Its newest version.
    Rule {
        /// Newer versions have newer order.
        order: (RuleVersion, i64),
        /// Present while it is active.
        watches: Option<(Ticker, Option<Timestamp>)>,
    },
    /// Gone for good. Kept, because an old version may be appended after the tombstone; ids are not used again.
    Deleted,
}

impl Watchlist {
    /// With no partition assigned. `pinned` tickers are polled whatever rules exist.
    #[must_use]
    pub fn new(partition_count: i32, pinned: Vec<Ticker>) -> Self {
        Self {
            partition_count,
            pinned,
            partitions: HashMap::new(),
            reasons: HashMap::new(),
        }
    }

    /// Starts with nothing known of this partition: its rules are read from the beginning.
    pub fn assign(&mut self, partition: i32) -> Vec<WatchChange> {
        let mut changes = self.revoke(partition);
        self.partitions.insert(partition, Partition::default());
        for ticker in self.pinned_in(partition) {
            changes.extend(self.add(ticker));
        }
        changes
    }

    /// Forgets this partition.
    pub fn revoke(&mut self, partition: i32) -> Vec<WatchChange> {
        let Some(forgotten) = self.partitions.remove(&partition) else {
            return Vec::new();
        };
        let mut tickers = self.pinned_in(partition);
        tickers.extend(forgotten.rules.into_values().filter_map(|known| known.watched()));
        tickers.iter().filter_map(|ticker| self.take(ticker)).collect()
    }

    /// How many of how many partitions are assigned.
    #[must_use]
    pub fn share(&self) -> (u32, u32) {
        let held = u32::try_from(self.partitions.len()).unwrap_or(u32::MAX);
        (held, self.partition_count.unsigned_abs())
    }

    /// Takes a version of a rule, unless a newer one is known.
    pub fn change(&mut self, partition: i32, rule: &RuleSnapshot, now: Timestamp) -> Vec<WatchChange> {
        let order = (rule.version, rule.generation);
        let active = rule.active && rule.expires_at.is_none_or(|at| at > now);
        let watches = active.then(|| (rule.ticker.clone(), rule.expires_at));
        let Some(of) = self.partitions.get_mut(&partition) else {
            return Vec::new();
        };
        let before = match of.rules.entry(rule.rule_id) {
            Entry::Vacant(entry) => {
                entry.insert(Known::Rule {
                    order,
                    watches: watches.clone(),
                });
                None
            }
            Entry::Occupied(mut entry) => match entry.get() {
                Known::Rule { order: known, .. } if *known < order => entry
                    .insert(Known::Rule {
                        order,
                        watches: watches.clone(),
                    })
                    .into_watches(),
                Known::Rule { .. } | Known::Deleted => return Vec::new(),
            },
        };
        if let Some((_, Some(at))) = before {
            of.expiries.remove(&(at, rule.rule_id));
        }
        if let Some((_, Some(at))) = watches {
            of.expiries.insert((at, rule.rule_id));
        }
        // Added before taken: a rule that only changed its range must not interrupt its ticker.
        let added = watches.and_then(|(ticker, _)| self.add(ticker));
        let taken = before.and_then(|(ticker, _)| self.take(&ticker));
        added.into_iter().chain(taken).collect()
    }

    /// Takes a rule's tombstone.
    pub fn delete(&mut self, partition: i32, rule_id: RuleId) -> Vec<WatchChange> {
        let Some(of) = self.partitions.get_mut(&partition) else {
            return Vec::new();
        };
        let before = of
            .rules
            .insert(rule_id, Known::Deleted)
            .and_then(Known::into_watches);
        let Some((ticker, expires_at)) = before else {
            return Vec::new();
        };
        if let Some(at) = expires_at {
            of.expiries.remove(&(at, rule_id));
        }
        self.take(&ticker).into_iter().collect()
    }

    /// Stops what has expired by now.
    pub fn expire(&mut self, now: Timestamp) -> Vec<WatchChange> {
        let mut tickers = Vec::new();
        for of in self.partitions.values_mut() {
            while let Some((at, rule_id)) = of.expiries.first().copied().filter(|(at, _)| *at <= now) {
                of.expiries.remove(&(at, rule_id));
                if let Some(Known::Rule { watches, .. }) = of.rules.get_mut(&rule_id) {
                    tickers.extend(watches.take().map(|(ticker, _)| ticker));
                }
            }
        }
        tickers.iter().filter_map(|ticker| self.take(ticker)).collect()
    }

    fn pinned_in(&self, partition: i32) -> Vec<Ticker> {
        let is_in = |ticker: &&Ticker| partition_of(ticker, self.partition_count) == partition;
        self.pinned.iter().filter(is_in).cloned().collect()
    }

    fn add(&mut self, ticker: Ticker) -> Option<WatchChange> {
        let count = self.reasons.entry(ticker.clone()).or_default();
        *count += 1;
        (*count == 1).then_some(WatchChange::Watch(ticker))
    }

    fn take(&mut self, ticker: &Ticker) -> Option<WatchChange> {
        let count = self.reasons.get_mut(ticker)?;
        *count -= 1;
        if *count > 0 {
            return None;
        }
        self.reasons.remove(ticker);
        Some(WatchChange::Unwatch(ticker.clone()))
    }
}

impl Known {
    fn into_watches(self) -> Option<(Ticker, Option<Timestamp>)> {
        match self {
            Self::Rule { watches, .. } => watches,
            Self::Deleted => None,
        }
    }

    fn watched(self) -> Option<Ticker> {
        self.into_watches().map(|(ticker, _)| ticker)
    }
}

#[cfg(test)]
mod tests;
