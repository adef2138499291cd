//! How rules come off hold.

use cqrs::domain::{NewRule, Range, Restatement, Rule, RuleId, Split};
use cqrs::{CommandError, HoldAnswer, Idempotency, Released, RuleEdit};

use super::{newest, restatement, rule, tell, user_with};
use crate::ledger::Stage;
use crate::support::{Db, new_rule, price, request};

on_both_databases! {
    adjusted_rules_go_on_with_new_thresholds,
    kept_rules_go_on_as_they_are,
    what_can_not_be_converted_stays_on_hold_and_is_named,
    an_answer_to_an_older_restatement_is_refused,
    new_thresholds_and_resuming_end_the_hold_and_nothing_else_does,
}

async fn answer(
    stage: &Stage,
    restatement: &Restatement,
    answer: HoldAnswer,
    id: Option<Idempotency>,
) -> Result<Released, CommandError> {
    let (caller, ticker) = (stage.caller, &restatement.ticker);
    let commands = stage.db.commands();
    commands
        .release_rules(caller, ticker, restatement.restated_at, answer, id)
        .await
}

fn ids(rules: &[Rule]) -> Vec<RuleId> {
    rules.iter().map(|rule| rule.id).collect()
}

/// Published as it is, after the restatement, so that it is evaluated again.
async fn goes_on(stage: &Stage, rule: &Rule, restatement: &Restatement) {
    let published = newest(&stage.db, rule.id).await;
    assert_eq!((published.version, published.range), (rule.version, rule.range));
    assert_eq!(published.active, !rule.paused);
    assert!(published.updated_at > restatement.restated_at);
    assert_eq!(super::rule(&stage.db, stage.caller, rule.id).await, *rule);
}

async fn adjusted_rules_go_on_with_new_thresholds(db: Db) {
    let stage = Stage::set(db).await;
    let db = &stage.db;
    let paused = NewRule {
        paused: true,
        range: Range::new(None, Some(price("700"))).unwrap(),
        ..new_rule("AAPL")
    };
    let paused = db
        .commands()
        .create_rule(stage.caller, paused, None)
        .await
        .unwrap();
    let (bob, bobs) = user_with(db, "bob@example.org", 1).await;
    let split = restatement(&stage, 10);
    tell(&stage, &split, 11).await;

    let released = answer(&stage, &split, HoldAnswer::Adjust, request("1", "adjust"))
        .await
        .unwrap();
    assert_eq!(ids(&released.rules), [stage.rule.id, paused.id]);
    assert_eq!(released.left, []);
    let ranges: Vec<_> = released.rules.iter().map(|rule| rule.range).collect();
    let expected = Range::new(Some(price("14.28571429")), Some(price("28.57142857"))).unwrap();
    assert_eq!(ranges, [expected, Range::new(None, Some(price("100"))).unwrap()]);
    for rule in &released.rules {
        assert_eq!((rule.version.get(), rule.on_hold_since), (3, None));
        goes_on(&stage, rule, &split).await;
    }
    assert!(released.rules[0].is_active());
    assert!(released.rules[1].paused, "as its owner left it");
    assert!(rule(db, bob, bobs[0].id).await.on_hold_since.is_some());

    // The same request again, and another one.
    let again = answer(&stage, &split, HoldAnswer::Adjust, request("1", "adjust")).await;
    assert_eq!(again.unwrap(), released);
    for other in [HoldAnswer::Adjust, HoldAnswer::Keep] {
        let answered = answer(&stage, &split, other, None).await.unwrap();
        assert_eq!(answered, Released::default());
    }
    assert_eq!(rule(db, stage.caller, stage.rule.id).await, released.rules[0]);
    // Nor does the record, told again, put them back.
    assert_eq!(tell(&stage, &split, 5_000).await, 0);
    assert_eq!(rule(db, stage.caller, stage.rule.id).await, released.rules[0]);
}

async fn kept_rules_go_on_as_they_are(db: Db) {
    let stage = Stage::set(db).await;
    let split = restatement(&stage, 10);
    tell(&stage, &split, 11).await;
    let released = answer(&stage, &split, HoldAnswer::Keep, None).await.unwrap();
    assert_eq!(ids(&released.rules), [stage.rule.id]);
    assert_eq!(released.rules[0].range, stage.rule.range);
    goes_on(&stage, &released.rules[0], &split).await;
}

