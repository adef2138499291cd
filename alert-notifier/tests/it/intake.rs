use std::time::Duration;

use cqrs::DeliveryStatus;
use cqrs::domain::Side;
use service::kafka::{BatchLimits, ConsumerEvent, Record, StartFrom};
use service::topics::DEAD_LETTERS;

use crate::stage::{Stage, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn records_that_cant_be_read_are_set_aside_once_and_the_next_is_told() {
    let stage = Stage::set().await;
    let (_, rule) = stage.user("ada@example.org", Some(42)).await;
    stage.produce("no rule's id", Some(b"anything")).await;
    stage.produce(&rule.id.to_string(), Some(b"\xff\xff\xff")).await;
    stage.produce("no rule's id either", None).await;
    stage.alert(&rule, 1, Side::Above).await;
    let notifier = stage.start();
    assert_eq!(stage.headlines(42, 1).await, ["▲ AAPL is above 200"]);
    notifier.stop().await;
    // Once more, and nothing is read twice: the offsets were committed.
    let notifier = stage.start();
    stage.alert(&rule, 2, Side::In).await;
    assert_eq!(
        stage.headlines(42, 2).await,
        ["▲ AAPL is above 200", "● AAPL is back in range"]
    );
    notifier.stop().await;

    let letters = read_dead_letters(&stage, 3).await;
    let values: Vec<_> = letters.iter().map(|letter| letter.payload.as_deref()).collect();
    assert_eq!(values, [Some(&b"anything"[..]), Some(b"\xff\xff\xff"), None]);
}

async fn read_dead_letters(stage: &Stage, count: usize) -> Vec<Record> {
    let limits = BatchLimits {
        max_records: 100,
        max_wait: Duration::from_millis(300),
    };
    let mut consumer = stage
        .kafka
        .consumer("test", DEAD_LETTERS, StartFrom::Beginning, limits)
        .unwrap();
    let mut letters = Vec::new();
    while letters.len() < count {
        let event = tokio::time::timeout(Duration::from_secs(90), consumer.next())
            .await
            .expect("dead letters come");
        if let ConsumerEvent::Batch(batch) = event.unwrap() {
            letters.extend(batch.records);
        }
    }
    consumer.close().await;
    letters
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tombstone_ends_what_is_planned_of_its_rule() {
    let stage = Stage::set().await;
    // Nobody sends: the messenger refuses the bot.
    stage.telegram.fault(unauthorized());
    let (caller, rule) = stage.user("ada@example.org", Some(42)).await;
    let notifier = stage.start();
    stage.alert(&rule, 1, Side::Above).await;
    wait_for("readiness that tells of the token", async || {
        notifier
            .context
            .health
            .readiness()
            .err()
            .filter(|reason| reason.contains("TELEGRAM_BOT_TOKEN"))
    })
    .await;
    stage.produce(&rule.id.to_string(), None).await;
    wait_for("the end of the message", async || {
        let deliveries = stage.store.ledger().deliveries(caller.0, 10).await.unwrap();
        (deliveries.len() == 1 && deliveries[0].status == DeliveryStatus::Superseded).then_some(())
    })
    .await;
    notifier.stop().await;
    assert!(stage.telegram.messages().is_empty());
}

fn unauthorized() -> e2e::telegram_stub::PlannedFault {
    e2e::telegram_stub::PlannedFault::of_messages(e2e::telegram_stub::Fault::Unauthorized, 1_000_000)
}
