//! Rows through what stands between a provider and an alert: sanity, the log's records with their marks, and the engine.

use std::collections::BTreeSet;
use std::time::Duration;

use alert_system::engine::{Engine, RearmMargin, Tick};
use cqrs::domain::{Quote, Range, RuleId, RuleSnapshot, RuleVersion, Side, Timestamp, UserId};
use data_collector::sanity::{Kind, Outcome, Sanity};
use e2e::oracle::{Expected, OracleQuote, OracleRule, transitions};
use service::codec::{QuoteDecoder, encode_quote, encode_restated_quote};

/// What is known of a row, by whoever made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    Good,
    /// Never to be seen by a rule.
    Fault,
}

/// Rules are given before the first row, and again, by their owners, when prices are counted anew: those that are valid from
/// one such time to the next.
struct Reign {
    rules: Vec<RuleSnapshot>,
    /// Rows that its rules may see: after `from`, up to `to`.
    from: Option<usize>,
    to: usize,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) alerts: usize,
    /// Row and kind of what was restated.
    pub(super) restated: Vec<(usize, Kind)>,
    /// Rows that were held back.
    pub(super) held: Vec<usize>,
    /// Rows that ended the holding back of a true move.
    pub(super) moves: Vec<usize>,
}

/// Plays the rows of one ticker, and compares the alerts with those that the oracle finds in the good rows: exactly, but for
/// rows that were held back before something proved to be true. These are given back in the figures.
pub(super) fn play(rows: &[(Quote, Truth)]) -> Figures {
    let mut figures = Figures::default();
    let (mut sanity, mut engine) = (Sanity::default(), Engine::new(RearmMargin::from_permille(2)));
    let mut reigns = vec![Reign {
        rules: rules_around(rows, Timestamp::EPOCH),
        from: None,
        to: rows.len(),
    }];
    for rule in &reigns[0].rules {
        engine.change(rule);
    }
    let mut alerts: BTreeSet<Expected> = BTreeSet::new();
    let mut decoder = QuoteDecoder::default();
    let mut now = Timestamp::EPOCH;
    for (row, (quote, truth)) in rows.iter().enumerate() {
        now = now.max(quote.event_time);
        let quote = Quote {
            ingest_time: now,
            ..quote.clone()
        };
        let outcome = sanity.check(&quote, now);
        if matches!(outcome, Outcome::Quarantine(_)) {
            figures.held.push(row);
        }
        if !outcome.is_publishable() {
            continue;
        }
        assert_eq!(*truth, Truth::Good, "published: {quote:?}, {outcome:?}");
        let mut record = encode_quote(&quote);
        if let Outcome::Confirmed { kind, .. } = outcome {
            if kind.restates_prices() {
                figures.restated.push((row, kind));
                record = encode_restated_quote(&quote, now);
            } else {
                figures.moves.push(row);
            }
        }
        sanity.published(&quote);
        raise(&mut engine, decoder.decode(&record).unwrap(), row, &mut alerts);
        if figures
            .restated
            .last()
            .is_some_and(|(restated, _)| *restated == row)
        {
            // Their owners look at them at once.
            let renewed = rules_around(&rows[row + 1..], now.plus(Duration::from_micros(1)));
            for rule in &renewed {
                engine.change(rule);
            }
            reigns.last_mut().unwrap().to = row;
            reigns.push(Reign {
                rules: renewed,
                from: Some(row),
                to: rows.len(),
            });
        }
    }
    assert_held_for_a_reason(rows, &figures);
    let expected: BTreeSet<Expected> = reigns
        .iter()
        .flat_map(|reign| seen_by(reign, rows, &figures))
        .collect();
    let (missing, wrong): (Vec<_>, Vec<_>) = (
        expected.difference(&alerts).collect(),
        alerts.difference(&expected).collect(),
    );
    assert!(
        missing.is_empty() && wrong.is_empty(),
        "missing {missing:?}\nwrong {wrong:?}"
    );
    figures.alerts = alerts.len();
    figures
}

