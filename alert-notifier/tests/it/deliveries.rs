use std::time::Duration;

use cqrs::domain::{Quote, Side, Timestamp};
use cqrs::{Caller, DeliveryKind, DeliveryStatus, DeliveryView};
use e2e::telegram_stub::{Fault, PlannedFault};

use crate::stage::{Stage, price, wait_for};

const OUT: &str = "▲ AAPL is above 200";
const STILL_OUT: &str = "▲ Reminder: AAPL is still above 200";
const BACK: &str = "● AAPL is back in range";

async fn deliveries(stage: &Stage, caller: Caller) -> Vec<DeliveryView> {
    stage.store.ledger().deliveries(caller.0, 100).await.unwrap()
}

/// Waits until the user's first message has ended.
async fn first_ended(stage: &Stage, caller: Caller) -> DeliveryView {
    wait_for("the end of the message", async || {
        let first = deliveries(stage, caller).await.into_iter().next()?;
        let ended = !matches!(first.status, DeliveryStatus::Planned | DeliveryStatus::Sending);
        ended.then_some(first)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breach_reminders_and_the_return_come_in_order() {
    let stage = Stage::set().await;
    let (caller, rule) = stage.user("ada@example.org", Some(42)).await;
    stage.remind_every(caller, 10).await;
    let notifier = stage.start();
    stage.alert(&rule, 1, Side::Above).await;
    stage.headlines(42, 1).await;
    let now = Timestamp::now();
    let quote = Quote {
        ticker: rule.ticker.clone(),
        price: price("222"),
        currency: "USD".to_owned(),
        volume: None,
        trade_side: None,
        event_time: now,
        ingest_time: now,
        source: "test".to_owned(),
    };
    stage.store.history().record(&[(quote, 2)]).await.unwrap();
    stage.headlines(42, 2).await;
    stage.alert(&rule, 3, Side::In).await;
    assert_eq!(stage.headlines(42, 3).await, [OUT, STILL_OUT, BACK]);
    notifier.stop().await;
    let messages = stage.telegram.messages();
    assert!(messages[1].text.contains("222 USD"), "{messages:?}");
    assert!(messages[1].received_us - messages[0].received_us >= 10_000_000);
    let kinds: Vec<_> = deliveries(&stage, caller)
        .await
        .iter()
        .map(|it| (it.kind, it.status))
        .collect();
    let sent = [
        DeliveryKind::Breach,
        DeliveryKind::Reminder,
        DeliveryKind::BackInRange,
    ];
    assert_eq!(kinds, sent.map(|kind| (kind, DeliveryStatus::Sent)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_gets_one_message_a_second_and_others_do_not_wait_for_it() {
    let stage = Stage::set().await;
    let (_, rule) = stage.user("ada@example.org", Some(42)).await;
    let (_, others_rule) = stage.user("bob@example.org", Some(43)).await;
    let notifier = stage.start();
    for (offset, side) in [(1, Side::Above), (2, Side::In), (3, Side::Above), (4, Side::In)] {
        stage.alert(&rule, offset, side).await;
    }
    stage.alert(&others_rule, 5, Side::Above).await;
    assert_eq!(stage.headlines(42, 4).await, [OUT, BACK, OUT, BACK]);
    notifier.stop().await;
    let messages = stage.telegram.messages();
    let times: Vec<_> = messages
        .iter()
        .filter(|it| it.chat == 42)
        .map(|it| it.received_us)
        .collect();
    assert!(
        times.windows(2).all(|pair| pair[1] - pair[0] > 950_000),
        "{times:?}"
    );
    assert!(
        messages.iter().position(|it| it.chat == 43).unwrap() < messages.len() - 1,
        "{messages:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_for_a_while_is_sent_in_the_end() {
    for (fault, copies, ambiguous) in [
        (Fault::TooManyRequests(1), 1, 0),
        (Fault::BadGateway, 1, 1),
        (Fault::DropBefore, 1, 1),
        // It arrived, and nobody could know: a copy, which is counted.
        (Fault::DropAfter, 2, 1),
        (Fault::Garbage, 2, 1),
        (Fault::Delay(300), 1, 0),
    ] {
        let stage = Stage::set().await;
        let (caller, rule) = stage.user("ada@example.org", Some(42)).await;
        stage.telegram.fault(PlannedFault::of_messages(fault, 1));
        let notifier = stage.start();
        stage.alert(&rule, 1, Side::Above).await;
        let delivery = first_ended(&stage, caller).await;
        notifier.stop().await;
        assert_eq!(delivery.status, DeliveryStatus::Sent, "{fault:?}: {delivery:?}");
        assert_eq!(delivery.ambiguous_sends, ambiguous, "{fault:?}");
        assert_eq!(stage.telegram.texts(42).len(), copies, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_arrive_ends_with_its_reason_and_holds_nothing_up() {
    let stage = Stage::set().await;
    let (blocked, blocked_rule) = stage.user("ada@example.org", Some(42)).await;
    let (unlinked, unlinked_rule) = stage.user("bob@example.org", None).await;
    let (lost, lost_rule) = stage.user("eve@example.org", Some(44)).await;
    stage
        .telegram
        .fault(PlannedFault::of_messages(Fault::Blocked, 1).to_chat(42));
    stage
        .telegram
        .fault(PlannedFault::of_messages(Fault::ChatNotFound, 1).to_chat(44));
    let notifier = stage.start();
    for rule in [&blocked_rule, &unlinked_rule, &lost_rule] {
        stage.alert(rule, 1, Side::Above).await;
        // Not told of the breach, so not told of its end; told of the next.
        stage.alert(rule, 2, Side::In).await;
        stage.alert(rule, 3, Side::Below).await;
    }
    assert_eq!(stage.headlines(42, 1).await, ["▼ AAPL is below 100"]);
    assert_eq!(stage.headlines(44, 1).await, ["▼ AAPL is below 100"]);
    for (caller, reason, last) in [
        (
            blocked,
            "the chat takes no messages: Forbidden: bot was blocked by the user",
            DeliveryStatus::Sent,
        ),
        (unlinked, "no chat linked", DeliveryStatus::Undeliverable),
        (
            lost,
            "the messenger refuses the message: Bad Request: chat not found",
            DeliveryStatus::Sent,
        ),
    ] {
        let all = wait_for("the end of all three", async || {
            let all = deliveries(&stage, caller).await;
            (all.len() == 3 && all[2].status == last).then_some(all)
        })
        .await;
        assert_eq!(
            (all[0].status, all[0].reason.as_deref()),
            (DeliveryStatus::Undeliverable, Some(reason))
        );
        assert_eq!(all[1].status, DeliveryStatus::Superseded);
    }
    notifier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_moved_is_followed() {
    let stage = Stage::set().await;
    let (caller, rule) = stage.user("ada@example.org", Some(42)).await;
    stage
        .telegram
        .fault(PlannedFault::of_messages(Fault::Migrated(-100_042), 1));
    let notifier = stage.start();
    stage.alert(&rule, 1, Side::Above).await;
    assert_eq!(stage.headlines(-100_042, 1).await, [OUT]);
    stage.alert(&rule, 2, Side::In).await;
    assert_eq!(stage.headlines(-100_042, 2).await, [OUT, BACK]);
    assert_eq!(first_ended(&stage, caller).await.attempts, 1);
    notifier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_moves_to_somebody_elses_is_not_followed() {
    let stage = Stage::set().await;
    let (caller, rule) = stage.user("ada@example.org", Some(42)).await;
    stage.user("bob@example.org", Some(43)).await;
    stage
        .telegram
        .fault(PlannedFault::of_messages(Fault::Migrated(43), 1));
    let notifier = stage.start();
    stage.alert(&rule, 1, Side::Above).await;
    let delivery = first_ended(&stage, caller).await;
    notifier.stop().await;
    assert_eq!(delivery.status, DeliveryStatus::Undeliverable);
    assert_eq!(
        delivery.reason.as_deref(),
        Some("the chat moved to one that belongs to another account")
    );
    assert_eq!(stage.telegram.messages(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_stops_sending_until_it_is_taken_again() {
    let stage = Stage::set().await;
    let (_, rule) = stage.user("ada@example.org", Some(42)).await;
    stage
        .telegram
        .fault(PlannedFault::of_messages(Fault::Unauthorized, 1));
    let notifier = stage.start();
    stage.alert(&rule, 1, Side::Above).await;
    let reason = wait_for("readiness that tells", async || {
        notifier
            .context
            .health
            .readiness()
            .err()
            .filter(|it| it.contains("token"))
    })
    .await;
    assert!(
        reason.contains("TELEGRAM_BOT_TOKEN") && !reason.contains("very-secret"),
        "{reason}"
    );
    assert_eq!(stage.headlines(42, 1).await, [OUT]);
    wait_for("readiness", async || notifier.context.health.readiness().ok()).await;
    notifier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_killed_while_sending_leaves_the_message_to_the_next_one() {
    let stage = Stage::set().await;
    let (caller, rule) = stage.user("ada@example.org", Some(42)).await;
    // The message arrives, but its sender does not live to know it.
    stage
        .telegram
        .fault(PlannedFault::of_messages(Fault::Delay(3_600_000), 1));
    let mut config = stage.config();
    config.claim_timeout = Duration::from_secs(3);
    let first = Stage::start_with(config.clone());
    stage.alert(&rule, 1, Side::Above).await;
    wait_for("the send to begin", async || {
        (stage.telegram.calls("sendMessage") == 1).then_some(())
    })
    .await;
    first.kill();
    let second = Stage::start_with(config);
    stage.alert(&rule, 2, Side::In).await;
    assert_eq!(stage.headlines(42, 2).await, [OUT, BACK]);
    let delivery = first_ended(&stage, caller).await;
    assert_eq!(
        (delivery.status, delivery.attempts, delivery.ambiguous_sends),
        (DeliveryStatus::Sent, 2, 1)
    );
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_notifiers_send_each_message_once_and_in_order() {
    let stage = Stage::set().await;
    let mut rules = Vec::new();
    for chat in 1..=6 {
        rules.push((
            chat,
            stage.user(&format!("user{chat}@example.org"), Some(chat)).await.1,
        ));
    }
    let notifiers = [stage.start(), stage.start()];
    for (offset, side) in [(1, Side::Above), (2, Side::In), (3, Side::Above), (4, Side::In)] {
        for (_, rule) in &rules {
            stage.alert(rule, offset, side).await;
        }
    }
    for (chat, _) in &rules {
        assert_eq!(stage.headlines(*chat, 4).await, [OUT, BACK, OUT, BACK]);
    }
    for notifier in notifiers {
        notifier.stop().await;
    }
    assert_eq!(stage.telegram.messages().len(), 24);
}
