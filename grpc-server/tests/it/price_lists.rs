//! Tickers, recorded prices and candles as callers see them.

use cqrs::domain::{Quote, Timestamp};
use proto::v1;

use crate::app::{App, Caller, Database, no_broker, some_rule};

on_both_stores! {
    tickers_are_listed_with_their_latest_price_and_how_many_rules_the_caller_has,
    recorded_prices_are_listed_newest_first_within_their_time,
    candles_begin_at_multiples_of_their_length_and_leave_empty_parts_out,
}

/// 2026-01-31T14:30:00Z.
const BASE: i64 = 1_769_869_800;

fn quote(ticker: &str, price: &str, seconds: i64) -> Quote {
    Quote {
        ticker: ticker.parse().unwrap(),
        price: price.parse().unwrap(),
        currency: "USD".into(),
        volume: None,
        trade_side: None,
        event_time: Timestamp::from_micros((BASE + seconds) * 1_000_000),
        ingest_time: Timestamp::from_micros((BASE + seconds) * 1_000_000 + 7),
        source: "replay".into(),
    }
}

async fn record(database: &Database, quotes: &[(&str, &str, i64)]) {
    let quotes: Vec<_> = quotes
        .iter()
        .zip(0..)
        .map(|((ticker, price, seconds), offset)| (quote(ticker, price, *seconds), offset))
        .collect();
    let store = database.open().await;
    store.history().record(&quotes).await.unwrap();
    store.close().await;
}

fn time(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: BASE + seconds,
        nanos: 0,
    }
}

