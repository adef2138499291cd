//! The whole collector, whose providers agree that a share was split.

use cqrs::domain::{FeedChange, Split};
use data_collector::{FallbackKind, ProviderKind, SourceArgs};

use super::*;
use crate::stub::{Answer, Stub};
use crate::trial::Trial;

/// Both providers' answer at once: each finds its own names in it.
fn answer(price: &str) -> Answer {
    let time = Timestamp::now().as_micros() / 1_000_000;
    let meta = format!(
        r#"{{"symbol":"AAPL","currency":"USD","regularMarketPrice":{price},"regularMarketTime":{time},"priceHint":2}}"#
    );
    let body = format!(r#"{{"c":{price},"t":{time},"chart":{{"result":[{{"meta":{meta}}}],"error":null}}}}"#);
    Answer::Full("200 OK", "", body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_that_two_providers_tell_of_reaches_both_topics() {
    let stub = Stub::start(answer("645.70")).await;
    let mut source = SourceArgs {
        quote_provider: ProviderKind::Yahoo,
        quote_provider_url: stub.url(),
        ..SourceArgs::synthetic(1, Duration::from_millis(100)).unwrap()
    };
    source.providers.quote_fallback = vec![FallbackKind::Finnhub];
    source.providers.finnhub_url = stub.url();
    source.providers.finnhub_api_key = Some("SECRET-key".parse().unwrap());
    let mut trial = Trial::start(source).await;
    trial.add_rule("AAPL").await;
    assert_eq!(trial.quote_of("AAPL").await.price.to_string(), "645.7");
    stub.answer_with(answer("92.42"));
    let quote = trial.quote_of("AAPL").await;
    assert_eq!(
        (quote.price.to_string().as_str(), quote.source.as_str()),
        ("92.42", "finnhub")
    );
    let feeds = trial
        .feeds_until(|feed| matches!(feed, FeedChange::Restated(_)))
        .await;
    let Some(FeedChange::Restated(told)) = feeds.last() else {
        panic!("{feeds:?}")
    };
    assert_eq!(told.split, Split::new(7, 1));
    assert_eq!(told.event_time, quote.event_time);
    trial.end().await;
}
