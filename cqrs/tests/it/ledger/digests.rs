use std::collections::HashSet;

use cqrs::DeliveryKind::{BackInRange, Breach, CameAndWent, Reminder, Test};
use cqrs::DeliveryStatus::{Planned, Sent};
use cqrs::domain::{DeliveryId, Language, RuleId, Side};
use cqrs::{Heading, LedgerChange, Outcome};

use super::{INTERVAL, Stage, alert, position, said, sent};
use crate::support::{Db, price};

on_both_databases! {
    what_waits_of_several_rules_is_one_message_the_most_important_first,
    what_could_not_be_delivered_is_told_once_as_of_the_past,
    a_repeated_claim_is_of_the_same_deliveries_under_the_same_name,
    a_return_and_a_reminder_show_how_far_the_price_went,
    a_test_is_told_once_and_needs_no_rule,
    too_many_requests_hold_one_chat_alone,
    what_was_not_sent_at_all_is_as_if_never_claimed,
    a_message_says_whether_it_may_be_a_repeat,
}

async fn what_waits_of_several_rules_is_one_message_the_most_important_first(db: Db) {
    let stage = Stage::set(db).await;
    let (second, third) = (stage.other_rule("MSFT").await, stage.other_rule("IBM").await);
    stage
        .fold(
            &[
                stage.change(1, Side::Above),
                stage.change_of(&third, 1, Side::Above),
            ],
            0,
        )
        .await;
    stage.send(0).await;
    let due = INTERVAL.as_secs();
    assert_eq!(stage.check(due).await.reminders, 2);
    stage
        .fold(
            &[
                stage.change(2, Side::In),
                stage.change_of(&second, 1, Side::Below),
            ],
            due,
        )
        .await;
    let message = stage.send(due + 1).await;
    assert_eq!(said(&message), [(Breach, 1), (BackInRange, 1), (Reminder, 1)]);
    let tickers: Vec<_> = message
        .items
        .iter()
        .map(|item| item.facts.ticker.as_str())
        .collect();
    assert_eq!(tickers, ["MSFT", "AAPL", "IBM"]);
    assert_eq!(
        (message.heading, message.reply_to, message.recipient.language),
        (Heading::Plain, None, Language::En)
    );
}

async fn what_could_not_be_delivered_is_told_once_as_of_the_past(db: Db) {
    let stage = Stage::set(db).await;
    let other = stage.other_rule("MSFT").await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    let dead = |at| Outcome::Retry {
        at,
        reason: "no route".to_owned(),
        ambiguous: false,
    };
    assert_eq!(stage.end(dead(stage.at(300)), 0).await.heading, Heading::Plain);
    for offset in 2..50 {
        let side = if offset % 2 == 0 { Side::In } else { Side::Below };
        stage
            .fold(&[stage.change(offset, side)], u64::try_from(offset).unwrap())
            .await;
    }
    stage.fold(&[stage.change_of(&other, 1, Side::Above)], 60).await;
    let message = stage.send(300).await;
    assert_eq!(message.heading, Heading::AfterOutage);
    assert_eq!(said(&message), [(Breach, 49), (Breach, 1)]);
    assert_eq!(message.items[0].facts.side, Side::Below);
    assert_eq!(stage.ledger.backlog().await.unwrap().waiting, 0);
    assert!(stage.told().await.iter().all(|(_, status)| *status == Sent));
}

async fn a_repeated_claim_is_of_the_same_deliveries_under_the_same_name(db: Db) {
    let stage = Stage::set(db).await;
    let other = stage.other_rule("MSFT").await;
    stage
        .fold(
            &[
                stage.change(1, Side::Above),
                stage.change_of(&other, 1, Side::Below),
            ],
            0,
        )
        .await;
    let first = stage.claim(0).await.remove(0);
    stage.fold(&[stage.change(2, Side::In)], 1).await;
    let again = stage.claim(60).await.remove(0);
    assert_eq!((again.key, said(&again)), (first.key, said(&first)));
    let names = |message: &cqrs::ClaimedMessage| message.deliveries().collect::<HashSet<DeliveryId>>();
    assert_eq!(names(&again), names(&first));
    assert!(again.reclaimed && again.may_be_repeat && !first.reclaimed && !first.may_be_repeat);
    assert!(!stage.ledger.finish(&first, &sent(), stage.at(61)).await.unwrap());
    assert!(stage.ledger.finish(&again, &sent(), stage.at(61)).await.unwrap());
    let next = stage.send(62).await;
    assert_eq!(said(&next), [(BackInRange, 1)]);
    assert_ne!(next.key, first.key);
}

