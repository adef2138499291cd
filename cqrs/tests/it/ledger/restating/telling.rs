//! The notice about rules on hold, as a message.

use cqrs::DeliveryKind::{Breach, Restated};
use cqrs::DeliveryStatus::{Planned, Sent, Superseded, Undeliverable};
use cqrs::domain::{QuietHours, Restatement, Side, Snooze, Split};
use cqrs::{HeldRule, HoldAnswer, RuleEdit, UserEdit, reasons};

use super::{changed_at, restatement, tell};
use crate::ledger::{INTERVAL, Stage, said, undeliverable};
use crate::support::{Db, price};

on_both_databases! {
    the_notice_names_the_rules_and_what_they_would_be,
    an_open_stay_outside_ends_without_a_word,
    the_notice_waits_for_the_end_of_quiet_hours_but_for_no_snooze,
    the_notice_stands_alone_and_first,
    a_notice_of_rules_that_were_looked_at_is_not_sent,
    a_newer_restatement_takes_the_place_of_an_older_one,
    who_has_no_chat_has_rules_on_hold_all_the_same,
}

fn range(low: &str, high: &str) -> cqrs::domain::Range {
    cqrs::domain::Range::new(Some(price(low)), Some(price(high))).unwrap()
}

async fn the_notice_names_the_rules_and_what_they_would_be(db: Db) {
    let stage = Stage::set(db).await;
    stage.latest("645.70", 1).await;
    let second = stage.other_rule("AAPL").await;
    let after = stage.other_rule("AAPL").await;
    changed_at(&stage.db, after.id, stage.at(10)).await;
    let split = restatement(&stage, 10);
    tell(&stage, &split, 11).await;
    let message = stage.send(12).await;
    assert_eq!(said(&message), [(Restated, 1)]);
    let facts = &message.items[0].facts;
    let held = HeldRule {
        range: second.range,
        adjusted: Some(range("14.28571429", "28.57142857")),
    };
    let restated = facts.restated.as_ref().unwrap();
    assert_eq!(restated.restatement, split);
    assert_eq!(restated.rules, [held.clone(), held]);
    assert_eq!((facts.threshold, facts.price), (split.from, split.to));
    assert_eq!(facts.currency, "USD");
    assert_eq!(stage.told().await, [(Restated, Sent)]);

    // Another unit, as far as anybody can tell: nobody knows of which the known currency is.
    for (seconds, split) in [(20, None), (30, Split::new(100, 1))] {
        let unit = Restatement {
            split,
            ..restatement(&stage, seconds)
        };
        assert_eq!(tell(&stage, &unit, seconds).await, 1);
        let message = stage.send(seconds + 1).await;
        assert_eq!(message.items[0].facts.currency, "");
        let restated = message.items[0].facts.restated.as_ref().unwrap();
        assert_eq!(restated.rules.len(), 3);
        let adjusted = restated.rules.iter().filter(|rule| rule.adjusted.is_some());
        assert_eq!(adjusted.count(), 0, "what was restated before can't be converted");
    }
}

async fn an_open_stay_outside_ends_without_a_word(db: Db) {
    let stage = Stage::set(db).await;
    let second = stage.other_rule("AAPL").await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    stage.send(0).await;
    // A breach that waits is nothing to tell any more.
    stage.fold(&[stage.change_of(&second, 1, Side::Below)], 2).await;
    tell(&stage, &restatement(&stage, 10), 11).await;
    assert_eq!(said(&stage.send(12).await), [(Restated, 1)]);
    let told = stage.deliveries().await;
    let reason = |place: usize| told[place].reason.as_deref();
    assert_eq!(
        stage.told().await,
        [(Breach, Sent), (Breach, Superseded), (Restated, Sent)]
    );
    assert_eq!(reason(1), Some(reasons::RULE_CHANGED));
    let due = INTERVAL.as_secs() + 12;
    let checked = stage.check(due).await;
    assert_eq!((checked.reminders, checked.closed), (0, 2));
    assert_eq!(stage.ledger.open_episodes(stage.caller.0).await.unwrap(), []);
    assert!(stage.claim(due).await.is_empty());
}

async fn the_notice_waits_for_the_end_of_quiet_hours_but_for_no_snooze(db: Db) {
    let stage = Stage::set(db).await;
    let commands = stage.db.commands();
    let snooze = Some(Snooze::Until(stage.at(5_000)));
    commands
        .snooze_rules(stage.caller, &[stage.rule.id], snooze)
        .await
        .unwrap();
    let minute = u16::try_from(stage.at(11).as_micros() / 60_000_000 % 1_440).unwrap();
    let hours = QuietHours::from_minutes((minute + 1_380) % 1_440, (minute + 120) % 1_440).unwrap();
    let edit = |quiet_hours| UserEdit {
        quiet_hours: Some(quiet_hours),
        ..UserEdit::default()
    };
    commands
        .update_user(stage.caller, edit(Some(hours)), None)
        .await
        .unwrap();
    tell(&stage, &restatement(&stage, 10), 11).await;
    assert!(stage.claim(12).await.is_empty());
    assert_eq!(stage.told().await, [(Restated, Planned)]);
    commands
        .update_user(stage.caller, edit(None), None)
        .await
        .unwrap();
    assert_eq!(said(&stage.send(13).await), [(Restated, 1)]);
}

