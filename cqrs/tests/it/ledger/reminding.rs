use cqrs::DeliveryKind::{BackInRange, Breach, Reminder};
use cqrs::DeliveryStatus::{Sent, Superseded};
use cqrs::domain::{ReminderInterval, Side};
use cqrs::{Checked, LedgerChange, RuleEdit, UserEdit};

use super::{INTERVAL, Stage, alert, position, undeliverable};
use crate::support::{Db, price};

on_both_databases! {
    reminders_follow_the_last_delivered_message_until_the_price_is_back,
    a_reminder_that_was_overtaken_by_the_return_is_not_sent,
    setting_the_interval_moves_the_next_reminder,
    a_reminder_is_held_back_while_the_price_is_inside,
    an_edited_paused_or_deleted_rule_is_not_reminded_of,
    a_return_that_went_down_with_a_lost_log_is_told_all_the_same,
    who_cant_be_reached_is_not_reminded,
}

async fn reminders_follow_the_last_delivered_message_until_the_price_is_back(db: Db) {
    let stage = Stage::set(db).await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    // Nothing was delivered yet, so there is nothing to remind of.
    assert_eq!(stage.check(3_600).await.reminders, 0);
    stage.send(5_000).await;
    let due = 5_000 + INTERVAL.as_secs();
    assert_eq!(stage.check(due - 1).await.reminders, 0);
    stage.latest("205", due - 10).await;
    assert_eq!(stage.check(due).await.reminders, 1);
    assert_eq!(stage.check(due).await.episodes, 0);
    let reminder = stage.send(due + 100).await;
    assert_eq!(
        (reminder.items[0].facts.kind, reminder.items[0].facts.side),
        (Reminder, Side::Above)
    );
    assert_eq!(
        (reminder.items[0].facts.price, reminder.items[0].facts.threshold),
        (price("205"), price("200"))
    );
    assert_eq!(
        (
            reminder.items[0].facts.quote_time,
            reminder.items[0].facts.opened_at
        ),
        (stage.at(due - 10), stage.start)
    );
    let next = due + 100 + INTERVAL.as_secs();
    assert_eq!(stage.ledger.next_check().await.unwrap(), Some(stage.at(next)));
    assert_eq!(stage.check(next - 1).await.reminders, 0);
    assert_eq!(stage.check(next).await.reminders, 1);
    stage.send(next).await;
    stage.fold(&[stage.change(2, Side::In)], next + 1).await;
    stage.send(next + 1).await;
    assert_eq!(stage.check(next + 100_000).await, Checked::default());
    assert_eq!(stage.kinds().await, [Breach, Reminder, Reminder, BackInRange]);
}

async fn a_reminder_that_was_overtaken_by_the_return_is_not_sent(db: Db) {
    let stage = Stage::set(db).await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    stage.send(0).await;
    assert_eq!(stage.check(INTERVAL.as_secs()).await.reminders, 1);
    stage.fold(&[stage.change(2, Side::In)], INTERVAL.as_secs()).await;
    assert_eq!(
        stage.send(INTERVAL.as_secs() + 1).await.items[0].facts.kind,
        BackInRange
    );
    assert_eq!(
        stage.told().await,
        [(Breach, Sent), (Reminder, Superseded), (BackInRange, Sent)]
    );
}

async fn setting_the_interval_moves_the_next_reminder(db: Db) {
    let stage = Stage::set(db).await;
    let set = async |interval: Option<i64>| {
        let interval = interval.map(|seconds| ReminderInterval::from_secs(seconds).unwrap());
        let edit = UserEdit {
            reminder_interval: Some(interval),
            ..UserEdit::default()
        };
        stage
            .db
            .commands()
            .update_user(stage.caller, edit, None)
            .await
            .unwrap();
    };
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    stage.send(0).await;
    set(Some(60)).await;
    assert_eq!(stage.check(59).await.reminders, 0);
    assert_eq!(stage.check(60).await.reminders, 1);
    stage.send(60).await;
    set(None).await;
    assert_eq!(stage.check(100_000).await.reminders, 0);
    set(Some(10)).await;
    assert_eq!(stage.check(100_001).await.reminders, 1);
}

async fn a_reminder_is_held_back_while_the_price_is_inside(db: Db) {
    let stage = Stage::set(db).await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    stage.send(0).await;
    let due = INTERVAL.as_secs();
    stage.latest("199.99", due - 1).await;
    assert_eq!(
        stage.check(due).await,
        Checked {
            episodes: 1,
            ..Checked::default()
        }
    );
    assert_eq!(stage.check(due + 4).await, Checked::default());
    // Beyond the other threshold: the alert that says so is on its way.
    stage.latest("50", due + 4).await;
    assert_eq!(
        stage.check(due + 5).await,
        Checked {
            episodes: 1,
            ..Checked::default()
        }
    );
    stage.latest("200", due + 9).await;
    assert_eq!(stage.check(due + 10).await.reminders, 1);
    assert_eq!(stage.send(due + 10).await.items[0].facts.price, price("200"));
}