async fn what_can_not_be_converted_stays_on_hold_and_is_named(db: Db) {
    let stage = Stage::set(db).await;
    let tiny = NewRule {
        range: Range::new(Some(price("0.00000003")), None).unwrap(),
        ..new_rule("AAPL")
    };
    let tiny = stage
        .db
        .commands()
        .create_rule(stage.caller, tiny, None)
        .await
        .unwrap();
    let split = restatement(&stage, 10);
    tell(&stage, &split, 11).await;
    let released = answer(&stage, &split, HoldAnswer::Adjust, None).await.unwrap();
    assert_eq!(ids(&released.rules), [stage.rule.id]);
    assert_eq!(ids(&released.left), [tiny.id]);
    let held = rule(&stage.db, stage.caller, tiny.id).await;
    assert_eq!((held.version.get(), held.on_hold_since), (2, Some(stage.at(10))));
    assert_eq!(held.range, tiny.range);
    let kept = answer(&stage, &split, HoldAnswer::Keep, None).await.unwrap();
    assert_eq!(ids(&kept.rules), [tiny.id]);

    let unit = Restatement {
        split: None,
        ..restatement(&stage, 20)
    };
    tell(&stage, &unit, 21).await;
    let released = answer(&stage, &unit, HoldAnswer::Adjust, None).await.unwrap();
    assert_eq!((released.rules.len(), released.left.len()), (0, 2));
}

async fn an_answer_to_an_older_restatement_is_refused(db: Db) {
    let stage = Stage::set(db).await;
    let first = restatement(&stage, 10);
    tell(&stage, &first, 11).await;
    let second = Restatement {
        split: Split::new(2, 1),
        ..restatement(&stage, 20)
    };
    tell(&stage, &second, 21).await;
    for given in [HoldAnswer::Adjust, HoldAnswer::Keep] {
        let refused = answer(&stage, &first, given, None).await;
        assert!(
            matches!(refused, Err(CommandError::RestatedAgain { .. })),
            "{refused:?}"
        );
    }
    let released = answer(&stage, &second, HoldAnswer::Adjust, None).await.unwrap();
    let expected = Range::new(Some(price("7.14285714")), Some(price("14.28571429"))).unwrap();
    assert_eq!(released.rules[0].range, expected, "both splits");
}

async fn new_thresholds_and_resuming_end_the_hold_and_nothing_else_does(db: Db) {
    let stage = Stage::set(db).await;
    let edits = |note: &str, paused, high: Option<&str>| RuleEdit {
        note: Some(note.parse().unwrap()),
        paused,
        high: high.map(|high| Some(price(high))),
        ..RuleEdit::default()
    };
    for (number, edit, on_hold) in [
        (1, edits("only a note", None, None), true),
        (2, edits("", Some(true), None), true),
        (3, edits("", Some(false), None), false),
        (4, edits("", None, Some("300")), false),
        (5, edits("", Some(true), Some("300")), false),
        // The same ones: its owner has looked at them.
        (6, edits("", None, Some("300")), false),
    ] {
        let split = restatement(&stage, number * 1_000);
        assert_eq!(tell(&stage, &split, number * 1_000).await, 1, "{edit:?}");
        let held = rule(&stage.db, stage.caller, stage.rule.id).await;
        assert!(held.on_hold_since.is_some());
        let edited = stage
            .db
            .commands()
            .update_rule(stage.caller, stage.rule.id, edit.clone(), None)
            .await
            .unwrap();
        assert_eq!(edited.on_hold_since.is_some(), on_hold, "{edit:?}");
        assert_eq!(edited.version, held.version.next());
        assert_eq!(edited, rule(&stage.db, stage.caller, stage.rule.id).await);
        let published = newest(&stage.db, stage.rule.id).await;
        assert_eq!(published.active, !on_hold && !edited.paused);
        assert!(published.updated_at > split.restated_at);
    }
}