async fn a_return_and_a_reminder_show_how_far_the_price_went(db: Db) {
    let stage = Stage::set(db).await;
    stage.latest("9999", 0).await;
    stage
        .fold(
            &[LedgerChange::Alert(cqrs::domain::Alert {
                quote_time: stage.at(10),
                ..stage.alert(1, Side::Above)
            })],
            10,
        )
        .await;
    assert_eq!(stage.send(10).await.items[0].facts.peak, None);
    stage.latest("203", 11).await;
    stage.latest("250.5", 20).await;
    stage.latest("210", 30).await;
    assert_eq!(stage.check(10 + INTERVAL.as_secs()).await.reminders, 1);
    let reminder = stage.send(10 + INTERVAL.as_secs()).await;
    assert_eq!(reminder.items[0].facts.peak, Some(price("250.5")));
    assert_eq!(reminder.reply_to, Some(7));
    let back = cqrs::domain::Alert {
        quote_time: stage.at(2_000),
        ..stage.alert(2, Side::In)
    };
    stage.fold(&[LedgerChange::Alert(back)], 2_000).await;
    stage.latest("8888", 3_000).await;
    assert_eq!(stage.send(3_000).await.items[0].facts.peak, Some(price("250.5")));
}

async fn a_test_is_told_once_and_needs_no_rule(db: Db) {
    let stage = Stage::set(db).await;
    let test = alert(
        RuleId::generate(),
        stage.caller.0,
        position(1, 1, 1),
        Side::Above,
        stage.start,
    );
    let nobodys = alert(
        RuleId::generate(),
        cqrs::domain::UserId::generate(),
        position(1, 1, 1),
        Side::Above,
        stage.start,
    );
    let changes = [
        LedgerChange::TestAlert(test.clone()),
        LedgerChange::TestAlert(nobodys),
    ];
    let folded = stage.ledger.fold(&changes, stage.start).await.unwrap();
    assert_eq!((folded.taken, folded.orphaned, folded.planned), (1, 1, 1));
    stage.fold(&changes, 1).await;
    let message = stage.send(2).await;
    assert_eq!(said(&message), [(Test, 1)]);
    assert_eq!(message.items[0].facts.range, None);
    // Its record goes, and is read once more before it does.
    stage.fold(&[LedgerChange::RuleDeleted(test.rule_id)], 3).await;
    stage.fold(&changes, 3).await;
    assert!(stage.claim(4).await.is_empty());
    assert_eq!(stage.told().await, [(Test, Sent)]);
}

async fn too_many_requests_hold_one_chat_alone(db: Db) {
    let stage = Stage::set(db).await;
    let other = stage.db.user("bob@example.org").await;
    let others_rule = stage.db.rule(other, "AAPL").await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    let hold = Outcome::HoldChat {
        until: stage.at(17),
        reason: "429".to_owned(),
    };
    stage.end(hold, 0).await;
    stage
        .fold(
            &[
                stage.change(2, Side::In),
                stage.change_of(&others_rule, 1, Side::Above),
            ],
            1,
        )
        .await;
    assert_eq!(stage.send(2).await.user_id, other.0);
    assert!(stage.claim(16).await.is_empty());
    assert_eq!(said(&stage.send(17).await), [(CameAndWent, 2)]);
    assert!(
        stage
            .deliveries()
            .await
            .iter()
            .all(|delivery| delivery.ambiguous_sends == 0)
    );
}

async fn what_was_not_sent_at_all_is_as_if_never_claimed(db: Db) {
    let stage = Stage::set(db).await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    let message = stage.claim(0).await.remove(0);
    stage.ledger.release_claim(&message).await.unwrap();
    assert_eq!(stage.told().await, [(Breach, Planned)]);
    assert!(!stage.ledger.finish(&message, &sent(), stage.at(1)).await.unwrap());
    let again = stage.send(1).await;
    assert!(again.attempt == 1 && !again.may_be_repeat && again.key != message.key);
    // Too late to give it back.
    stage.ledger.release_claim(&again).await.unwrap();
    assert_eq!(stage.told().await, [(Breach, Sent)]);
}

async fn a_message_says_whether_it_may_be_a_repeat(db: Db) {
    let stage = Stage::set(db).await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    let again = |ambiguous| Outcome::Retry {
        at: stage.at(1),
        reason: "?".to_owned(),
        ambiguous,
    };
    assert!(!stage.end(again(false), 0).await.may_be_repeat);
    assert!(!stage.end(again(true), 1).await.may_be_repeat);
    let message = stage.send(2).await;
    assert!(message.may_be_repeat && !message.reclaimed);
}
