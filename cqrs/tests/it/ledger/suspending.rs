use cqrs::DeliveryKind::{BackInRange, Breach, Reminder};
use cqrs::DeliveryStatus::{Sent, Undeliverable};
use cqrs::Outcome;
use cqrs::domain::Side;

use super::{INTERVAL, Stage, said};
use crate::support::Db;

on_both_databases! {
    a_chat_that_takes_no_messages_gets_none_until_it_does_again,
    what_may_have_arrived_before_the_end_counts_as_told,
}

async fn a_chat_that_takes_no_messages_gets_none_until_it_does_again(db: Db) {
    let stage = Stage::set(db).await;
    let (second, third) = (stage.other_rule("MSFT").await, stage.other_rule("IBM").await);
    stage.link(42).await;
    assert_eq!(
        stage
            .ledger
            .resume_chat(stage.caller.0, stage.at(0))
            .await
            .unwrap(),
        None
    );
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    stage.send(0).await;
    stage
        .fold(
            &[
                stage.change(2, Side::In),
                stage.change_of(&second, 1, Side::Above),
            ],
            1,
        )
        .await;
    let message = stage.claim(2).await.remove(0);
    // Planned while the message was on its way.
    stage.fold(&[stage.change_of(&third, 1, Side::Below)], 2).await;
    let blocked = Outcome::ChatSuspended {
        reason: "Forbidden: bot was blocked by the user".to_owned(),
    };
    assert!(
        stage
            .ledger
            .finish(&message, &blocked, stage.at(3))
            .await
            .unwrap()
    );
    assert_eq!(
        stage.told().await,
        [
            (Breach, Sent),
            (BackInRange, Undeliverable),
            (Breach, Undeliverable),
            (Breach, Undeliverable)
        ]
    );
    // And what comes later ends when its turn comes.
    stage
        .fold(
            &[stage.change_of(&third, 2, Side::In), stage.change(3, Side::Above)],
            4,
        )
        .await;
    assert!(stage.claim(5).await.is_empty());
    assert_eq!(stage.check(INTERVAL.as_secs() * 2).await.reminders, 0);
    stage.fold(&[stage.change(4, Side::Below)], 6).await;
    let views = stage.deliveries().await;
    assert!(views.iter().skip(1).all(|delivery| delivery.status != Sent));
    assert_eq!(views[4].reason.as_deref(), Some("the chat takes no messages"));

    let resumed = stage
        .ledger
        .resume_chat(stage.caller.0, stage.at(2_000))
        .await
        .unwrap()
        .unwrap();
    // The rules stayed; the last was not yet swept up.
    assert_eq!(resumed.missed, 6);
    let mut open: Vec<_> = resumed
        .open
        .iter()
        .map(|open| (open.rule_id, open.side))
        .collect();
    open.sort_by_key(|(rule, _)| *rule);
    let mut expected = [(stage.rule.id, Side::Below), (second.id, Side::Above)];
    expected.sort_by_key(|(rule, _)| *rule);
    assert_eq!(open, expected);
    assert_eq!(
        stage
            .ledger
            .resume_chat(stage.caller.0, stage.at(2_001))
            .await
            .unwrap(),
        None
    );
    assert!(stage.claim(2_002).await.is_empty());
    // What the answer told is reminded of, and its end is told.
    assert_eq!(stage.check(2_000 + INTERVAL.as_secs()).await.reminders, 2);
    stage.fold(&[stage.change(5, Side::In)], 3_000).await;
    let message = stage.send(3_000).await;
    assert_eq!(said(&message), [(BackInRange, 1), (Reminder, 1)]);
}

async fn what_may_have_arrived_before_the_end_counts_as_told(db: Db) {
    let stage = Stage::set(db).await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    let unclear = Outcome::Retry {
        at: stage.at(1),
        reason: "502".to_owned(),
        ambiguous: true,
    };
    stage.end(unclear, 0).await;
    stage.end(super::undeliverable(), 1).await;
    assert_eq!(stage.check(INTERVAL.as_secs() * 3).await.reminders, 0);
    stage.fold(&[stage.change(2, Side::In)], 2).await;
    assert_eq!(said(&stage.send(3).await), [(BackInRange, 1)]);
}