async fn an_edited_paused_or_deleted_rule_is_not_reminded_of(db: Db) {
    let stage = Stage::set(db).await;
    let edits = [
        RuleEdit {
            high: Some(Some(price("300"))),
            ..RuleEdit::default()
        },
        RuleEdit {
            paused: Some(true),
            ..RuleEdit::default()
        },
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let rule = stage.db.rule(stage.caller, &format!("T{number}")).await;
        let of_rule = LedgerChange::Alert(alert(
            rule.id,
            stage.caller.0,
            position(1, 1, 1),
            Side::Above,
            stage.start,
        ));
        stage.fold(&[of_rule], 0).await;
        stage.send(0).await;
        // Once before the reminder is planned, once after.
        if number == 0 {
            assert_eq!(stage.check(INTERVAL.as_secs()).await.reminders, 1);
        }
        stage
            .db
            .commands()
            .update_rule(stage.caller, rule.id, edit, None)
            .await
            .unwrap();
        assert!(stage.claim(INTERVAL.as_secs()).await.is_empty());
        assert_eq!(
            stage.check(INTERVAL.as_secs() * 3).await,
            Checked {
                episodes: 1,
                closed: 1,
                ..Checked::default()
            }
        );
    }
    let deleted = stage.db.rule(stage.caller, "GONE").await;
    let of_rule = LedgerChange::Alert(alert(
        deleted.id,
        stage.caller.0,
        position(1, 1, 1),
        Side::Above,
        stage.start,
    ));
    stage.fold(&[of_rule], 0).await;
    stage.send(0).await;
    stage
        .db
        .commands()
        .delete_rule(stage.caller, deleted.id, None)
        .await
        .unwrap();
    assert_eq!(stage.check(INTERVAL.as_secs()).await.closed, 1);
    assert!(
        stage
            .ledger
            .open_episodes(stage.caller.0)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        stage
            .kinds()
            .await
            .into_iter()
            .filter(|kind| *kind != Breach)
            .collect::<Vec<_>>(),
        [Reminder]
    );
}

async fn a_return_that_went_down_with_a_lost_log_is_told_all_the_same(db: Db) {
    let stage = Stage::set(db).await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    stage.send(0).await;
    stage.db.outbox().republish_all(true).await.unwrap();
    // A price from before the log began anew says nothing.
    let due = INTERVAL.as_secs();
    stage
        .db
        .execute(&format!(
            "update log_state set started_at = {}",
            stage.at(100).as_micros()
        ))
        .await;
    stage.latest("150", 50).await;
    assert_eq!(
        stage.check(due).await,
        Checked {
            episodes: 1,
            ..Checked::default()
        }
    );
    stage.latest("151", due).await;
    assert_eq!(
        stage.check(due + 5).await,
        Checked {
            episodes: 1,
            repaired: 1,
            ..Checked::default()
        }
    );
    let back = stage.send(due + 6).await;
    assert_eq!(
        (
            back.items[0].facts.kind,
            back.items[0].facts.side,
            back.items[0].facts.price
        ),
        (BackInRange, Side::In, price("151"))
    );
    assert_eq!(stage.check(due * 100).await, Checked::default());
    // The new log has its own say from here on.
    let anew = alert(
        stage.rule.id,
        stage.caller.0,
        position(1, 2, 0),
        Side::Above,
        stage.start,
    );
    stage.fold(&[LedgerChange::Alert(anew)], due + 7).await;
    assert_eq!(stage.kinds().await, [Breach, BackInRange, Breach]);
}

async fn who_cant_be_reached_is_not_reminded(db: Db) {
    let stage = Stage::set(db).await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    stage.send(0).await;
    assert_eq!(stage.check(INTERVAL.as_secs()).await.reminders, 1);
    stage.end(undeliverable(), INTERVAL.as_secs()).await;
    assert_eq!(stage.check(INTERVAL.as_secs() * 2).await.reminders, 0);
    assert_eq!(stage.check(INTERVAL.as_secs() * 3).await.reminders, 0);
    // But what was begun is ended.
    stage
        .fold(&[stage.change(2, Side::In)], INTERVAL.as_secs() * 4)
        .await;
    assert_eq!(
        stage.send(INTERVAL.as_secs() * 4).await.items[0].facts.kind,
        BackInRange
    );
}
