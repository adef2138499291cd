//! Prices that are counted anew: rules on hold, and how their owners are asked.

mod answering;
mod looking;
mod telling;

use cqrs::domain::{
    FeedChange, NewRule, Restatement, Rule, RuleChange, RuleId, RuleSnapshot, Split, Timestamp,
};
use cqrs::{Caller, FoldedFeeds, Limits};

use super::Stage;
use crate::support::{Db, new_rule, price};

on_both_databases! {
    rules_from_before_are_put_on_hold_once_and_each_owner_is_told_once,
    an_older_restatement_changes_nothing,
}

/// `AAPL` at `seconds` after the start: 7 new shares for an old one, if nothing else is said.
fn restatement(stage: &Stage, seconds: u64) -> Restatement {
    Restatement {
        ticker: "AAPL".parse().unwrap(),
        from: price("645.70"),
        to: price("92.42"),
        split: Split::new(7, 1),
        event_time: stage.at(seconds - 1),
        restated_at: stage.at(seconds),
    }
}

async fn tell(stage: &Stage, restatement: &Restatement, seconds: u64) -> u64 {
    let change = FeedChange::Restated(restatement.clone());
    let FoldedFeeds { planned } = stage
        .ledger
        .fold_feeds(&[change], stage.at(seconds))
        .await
        .unwrap();
    planned
}

async fn rule(db: &Db, caller: Caller, id: RuleId) -> Rule {
    db.queries().rule(caller, id).await.unwrap().unwrap()
}

/// What of the rule waits to be published: its newest version.
async fn newest(db: &Db, id: RuleId) -> RuleSnapshot {
    let entries = db.pending().await;
    let entry = entries.into_iter().rfind(|entry| entry.rule_id() == id);
    match entry.unwrap().change {
        RuleChange::Changed(snapshot) => snapshot,
        RuleChange::Deleted { .. } => panic!("{id} is there"),
    }
}

/// Somebody with so many rules.
async fn user_with(db: &Db, email: &str, rules: usize) -> (Caller, Vec<Rule>) {
    let caller = db.user(email).await;
    let limits = Limits {
        rules_per_user: 10_000,
        ..Limits::default()
    };
    let rules = db
        .store
        .commands(limits)
        .create_rules(caller, vec![new_rule("AAPL"); rules], None)
        .await
        .unwrap();
    (caller, rules)
}

/// The rule was last changed then.
async fn changed_at(db: &Db, id: RuleId, at: Timestamp) {
    let at = at.as_micros();
    db.execute(&format!("update rules set updated_at = {at} where id = '{id}'"))
        .await;
}

/// How many rules are in this version, and how many changes of them wait to be published.
async fn in_version(db: &Db, version: i64) -> (i64, i64) {
    let rules = format!("select count(*) from rules where version = {version}");
    let changes = format!("select count(*) from outbox where version = {version}");
    (db.number(&rules).await, db.number(&changes).await)
}

async fn rules_from_before_are_put_on_hold_once_and_each_owner_is_told_once(db: Db) {
    let stage = Stage::set(db.clone()).await;
    let ada = stage.caller;
    let second = stage.other_rule("AAPL").await;
    let other_ticker = stage.other_rule("MSFT").await;
    let (bob, bobs) = user_with(&db, "bob@example.org", 1).await;
    let (eve, eves) = user_with(&db, "eve@example.org", 2).await;
    let paused = NewRule {
        paused: true,
        ..new_rule("AAPL")
    };
    let paused = db.commands().create_rule(bob, paused, None).await.unwrap();
    // Changed just then, and expired.
    changed_at(&db, eves[0].id, stage.at(10)).await;
    db.execute(&format!(
        "update rules set expired = 1 where id = '{}'",
        eves[1].id
    ))
    .await;
    db.publish_all().await;

    let split = restatement(&stage, 10);
    assert_eq!(tell(&stage, &split, 11).await, 2, "Ada and Bob");
    for (caller, before) in [
        (ada, &stage.rule),
        (ada, &second),
        (bob, &bobs[0]),
        (bob, &paused),
    ] {
        let expected = Rule {
            on_hold_since: Some(stage.at(10)),
            version: before.version.next(),
            updated_at: stage.at(10),
            ..before.clone()
        };
        let held = rule(&db, caller, before.id).await;
        assert_eq!(held, expected);
        assert!(!held.is_active());
        let published = newest(&db, before.id).await;
        assert_eq!((published.version, published.active), (held.version, false));
        assert_eq!(published.updated_at, held.updated_at);
    }
    for (caller, untouched) in [(ada, &other_ticker), (eve, &eves[0]), (eve, &eves[1])] {
        let now = rule(&db, caller, untouched.id).await;
        assert_eq!((now.version, now.on_hold_since), (untouched.version, None));
    }
    assert_eq!(db.pending().await.len(), 4);
    let known = db.queries().restatements(&["AAPL".parse().unwrap()]).await;
    assert_eq!(known.unwrap(), std::slice::from_ref(&split));

    for seconds in [11, 12, 5_000] {
        assert_eq!(tell(&stage, &split, seconds).await, 0);
        assert_eq!(db.pending().await.len(), 4);
        assert_eq!(in_version(&db, 3).await, (0, 0));
    }
}

async fn an_older_restatement_changes_nothing(db: Db) {
    let stage = Stage::set(db.clone()).await;
    let newer = restatement(&stage, 20);
    assert_eq!(tell(&stage, &newer, 21).await, 1);
    // Made by a server whose clock is behind.
    let late = stage.other_rule("AAPL").await;
    changed_at(&db, late.id, stage.at(5)).await;
    let older = Restatement {
        split: None,
        ..restatement(&stage, 10)
    };
    assert_eq!(tell(&stage, &older, 22).await, 0);
    assert_eq!(rule(&db, stage.caller, late.id).await.on_hold_since, None);
    let known = db.queries().recent_restatements(stage.start, 10).await.unwrap();
    assert_eq!(known, [newer]);
}
