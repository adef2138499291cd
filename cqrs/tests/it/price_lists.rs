//! Recorded prices as lists: quotes, candles, tickers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cqrs::domain::{Quote, Ticker, Timestamp};
use cqrs::{Caller, Candle, ListedTicker, Page, StoreError};

use crate::support::{Db, price, quote};

on_both_databases! {
    quotes_are_listed_newest_first_each_on_one_page,
    quotes_that_come_between_two_pages_move_none_of_those_before,
    candles_have_the_first_the_extremes_and_the_last_of_each_part,
    candles_of_anything_are_as_naive_ones,
    tickers_are_listed_by_name_with_their_latest_price_and_the_callers_rules,
    own_tickers_are_those_of_the_callers_rules_with_or_without_a_price,
    no_list_takes_the_page_token_of_another,
}

fn ticker(text: &str) -> Ticker {
    text.parse().unwrap()
}

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

/// Adds a page to those before; each but the last is full. Answers where the next one is.
fn take<T>(all: &mut Vec<T>, page: Page<T>, limit: u32) -> Option<String> {
    let full = page.items.len() == usize::try_from(limit).unwrap();
    assert!(full || (page.next.is_none() && page.items.len() < usize::try_from(limit).unwrap()));
    all.extend(page.items);
    assert!(all.len() < 1_000, "the pages have no end");
    page.next
}

async fn listed_quotes(db: &Db, from: Option<i64>, to: Option<i64>, limit: u32) -> Vec<Quote> {
    let (mut all, mut token, apple) = (Vec::new(), None, ticker("AAPL"));
    loop {
        let page = db
            .queries()
            .quotes(&apple, from.map(at), to.map(at), token.as_deref(), limit)
            .await;
        token = take(&mut all, page.unwrap(), limit);
        if token.is_none() {
            return all;
        }
    }
}

async fn quotes_are_listed_newest_first_each_on_one_page(db: Db) {
    // Of one moment several, on a page's end too, and of a time before 1970.
    let quotes: Vec<_> = [-5, 10, 10, 10, 20, 30, 30, 40]
        .iter()
        .zip(0..)
        .map(|(time, offset)| (quote("AAPL", &format!("{}", offset + 1), *time), offset))
        .collect();
    db.store.history().record(&quotes).await.unwrap();
    let other = [(quote("MSFT", "7", 20), 90)];
    db.store.history().record(&other).await.unwrap();
    let newest_first: Vec<Quote> = quotes.iter().rev().map(|(quote, _)| quote.clone()).collect();
    for limit in [1, 2, 3, 7, 8, 200] {
        assert_eq!(
            listed_quotes(&db, None, None, limit).await,
            newest_first,
            "{limit}"
        );
    }
    // From is in, to is out.
    assert_eq!(
        listed_quotes(&db, Some(10), Some(30), 2).await,
        newest_first[3..7]
    );
    assert_eq!(listed_quotes(&db, Some(11), None, 2).await, newest_first[..4]);
    assert_eq!(listed_quotes(&db, None, Some(10), 2).await, newest_first[7..]);
    assert!(listed_quotes(&db, Some(30), Some(30), 2).await.is_empty());
    let none = db.queries().quotes(&ticker("NONE"), None, None, None, 5).await;
    assert!(none.unwrap().items.is_empty());
}

async fn quotes_that_come_between_two_pages_move_none_of_those_before(db: Db) {
    let quotes: Vec<_> = (0..6).map(|n| (quote("AAPL", "10", n * 10), n)).collect();
    db.store.history().record(&quotes).await.unwrap();
    let page = async |token: Option<&str>| {
        db.queries()
            .quotes(&ticker("AAPL"), None, None, token, 3)
            .await
            .unwrap()
    };
    let first = page(None).await;
    let late = [
        (quote("AAPL", "11", 60), 6),
        (quote("AAPL", "12", 45), 7),
        (quote("AAPL", "13", 15), 8),
    ];
    db.store.history().record(&late).await.unwrap();
    let second = page(first.next.as_deref()).await;
    let times = |page: &Page<Quote>| {
        page.items
            .iter()
            .map(|quote| quote.event_time.as_micros())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (times(&first), times(&second)),
        (vec![50, 40, 30], vec![20, 15, 10])
    );
    assert_eq!(times(&page(second.next.as_deref()).await), [0]);
}

