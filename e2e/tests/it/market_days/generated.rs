//! Days made up, in the shapes of the real ones, of which all is known.

use std::time::Duration;

use cqrs::domain::{Price, Quote, Timestamp};
use data_collector::sanity::Kind;

use super::replay::{Truth, play};
use super::with_faults;

/// A walk of so many rows with steps of up to half a per cent, every 15 s; every seventh row shares its time with the one before.
fn walk(seed: u64, start: i64, rows: usize, from: Timestamp) -> Vec<(Quote, Truth)> {
    let (mut random, mut units, mut at) = (seed | 1, start, from);
    let mut next = || {
        // xorshift64
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    (0..rows)
        .map(|row| {
            let step = i64::try_from(next() % 1_001).unwrap() - 500;
            units += units / 100_000 * step;
            if row % 7 != 6 {
                at = at.plus(Duration::from_secs(15));
            }
            let quote = Quote {
                ticker: "AAPL".parse().unwrap(),
                price: Price::from_units(units).unwrap(),
                currency: "USD".into(),
                volume: Some(i64::try_from(row).unwrap()),
                trade_side: None,
                event_time: at,
                ingest_time: at,
                source: "test".into(),
            };
            (quote, Truth::Good)
        })
        .collect()
}

fn dollars(cents: i64) -> i64 {
    cents * Price::SCALE / 100
}

fn morning() -> Timestamp {
    "2014-06-06T13:30:00Z".parse().unwrap()
}

/// After the last row, by so much; where its last price is multiplied so.
fn goes_on(rows: &[(Quote, Truth)], pause: Duration, up: i64, down: i64) -> Vec<(Quote, Truth)> {
    let last = &rows.last().unwrap().0;
    walk(
        7,
        last.price.units() * up / down,
        600,
        last.event_time.plus(pause),
    )
}

#[test]
fn days_with_faults_alert_exactly_as_the_days_without() {
    for seed in 1..=20 {
        let rows = walk(seed, dollars(64_570), 1_500, morning());
        let figures = play(&rows);
        assert!(figures.alerts > 100 && figures.held.is_empty(), "{figures:?}");
        let faulty = play(&with_faults(&rows));
        assert_eq!(faulty.alerts, figures.alerts);
        assert!(faulty.held.len() > 30 && faulty.restated.is_empty() && faulty.moves.is_empty());
    }
}

#[test]
fn a_split_overnight_alerts_nobody_and_rules_made_since_are_compared() {
    for (seed, up, down) in [(1, 1, 7), (2, 1, 2), (3, 20, 1), (4, 2, 3), (5, 1, 10)] {
        let mut rows = walk(seed, dollars(64_570), 600, morning());
        rows.extend(goes_on(&rows, Duration::from_secs(17 * 3_600), up, down));
        let figures = play(&rows);
        let [(row, Kind::Split(split))] = figures.restated[..] else {
            panic!("{figures:?}")
        };
        assert_eq!(
            (i64::from(split.new_shares()), i64::from(split.old_shares())),
            (down, up)
        );
        assert_eq!(figures.held, (600..row).collect::<Vec<_>>(), "from the first on");
        let proof = rows[row].0.event_time.since(rows[600].0.event_time);
        assert!(proof <= Duration::from_secs(5 * 60 + 15), "{proof:?}");
        assert!(figures.alerts > 200, "{figures:?}");
    }
}

#[test]
fn a_true_fall_alerts_as_the_oracle_says_later_by_the_proof_and_no_more() {
    for (up, down) in [(2, 5), (9, 5), (3, 10)] {
        let mut rows = walk(1, dollars(64_570), 600, morning());
        rows.extend(goes_on(&rows, Duration::from_secs(15), up, down));
        let figures = play(&rows);
        let [row] = figures.moves[..] else {
            panic!("{figures:?}")
        };
        assert!(figures.restated.is_empty());
        assert_eq!(figures.held, (600..row).collect::<Vec<_>>());
        let proof = rows[row].0.event_time.since(rows[600].0.event_time);
        assert!(proof <= Duration::from_secs(20 + 15), "{proof:?}");
        assert!(figures.alerts > 200, "{figures:?}");
    }
}