async fn the_notice_stands_alone_and_first(db: Db) {
    let stage = Stage::set(db).await;
    let others = [stage.other_rule("MSFT").await, stage.other_rule("IBM").await];
    let changes = others
        .each_ref()
        .map(|rule| stage.change_of(rule, 1, Side::Above));
    stage.fold(&changes, 20).await;
    tell(&stage, &restatement(&stage, 10), 11).await;
    assert_eq!(said(&stage.send(21).await), [(Restated, 1)]);
    assert_eq!(said(&stage.send(22).await), [(Breach, 1), (Breach, 1)]);
    // What was planned before is first.
    let changes = others.each_ref().map(|rule| stage.change_of(rule, 2, Side::In));
    stage.fold(&changes, 29).await;
    let changes = others
        .each_ref()
        .map(|rule| stage.change_of(rule, 3, Side::Below));
    stage.fold(&changes, 29).await;
    tell(&stage, &restatement(&stage, 30), 31).await;
    assert_eq!(stage.send(32).await.items.len(), 2);
    assert_eq!(said(&stage.send(33).await), [(Restated, 1)]);
}

async fn a_notice_of_rules_that_were_looked_at_is_not_sent(db: Db) {
    let stage = Stage::set(db).await;
    tell(&stage, &restatement(&stage, 10), 11).await;
    let edit = RuleEdit {
        high: Some(Some(price("300"))),
        ..RuleEdit::default()
    };
    let commands = stage.db.commands();
    commands
        .update_rule(stage.caller, stage.rule.id, edit, None)
        .await
        .unwrap();
    assert!(stage.claim(12).await.is_empty());
    let told = stage.deliveries().await;
    assert_eq!(told[0].status, Superseded);
    assert_eq!(told[0].reason.as_deref(), Some(reasons::LOOKED_AT));
    // Nor is one of a rule that is gone.
    tell(&stage, &restatement(&stage, 1_000), 1_001).await;
    commands
        .delete_rule(stage.caller, stage.rule.id, None)
        .await
        .unwrap();
    assert!(stage.claim(1_002).await.is_empty());
    assert_eq!(stage.told().await, [(Restated, Superseded); 2]);
}

async fn a_newer_restatement_takes_the_place_of_an_older_one(db: Db) {
    let stage = Stage::set(db).await;
    tell(&stage, &restatement(&stage, 10), 11).await;
    let newer = Restatement {
        split: Split::new(2, 1),
        ..restatement(&stage, 20)
    };
    assert_eq!(tell(&stage, &newer, 21).await, 1);
    // At once, as its turn may come later than the newer one's.
    assert_eq!(stage.told().await, [(Restated, Superseded), (Restated, Planned)]);
    let message = stage.send(22).await;
    assert_eq!(stage.told().await, [(Restated, Superseded), (Restated, Sent)]);
    let restated = message.items[0].facts.restated.as_ref().unwrap();
    assert_eq!(restated.restatement, newer);
    // By 14, as it was not adjusted by 7 before.
    assert_eq!(
        restated.rules[0].adjusted,
        Some(range("7.14285714", "14.28571429"))
    );
    let rule = super::rule(&stage.db, stage.caller, stage.rule.id).await;
    assert_eq!((rule.version.get(), rule.on_hold_since), (3, Some(stage.at(10))));

    // On its way when a newer one comes, and then not sent: told with the newer one.
    assert_eq!(tell(&stage, &restatement(&stage, 30), 31).await, 1);
    let on_its_way = stage.claim(31).await.remove(0);
    assert_eq!(tell(&stage, &restatement(&stage, 40), 41).await, 1);
    let later = cqrs::Outcome::Retry {
        at: stage.at(42),
        reason: "502".to_owned(),
        ambiguous: false,
    };
    assert!(
        stage
            .ledger
            .finish(&on_its_way, &later, stage.at(41))
            .await
            .unwrap()
    );
    let message = stage.send(43).await;
    assert_eq!(said(&message), [(Restated, 1)]);
    assert_eq!(message.items[0].facts.opened_at, stage.at(40));
    assert!(stage.claim(44).await.is_empty());
}

async fn who_has_no_chat_has_rules_on_hold_all_the_same(db: Db) {
    let stage = Stage::set(db).await;
    let split = restatement(&stage, 10);
    tell(&stage, &split, 11).await;
    stage.end(undeliverable(), 12).await;
    assert_eq!(stage.told().await, [(Restated, Undeliverable)]);
    assert_eq!(tell(&stage, &split, 13).await, 0);
    let released = stage
        .db
        .commands()
        .release_rules(
            stage.caller,
            &split.ticker,
            split.restated_at,
            HoldAnswer::Keep,
            None,
        )
        .await
        .unwrap();
    assert_eq!(released.rules.len(), 1);
}