async fn candles_have_the_first_the_extremes_and_the_last_of_each_part(db: Db) {
    const S: i64 = 1_000_000;
    // [100 s, 110 s) has four, two of them of one moment at each end; [110 s, 120 s) none; [120 s, 130 s) one.
    let quotes = [
        (100 * S - 1, "1", 0),
        (100 * S, "50", 2),
        (100 * S, "55", 1),
        (105 * S, "60", 3),
        (106 * S, "30", 4),
        (110 * S - 1, "40", 6),
        (110 * S - 1, "45", 5),
        (129 * S, "70.00000001", 7),
        (130 * S, "999", 8),
    ];
    let quotes: Vec<_> = quotes
        .iter()
        .map(|(time, price, offset)| (quote("AAPL", price, *time), *offset))
        .chain([(quote("MSFT", "7", 105 * S), 9)])
        .collect();
    db.store.history().record(&quotes).await.unwrap();
    let candles = async |from: i64, to: i64, seconds| {
        db.queries()
            .candles(&ticker("AAPL"), at(from), at(to), Duration::from_secs(seconds))
            .await
            .unwrap()
    };
    let candle = |start: i64, [open, high, low, close]: [&str; 4], quotes| Candle {
        start: at(start),
        open: price(open),
        high: price(high),
        low: price(low),
        close: price(close),
        quotes,
    };
    let last = candle(120 * S, ["70.00000001"; 4], 1);
    assert_eq!(
        candles(100 * S, 130 * S, 10).await,
        [candle(100 * S, ["55", "60", "30", "40"], 6), last]
    );
    // The last part is cut where the time ends.
    assert_eq!(
        candles(100 * S, 106 * S, 10).await,
        [candle(100 * S, ["55", "60", "50", "60"], 3)]
    );
    assert_eq!(
        candles(100 * S, 106 * S, 5).await,
        [
            candle(100 * S, ["55", "55", "50", "50"], 2),
            candle(105 * S, ["60"; 4], 1)
        ]
    );
    assert!(candles(110 * S, 129 * S, 1).await.is_empty());
    assert!(candles(130 * S, 100 * S, 1).await.is_empty());
}

async fn candles_of_anything_are_as_naive_ones(db: Db) {
    let mut state = 7_u64;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        i64::try_from((state >> 33) % below).unwrap()
    };
    // Around 1970, where remainders change their sign.
    let quotes: Vec<_> = (0..500)
        .map(|offset| {
            let units = 1 + random(1_000);
            let time = (random(100) - 50) * 1_000_000;
            (quote("AAPL", &units.to_string(), time), offset)
        })
        .collect();
    db.store.history().record(&quotes).await.unwrap();
    for seconds in [1, 3, 7, 10, 86_400] {
        let width = seconds * 1_000_000;
        let from = (random(40) - 60) * 1_000_000;
        let (from, to) = (from - from.rem_euclid(width), random(60) * 1_000_000);
        let mut parts = BTreeMap::<i64, Vec<_>>::new();
        for (quote, offset) in &quotes {
            let time = quote.event_time.as_micros();
            if (from..to).contains(&time) {
                parts
                    .entry(time - time.rem_euclid(width))
                    .or_default()
                    .push((time, *offset, quote.price));
            }
        }
        let expected: Vec<_> = parts
            .into_iter()
            .map(|(start, mut part)| {
                part.sort_unstable();
                let prices: BTreeSet<_> = part.iter().map(|(_, _, price)| *price).collect();
                Candle {
                    start: at(start),
                    open: part[0].2,
                    high: *prices.last().unwrap(),
                    low: *prices.first().unwrap(),
                    close: part[part.len() - 1].2,
                    quotes: i64::try_from(part.len()).unwrap(),
                }
            })
            .collect();
        let interval = Duration::from_micros(u64::try_from(width).unwrap());
        let found = db
            .queries()
            .candles(&ticker("AAPL"), at(from), at(to), interval)
            .await
            .unwrap();
        assert_eq!(found, expected, "{seconds} s from {from} to {to}");
    }
}

async fn listed(db: &Db, caller: Caller, own: bool, limit: u32) -> Vec<ListedTicker> {
    let (mut all, mut token) = (Vec::new(), None);
    loop {
        let (queries, after) = (db.queries(), token.as_deref());
        let page = if own {
            queries.own_tickers(caller, after, limit).await
        } else {
            queries.tickers(caller, after, limit).await
        };
        token = take(&mut all, page.unwrap(), limit);
        if token.is_none() {
            return all;
        }
    }
}

