//! Random lives of an engine against a naive oracle.

mod examples;
mod ladder;
mod oracle;

use std::collections::BTreeMap;

use cqrs::domain::{
    Alert, AlertPosition, Price, Range, RuleId, RuleSnapshot, RuleVersion, Ticker, TickerMark, Timestamp,
    UserId,
};
use proptest::prelude::*;

use super::{Engine, QuoteFate, RearmMargin, Restoring, StateFate, Tick};
use oracle::{Oracle, Quote};

const TICKERS: [&str; 2] = ["AIG", "BRK-B"];
const RULES: usize = 24;

/// One thing that happens. Rules are named by a number; a deleted one's number stands for a new rule from then on.
#[derive(Debug, Clone)]
enum Event {
    Change {
        rule: usize,
        range: Range,
        active: bool,
        lives: Option<i64>,
    },
    /// An older version of a rule, or a version of a deleted one, comes late.
    Stale {
        rule: usize,
    },
    Delete {
        rule: usize,
    },
    Quote {
        ticker: usize,
        price: Price,
        event_step: i64,
        ingest_lag: i64,
        /// Since when, before now, prices are known to be counted anew.
        restated: Option<i64>,
    },
    /// A quote that was read before comes again.
    Repeat {
        back: usize,
    },
    /// Alerts, marks and offsets are safe from here on.
    Commit,
    /// The process dies, another restores. Of the alerts that were not waited for, those of the last `lost` quotes are lost.
    Crash {
        lost: usize,
        old_last: bool,
    },
}

/// Prices close together, so that thresholds, margins and prices meet exactly.
fn price() -> impl Strategy<Value = Price> {
    prop_oneof![
        8 => 9_900_i64..10_100,
        1 => Just(1_i64),
        1 => Just(i64::MAX),
        1 => 1_i64..40_000,
    ]
    .prop_map(|units| Price::from_units(units).unwrap())
}

fn range() -> impl Strategy<Value = Range> {
    (price(), price(), 0..4).prop_map(|(one, other, kind)| {
        let (low, high) = match kind {
            0 => (Some(one), None),
            1 => (None, Some(one)),
            _ if one == other => (Some(one), None),
            _ => (Some(one.min(other)), Some(one.max(other))),
        };
        Range::new(low, high).unwrap()
    })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..RULES, range(), prop::bool::weighted(0.9), proptest::option::weighted(0.2, 0_i64..20))
            .prop_map(|(rule, range, active, lives)| Event::Change { rule, range, active, lives }),
        1 => (0..RULES).prop_map(|rule| Event::Stale { rule }),
        1 => (0..RULES).prop_map(|rule| Event::Delete { rule }),
        16 => (0..TICKERS.len(), price(), -2_i64..4, prop_oneof![3 => Just(0_i64), 1 => 0_i64..8],
            proptest::option::weighted(0.06, -2_i64..9))
            .prop_map(|(ticker, price, event_step, ingest_lag, restated)| {
                Event::Quote { ticker, price, event_step, ingest_lag, restated }
            }),
        1 => (0_usize..6).prop_map(|back| Event::Repeat { back }),
        2 => Just(Event::Commit),
        1 => (0_usize..6, any::<bool>()).prop_map(|(lost, old_last)| Event::Crash { lost, old_last }),
    ]
}

/// The topics, the engine that works on them, and the oracle.
struct World {
    margin: RearmMargin,
    engine: Engine,
    oracle: Oracle,
    clock: i64,
    event_clock: i64,
    rules: BTreeMap<usize, RuleSnapshot>,
    versions: Vec<(RuleId, Option<RuleSnapshot>)>,
    quotes: Vec<Quote>,
    watched: Vec<Quote>,
    alerts: Vec<Alert>,
    marks: Vec<TickerMark>,
    committed: usize,
    /// Quotes before the last change of a rule. What an older version found is found by nobody again.
    settled: usize,
    expected: Vec<Alert>,
}