/// A good row is held back only if all good ones from it on are, until it proves to be true.
fn assert_held_for_a_reason(rows: &[(Quote, Truth)], figures: &Figures) {
    let restated = figures.restated.iter().map(|(row, _)| *row);
    let proved: BTreeSet<usize> = restated.chain(figures.moves.iter().copied()).collect();
    for &held in &figures.held {
        let good = (held..).take_while(|row| *row < rows.len() && !proved.contains(row));
        let mut good = good.filter(|row| rows[*row].1 == Truth::Good);
        let is_good = rows[held].1 == Truth::Good;
        let mut reason =
            || proved.range(held..).next().is_some() && good.all(|row| figures.held.contains(&row));
        assert!(!is_good || reason(), "{:?} was held back", rows[held].0);
    }
}

fn raise(
    engine: &mut Engine,
    quote: service::codec::QuoteView<'_>,
    row: usize,
    alerts: &mut BTreeSet<Expected>,
) {
    let Some(ticker) = engine.ticker(quote.ticker) else {
        return;
    };
    let tick = Tick {
        ticker,
        price: quote.price,
        event_time: quote.event_time,
        ingest_time: quote.ingest_time,
        offset: i64::try_from(row).unwrap(),
    };
    // As alert-system's evaluator does it.
    if let Some(at) = quote.restated_at {
        engine.restate(ticker, at);
    }
    let mut found = Vec::new();
    engine.on_quote(&tick, &mut found);
    for transition in &found {
        let alert = engine.alert(&tick, transition, "USD", quote.ingest_time);
        let side = match alert.side {
            Side::In => "in",
            Side::Above => "above",
            Side::Below => "below",
        };
        alerts.insert((alert.rule_id.to_string(), tick.offset, side));
    }
}

/// What the oracle says of a reign's rules and the good rows that they may see, less those that were held back.
fn seen_by(reign: &Reign, rows: &[(Quote, Truth)], figures: &Figures) -> BTreeSet<Expected> {
    let rules: Vec<OracleRule> = reign
        .rules
        .iter()
        .map(|rule| OracleRule {
            id: rule.rule_id.to_string(),
            ticker: rule.ticker.to_string(),
            low: rule.range.low().map(|price| price.units()),
            high: rule.range.high().map(|price| price.units()),
        })
        .collect();
    let made_at = reign
        .rules
        .first()
        .map_or(Timestamp::EPOCH, |rule| rule.updated_at);
    let mut newest = Timestamp::EPOCH;
    let mut quotes = Vec::new();
    for (row, (quote, truth)) in rows.iter().enumerate().take(reign.to) {
        let is_late = quote.event_time < newest;
        newest = newest.max(quote.event_time);
        let is_after = reign.from.is_none_or(|from| row > from) && newest >= made_at;
        if is_after && !is_late && *truth == Truth::Good && !figures.held.contains(&row) {
            quotes.push(OracleQuote {
                ticker: quote.ticker.to_string(),
                price: quote.price.units(),
                event_time_us: quote.event_time.as_micros(),
                offset: i64::try_from(row).unwrap(),
            });
        }
    }
    transitions(&rules, &quotes)
}

/// Rules just above, just below and around prices that there are in the good rows: at every twentieth part of them, in order
/// of size, also far apart from one another, as a split puts them.
fn rules_around(rows: &[(Quote, Truth)], updated_at: Timestamp) -> Vec<RuleSnapshot> {
    let good = rows.iter().filter(|(_, truth)| *truth == Truth::Good);
    let mut prices: Vec<i64> = good.map(|(quote, _)| quote.price.units()).collect();
    prices.sort_unstable();
    let Some((quote, _)) = rows.first() else {
        return Vec::new();
    };
    let mut rules = Vec::new();
    let mut add = |low: Option<i64>, high: Option<i64>| {
        let price = |units: i64| cqrs::domain::Price::from_units(units).unwrap();
        if let Ok(range) = Range::new(low.map(price), high.map(price)) {
            rules.push(RuleSnapshot {
                rule_id: RuleId::generate(),
                user_id: UserId::generate(),
                ticker: quote.ticker.clone(),
                range,
                version: RuleVersion::FIRST,
                active: true,
                expires_at: None,
                updated_at,
                generation: 0,
            });
        }
    };
    for part in 0..=20 {
        let Some(at) = prices.get(part * prices.len().saturating_sub(1) / 20) else {
            continue;
        };
        for off in [-1, 0, 1] {
            add(Some(at + off), None);
            add(None, Some(at + off));
        }
        add(Some(at - at / 100), Some(at + at / 100));
        add(Some(at - at / 4), Some(at + at / 4));
    }
    rules
}
