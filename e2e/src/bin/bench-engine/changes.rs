use std::time::Duration;

use alert_system::engine::Engine;
use cqrs::domain::{RuleId, RuleSnapshot, Ticker};
use e2e::report::{Bar, Progress, Row};
use hashbrown::HashMap;

use crate::rules::Market;
use crate::simple::Trees;
use crate::stopwatch::Stopwatch;

const DELETES: usize = 20_000;
/// Alternating, so that both meet the same machine.
const ROUNDS: usize = 10;

/// What rules need at least: a map from ids, a map from tickers, the rules themselves, and two sorted sets per ticker. Has room
/// for all from the beginning.
struct Baseline {
    slots: HashMap<RuleId, u32>,
    tickers: HashMap<Ticker, usize>,
    rules: Vec<RuleSnapshot>,
    trees: Trees,
}

impl Baseline {
    fn new(market: &Market) -> Self {
        let room = market.rules.len() + 2 * DELETES;
        let mut slots = HashMap::with_capacity(room);
        slots.extend(market.rules.iter().map(|(id, _)| *id).zip(0..));
        let mut rules = Vec::with_capacity(room);
        for (ticker, of_ticker) in market.rules.chunks(market.rules_per_ticker()).enumerate() {
            rules.extend(
                of_ticker
                    .iter()
                    .map(|(id, range)| market.snapshot(ticker, *id, *range)),
            );
        }
        Self {
            slots,
            tickers: market.tickers.iter().cloned().zip(0..).collect(),
            rules,
            trees: Trees::new(market),
        }
    }

    fn take(&mut self, change: &Change) {
        let rule = &change.rule;
        let Some(ticker) = self.tickers.get(&rule.ticker).copied() else {
            return;
        };
        if change.deleted {
            if let Some(slot) = self.slots.remove(&rule.rule_id) {
                self.trees.remove(ticker, slot, rule.range);
            }
            return;
        }
        let slot = u32::try_from(self.rules.len()).unwrap_or(u32::MAX);
        self.slots.insert(rule.rule_id, slot);
        self.rules.push(rule.clone());
        self.trees.insert(ticker, slot, rule.range);
    }
}

/// The time that changes took.
#[derive(Default)]
struct Times {
    total: Duration,
    worst: Duration,
}

impl Times {
    /// Many at once for the mean, so that looking at the clock does not count.
    fn all(&mut self, changes: &[Change], mut apply: impl FnMut(&Change)) {
        let start = Stopwatch::start();
        changes.iter().for_each(&mut apply);
        self.total += start.elapsed();
    }

    /// Each by itself for the longest.
    fn each(&mut self, changes: &[Change], mut apply: impl FnMut(&Change)) {
        for change in changes {
            let start = Stopwatch::start();
            apply(change);
            self.worst = self.worst.max(start.elapsed());
        }
    }
}

/// One change of a ticker's rules.
struct Change {
    rule: RuleSnapshot,
    deleted: bool,
}

/// What a rule that comes or goes costs among all the others, and the longest that one of them held up the quotes.
pub(crate) fn measure(
    name: &str,
    market: &mut Market,
    mut engine: Engine,
    progress: &Progress,
) -> anyhow::Result<[Row; 2]> {
    progress.say("rules that come and go, beside sorted trees");
    let mut baseline = Baseline::new(market);
    let (mut ours, mut theirs) = (Times::default(), Times::default());
    let mut engine_takes = |change: &Change| {
        let taken = if change.deleted {
            engine.delete(change.rule.rule_id)
        } else {
            engine.change(&change.rule)
        };
        assert!(taken, "{} is not as expected", change.rule.rule_id);
    };
    for round in 0..ROUNDS {
        let changes = changes(market, DELETES / ROUNDS)?;
        if round % 2 == 0 {
            ours.all(&changes, &mut engine_takes);
            theirs.all(&changes, |change| baseline.take(change));
        } else {
            ours.each(&changes, &mut engine_takes);
            theirs.each(&changes, |change| baseline.take(change));
        }
    }
    let mean = |times: &Times| {
        times.total.as_secs_f64() * 1e9 * 2.0 / f64::from(u32::try_from(3 * DELETES).unwrap_or(u32::MAX))
    };
    let note = format!(
        "longest change, {name}: {:?}; of the trees {:?}",
        ours.worst, theirs.worst
    );
    Ok([
        Row {
            name: format!("20 k deletes, 40 k inserts, {name} : BTreeSet"),
            unit: "ns",
            measured: mean(&ours),
            baseline: mean(&theirs),
            bar: Bar::AtMost(1.0),
            notes: vec![note],
        },
        Row {
            name: format!("the longest of them, {name} : 1 ms"),
            unit: "us",
            measured: ours.worst.as_secs_f64() * 1e6,
            baseline: 1_000.0,
            bar: Bar::AtMost(1.0),
            notes: Vec::new(),
        },
    ])
}

/// Again and again one rule that goes, of any ticker, and two that come instead.
fn changes(market: &mut Market, deletes: usize) -> anyhow::Result<Vec<Change>> {
    let mut changes = Vec::with_capacity(3 * deletes);
    for _ in 0..deletes {
        let place = market.below(market.rules.len())?;
        let ticker = place / market.rules_per_ticker();
        let (first, second) = (market.range(ticker)?, market.range(ticker)?);
        let (first, second) = ((RuleId::generate(), first), (RuleId::generate(), second));
        // The first takes its place, so that none goes twice.
        let gone = std::mem::replace(&mut market.rules[place], first);
        for (rule, deleted) in [(gone, true), (first, false), (second, false)] {
            changes.push(Change {
                rule: market.snapshot(ticker, rule.0, rule.1),
                deleted,
            });
        }
    }
    Ok(changes)
}