impl World {
    fn new(permille: u16) -> Self {
        let margin = RearmMargin::from_permille(permille);
        Self {
            margin,
            engine: Engine::new(margin),
            oracle: Oracle::new(permille),
            clock: 1_000,
            event_clock: 1_000,
            rules: BTreeMap::new(),
            versions: Vec::new(),
            quotes: Vec::new(),
            watched: Vec::new(),
            alerts: Vec::new(),
            marks: Vec::new(),
            committed: 0,
            settled: 0,
            expected: Vec::new(),
        }
    }

    fn happens(&mut self, event: Event) {
        self.clock += 1;
        match event {
            Event::Change {
                rule,
                range,
                active,
                lives,
            } => self.change(rule, range, active, lives),
            Event::Stale { rule } => {
                let of_rule = self.rules.get(&rule).map(|rule| rule.rule_id);
                let stale = self.versions.iter().rev().find_map(|(id, version)| {
                    // One of its own; for a number without a rule, one of a rule that is gone.
                    let is_live = self.rules.values().any(|live| live.rule_id == *id);
                    let wanted = of_rule.map_or(!is_live, |of_rule| of_rule == *id);
                    version.clone().filter(|_| wanted)
                });
                if let Some(stale) = stale {
                    assert!(!self.engine.change(&stale), "{stale:?} is not new");
                }
            }
            Event::Delete { rule } => {
                if let Some(rule) = self.rules.remove(&rule) {
                    if self.oracle.watches(&rule.ticker) == 1 {
                        self.commit();
                    }
                    assert!(self.engine.delete(rule.rule_id));
                    assert!(!self.engine.delete(rule.rule_id));
                    self.oracle.delete(rule.rule_id);
                    self.versions.push((rule.rule_id, None));
                    self.settled = self.quotes.len();
                }
            }
            Event::Quote {
                ticker,
                price,
                event_step,
                ingest_lag,
                restated,
            } => {
                self.event_clock += event_step;
                let quote = Quote {
                    ticker: TICKERS[ticker].parse().unwrap(),
                    price,
                    event_time: Timestamp::from_micros(self.event_clock),
                    ingest_time: Timestamp::from_micros(self.clock - ingest_lag),
                    offset: i64::try_from(self.quotes.len()).unwrap(),
                    restated_at: restated.map(|before| Timestamp::from_micros(self.clock - before)),
                };
                self.expected.extend(self.oracle.quote(&quote));
                self.quotes.push(quote.clone());
                if self.evaluate(&quote) != QuoteFate::NotWatched {
                    self.watched.push(quote);
                }
            }
            Event::Repeat { back } => {
                if let Some(quote) = self.watched.iter().rev().nth(back).cloned() {
                    let before = self.alerts.len();
                    let fate = self.evaluate(&quote);
                    assert_ne!(fate, QuoteFate::Evaluated);
                    assert_eq!(self.alerts.len(), before);
                }
            }
            Event::Commit => self.commit(),
            Event::Crash { lost, old_last } => self.crash(lost, old_last),
        }
        assert_eq!(self.engine.rules(), self.rules.len());
    }

    fn change(&mut self, number: usize, range: Range, active: bool, lives: Option<i64>) {
        // Most rules on one ticker.
        let ticker: Ticker = TICKERS[usize::from(number.is_multiple_of(6))].parse().unwrap();
        let known = self.rules.get(&number);
        let rule = RuleSnapshot {
            rule_id: known.map_or_else(RuleId::generate, |known| known.rule_id),
            user_id: known.map_or_else(UserId::generate, |known| known.user_id),
            ticker: ticker.clone(),
            range,
            version: known.map_or(RuleVersion::FIRST, |known| known.version.next()),
            active,
            expires_at: lives.map(|lives| Timestamp::from_micros(self.clock + lives)),
            updated_at: Timestamp::from_micros(self.clock),
            generation: 1,
        };
        if self.oracle.watches(&ticker) == 0 {
            // Quotes that nobody watched would count when they are read again.
            self.commit();
        }
        assert!(self.engine.change(&rule));
        self.oracle.change(rule.clone());
        self.versions.push((rule.rule_id, Some(rule.clone())));
        self.rules.insert(number, rule);
        self.settled = self.quotes.len();
    }

