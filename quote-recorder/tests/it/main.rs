//! The recorder against the embedded broker and an SQLite file.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]

mod harness;

use cqrs::domain::{Price, Timestamp};
use cqrs::{Average, AverageRange};

use harness::{Harness, quote};

#[tokio::test(flavor = "multi_thread")]
async fn quotes_are_recorded_and_a_restart_goes_on_where_it_ended() {
    let harness = Harness::start().await;
    let recorder = harness.run_recorder().await;
    for n in 1..=1_500 {
        harness.write(&quote("AAPL", n), None).await;
        harness.write(&quote("MSFT", n), None).await;
    }
    harness.until_recorded("AAPL", 1_500).await;
    harness.until_recorded("MSFT", 1_500).await;
    recorder.stop().await;
    assert_eq!(harness.committed(), harness.written());

    // Forgotten behind its back: had the recorder not committed, it would bring them back.
    harness.execute("delete from quotes").await;
    harness.write(&quote("AAPL", 1_501), None).await;
    let recorder = harness.run_recorder().await;
    harness.until_recorded("AAPL", 1).await;
    recorder.stop().await;
    assert_eq!(harness.recorded("MSFT").await, 0);

    let latest = harness
        .store
        .queries()
        .latest_quote(&"AAPL".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(latest, Some(quote("AAPL", 1_501)));
    let mean = harness
        .store
        .queries()
        .average(&"AAPL".parse().unwrap(), AverageRange::Last(10), Timestamp::now())
        .await;
    let only = Timestamp::from_micros(1_501);
    let price: Price = "1501".parse().unwrap();
    assert_eq!(
        mean.unwrap(),
        Some(Average {
            price,
            count: 1,
            first: only,
            last: only
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_quote_is_passed_over() {
    let harness = Harness::start().await;
    let recorder = harness.run_recorder().await;
    harness.write(&quote("AAPL", 1), None).await;
    harness
        .write(&quote("AAPL", 2), Some(Some(b"\xff\xff not a quote")))
        .await;
    harness.write(&quote("AAPL", 3), Some(None)).await;
    harness.write(&quote("AAPL", 4), None).await;
    harness.until_recorded("AAPL", 2).await;
    recorder.stop().await;
    assert_eq!(harness.committed(), harness.written());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_fails_nothing_is_left_out() {
    let harness = Harness::start().await;
    let recorder = harness.run_recorder().await;
    harness.write(&quote("AAPL", 1), None).await;
    harness.until_recorded("AAPL", 1).await;

    harness.execute("alter table quotes rename to quotes_away").await;
    for n in 2..=20 {
        harness.write(&quote("AAPL", n), None).await;
    }
    recorder
        .until_readiness(|state| state.is_err_and(|reason| reason.contains("database")))
        .await;
    // Whoever is told to end now has not recorded them, and must not commit them.
    recorder.stop().await;
    assert_eq!(harness.committed(), 1);

    let recorder = harness.run_recorder().await;
    recorder
        .until_readiness(|state| state.is_err_and(|reason| reason.contains("database")))
        .await;
    harness.execute("alter table quotes_away rename to quotes").await;
    harness.until_recorded("AAPL", 20).await;
    recorder.until_readiness(|state| state.is_ok()).await;
    recorder.stop().await;
    assert_eq!(harness.committed(), 20);
}
