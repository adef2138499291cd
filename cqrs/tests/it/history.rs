use std::time::Duration;

use cqrs::domain::{Timestamp, TradeSide};
use cqrs::{Average, AverageRange};

use crate::support::{Db, price, quote};

on_both_databases! {
    quotes_come_back_as_recorded,
    the_latest_quote_is_the_newest_whatever_the_order_of_recording,
    recording_twice_changes_nothing,
    recorders_that_meet_agree_on_the_latest,
    averages_are_exact,
    averages_of_huge_prices_do_not_overflow,
}

async fn quotes_come_back_as_recorded(db: Db) {
    let ticker = "BRK-B".parse().unwrap();
    assert_eq!(db.queries().latest_quote(&ticker).await.unwrap(), None);
    let mut full = quote("BRK-B", "485.12345678", 1_000);
    full.volume = Some(150_000_000);
    full.trade_side = Some(TradeSide::Sell);
    full.currency = "GBp".to_owned();
    let mut bare = quote("^GSPC", "5000", 1_000);
    bare.currency = String::new();
    assert_eq!(
        db.store
            .history()
            .record(&[(full.clone(), 7), (bare.clone(), 8)])
            .await
            .unwrap(),
        2
    );
    assert_eq!(
        db.queries().latest_quote(&full.ticker).await.unwrap().as_ref(),
        Some(&full)
    );
    assert_eq!(
        db.queries().latest_quote(&bare.ticker).await.unwrap().as_ref(),
        Some(&bare)
    );
    // Each column of a newer quote replaces the older one's, also by nothing.
    let newer = quote("BRK-B", "486", 1_000);
    db.store.history().record(&[(newer.clone(), 9)]).await.unwrap();
    assert_eq!(
        db.queries().latest_quote(&full.ticker).await.unwrap(),
        Some(newer)
    );
}

async fn the_latest_quote_is_the_newest_whatever_the_order_of_recording(db: Db) {
    let history = db.store.history();
    let latest = async || {
        db.queries()
            .latest_quote(&"AAPL".parse().unwrap())
            .await
            .unwrap()
            .unwrap()
    };
    let (old, mid, new) = (
        quote("AAPL", "1", 100),
        quote("AAPL", "2", 200),
        quote("AAPL", "3", 300),
    );
    history
        .record(&[(mid.clone(), 5), (old.clone(), 6)])
        .await
        .unwrap();
    assert_eq!(latest().await, mid);
    history.record(&[(old.clone(), 9)]).await.unwrap();
    assert_eq!(latest().await, mid);
    history.record(&[(new.clone(), 4)]).await.unwrap();
    assert_eq!(latest().await, new);
    // At the same time the offset decides.
    let twin = quote("AAPL", "4", 300);
    history.record(&[(twin.clone(), 3)]).await.unwrap();
    assert_eq!(latest().await, new);
    history
        .record(&[(old, 11), (twin.clone(), 10), (mid, 12)])
        .await
        .unwrap();
    assert_eq!(latest().await, twin);
}

async fn recording_twice_changes_nothing(db: Db) {
    let history = db.store.history();
    let batch: Vec<_> = (0..1_203)
        .map(|n| (quote("AAPL", "10", 1_000 + n / 2), n))
        .collect();
    assert_eq!(history.record(&batch).await.unwrap(), 1_203);
    assert_eq!(history.record(&batch[600..]).await.unwrap(), 0);
    let more: Vec<_> = (1_000..1_500)
        .map(|n| (quote("AAPL", "10", 1_000 + n / 2), n))
        .collect();
    assert_eq!(history.record(&more).await.unwrap(), 297);
    assert_eq!(history.record(&[]).await.unwrap(), 0);
    assert_eq!(db.number("select count(*) from quotes").await, 1_500);
}

async fn recorders_that_meet_agree_on_the_latest(db: Db) {
    let tickers = ["AAPL", "MSFT", "GOOG", "AMZN", "TSLA"];
    let tasks: Vec<_> = (0..8)
        .map(|recorder: i64| {
            let history = db.store.history();
            tokio::spawn(async move {
                for round in 0..10 {
                    let mut batch: Vec<_> = (0..50)
                        .map(|n| {
                            let time = 1_000 * round + 10 * n + recorder;
                            let ticker = tickers[usize::try_from(n + recorder).unwrap() % tickers.len()];
                            (quote(ticker, &time.max(1).to_string(), time), time)
                        })
                        .collect();
                    batch.reverse();
                    history.record(&batch).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    for ticker in tickers {
        let newest = db
            .number(&format!(
                "select max(event_time) from quotes where ticker = '{ticker}'"
            ))
            .await;
        let latest = db
            .queries()
            .latest_quote(&ticker.parse().unwrap())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (latest.event_time.as_micros(), latest.price),
            (newest, price(&newest.to_string()))
        );
    }
}

async fn averages_are_exact(db: Db) {
    let ticker = "AAPL".parse().unwrap();
    let now = Timestamp::from_micros(10_000_000);
    let average = async |range| db.queries().average(&ticker, range, now).await.unwrap();
    assert_eq!(average(AverageRange::Last(5)).await, None);
    let prices = [
        (1, "0.00000001"),
        (2, "100"),
        (3, "100.00000001"),
        (4, "0.1"),
        (11, "999"),
    ];
    let quotes: Vec<_> = prices
        .iter()
        .map(|(second, text)| (quote("AAPL", text, second * 1_000_000), *second))
        .collect();
    db.store.history().record(&quotes).await.unwrap();
    db.store
        .history()
        .record(&[(quote("MSFT", "7", 4_000_000), 1)])
        .await
        .unwrap();

    let expected = |text, count, first: i64, last: i64| {
        Some(Average {
            price: price(text),
            count,
            first: Timestamp::from_micros(first * 1_000_000),
            last: Timestamp::from_micros(last * 1_000_000),
        })
    };
    assert_eq!(average(AverageRange::Last(1)).await, expected("999", 1, 11, 11));
    assert_eq!(
        average(AverageRange::Last(10_000)).await,
        expected("239.82", 5, 1, 11)
    );
    // (100 + 100.00000001 + 0.1 + 999) / 4 = 299.7750000025, which rounds down.
    assert_eq!(
        average(AverageRange::Last(4)).await,
        expected("299.775", 4, 2, 11)
    );
    // A window ends now, and its beginning is not in it.
    let window = |seconds| AverageRange::Window(Duration::from_secs(seconds));
    // (100.00000001 + 0.1) / 2 = 50.050000005, which rounds up.
    assert_eq!(average(window(8)).await, expected("50.05000001", 2, 3, 4));
    assert_eq!(average(window(6)).await, None);
    // (0.00000001 + 100 + 100.00000001 + 0.1) / 4 = 50.025000005, which rounds up.
    assert_eq!(average(window(3600)).await, expected("50.02500001", 4, 1, 4));
}

async fn averages_of_huge_prices_do_not_overflow(db: Db) {
    let largest = "92233720368.54775807";
    let quotes: Vec<_> = (0..100).map(|n| (quote("AAPL", largest, n), n)).collect();
    db.store.history().record(&quotes).await.unwrap();
    let average = db
        .queries()
        .average(
            &"AAPL".parse().unwrap(),
            AverageRange::Last(100),
            Timestamp::now(),
        )
        .await;
    assert_eq!(average.unwrap().unwrap().price, price(largest));
}