    fn evaluate(&mut self, quote: &Quote) -> QuoteFate {
        let Some(ticker) = self.engine.ticker(quote.ticker.as_str()) else {
            return QuoteFate::NotWatched;
        };
        let tick = Tick {
            ticker,
            price: quote.price,
            event_time: quote.event_time,
            ingest_time: quote.ingest_time,
            offset: quote.offset,
        };
        if let Some(at) = quote.restated_at {
            self.engine.restate(ticker, at);
        }
        let mut transitions = Vec::new();
        let fate = self.engine.on_quote(&tick, &mut transitions);
        for transition in transitions {
            let alert = self.engine.alert(&tick, &transition, "USD", Timestamp::EPOCH);
            assert!(!self.alerts.contains(&alert), "told twice: {alert:?}");
            self.alerts.push(alert);
        }
        fate
    }

    fn commit(&mut self) {
        self.engine.take_touched(&mut self.marks);
        assert!(!self.engine.has_touched());
        self.committed = self.quotes.len();
    }

    fn crash(&mut self, lost: usize, old_last: bool) {
        let safe = self
            .quotes
            .len()
            .saturating_sub(lost)
            .max(self.committed)
            .max(self.settled);
        self.alerts
            .retain(|alert| alert.position.offset < i64::try_from(safe).unwrap());
        let mut restoring = Restoring::new(self.margin, self.versions.len());
        let mut newest: BTreeMap<RuleId, Option<RuleVersion>> = BTreeMap::new();
        for (id, version) in &self.versions {
            newest.insert(*id, version.as_ref().map(|version| version.version));
            match version {
                Some(version) => assert!(restoring.rule(version)),
                None => restoring.delete_rule(*id),
            }
        }
        if old_last {
            for (id, version) in &self.versions {
                if let Some(version) = version {
                    assert_eq!(
                        restoring.rule(version),
                        newest[id] == Some(version.version),
                        "{version:?}"
                    );
                }
            }
        }
        assert_eq!(restoring.rules(), self.rules.len());
        self.restore_states(&mut restoring, &newest, old_last);
        for mark in &self.marks {
            assert!(restoring.mark(mark));
        }
        if old_last
            && let [first, .., last] = self.marks.as_slice()
            && first.ticker == last.ticker
        {
            assert!(!restoring.mark(first));
        }
        self.engine = restoring.finish();
        for index in self.committed..self.quotes.len() {
            let quote = self.quotes[index].clone();
            self.evaluate(&quote);
        }
    }

    fn restore_states(
        &self,
        restoring: &mut Restoring,
        newest: &BTreeMap<RuleId, Option<RuleVersion>>,
        old_last: bool,
    ) {
        let mut last: BTreeMap<RuleId, AlertPosition> = BTreeMap::new();
        let first: Vec<_> = if old_last {
            self.alerts.first().cloned().into_iter().collect()
        } else {
            Vec::new()
        };
        for alert in self.alerts.iter().chain(&first) {
            let fate = restoring.state(alert.rule_id, alert.position, alert.side);
            let is_gone = newest[&alert.rule_id].is_none();
            let current = newest[&alert.rule_id] == last.get(&alert.rule_id).map(|position| position.version);
            let hides = last
                .get(&alert.rule_id)
                .is_some_and(|position| alert.position < *position)
                && current;
            let expected = match (is_gone, hides) {
                (true, _) => StateFate::NoRule,
                (false, true) => StateFate::Old,
                (false, false) => StateFate::Newest,
            };
            assert_eq!(fate, expected, "{alert:?}");
            let entry = last.entry(alert.rule_id).or_insert(alert.position);
            *entry = alert.position.max(*entry);
        }
    }
}

fn sorted(mut alerts: Vec<Alert>) -> Vec<Alert> {
    alerts.sort_by_key(|alert| (alert.position.offset, alert.rule_id));
    alerts
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_alerts_are_those_of_the_naive_oracle(
        permille in prop_oneof![Just(2_u16), Just(0), Just(100), Just(7)],
        events in prop::collection::vec(event(), 1..200),
    ) {
        let mut world = World::new(permille);
        for event in events {
            world.happens(event);
        }
        prop_assert_eq!(sorted(world.alerts), sorted(world.expected));
    }
}
