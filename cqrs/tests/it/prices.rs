use std::collections::BTreeMap;

use cqrs::PricePoint;
use cqrs::domain::{Ticker, Timestamp};

use crate::support::{Db, price, quote};

on_both_databases! {
    the_latest_quotes_of_many_tickers_come_in_one_answer,
    tickers_that_are_spelled_alike_are_found_the_closest_first,
    a_series_has_the_extremes_and_the_last_price_of_each_part,
    a_series_of_anything_is_as_a_naive_one,
}

fn ticker(text: &str) -> Ticker {
    text.parse().unwrap()
}

async fn the_latest_quotes_of_many_tickers_come_in_one_answer(db: Db) {
    let quotes: Vec<_> = (0..1_203)
        .map(|n| (quote(&format!("T{n}"), "10", 1_000 + n), n))
        .collect();
    db.store.history().record(&quotes).await.unwrap();
    let queries = db.queries();
    let mut found = queries
        .latest_quotes(&[ticker("T7"), ticker("NONE"), ticker("T3"), ticker("T7")])
        .await
        .unwrap();
    found.sort_by_key(|quote| quote.event_time);
    assert_eq!(found, [quotes[3].0.clone(), quotes[7].0.clone()]);

    let all: Vec<_> = quotes.iter().map(|(quote, _)| quote.ticker.clone()).collect();
    let mut found = queries.latest_quotes(&all).await.unwrap();
    found.sort_by_key(|quote| quote.event_time);
    assert!(found.iter().eq(quotes.iter().map(|(quote, _)| quote)));
    assert!(queries.latest_quotes(&[]).await.unwrap().is_empty());

    let caller = db.user("ada@example.org").await;
    for watched in ["T3", "T3", "T5", "NONE"] {
        db.rule(caller, watched).await;
    }
    let mut found = queries.latest_quotes_of_rules().await.unwrap();
    found.sort_by_key(|quote| quote.event_time);
    assert_eq!(found, [quotes[3].0.clone(), quotes[5].0.clone()]);
}

async fn tickers_that_are_spelled_alike_are_found_the_closest_first(db: Db) {
    let quotes: Vec<_> = (0..)
        .zip(["AAPL", "APLE", "MSFT", "BTC-USD", "^GSPC"])
        .map(|(n, ticker)| (quote(ticker, "10", 1_000), n))
        .collect();
    db.store.history().record(&quotes).await.unwrap();
    let caller = db.user("ada@example.org").await;
    for watched in ["AAPL", "AAP", "ETH-USD"] {
        db.rule(caller, watched).await;
    }
    let similar = async |text: &str, limit| {
        let found = db.queries().similar_tickers(&ticker(text), limit).await.unwrap();
        found
            .iter()
            .map(|ticker| ticker.as_str().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(similar("APPL", 3).await, ["AAPL", "AAP", "APLE"]);
    assert_eq!(similar("APPL", 1).await, ["AAPL"]);
    assert_eq!(similar("AAPL", 3).await, ["AAP", "APLE"], "never itself");
    assert_eq!(similar("BTC", 3).await, ["BTC-USD"]);
    assert_eq!(similar("ETH", 3).await, ["ETH-USD"], "known by a rule alone");
    assert_eq!(similar("GSPC", 3).await, ["^GSPC"]);
    assert!(similar("XYZ", 3).await.is_empty());
}

async fn a_series_has_the_extremes_and_the_last_price_of_each_part(db: Db) {
    // Parts of 10: [100, 110) has four, [110, 120) none, [120, 130) one; the quotes at 99 and 130 are outside.
    let quotes = [
        (99, "1", 0),
        (100, "50", 1),
        (105, "60", 2),
        (109, "40", 4),
        (109, "45", 3),
        (129, "70.00000001", 5),
        (130, "999", 6),
    ];
    let quotes: Vec<_> = quotes
        .iter()
        .map(|(time, price, offset)| (quote("AAPL", price, *time), *offset))
        .chain([(quote("MSFT", "7", 105), 7)])
        .collect();
    db.store.history().record(&quotes).await.unwrap();
    let series = async |from, to, points| {
        db.queries()
            .price_series(
                &ticker("AAPL"),
                Timestamp::from_micros(from),
                Timestamp::from_micros(to),
                points,
            )
            .await
            .unwrap()
    };
    let point = |time, min, max, last| PricePoint {
        time: Timestamp::from_micros(time),
        min: price(min),
        max: price(max),
        last: price(last),
    };
    let expected = [
        // Of the two at 109 the one with the later offset is the last.
        point(109, "40", "60", "40"),
        point(129, "70.00000001", "70.00000001", "70.00000001"),
    ];
    assert_eq!(series(100, 130, 3).await, expected);
    assert_eq!(
        series(100, 130, 1).await,
        [point(129, "40", "70.00000001", "70.00000001")]
    );
    // The parts begin with the first quote, however long before the time began: [99, 110), [110, 121), [121, 132).
    assert_eq!(
        series(-1_000_000, 130, 3).await,
        [point(109, "1", "60", "40"), expected[1]]
    );
    assert_eq!(series(100, 130, 0).await.len(), 1, "at least one part");
    assert_eq!(
        series(100, 130, u32::MAX).await.len(),
        4,
        "a part for each moment"
    );
    assert!(series(130, 100, 3).await.is_empty());
    assert!(series(111, 119, 3).await.is_empty());
}

async fn a_series_of_anything_is_as_a_naive_one(db: Db) {
    // A walk that any generator would do for.
    let mut state = 1_u64;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        i64::try_from((state >> 33) % below).unwrap()
    };
    let start = 1_700_000_000_000_000;
    let quotes: Vec<_> = (0..600)
        .map(|offset| {
            let units = 1 + random(1_000);
            (
                quote("AAPL", &units.to_string(), start + random(50) * 1_000),
                offset,
            )
        })
        .collect();
    db.store.history().record(&quotes).await.unwrap();
    for points in [1, 2, 3, 7, 10, 50, 100] {
        let (from, to) = (start + random(20_000), start + 30_000 + random(20_000));
        let times = quotes.iter().map(|(quote, _)| quote.event_time.as_micros());
        let first = times.filter(|time| (from..to).contains(time)).min().unwrap();
        let width = (to - first + points - 1) / points;
        let mut parts = BTreeMap::<i64, Vec<_>>::new();
        for (quote, offset) in &quotes {
            let time = quote.event_time.as_micros();
            if (from..to).contains(&time) {
                parts
                    .entry((time - first) / width)
                    .or_default()
                    .push((time, *offset, quote.price));
            }
        }
        let expected: Vec<_> = parts
            .values()
            .map(|part| {
                let (time, _, last) = *part.iter().max().unwrap();
                PricePoint {
                    time: Timestamp::from_micros(time),
                    min: part.iter().map(|(_, _, price)| *price).min().unwrap(),
                    max: part.iter().map(|(_, _, price)| *price).max().unwrap(),
                    last,
                }
            })
            .collect();
        let found = db
            .queries()
            .price_series(
                &ticker("AAPL"),
                Timestamp::from_micros(from),
                Timestamp::from_micros(to),
                u32::try_from(points).unwrap(),
            )
            .await
            .unwrap();
        assert!(found.len() <= usize::try_from(points).unwrap());
        assert_eq!(found, expected, "{points} parts");
    }
}
