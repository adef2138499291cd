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
    assert!(messages[1].text.contains("highest 222"), "{messages:?}");
    // The reminder and the return answer the breach.
    let breach = Some(messages[0].message_id);
    let answers: Vec<_> = messages.iter().map(|message| message.reply_to).collect();
    assert_eq!(answers, [None, breach, breach]);
    let labels = |at: usize| -> Vec<String> {
        messages[at]
            .buttons()
            .into_iter()
            .map(|button| button.label)
            .collect()
    };
    let buttons = ["Snooze 1h", "Until back", "Edit", "Chart"];
    assert_eq!(
        (labels(0), labels(1), labels(2).len()),
        (
            buttons.map(str::to_owned).to_vec(),
            buttons.map(str::to_owned).to_vec(),
            0
        )
    );
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
    stage.alert(&rule, 1, Side::Above).await;
    stage.headlines(42, 1).await;
    stage.alert(&rule, 2, Side::In).await;
    stage.alert(&others_rule, 3, Side::Above).await;
    stage.headlines(42, 2).await;
    stage.alert(&rule, 4, Side::Above).await;
    assert_eq!(stage.headlines(42, 3).await, [OUT, BACK, OUT]);
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
    let order: Vec<_> = messages.iter().map(|it| it.chat).collect();
    assert_eq!(order, [42, 43, 42, 42]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_at_once_comes_in_one_message() {
    let stage = Stage::set().await;
    let (caller, rules) = stage.user_with("ada@example.org", Some(42), 3).await;
    stage.alert_all(&rules, 1, Side::Above).await;
    stage.alert_all(&rules[..1], 2, Side::In).await;
    let notifier = stage.start();
    assert_eq!(stage.headlines(42, 1).await, ["3 alerts"]);
    notifier.stop().await;
    let texts = stage.telegram.texts(42);
    assert_eq!(texts.len(), 1);
    assert_eq!(texts[0].matches(OUT).count(), 2, "{texts:?}");
    assert!(
        texts[0].contains("● AAPL left its range and is back"),
        "{texts:?}"
    );
    let all = deliveries(&stage, caller).await;
    assert_eq!(all.len(), 4);
    assert!(all.iter().all(|it| it.status == DeliveryStatus::Sent), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_for_a_while_is_sent_in_the_end() {
    let stage = Stage::set().await;
    let notifier = stage.start();
    let mut users = Vec::new();
    for (chat, (fault, copies, ambiguous)) in (1..).zip([
        // First, while nobody else sends: which chat it is for is not known when it happens.
        (Fault::DropUnread, 1, 1),
        (Fault::TooManyRequests(1), 1, 0),
        (Fault::BadGateway, 1, 1),
        (Fault::DropBefore, 1, 1),
        // It arrived, and nobody could know: a copy, which is counted.
        (Fault::DropAfter, 2, 1),
        (Fault::Garbage, 2, 1),
        (Fault::CutAnswer, 2, 1),
        (Fault::Delay(300), 1, 0),
        // Longer than a request may take.
        (Fault::HoldBefore, 1, 1),
        (Fault::HoldAfter, 2, 1),
    ]) {
        let (caller, rule) = stage.user(&format!("user{chat}@example.org"), Some(chat)).await;
        stage.plan_fault(fault, chat);
        stage.alert(&rule, 1, Side::Above).await;
        wait_for("the fault to happen", async || {
            stage.telegram.faults_to_come().is_empty().then_some(())
        })
        .await;
        users.push((chat, caller, fault, copies, ambiguous));
    }
    for (chat, caller, fault, copies, ambiguous) in users {
        let delivery = first_ended(&stage, caller).await;
        assert_eq!(delivery.status, DeliveryStatus::Sent, "{fault:?}: {delivery:?}");
        assert_eq!(delivery.ambiguous_sends, ambiguous, "{fault:?}");
        assert_eq!(stage.telegram.texts(chat).len(), copies, "{fault:?}");
    }
    notifier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_surely_did_not_arrive_because_nobody_was_there_is_sent_once_and_is_no_repeat() {
    let stage = Stage::set().await;
    let (caller, rule) = stage.user("ada@example.org", Some(42)).await;
    stage.telegram.leave().await;
    let notifier = stage.start();
    stage.alert(&rule, 1, Side::Above).await;
    let reason = wait_for("a second try in vain", async || {
        let first = deliveries(&stage, caller).await.into_iter().next()?;
        first.reason.filter(|_| first.attempts > 1)
    })
    .await;
    assert!(reason.starts_with("the messenger can't be reached: "), "{reason}");
    stage.telegram.come_back().await;
    let delivery = first_ended(&stage, caller).await;
    notifier.stop().await;
    assert_eq!(delivery.status, DeliveryStatus::Sent);
    assert_eq!(delivery.ambiguous_sends, 0);
    let texts = stage.telegram.texts(42);
    assert_eq!(texts.len(), 1);
    assert!(!texts[0].contains("may be a repeat"), "{texts:?}");
}

/// The user's messages, once there are so many and all have ended.
async fn all_ended(stage: &Stage, caller: Caller, count: usize) -> Vec<DeliveryView> {
    wait_for("the end of all messages", async || {
        let all = deliveries(stage, caller).await;
        let waits =
            |it: &DeliveryView| matches!(it.status, DeliveryStatus::Planned | DeliveryStatus::Sending);
        (all.len() == count && !all.iter().any(waits)).then_some(all)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_arrive_ends_with_its_reason_and_holds_nothing_up() {
    let stage = Stage::set().await;
    let (unlinked, unlinked_rule) = stage.user("bob@example.org", None).await;
    let (lost, lost_rule) = stage.user("eve@example.org", Some(44)).await;
    stage.plan_fault(Fault::ChatNotFound, 44);
    let notifier = stage.start();
    // Not told of the breach, so not told of its end; told of the next.
    for (offset, side) in [(1, Side::Above), (2, Side::In), (3, Side::Below)] {
        for (caller, rule) in [(unlinked, &unlinked_rule), (lost, &lost_rule)] {
            stage.alert(rule, offset, side).await;
            all_ended(&stage, caller, usize::try_from(offset).unwrap()).await;
        }
    }
    assert_eq!(stage.headlines(44, 1).await, ["▼ AAPL is below 100"]);
    for (caller, reason, last) in [
        (unlinked, "no chat linked", DeliveryStatus::Undeliverable),
        (
            lost,
            "the messenger refuses the message: Bad Request: chat not found",
            DeliveryStatus::Sent,
        ),
    ] {
        let all = all_ended(&stage, caller, 3).await;
        assert_eq!(
            (all[0].status, all[0].reason.as_deref()),
            (DeliveryStatus::Undeliverable, Some(reason))
        );
        assert_eq!(all[1].status, DeliveryStatus::Superseded);
        assert_eq!(all[2].status, last);
    }
    notifier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_blocks_the_bot_gets_nothing_until_they_come_back() {
    let stage = Stage::set().await;
    let (caller, rule) = stage.user("ada@example.org", Some(42)).await;
    stage.telegram.block(42);
    let notifier = stage.start();
    stage.alert(&rule, 1, Side::Above).await;
    let refused = all_ended(&stage, caller, 1).await;
    let reason = "the chat takes no messages: Forbidden: bot was blocked by the user";
    assert_eq!(refused[0].reason.as_deref(), Some(reason));
    stage.telegram.unblock(42);
    // Nobody tries again by themselves, and the rule stays.
    stage.alert(&rule, 2, Side::In).await;
    stage.alert(&rule, 3, Side::Below).await;
    all_ended(&stage, caller, 3).await;
    assert_eq!(stage.telegram.calls("sendMessage"), 1);
    let resumed = stage
        .store
        .ledger()
        .resume_chat(caller.0, Timestamp::now())
        .await
        .unwrap()
        .expect("it was suspended");
    assert_eq!(resumed.open.len(), 1);
    // Whoever comes back is told what is open, so its end is told.
    stage.alert(&rule, 4, Side::In).await;
    assert_eq!(stage.headlines(42, 1).await, [BACK]);
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
    let texts = stage.telegram.texts(42);
    let repeats: Vec<_> = texts.iter().map(|it| it.contains("(may be a repeat")).collect();
    assert_eq!(repeats, [true, false]);
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
    let mut told = Vec::new();
    for (offset, side, headline) in [
        (1, Side::Above, OUT),
        (2, Side::In, BACK),
        (3, Side::Above, OUT),
        (4, Side::In, BACK),
    ] {
        told.push(headline);
        for (_, rule) in &rules {
            stage.alert(rule, offset, side).await;
        }
        for (chat, _) in &rules {
            assert_eq!(stage.headlines(*chat, told.len()).await, told);
        }
    }
    for notifier in notifiers {
        notifier.stop().await;
    }
    assert_eq!(stage.telegram.messages().len(), 24);
}
