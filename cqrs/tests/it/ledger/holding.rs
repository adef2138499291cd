use std::time::Duration;

use cqrs::DeliveryKind::{BackInRange, Breach, CameAndWent, Reminder, Test};
use cqrs::DeliveryStatus::{Planned, Superseded};
use cqrs::domain::{QuietHours, RuleId, Side, Snooze, Timestamp};
use cqrs::{ClaimLimits, Flapping, Heading, LedgerChange, UserEdit};

use super::{INTERVAL, Stage, alert, limits, position, said, sent};
use crate::support::Db;

on_both_databases! {
    quiet_hours_end_with_one_message_of_what_is_open_and_what_came_and_went,
    a_reminder_caught_by_quiet_hours_is_planned_anew,
    lifted_quiet_hours_hold_nothing_any_more,
    a_snoozed_rule_is_told_of_when_the_snooze_is_over,
    a_rule_snoozed_until_the_price_is_back_tells_of_the_return_and_wakes,
    a_flapping_rule_is_told_of_together,
}

/// Quiet hours that began an hour ago and end in two; gives their end.
async fn quiet(stage: &Stage, seconds: u64) -> Timestamp {
    let micros = stage.at(seconds).as_micros();
    let minute = u16::try_from(micros / 60_000_000 % 1_440).unwrap();
    let hours = QuietHours::from_minutes((minute + 1_380) % 1_440, (minute + 120) % 1_440).unwrap();
    set_quiet(stage, Some(hours)).await;
    hours.end_after(stage.at(seconds), &Default::default()).unwrap()
}

async fn set_quiet(stage: &Stage, hours: Option<QuietHours>) {
    let edit = UserEdit {
        quiet_hours: Some(hours),
        ..UserEdit::default()
    };
    stage
        .db
        .commands()
        .update_user(stage.caller, edit, None)
        .await
        .unwrap();
}

async fn snooze(stage: &Stage, snooze: Option<Snooze>) {
    stage
        .db
        .commands()
        .snooze_rules(stage.caller, &[stage.rule.id], snooze)
        .await
        .unwrap();
}

async fn quiet_hours_end_with_one_message_of_what_is_open_and_what_came_and_went(db: Db) {
    let stage = Stage::set(db).await;
    let (open, gone) = (stage.other_rule("MSFT").await, stage.other_rule("IBM").await);
    stage.fold(&[stage.change_of(&open, 1, Side::Above)], 0).await;
    stage.send(0).await;
    let end = quiet(&stage, 1).await;
    let end_seconds = end.since(stage.start).as_secs() + 1;
    stage
        .fold(
            &[
                stage.change(1, Side::Above),
                stage.change_of(&gone, 1, Side::Below),
                stage.change_of(&gone, 2, Side::In),
            ],
            1,
        )
        .await;
    assert!(stage.claim(2).await.is_empty());
    assert_eq!(stage.next_due().await, end.plus(Duration::from_secs(2)));
    let due = INTERVAL.as_secs();
    assert_eq!(stage.check(due).await.reminders, 0);
    // A test is not held back.
    let test = alert(
        RuleId::generate(),
        stage.caller.0,
        position(1, 1, 1),
        Side::Above,
        stage.start,
    );
    stage.fold(&[LedgerChange::TestAlert(test)], due).await;
    assert_eq!(said(&stage.send(due).await), [(Test, 1)]);

    assert_eq!(stage.check(end_seconds - 2).await.reminders, 0);
    assert!(stage.claim(end_seconds - 2).await.is_empty());
    assert_eq!(stage.check(end_seconds).await.reminders, 1);
    assert!(
        stage.claim(end_seconds).await.is_empty(),
        "what was held waits for the reminders"
    );
    let message = stage.send(end_seconds + 2).await;
    assert_eq!(message.heading, Heading::AfterQuietHours);
    assert_eq!(said(&message), [(Breach, 1), (CameAndWent, 2), (Reminder, 1)]);
    assert_eq!(stage.ledger.backlog().await.unwrap().waiting, 0);
}

async fn a_reminder_caught_by_quiet_hours_is_planned_anew(db: Db) {
    let stage = Stage::set(db).await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    stage.send(0).await;
    let due = INTERVAL.as_secs();
    assert_eq!(stage.check(due).await.reminders, 1);
    let end = quiet(&stage, due).await;
    assert!(stage.claim(due).await.is_empty());
    assert_eq!(stage.told().await[1], (Reminder, Superseded));
    let end_seconds = end.since(stage.start).as_secs() + 1;
    assert_eq!(stage.check(end_seconds).await.reminders, 1);
    let message = stage.send(end_seconds + 2).await;
    assert_eq!(
        (said(&message), message.heading),
        (vec![(Reminder, 1)], Heading::AfterQuietHours)
    );
}

