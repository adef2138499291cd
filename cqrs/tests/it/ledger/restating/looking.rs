//! How all rules of a ticker are gone through.

use cqrs::domain::FeedChange;

use super::{changed_at, in_version, restatement, rule, tell, user_with};
use crate::ledger::Stage;
use crate::support::Db;

on_both_databases! {
    what_was_done_before_an_interruption_is_not_done_again,
    two_instances_put_each_rule_on_hold_once,
    a_minute_later_rules_that_came_too_late_are_found,
    rules_that_are_made_while_a_collectors_clock_is_ahead_are_found_once_its_time_has_come,
}

async fn what_was_done_before_an_interruption_is_not_done_again(db: Db) {
    let stage = Stage::set(db.clone()).await;
    // In the order of their ids: more than has room in one transaction, and two that have room in one.
    let (ada, adas) = user_with(&db, "ada2@example.org", 600).await;
    let (bob, _) = user_with(&db, "bob@example.org", 300).await;
    let (eve, eves) = user_with(&db, "eve@example.org", 1).await;
    db.publish_all().await;
    let set_thresholds = async |low: &str| {
        let (id, high) = (eves[0].id, "high = null");
        db.execute(&format!("update rules set low = {low}, {high} where id = '{id}'"))
            .await;
    };
    // A rule that can't be read ends the work.
    set_thresholds("null").await;
    let split = restatement(&stage, 10);
    let change = [FeedChange::Restated(split.clone())];
    let failed = stage.ledger.fold_feeds(&change, stage.at(11)).await;
    assert!(failed.is_err(), "{failed:?}");
    assert_eq!(in_version(&db, 2).await, (601, 601), "Ada's, and the stage's own");
    assert_eq!(stage.told_to(ada).await.len(), 1);
    assert_eq!(stage.told_to(bob).await.len(), 0);

    set_thresholds("100").await;
    assert_eq!(tell(&stage, &split, 12).await, 2);
    assert_eq!(in_version(&db, 2).await, (902, 902));
    assert_eq!(in_version(&db, 3).await, (0, 0));
    for caller in [stage.caller, ada, bob, eve] {
        assert_eq!(stage.told_to(caller).await.len(), 1);
    }
    // All of one user's are named in one message.
    let messages = stage.claim(13).await;
    let of_ada = messages.iter().find(|message| message.user_id == ada.0).unwrap();
    let restated = of_ada.items[0].facts.restated.as_ref().unwrap();
    assert_eq!(restated.rules.len(), adas.len());
}

async fn two_instances_put_each_rule_on_hold_once(db: Db) {
    let stage = Stage::set(db.clone()).await;
    let mut callers = vec![stage.caller];
    for number in 0..5 {
        let (caller, _) = user_with(&db, &format!("user{number}@example.org"), 230).await;
        callers.push(caller);
    }
    db.publish_all().await;
    let split = restatement(&stage, 10);
    let (one, other) = tokio::join!(tell(&stage, &split, 11), tell(&stage, &split, 12));
    assert_eq!(one + other, 6, "{one} and {other}");
    assert_eq!(in_version(&db, 2).await, (1_151, 1_151));
    assert_eq!(in_version(&db, 3).await, (0, 0));
    for caller in callers {
        assert_eq!(stage.told_to(caller).await.len(), 1);
    }
}

async fn a_minute_later_rules_that_came_too_late_are_found(db: Db) {
    let stage = Stage::set(db.clone()).await;
    let split = restatement(&stage, 10);
    assert_eq!(tell(&stage, &split, 11).await, 1);
    stage.send(12).await;
    // By a server whose clock is behind, or in a transaction that took long.
    let late = stage.other_rule("AAPL").await;
    let (bob, bobs) = user_with(&db, "bob@example.org", 1).await;
    for id in [late.id, bobs[0].id] {
        changed_at(&db, id, stage.at(9)).await;
    }
    assert_eq!(tell(&stage, &split, 70).await, 0, "not yet");
    assert_eq!(rule(&db, bob, bobs[0].id).await.on_hold_since, None);
    assert_eq!(tell(&stage, &split, 71).await, 2);
    assert_eq!(rule(&db, bob, bobs[0].id).await.on_hold_since, Some(stage.at(10)));
    assert_eq!(
        rule(&db, stage.caller, late.id).await.version,
        late.version.next()
    );
    let messages = stage.claim(72).await;
    let of_ada = messages.iter().find(|message| message.user_id == stage.caller.0);
    let restated = of_ada.unwrap().items[0].facts.restated.as_ref().unwrap();
    assert_eq!(restated.rules.len(), 2, "both of Ada's");
    // Only once.
    let (eve, eves) = user_with(&db, "eve@example.org", 1).await;
    changed_at(&db, eves[0].id, stage.at(9)).await;
    assert_eq!(tell(&stage, &split, 500).await, 0);
    assert_eq!(rule(&db, eve, eves[0].id).await.on_hold_since, None);
}

async fn rules_that_are_made_while_a_collectors_clock_is_ahead_are_found_once_its_time_has_come(db: Db) {
    let stage = Stage::set(db.clone()).await;
    let split = restatement(&stage, 500);
    assert_eq!(tell(&stage, &split, 11).await, 1);
    // To the alert system it is from before.
    let (bob, bobs) = user_with(&db, "bob@example.org", 1).await;
    changed_at(&db, bobs[0].id, stage.at(400)).await;
    assert_eq!(tell(&stage, &split, 559).await, 0, "there may be more to come");
    assert_eq!(tell(&stage, &split, 560).await, 1);
    assert_eq!(
        rule(&db, bob, bobs[0].id).await.on_hold_since,
        Some(stage.at(500))
    );
}