async fn tickers_are_listed_by_name_with_their_latest_price_and_the_callers_rules(db: Db) {
    let (caller, other) = (db.user("ada@example.org").await, db.user("bob@example.org").await);
    assert!(listed(&db, caller, false, 10).await.is_empty());
    let quotes: Vec<_> = ["MSFT", "AAPL", "^GSPC", "BRK-B", "BRK.B", "A", "MSFT"]
        .iter()
        .zip(0..)
        .map(|(ticker, n)| (quote(ticker, &format!("{}", n + 1), 1_000 + n), n))
        .collect();
    db.store.history().record(&quotes).await.unwrap();
    for watched in ["AAPL", "AAPL", "NONE"] {
        db.rule(caller, watched).await;
    }
    for watched in ["AAPL", "MSFT"] {
        db.rule(other, watched).await;
    }
    let expected: Vec<_> = [(5, 0), (1, 2), (3, 0), (4, 0), (6, 0), (2, 0)]
        .map(|(index, rules): (usize, i64)| {
            let latest = quotes[index].0.clone();
            ListedTicker {
                ticker: latest.ticker.clone(),
                latest: Some(latest),
                rules,
            }
        })
        .into();
    for limit in [1, 2, 3, 6, 200] {
        assert_eq!(listed(&db, caller, false, limit).await, expected, "{limit}");
    }
}

async fn own_tickers_are_those_of_the_callers_rules_with_or_without_a_price(db: Db) {
    let (caller, other) = (db.user("ada@example.org").await, db.user("bob@example.org").await);
    assert!(listed(&db, caller, true, 10).await.is_empty());
    let quotes = [(quote("MSFT", "1", 1), 1), (quote("TSLA", "2", 1), 2)];
    db.store.history().record(&quotes).await.unwrap();
    for watched in ["TSLA", "NONE", "TSLA", "MSFT", "AAPL", "TSLA"] {
        db.rule(caller, watched).await;
    }
    db.rule(other, "GOOG").await;
    let expected: Vec<_> = [
        ("AAPL", None, 1),
        ("MSFT", Some(0), 1),
        ("NONE", None, 1),
        ("TSLA", Some(1), 3),
    ]
    .map(|(name, latest, rules): (_, Option<usize>, _)| ListedTicker {
        ticker: ticker(name),
        latest: latest.map(|index| quotes[index].0.clone()),
        rules,
    })
    .into();
    for limit in [1, 2, 4, 200] {
        assert_eq!(listed(&db, caller, true, limit).await, expected, "{limit}");
    }
}

async fn no_list_takes_the_page_token_of_another(db: Db) {
    let caller = db.user("ada@example.org").await;
    for watched in ["AAPL", "MSFT"] {
        db.rule(caller, watched).await;
    }
    let quotes: Vec<_> = ["AAPL", "AAPL", "MSFT"]
        .iter()
        .zip(0..)
        .map(|(ticker, n)| (quote(ticker, "1", n), n))
        .collect();
    db.store.history().record(&quotes).await.unwrap();
    let queries = db.queries();
    let apple = ticker("AAPL");
    let of_rules = queries.rules(caller, None, 1).await.unwrap().next.unwrap();
    let of_tickers = queries.tickers(caller, None, 1).await.unwrap().next.unwrap();
    let of_quotes = queries.quotes(&apple, None, None, None, 1).await.unwrap();
    let of_quotes = of_quotes.next.unwrap();
    let is_refused = |result: Result<(), StoreError>| matches!(result, Err(StoreError::PageToken { .. }));
    // The last two say {"ticker":"x"} and {"event_time":"x"}.
    for token in [&of_rules, &of_quotes, "x", "e30", "eyJ0aWNrZXIiOiJ4In0"] {
        let found = queries.tickers(caller, Some(token), 1).await;
        assert!(is_refused(found.map(drop)), "{token}");
        let found = queries.own_tickers(caller, Some(token), 1).await;
        assert!(is_refused(found.map(drop)), "{token}");
    }
    let other = queries
        .quotes(&ticker("MSFT"), None, None, Some(&of_quotes), 1)
        .await;
    assert!(is_refused(other.map(drop)));
    let later = Some(Timestamp::from_micros(1));
    let other = queries.quotes(&apple, later, None, Some(&of_quotes), 1).await;
    assert!(is_refused(other.map(drop)));
    let same = queries.quotes(&apple, None, None, Some(&of_quotes), 1).await;
    assert_eq!(same.unwrap().items.len(), 1);
    for token in [&of_rules, &of_tickers, "x", "e30", "eyJldmVudF90aW1lIjoieCJ9"] {
        let found = queries.quotes(&apple, None, None, Some(token), 1).await;
        assert!(is_refused(found.map(drop)), "{token}");
    }
}