async fn lifted_quiet_hours_hold_nothing_any_more(db: Db) {
    let stage = Stage::set(db).await;
    quiet(&stage, 0).await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    assert!(stage.claim(1).await.is_empty());
    set_quiet(&stage, None).await;
    let message = stage.send(60).await;
    assert_eq!(
        (said(&message), message.heading),
        (vec![(Breach, 1)], Heading::AfterQuietHours)
    );
}

async fn a_snoozed_rule_is_told_of_when_the_snooze_is_over(db: Db) {
    let stage = Stage::set(db).await;
    let other = stage.other_rule("MSFT").await;
    snooze(&stage, Some(Snooze::Until(stage.at(3_600)))).await;
    stage
        .fold(
            &[
                stage.change(1, Side::Above),
                stage.change_of(&other, 1, Side::Above),
            ],
            0,
        )
        .await;
    // The other rule is told of, and is not held up.
    assert_eq!(stage.send(1).await.items[0].facts.ticker.as_str(), "MSFT");
    assert_eq!(stage.next_due().await, stage.at(3_600));
    stage
        .fold(&[stage.change(2, Side::In), stage.change(3, Side::Below)], 10)
        .await;
    assert!(stage.claim(3_599).await.is_empty());
    let message = stage.send(3_600).await;
    assert_eq!(
        (said(&message), message.heading),
        (vec![(Breach, 3)], Heading::AfterSnooze)
    );
    // Snoozed again, and woken before the time.
    snooze(&stage, Some(Snooze::Until(stage.at(9_000)))).await;
    stage.fold(&[stage.change(4, Side::In)], 3_700).await;
    assert!(stage.claim(3_700).await.is_empty());
    snooze(&stage, None).await;
    assert_eq!(said(&stage.send(3_701).await), [(BackInRange, 1)]);
}

async fn a_rule_snoozed_until_the_price_is_back_tells_of_the_return_and_wakes(db: Db) {
    let stage = Stage::set(db).await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    stage.send(0).await;
    snooze(&stage, Some(Snooze::UntilBack)).await;
    stage.fold(&[stage.change(2, Side::Below)], 1).await;
    assert!(stage.claim(2).await.is_empty());
    assert_eq!(stage.check(INTERVAL.as_secs() + 1).await.reminders, 0);
    stage.fold(&[stage.change(3, Side::In)], 2_000).await;
    let message = stage.send(2_000).await;
    assert_eq!(
        (said(&message), message.heading),
        (vec![(BackInRange, 2)], Heading::AfterSnooze)
    );
    let rule = stage
        .db
        .queries()
        .rule(stage.caller, stage.rule.id)
        .await
        .unwrap();
    assert_eq!(rule.unwrap().snooze, None);
    stage.fold(&[stage.change(4, Side::Above)], 2_001).await;
    assert_eq!(said(&stage.send(2_001).await), [(Breach, 1)]);
}

async fn a_flapping_rule_is_told_of_together(db: Db) {
    let stage = Stage::set(db).await;
    let other = stage.other_rule("MSFT").await;
    let limits = ClaimLimits {
        flapping: Flapping::default(),
        ..limits(10)
    };
    let claim = async |seconds| {
        stage
            .ledger
            .claim("one", stage.at(seconds), limits)
            .await
            .unwrap()
    };
    let side = |offset| if offset % 2 == 0 { Side::In } else { Side::Above };
    for (second, offset) in (0..4).zip(1..) {
        stage.fold(&[stage.change(offset, side(offset))], second).await;
        let message = claim(second).await.remove(0);
        assert!(
            stage
                .ledger
                .finish(&message, &sent(), stage.at(second))
                .await
                .unwrap()
        );
    }
    for offset in 5..12 {
        stage.fold(&[stage.change(offset, side(offset))], 10).await;
    }
    stage.fold(&[stage.change_of(&other, 1, Side::Above)], 10).await;
    let message = claim(10).await.remove(0);
    assert_eq!(message.items[0].facts.ticker, other.ticker);
    assert!(
        stage
            .ledger
            .finish(&message, &sent(), stage.at(10))
            .await
            .unwrap()
    );
    assert_eq!(
        stage
            .told()
            .await
            .iter()
            .filter(|(_, status)| *status == Planned)
            .count(),
        7
    );
    assert_eq!(stage.next_due().await, stage.at(600));
    assert!(claim(599).await.is_empty());
    let message = claim(600).await.remove(0);
    assert_eq!(
        (said(&message), message.heading),
        (vec![(Breach, 7)], Heading::AfterFlapping)
    );
}
