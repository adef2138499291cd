//! Real days, where their files are:
//! `STOCKALERT_MARKET_DATA=FOLDER cargo test -p data-collector --test it -- --ignored --nocapture real_data_`.
//! Files are CSV as `replay` reads them. What each has to show is known of it, and said here.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use cqrs::domain::{Ticker, Timestamp};
use data_collector::replay::Rows;
use data_collector::sanity::{Kind, Outcome, Sanity};

/// How often each outcome came, and what was confirmed or held back, as text.
#[derive(Debug, Default)]
struct Figures {
    counts: BTreeMap<&'static str, u64>,
    /// Ticker, time, price and what had happened.
    confirmed: Vec<String>,
    /// First and last of each row of quotes that were held back.
    held: Vec<(Ticker, Timestamp, Timestamp, u64)>,
}

#[expect(clippy::print_stdout, reason = "the figures are what somebody wants to see")]
fn judge(file: &str) -> Figures {
    let folder = PathBuf::from(
        std::env::var("STOCKALERT_MARKET_DATA").expect("STOCKALERT_MARKET_DATA names a folder"),
    );
    let mut tickers: HashMap<Ticker, (Sanity, bool)> = HashMap::new();
    let mut figures = Figures::default();
    for row in Rows::open(&folder.join(file)).unwrap() {
        let quote = row.unwrap();
        let (sanity, was_held) = tickers.entry(quote.ticker.clone()).or_default();
        let outcome = sanity.check(&quote, quote.event_time);
        *figures.counts.entry(outcome.label()).or_default() += 1;
        if let Outcome::Confirmed { kind, from } = outcome {
            let what = match kind {
                Kind::Move => "move".to_owned(),
                Kind::Unit => "unit".to_owned(),
                Kind::Split(split) => format!("split {split}"),
            };
            figures.confirmed.push(format!(
                "{} {}: {what}, from {from} to {}",
                quote.ticker, quote.event_time, quote.price
            ));
        }
        let is_held = matches!(outcome, Outcome::Quarantine(_));
        if is_held && *was_held {
            let last = figures
                .held
                .iter_mut()
                .rev()
                .find(|(ticker, ..)| *ticker == quote.ticker);
            let (_, _, end, count) = last.unwrap();
            (*end, *count) = (quote.event_time, *count + 1);
        } else if is_held {
            let (ticker, time) = (quote.ticker.clone(), quote.event_time);
            figures.held.push((ticker, time, time, 1));
        }
        *was_held = is_held;
        if outcome.is_publishable() {
            sanity.published(&quote);
        }
    }
    println!("{file}: {:?}", figures.counts);
    for (ticker, from, to, count) in &figures.held {
        println!("    held back: {ticker}, {count} from {from} to {to}");
    }
    for confirmed in &figures.confirmed {
        println!("    confirmed: {confirmed}");
    }
    figures
}

#[test]
#[ignore = "needs STOCKALERT_MARKET_DATA, a folder of files that are not part of this repository"]
fn real_data_of_days_raise_no_false_quote_and_true_moves_pass() {
    for calm in [
        "crypto_minute_2017-09.csv",
        "fx_minute_EURUSD.csv",
        "us_minute_GOOG_2015-12_halfday.csv",
        "us_second_AIG_BAC_2013-10-07.csv",
        // In the order of time, though not of its text: whole seconds are written without a fraction.
        "us_tick_AIG_2013-10-07.csv",
    ] {
        let figures = judge(calm);
        assert!(figures.held.is_empty() && figures.confirmed.is_empty(), "{calm}");
        assert_eq!(figures.counts.get("late"), None, "{calm}");
    }
    let split = judge("us_minute_AAPL_TWX_2014-06_spinoff.csv");
    assert_eq!(split.confirmed.len(), 1);
    assert!(
        split.confirmed[0].contains(" split 7:1, from 645.7 to "),
        "{:?}",
        split.confirmed
    );
    assert_eq!(split.held.len(), 1);

    let errors = judge("provider_errors_100x_AET.L_split_CNE.L.csv");
    assert_eq!(errors.counts["suspect_unit"], 9);
    assert!(
        errors
            .confirmed
            .iter()
            .all(|text| text.starts_with("CNE.L 2023-05-17"))
    );

    judge("us_daily_4tickers_2000-2013.csv");
}
