//! Tickers whose prices stop while their market is open: whoever says that it is, and whatever stops them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use cqrs::domain::{FeedChange, Timestamp};
use data_collector::{ProviderKind, SourceArgs};

use crate::provider_stub::{Reply, Server, session};
use crate::trial::Trial;

const STALE_AFTER: Duration = Duration::from_secs(1);

fn source(provider: ProviderKind) -> SourceArgs {
    SourceArgs {
        quote_provider: provider,
        quote_stale_after: STALE_AFTER,
        ..SourceArgs::synthetic(1, Duration::from_millis(100)).unwrap()
    }
}

/// Whether the feed says of the ticker that it is stale, or no longer.
fn is_stale(name: &str, feed: &FeedChange) -> Option<bool> {
    match feed {
        FeedChange::Ticker(feed) if feed.ticker.as_str() == name => Some(feed.stale_since.is_some()),
        FeedChange::Ticker(_) | FeedChange::Provider(_) | FeedChange::Restated(_) => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_is_polled_in_batches_is_stale_when_no_answers_come_while_its_market_is_called_open() {
    let status = Arc::new(AtomicU16::new(200));
    let now = Arc::clone(&status);
    let server = Server::start(move |asked| {
        let item = |name: &str, state: &str| {
            let time = Timestamp::now().as_micros() / 1_000_000;
            format!(
                r#"{{"symbol":"{name}","quoteType":"EQUITY","marketState":"{state}","regularMarketPrice":7.5,"regularMarketTime":{time}}}"#
            )
        };
        let items = [item("OPEN", "REGULAR"), item("SHUT", "CLOSED")].join(",");
        let body = format!(r#"{{"quoteResponse":{{"result":[{items}],"error":null}}}}"#);
        session(asked).unwrap_or_else(|| Reply::new(now.load(Ordering::SeqCst), body))
    })
    .await;
    let mut source = source(ProviderKind::YahooBatch);
    source.quote_provider_url = server.url();
    source.providers.yahoo_cookie_url = server.url().join("/cookie").unwrap();
    source.providers.yahoo_calls = 100_000;
    let mut trial = Trial::start(source).await;
    trial.add_rule("SHUT").await;
    trial
        .feeds_until(|feed| is_stale("SHUT", feed) == Some(false))
        .await;
    trial.add_rule("OPEN").await;
    trial
        .feeds_until(|feed| is_stale("OPEN", feed) == Some(false))
        .await;
    status.store(503, Ordering::SeqCst);
    let told = trial
        .feeds_until(|feed| is_stale("OPEN", feed) == Some(true))
        .await;
    status.store(200, Ordering::SeqCst);
    let back = trial
        .feeds_until(|feed| is_stale("OPEN", feed) == Some(false))
        .await;
    for feed in told.iter().chain(&back) {
        assert_ne!(is_stale("SHUT", feed), Some(true), "its market is closed");
    }
    trial.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticker_whose_poll_waits_for_the_providers_limit_is_stale_meanwhile() {
    let server = Server::start(|_| {
        let time = Timestamp::now().as_micros() / 1_000_000;
        Reply::new(200, format!(r#"{{"c":7.5,"t":{time}}}"#))
    })
    .await;
    let mut source = source(ProviderKind::Finnhub);
    source.providers.finnhub_url = server.url();
    source.providers.finnhub_api_key = Some("SECRET-key".parse().unwrap());
    source.providers.finnhub_calls = 1;
    let mut trial = Trial::start(source).await;
    trial.add_rule("BTC-USD").await;
    trial
        .feeds_until(|feed| is_stale("BTC-USD", feed) == Some(false))
        .await;
    let told = trial
        .feeds_until(|feed| is_stale("BTC-USD", feed) == Some(true))
        .await;
    let Some(FeedChange::Ticker(stale)) = told.last() else {
        panic!("{told:?}")
    };
    assert!(stale.updated_at.since(stale.stale_since.unwrap()) >= STALE_AFTER);
    assert_eq!(server.asked().len(), 1, "the next call has to wait for a minute");
    trial.end().await;
}