/// All pages of it: ticker, latest price, rules.
async fn listed(app: &App, who: &Caller, own: bool, page_size: i32) -> Vec<(String, Option<String>, i64)> {
    let (mut all, mut page_token) = (Vec::new(), String::new());
    while all.len() < 10 {
        let request = v1::ListTickersRequest {
            page_size,
            page_token,
            own,
        };
        let page = app.quotes().list_tickers(who.asks(request)).await.unwrap();
        let page = page.into_inner();
        all.extend(page.tickers.into_iter().map(|summary| {
            let price = summary.latest_quote.map(|quote| quote.price);
            (summary.ticker, price, summary.rule_count)
        }));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    all
}

async fn tickers_are_listed_with_their_latest_price_and_how_many_rules_the_caller_has(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let (caller, other) = (app.register().await, app.register().await);
    let quotes = [
        ("MSFT", "410", 0),
        ("AAPL", "190", 0),
        ("AAPL", "191.5", 60),
        ("^GSPC", "5000", 0),
    ];
    record(&database, &quotes).await;
    for ticker in ["AAPL", "AAPL", "TSLA"] {
        let rule = v1::NewRule {
            ticker: ticker.into(),
            ..some_rule()
        };
        caller.creates(&app, rule).await;
    }
    let row = |ticker: &str, price: Option<&str>, rules| (ticker.to_owned(), price.map(str::to_owned), rules);
    let known = |of_apple| {
        [
            row("AAPL", Some("191.5"), of_apple),
            row("MSFT", Some("410"), 0),
            row("^GSPC", Some("5000"), 0),
        ]
    };
    for page_size in [1, 2, 0] {
        assert_eq!(listed(&app, &caller, false, page_size).await, known(2));
        let own = [row("AAPL", Some("191.5"), 2), row("TSLA", None, 1)];
        assert_eq!(listed(&app, &caller, true, page_size).await, own);
    }
    assert_eq!(listed(&app, &other, false, 0).await, known(0));
    assert_eq!(listed(&app, &other, true, 0).await, []);
    app.stop().await;
}

async fn recorded_prices_are_listed_newest_first_within_their_time(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    let quotes = [
        ("AAPL", "1", 0),
        ("AAPL", "2", 10),
        ("AAPL", "3", 10),
        ("AAPL", "4", 20),
        ("MSFT", "9", 10),
    ];
    record(&database, &quotes).await;
    let list = async |ticker: &str, start: Option<i64>, end: Option<i64>| {
        let mut request = v1::ListQuotesRequest {
            ticker: ticker.into(),
            page_size: 2,
            start_time: start.map(time),
            end_time: end.map(time),
            ..Default::default()
        };
        let mut prices = Vec::new();
        while prices.len() < 10 {
            let page = app.quotes().list_quotes(caller.asks(request.clone())).await;
            let page = page.unwrap().into_inner();
            assert!(page.quotes.len() <= 2);
            assert!(page.quotes.iter().all(|quote| quote.ticker == ticker));
            prices.extend(page.quotes.into_iter().map(|quote| quote.price));
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        prices.join(" ")
    };
    assert_eq!(list("AAPL", None, None).await, "4 3 2 1");
    assert_eq!(list("AAPL", Some(10), None).await, "4 3 2");
    assert_eq!(list("AAPL", None, Some(10)).await, "1");
    assert_eq!(list("AAPL", Some(0), Some(20)).await, "3 2 1");
    assert_eq!(list("MSFT", None, None).await, "9");
    assert_eq!(
        list("NOSUCH", None, None).await,
        "",
        "nothing recorded is no mistake"
    );
    let request = v1::ListQuotesRequest {
        ticker: "MSFT".into(),
        ..Default::default()
    };
    let page = app.quotes().list_quotes(caller.asks(request)).await.unwrap();
    let [quote] = page.into_inner().quotes.try_into().unwrap();
    assert_eq!(
        (quote.event_time, quote.currency.as_str(), quote.source.as_str()),
        (Some(time(10)), "USD", "replay")
    );
    app.stop().await;
}

async fn candles_begin_at_multiples_of_their_length_and_leave_empty_parts_out(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    let quotes = [
        ("AAPL", "5", 0),
        ("AAPL", "9", 20),
        ("AAPL", "2", 40),
        ("AAPL", "6", 59),
        ("AAPL", "7", 180),
        ("MSFT", "100", 61),
    ];
    record(&database, &quotes).await;
    let candles = async |start: i64, end: Option<i64>, seconds| {
        let request = v1::ListCandlesRequest {
            ticker: "AAPL".into(),
            interval: Some(prost_types::Duration { seconds, nanos: 0 }),
            start_time: Some(time(start)),
            end_time: end.map(time),
        };
        let answer = app.quotes().list_candles(caller.asks(request)).await;
        answer.unwrap().into_inner().candles
    };
    let candle = |start, [open, high, low, close]: [&str; 4], quote_count| v1::Candle {
        start_time: Some(time(start)),
        open: open.into(),
        high: high.into(),
        low: low.into(),
        close: close.into(),
        quote_count,
    };
    let minutes = [
        candle(0, ["5", "9", "2", "6"], 4),
        candle(180, ["7", "7", "7", "7"], 1),
    ];
    // The part that the start is in is there as a whole.
    for start in [0, 1, 59] {
        assert_eq!(candles(start, Some(240), 60).await, minutes, "{start}");
    }
    assert_eq!(candles(60, Some(240), 60).await, minutes[1..]);
    assert_eq!(candles(0, Some(180), 60).await, minutes[..1]);
    let day = 24 * 60 * 60;
    assert_eq!(
        candles(0, Some(3 * day), day).await,
        [candle(-(BASE % day), ["5", "9", "2", "7"], 5)]
    );

    // Without an end it is now.
    let now = Timestamp::now().as_micros() / 1_000_000 - BASE;
    let store = database.open().await;
    let recent = [
        (quote("AAPL", "8", now - 30), 100),
        (quote("AAPL", "1", now + 900), 101),
    ];
    store.history().record(&recent).await.unwrap();
    let found = candles(now - 3_600, None, 60).await;
    assert_eq!((found.len(), found[0].close.as_str()), (1, "8"));
    app.stop().await;
}
