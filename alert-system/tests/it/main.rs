//! The whole loop against the embedded broker.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod harness;
mod process;
mod restating;
mod sharing;

use cqrs::domain::{RuleVersion, Side};
use service::topics::{ALERTS, DEAD_LETTERS, QUOTES, RULES, TICKERS};

use harness::{Harness, rule};

#[tokio::test(flavor = "multi_thread")]
async fn a_breach_and_the_return_are_told_once_each_also_over_a_restart() {
    let harness = Harness::start().await;
    let rule = rule("AIG", "47", "49");
    harness.write_rule(&rule).await;
    let system = harness.run_alert_system().await;
    harness.write_quotes("AIG", &["48", "49.5"]).await;
    assert_eq!(harness.alerts_until(1).await[0].side, Side::Above);
    system.stop().await;

    // A late one that would be a return, still outside, and the return.
    harness.write_late_quote("AIG", "48").await;
    harness.write_quotes("AIG", &["49.6", "48", "46"]).await;
    let system = harness.run_alert_system().await;
    let alerts = harness.alerts_until(3).await;
    let told: Vec<_> = alerts
        .iter()
        .map(|alert| (alert.position.offset, alert.side))
        .collect();
    assert_eq!(told, [(1, Side::Above), (4, Side::In), (5, Side::Below)]);
    assert!(
        !alerts[2].already_outside,
        "the rule's earlier prices are remembered over a restart"
    );
    system.stop().await;
    assert_eq!(harness.read_all(ALERTS).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_comes_changes_and_goes_is_followed_without_a_restart() {
    let harness = Harness::start().await;
    let system = harness.run_alert_system().await;
    let first = rule("AIG", "47", "49");
    harness.write_rule(&first).await;
    harness.write_quotes_until_alerts("AIG", "50", 1).await;
    let second = cqrs::domain::RuleSnapshot {
        version: first.version.next(),
        ..first.clone()
    };
    harness.write_rule(&second).await;
    harness.write_quotes_until_alerts("AIG", "50", 2).await;
    let alerts = harness.alerts_until(2).await;
    assert_eq!(alerts[1].position.version, RuleVersion::FIRST.next());
    harness.delete_rule(&first).await;
    let records = harness.read_until(ALERTS, 3).await;
    assert_eq!(records[2].payload, None, "the state of a deleted rule is deleted");
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_record_becomes_one_dead_letter_and_the_next_is_handled() {
    let harness = Harness::start().await;
    let rule = rule("AIG", "47", "49");
    harness
        .write_raw(RULES, "AIG", b"not-an-id", Some(b"garbage"))
        .await;
    harness.write_raw(TICKERS, "AIG", b"AIG", Some(b"garbage")).await;
    harness.write_rule(&rule).await;
    let system = harness.run_alert_system().await;
    harness
        .write_raw(
            RULES,
            "AIG",
            rule.rule_id.to_string().as_bytes(),
            Some(b"\xff\xff"),
        )
        .await;
    harness.write_raw(QUOTES, "AIG", b"AIG", Some(b"garbage")).await;
    harness.write_raw(QUOTES, "AIG", b"AIG", None).await;
    harness.write_quotes("AIG", &["50"]).await;
    assert_eq!(harness.alerts_until(1).await.len(), 1);
    let letters = harness.read_until(DEAD_LETTERS, 5).await;
    assert_eq!(letters.len(), 5);
    system.stop().await;

    // Whoever restores the rules meets the bad ones again, and must not set them aside again.
    let system = harness.run_alert_system().await;
    harness.write_quotes("AIG", &["48"]).await;
    harness.alerts_until(2).await;
    system.stop().await;
    assert_eq!(harness.read_all(DEAD_LETTERS).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_record_that_came_last_is_put_right() {
    let harness = Harness::start().await;
    let first = rule("AIG", "47", "49");
    let second = cqrs::domain::RuleSnapshot {
        version: first.version.next(),
        active: false,
        ..first.clone()
    };
    for version in [&first, &second, &first] {
        harness.write_rule(version).await;
    }
    let gone = rule("AIG", "47", "49");
    harness.write_rule(&gone).await;
    harness.delete_rule(&gone).await;
    harness.write_rule(&gone).await;
    for offset in [7, 9, 8] {
        harness.write_mark("BAC", offset).await;
    }
    let system = harness.run_alert_system().await;
    let marks = harness.read_until(TICKERS, 4).await;
    let newest = service::codec::decode_ticker(marks[3].payload.as_ref().unwrap()).unwrap();
    assert_eq!(newest.offset, 9);
    let records = harness.read_until(RULES, 8).await;
    let last = |id: cqrs::domain::RuleId| {
        records
            .iter()
            .rev()
            .find(|record| record.key.as_deref() == Some(id.to_string().as_bytes()))
            .unwrap()
            .clone()
    };
    let newest = service::codec::decode_rule(&last(first.rule_id).payload.unwrap()).unwrap();
    assert_eq!(newest.version, second.version);
    assert_eq!(last(gone.rule_id).payload, None);
    harness.write_quotes("AIG", &["50"]).await;
    system.stop().await;
    assert_eq!(
        harness.read_all(ALERTS).await,
        [],
        "the newest version is paused, the other rule deleted"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_alert_is_no_state_and_no_orphan() {
    let harness = Harness::start().await;
    let rule = rule("AIG", "47", "49");
    harness.write_rule(&rule).await;
    let system = harness.run_alert_system().await;
    harness.write_quotes("AIG", &["50"]).await;
    let breach = harness.alerts_until(1).await.remove(0);
    system.stop().await;

    let test = cqrs::domain::Alert {
        rule_id: cqrs::domain::RuleId::generate(),
        ..breach
    };
    let key = test.rule_id.to_string();
    let payload = service::codec::encode_test_alert(&test);
    harness
        .write_raw(ALERTS, "AIG", key.as_bytes(), Some(&payload))
        .await;
    let system = harness.run_alert_system().await;
    harness.write_quotes("AIG", &["48"]).await;
    let records = harness.read_until(ALERTS, 3).await;
    system.stop().await;
    assert_eq!(records[1].key.as_deref(), Some(key.as_bytes()));
    assert_ne!(
        records[2].key, records[1].key,
        "the test is the notifier's to delete"
    );
    assert_eq!(harness.read_all(ALERTS).await.len(), 3);
}
