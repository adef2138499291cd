//! How long others wait while one chat gets much, at Telegram's own limits.

use std::time::Duration;

use cqrs::domain::{Rule, Side, Timestamp};
use e2e::telegram_stub::{Fault, PlannedFault};

use crate::deliveries_many::{all_ended, crowd};
use crate::stage::{Notifier, Stage};

/// The chat that gets much.
const HOT: i64 = 1_000_000;
const PER_SECOND: f64 = 30.0;

/// 99 of 100 of the others waited no longer than so many seconds for their message.
async fn p99_of_others(stage: &Stage, hot: &[Rule], others: &[&Rule]) -> f64 {
    let begun = Timestamp::now();
    stage.alert_all(hot, 1, Side::Above).await;
    stage.alert_all(others.iter().copied(), 1, Side::Above).await;
    let count = others.len();
    crate::stage::wait_for("everybody's message", async || {
        let messages = stage.telegram.messages();
        (messages.iter().filter(|it| it.chat != HOT).count() >= count).then_some(())
    })
    .await;
    let mut waits: Vec<f64> = stage
        .telegram
        .messages()
        .iter()
        .filter(|it| it.chat != HOT)
        .map(|it| {
            let at = Timestamp::from_micros(i64::try_from(it.received_us).unwrap());
            at.since(begun).as_secs_f64()
        })
        .collect();
    assert_eq!(waits.len(), count, "one message each");
    waits.sort_by(f64::total_cmp);
    waits[count * 99 / 100 - 1]
}

async fn scene(others: i64) -> (Stage, Notifier, Vec<Rule>, Vec<Rule>) {
    let stage = Stage::set().await;
    let (_, hot) = stage.user_with("hot@example.org", Some(HOT), 1_000).await;
    let crowd = crowd(&stage, others, 1).await;
    let others = crowd
        .into_iter()
        .map(|(_, _, mut rules)| rules.remove(0))
        .collect();
    let notifier = stage.start();
    // It has joined the group and claimed nothing once the breach of one more user is told.
    let (_, first) = stage.user("first@example.org", Some(HOT + 1)).await;
    stage.alert(&first, 1, Side::Above).await;
    stage.headlines(HOT + 1, 1).await;
    stage.telegram.enforce_limits();
    (stage, notifier, hot, others)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_chats_do_not_wait_for_one_with_a_thousand_alerts() {
    let (stage, notifier, hot, others) = scene(1_000).await;
    let others: Vec<_> = others.iter().collect();
    // The message from before counts as one.
    let p99 = p99_of_others(&stage, &hot, &others).await;
    all_ended(&stage).await;
    notifier.stop().await;
    let ideal = 990.0 / PER_SECOND;
    println!(
        "others' p99 {p99:.2} s, ideal {ideal:.2} s, ratio {:.3}; the hot chat's 1,000 alerts came in {} messages",
        p99 / ideal,
        stage.telegram.texts(HOT).len()
    );
    assert_eq!(stage.telegram.too_fast(), 0, "Telegram's limits were broken");
    assert!(p99 / ideal <= 1.1, "{p99} s instead of {ideal} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn others_do_not_notice_that_one_chat_is_throttled() {
    let mut p99 = [0.0; 2];
    for (throttled, p99) in [false, true].into_iter().zip(&mut p99) {
        let (stage, notifier, hot, others) = scene(200).await;
        if throttled {
            let fault = PlannedFault::of_messages(Fault::TooManyRequests(1), 1_000_000);
            stage.telegram.fault(fault.to_chat(HOT));
        }
        *p99 = p99_of_others(&stage, &hot, &others.iter().collect::<Vec<_>>()).await;
        notifier.stop().await;
    }
    let [normal, throttled] = p99;
    println!(
        "others' p99 {throttled:.2} s while one chat is throttled, {normal:.2} s otherwise, ratio {:.3}",
        throttled / normal
    );
    assert!(throttled / normal <= 1.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_share_the_messengers_limits() {
    let (stage, notifier, _, others) = scene(150).await;
    let second = stage.start();
    let begun = Timestamp::now();
    stage.alert_all(&others, 1, Side::Above).await;
    all_ended(&stage).await;
    let time = Timestamp::now().since(begun);
    notifier.stop().await;
    second.stop().await;
    assert_eq!(stage.telegram.too_fast(), 0, "together they were too fast");
    assert!(time >= Duration::from_secs(3), "{time:?}");
    assert_eq!(stage.telegram.messages().len(), 151);
}
