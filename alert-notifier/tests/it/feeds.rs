use std::time::Duration;

use cqrs::DeliveryStatus;
use cqrs::domain::{BreakerState, FeedChange, FeedState, Side, TickerFeed, Timestamp};
use service::codec::{encode_feed, feed_key};
use service::topics::FEEDS;

use crate::stage::{Stage, wait_for};

pub(crate) async fn tell(stage: &Stage, change: &FeedChange) {
    stage
        .produce_to(FEEDS, &feed_key(change), Some(&encode_feed(change)))
        .await;
}

fn aapl(stale_since: Option<Timestamp>) -> FeedChange {
    FeedChange::Ticker(TickerFeed {
        ticker: "AAPL".parse().unwrap(),
        stale_since,
        updated_at: Timestamp::now(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_that_stop_are_told_to_who_waits_for_them_and_so_is_their_return() {
    let stage = Stage::set().await;
    let (ada, rule) = stage.user("ada@example.org", Some(42)).await;
    // Nothing of theirs is out of range.
    stage.user("bob@example.org", Some(43)).await;
    let notifier = stage.start();
    stage.alert(&rule, 1, Side::Above).await;
    stage.headlines(42, 1).await;
    let ledger = stage.store.ledger();
    wait_for("the breach to be written down", async || {
        let told = ledger.deliveries(ada.0, 10).await.unwrap();
        (told[0].status == DeliveryStatus::Sent).then_some(())
    })
    .await;

    let since = Timestamp::now().minus(Duration::from_secs(130));
    // Records that can't be read, and one that somebody deleted, stop nothing.
    stage.produce_to(FEEDS, "ticker/AAPL", Some(b"\xff\xff")).await;
    stage.produce_to(FEEDS, "ticker/MSFT", None).await;
    tell(&stage, &aapl(Some(since))).await;
    tell(&stage, &aapl(Some(since))).await;
    let texts = stage.headlines(42, 2).await;
    assert!(texts[1].contains("AAPL"), "{texts:?}");
    let stale = stage.store.queries().stale_tickers(10).await.unwrap();
    assert_eq!((stale.len(), stale[0].stale_since), (1, Some(since)));

    tell(&stage, &aapl(None)).await;
    let texts = stage.headlines(42, 3).await;
    assert!(texts[2].contains("AAPL"), "{texts:?}");
    assert_ne!(texts[1], texts[2]);
    assert!(stage.store.queries().stale_tickers(10).await.unwrap().is_empty());
    notifier.stop().await;
    assert_eq!(stage.telegram.texts(42).len(), 3, "once each");
    assert!(stage.telegram.texts(43).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_collector_says_of_its_provider_is_there_to_be_asked_for() {
    let stage = Stage::set().await;
    let notifier = stage.start();
    let feed = FeedState {
        provider: "yahoo".into(),
        instance: "3f2a9c1d".into(),
        breaker: BreakerState::Open,
        reason: Some("HTTP 429".into()),
        tickers: 7,
        last_success_at: None,
        updated_at: Timestamp::now(),
    };
    tell(&stage, &FeedChange::Provider(feed.clone())).await;
    let feeds = wait_for("the feed", async || {
        let feeds = stage.store.queries().feeds().await.unwrap();
        (!feeds.is_empty()).then_some(feeds)
    })
    .await;
    assert_eq!(feeds, [feed]);
    notifier.stop().await;
}
