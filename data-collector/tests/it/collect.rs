//! The whole collector between a provider and the embedded broker.

use std::collections::HashMap;
use std::time::Duration;

use cqrs::domain::{BreakerState, FeedChange, FeedState, Price, Ticker, Timestamp};
use data_collector::{ProviderKind, SourceArgs, start_price};
use service::topics::RULES;

use crate::stub::{Answer, Stub};
use crate::trial::{PATIENCE, Trial};

const INTERVAL: Duration = Duration::from_millis(200);

fn ticker(name: &str) -> Ticker {
    name.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rules_ticker_is_polled_until_its_last_rule_is_gone_without_a_restart() {
    let mut trial = Trial::start(SourceArgs::synthetic(1, INTERVAL).unwrap()).await;
    trial.until_ready().await;
    trial.add_rule("CONTROL").await;
    let (one, two) = (trial.add_rule("AAPL").await, trial.add_rule("AAPL").await);
    let quote = trial.quote_of("AAPL").await;
    assert_eq!(
        (quote.source.as_str(), quote.currency.as_str()),
        ("synthetic", "USD")
    );
    let start = start_price(1, &quote.ticker).to_f64();
    assert!(
        (quote.price.to_f64() / start - 1.0).abs() < 0.1,
        "{} near {start}",
        quote.price
    );
    trial.delete_rule(&one).await;
    trial.quote_of("CONTROL").await;
    trial.quote_of("AAPL").await;
    trial.quote_of("AAPL").await;
    trial.delete_rule(&two).await;
    // Five quotes of the control in a row: five intervals without the other.
    let stopped = async {
        let mut in_a_row = 0;
        while in_a_row < 5 {
            let is_control = trial.next_quote().await.ticker == ticker("CONTROL");
            in_a_row = if is_control { in_a_row + 1 } else { 0 };
        }
    };
    tokio::time::timeout(PATIENCE, stopped)
        .await
        .expect("its polling stops");
    trial.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_no_rule_is_skipped_and_the_next_is_followed() {
    let mut trial = Trial::start(SourceArgs::synthetic(1, INTERVAL).unwrap()).await;
    let msft = ticker("MSFT");
    trial.put(RULES, &msft, "x", Some(b"\xff\xff no rule")).await;
    trial.put(RULES, &msft, "no rule id", None).await;
    trial.add_rule("MSFT").await;
    trial.quote_of("MSFT").await;
    trial.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticker_file_is_polled_without_rules_once_per_interval() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let names: Vec<String> = (0..12).map(|number| format!("T{number}")).collect();
    std::io::Write::write_all(&mut file, names.join("\n").as_bytes()).unwrap();
    let source = SourceArgs {
        ticker_file: Some(file.path().to_owned()),
        ..SourceArgs::synthetic(1, Duration::from_secs(1)).unwrap()
    };
    let mut trial = Trial::start(source).await;
    let mut seen: HashMap<Ticker, Vec<Timestamp>> = HashMap::new();
    while seen.len() < names.len() || seen.values().any(|times| times.len() < 4) {
        let quote = trial.next_quote().await;
        seen.entry(quote.ticker).or_default().push(quote.event_time);
    }
    for (ticker, times) in seen {
        for pair in times.windows(2) {
            // A beat is 1 s; two pollers would halve it.
            assert!(
                pair[1].since(pair[0]) > Duration::from_millis(700),
                "{ticker}: {times:?}"
            );
        }
    }
    trial.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_is_left_alone_and_polled_again_when_it_is_back() {
    let stub = Stub::start(Answer::Full("503 Service Unavailable", "", String::new())).await;
    let source = SourceArgs {
        quote_provider: ProviderKind::Yahoo,
        quote_provider_url: stub.url(),
        ..SourceArgs::synthetic(1, Duration::from_millis(100)).unwrap()
    };
    let mut trial = Trial::start(source).await;
    for number in 0..8 {
        trial.add_rule(&format!("T{number}")).await;
    }
    let down = async {
        while stub.count() < 10 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, down)
        .await
        .expect("ten calls in time");
    stub.answer_with(Answer::Full(
        "200 OK",
        "",
        format!(
            r#"{{"chart":{{"result":[{{"meta":{{"symbol":"T3","regularMarketPrice":{},"regularMarketTime":1739998801}}}}],"error":null}}}}"#,
            "48.87"
        ),
    ));
    let quote = trial.quote_of("T3").await;
    assert_eq!(quote.price, "48.87".parse::<Price>().unwrap());
    // Without a breaker, 8 tickers at 10 polls a second would have made 400 calls in the 5 s that it is open. Some may
    // have been made in the moment before it opened, and since it closed.
    let calls = stub.count();
    assert!(calls < 100, "{calls}");
    trial.end().await;
}

/// Yahoo's answer: a price of this moment, in a market that has been open for an hour.
fn price_of(name: &str) -> Answer {
    let now = Timestamp::now().as_micros() / 1_000_000;
    let (start, end) = (now - 3_600, now + 3_600);
    let body = format!(
        r#"{{"chart":{{"result":[{{"meta":{{"symbol":"{name}","regularMarketPrice":48.87,"regularMarketTime":{now},
        "currentTradingPeriod":{{"regular":{{"start":{start},"end":{end}}}}}}}}}],"error":null}}}}"#
    );
    Answer::Full("200 OK", "", body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_fails_and_its_tickers_are_told_of_until_it_is_back() {
    let stub = Stub::start(price_of("AAPL")).await;
    let source = SourceArgs {
        quote_provider: ProviderKind::Yahoo,
        quote_provider_url: stub.url(),
        quote_stale_after: Duration::from_secs(2),
        ..SourceArgs::synthetic(1, Duration::from_millis(100)).unwrap()
    };
    let mut trial = Trial::start(source).await;
    let stale_since = |feed: &FeedChange| match feed {
        FeedChange::Ticker(feed) if feed.ticker == ticker("AAPL") => Some(feed.stale_since),
        FeedChange::Ticker(_) | FeedChange::Provider(_) | FeedChange::Restated(_) => None,
    };
    let provider = |feed: &FeedChange| match feed {
        FeedChange::Provider(feed) => Some(feed.clone()),
        FeedChange::Ticker(_) | FeedChange::Restated(_) => None,
    };
    trial.add_rule("AAPL").await;
    let before = trial.feeds_until(|feed| stale_since(feed) == Some(None)).await;
    let first = before.iter().find_map(provider).expect("a word at once");
    assert_eq!(
        (first.provider.as_str(), first.breaker, &first.reason),
        ("yahoo", BreakerState::Closed, &None)
    );

    stub.answer_with(Answer::Full("503 Service Unavailable", "", String::new()));
    let failed_at = Timestamp::now();
    let until_stale = trial
        .feeds_until(|feed| stale_since(feed).is_some_and(|since| since.is_some()))
        .await;
    let open = until_stale
        .iter()
        .filter_map(provider)
        .find(|feed| feed.breaker == BreakerState::Open)
        .expect("the breaker opened before");
    assert!(open.reason.as_ref().unwrap().contains("HTTP 503"), "{open:?}");
    assert_eq!((&open.instance, open.tickers), (&first.instance, 1));
    assert!(open.last_success_at.unwrap() <= open.updated_at);
    let FeedChange::Ticker(stale) = until_stale.last().unwrap() else {
        panic!("{until_stale:?}")
    };
    let since = stale.stale_since.unwrap();
    assert!(
        since < failed_at.plus(Duration::from_secs(1)),
        "{since} {failed_at}"
    );
    assert!(stale.updated_at.since(since) >= Duration::from_secs(2));

    stub.answer_with(price_of("AAPL"));
    let is_closed = |feed: &FeedChange| {
        let is_well = |feed: FeedState| feed.breaker == BreakerState::Closed && feed.reason.is_none();
        provider(feed).is_some_and(is_well)
    };
    let mut back = trial.feeds_until(is_closed).await;
    if !back.iter().any(|feed| stale_since(feed) == Some(None)) {
        back.extend(trial.feeds_until(|feed| stale_since(feed) == Some(None)).await);
    }
    assert_eq!(back.iter().filter_map(stale_since).count(), 1, "{back:?}");
    trial.end().await;
}
