//! Many messages, while much goes wrong.

use std::time::Duration;

use alert_notifier::{Config, Retries};
use cqrs::domain::{Rule, Side, Timestamp};
use cqrs::{Caller, DeliveryStatus};
use e2e::telegram_stub::{Fault, FaultMix, PlannedFault};

use crate::stage::{Stage, wait_for};

/// Both directions twice for each rule; more within minutes would be flapping.
const TRANSITIONS: [Side; 4] = [Side::Above, Side::In, Side::Below, Side::In];

/// So many users, each with rules; the chat of user `n` is `n`.
pub(crate) async fn crowd(stage: &Stage, users: i64, rules: usize) -> Vec<(i64, Caller, Vec<Rule>)> {
    let mut crowd = Vec::new();
    for chat in 1..=users {
        let email = format!("user{chat}@example.org");
        let (caller, rules) = stage.user_with(&email, Some(chat), rules).await;
        crowd.push((chat, caller, rules));
    }
    crowd
}

/// Waits until nothing is left to be sent: long, as the machine may be busy.
pub(crate) async fn all_ended(stage: &Stage) {
    let ledger = stage.store.ledger();
    let ended = tokio::time::timeout(Duration::from_secs(600), async {
        while ledger.backlog().await.unwrap().waiting > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    ended.await.expect("all messages end");
}

fn fast(stage: &Stage) -> Config {
    let mut config = stage.config();
    config.telegram.messages_per_second = 5_000;
    config.telegram.per_chat = Duration::from_millis(1);
    config.retries = Retries {
        first_pause: Duration::from_millis(50),
        longest_pause: Duration::from_millis(400),
        ..Retries::default()
    };
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn every_alert_ends_and_copies_are_no_more_than_ambiguous_sends() {
    // E2E_FULL=1: 20,000.
    let (users, rules) = if std::env::var_os("E2E_FULL").is_some() {
        (1_000, 5)
    } else {
        (100, 2)
    };
    let stage = Stage::set().await;
    let crowd = crowd(&stage, users, rules).await;
    stage.telegram.fault_mix(Some(FaultMix {
        seed: 7,
        per_thousand: 200,
        faults: vec![
            Fault::TooManyRequests(1),
            Fault::ChatNotFound,
            Fault::Blocked,
            Fault::BadGateway,
            Fault::Garbage,
            Fault::DropBefore,
            Fault::DropAfter,
            Fault::CutAnswer,
            Fault::Delay(50),
        ],
    }));
    // Beyond the time limit of a request.
    for chat in 1..=3 {
        stage
            .telegram
            .fault(PlannedFault::of_messages(Fault::Delay(9_000), 1).to_chat(chat));
    }
    stage
        .telegram
        .fault(PlannedFault::of_messages(Fault::Unauthorized, 1).to_chat(5));
    let notifier = Stage::start_with(fast(&stage));
    let begun = Timestamp::now();
    let ledger = stage.store.ledger();
    for rule in 0..rules {
        for (offset, side) in (1..).zip(TRANSITIONS) {
            let of_all = crowd.iter().map(|(_, _, rules)| &rules[rule]);
            stage.alert_all(of_all, offset, side).await;
            all_ended(&stage).await;
            for (_, caller, _) in &crowd {
                ledger.resume_chat(caller.0, Timestamp::now()).await.unwrap();
            }
        }
    }
    let time = Timestamp::now().since(begun);
    notifier.stop().await;
    let (mut sent, mut undeliverable, mut superseded, mut ambiguous, mut copies) = (0, 0, 0, 0, 0);
    for (chat, caller, _) in &crowd {
        let deliveries = ledger.deliveries(caller.0, 1_000).await.unwrap();
        assert_eq!(deliveries.len(), rules * TRANSITIONS.len(), "chat {chat}");
        let (mut sent_here, mut ambiguous_here) = (0, 0);
        for delivery in &deliveries {
            ambiguous_here += delivery.ambiguous_sends;
            match delivery.status {
                DeliveryStatus::Sent => sent_here += 1,
                DeliveryStatus::Undeliverable => undeliverable += 1,
                DeliveryStatus::Superseded => superseded += 1,
                DeliveryStatus::Planned | DeliveryStatus::Sending => panic!("{delivery:?} has not ended"),
            }
            let explained = delivery.reason.is_some() || delivery.status == DeliveryStatus::Sent;
            assert!(explained, "{delivery:?}");
        }
        let arrived = u32::try_from(stage.telegram.texts(*chat).len()).unwrap();
        assert!(
            arrived >= sent_here,
            "chat {chat}: {sent_here} sent, {arrived} arrived"
        );
        assert!(
            arrived - sent_here <= ambiguous_here,
            "chat {chat}: {arrived} arrived of {sent_here}, {ambiguous_here} ambiguous"
        );
        sent += sent_here;
        ambiguous += ambiguous_here;
        copies += arrived - sent_here;
    }
    println!(
        "{} calls in {:.0} s: {sent} sent, {undeliverable} undeliverable, {superseded} superseded; {copies} copies of \
         {ambiguous} ambiguous sends",
        stage.telegram.calls("sendMessage"),
        time.as_secs_f64()
    );
    assert!(ambiguous > 0 && copies > 0 && undeliverable > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_messenger_loses_nothing_and_then_the_newest_state_of_each_rule_is_told_once() {
    let stage = Stage::set().await;
    let crowd = crowd(&stage, 3, 1).await;
    let rule = |user: usize| &crowd[user].2[0];
    let dead = FaultMix {
        seed: 1,
        per_thousand: 1_000,
        faults: vec![Fault::BadGateway, Fault::DropBefore],
    };
    stage.telegram.fault_mix(Some(dead));
    let notifier = Stage::start_with(fast(&stage));
    let failed_again = async || {
        let before = stage.telegram.calls("sendMessage");
        wait_for("sends that fail", async || {
            (stage.telegram.calls("sendMessage") >= before + 2).then_some(())
        })
        .await;
    };
    for (offset, side) in [
        (1, Side::Above),
        (2, Side::In),
        (3, Side::Below),
        (4, Side::In),
        (5, Side::Above),
    ] {
        stage.alert(rule(0), offset, side).await;
        failed_again().await;
    }
    stage.alert(rule(1), 1, Side::Above).await;
    failed_again().await;
    stage.alert(rule(1), 2, Side::In).await;
    stage.alert(rule(2), 1, Side::Below).await;
    failed_again().await;
    assert_eq!(stage.telegram.messages(), []);
    stage.telegram.fault_mix(None);
    all_ended(&stage).await;
    notifier.stop().await;
    for (chat, told) in [
        (1, "AAPL is above 200"),
        (2, "AAPL left its range and is back"),
        (3, "AAPL is below 100"),
    ] {
        let texts = stage.telegram.texts(chat);
        assert_eq!(texts.len(), 1, "{texts:?}");
        assert!(texts[0].contains(told), "{texts:?}");
    }
    assert!(stage.telegram.texts(1)[0].contains("5 crossings"));
    let ledger = stage.store.ledger();
    for (_, caller, _) in &crowd {
        for delivery in ledger.deliveries(caller.0, 100).await.unwrap() {
            assert_eq!(delivery.status, DeliveryStatus::Sent, "{delivery:?}");
        }
    }
}
