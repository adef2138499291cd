//! The whole collector, whose provider errs.

use data_collector::{ProviderKind, SourceArgs};

use super::*;
use crate::stub::{Answer, Stub};
use crate::trial::Trial;

/// Yahoo's answer: a price, so many seconds ago.
fn answer(price: &str, seconds_ago: i64) -> Answer {
    let time = Timestamp::now().as_micros() / 1_000_000 - seconds_ago;
    let meta = format!(
        r#"{{"symbol":"AAPL","regularMarketPrice":{price},"regularMarketTime":{time},"priceHint":2}}"#
    );
    let body = format!(r#"{{"chart":{{"result":[{{"meta":{meta}}}],"error":null}}}}"#);
    Answer::Full("200 OK", "", body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_in_the_wrong_unit_does_not_reach_the_topic() {
    let stub = Stub::start(answer("48.87", 30)).await;
    let source = SourceArgs {
        quote_provider: ProviderKind::Yahoo,
        quote_provider_url: stub.url(),
        ..SourceArgs::synthetic(1, Duration::from_millis(100)).unwrap()
    };
    let mut trial = Trial::start(source).await;
    trial.add_rule("AAPL").await;
    assert_eq!(trial.quote_of("AAPL").await.price, price("48.87"));
    for seconds_ago in (11..20).rev() {
        stub.answer_with(answer("4887", seconds_ago));
        let before = stub.count();
        while stub.count() < before + 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    stub.answer_with(answer("48.90", 10));
    assert_eq!(trial.quote_of("AAPL").await.price, price("48.90"));
    trial.end().await;
}
