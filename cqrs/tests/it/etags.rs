use std::time::Duration;

use cqrs::domain::{Etag, Rule, Snooze, Timestamp};
use cqrs::{Caller, CommandError, RuleEdit, UserEdit};

use crate::support::{Db, price, request};

on_both_databases! {
    a_rule_has_another_etag_after_each_change_and_the_same_as_it_is_read,
    a_command_that_is_bound_to_an_old_etag_does_nothing,
    a_user_that_changed_is_not_edited_by_an_old_etag,
    a_repeat_gets_its_answer_although_its_etag_is_old_by_then,
}

fn is_changed<T>(result: Result<T, CommandError>, of: &str) -> bool {
    matches!(result, Err(CommandError::Changed { what }) if what == of)
}

fn note(text: &str, etag: Option<Etag>) -> RuleEdit {
    RuleEdit {
        note: Some(text.parse().unwrap()),
        etag,
        ..RuleEdit::default()
    }
}

async fn stored(db: &Db, caller: Caller, rule: &Rule) -> Rule {
    db.queries().rule(caller, rule.id).await.unwrap().unwrap()
}

async fn a_rule_has_another_etag_after_each_change_and_the_same_as_it_is_read(db: Db) {
    let caller = db.user("ada@example.org").await;
    let rule = db.rule(caller, "AAPL").await;
    let twin = db.rule(caller, "AAPL").await;
    let mut seen = vec![Etag::of_rule(&rule), Etag::of_rule(&twin)];
    let hour = Snooze::Until(Timestamp::now().plus(Duration::from_secs(3_600)));
    let mut see = async |rule: &Rule| {
        let etag = Etag::of_rule(&stored(&db, caller, rule).await);
        assert_eq!(etag, Etag::of_rule(rule), "as it was answered");
        assert!(!seen.contains(&etag), "{rule:?}");
        seen.push(etag);
    };
    let edited = db
        .commands()
        .update_rule(caller, rule.id, note("x", None), None)
        .await
        .unwrap();
    see(&edited).await;
    let snoozed = db
        .commands()
        .snooze_rules(caller, &[rule.id], Some(hour))
        .await
        .unwrap();
    see(&snoozed[0]).await;
    assert_eq!(Etag::of_rule(&rule).to_string().parse(), Ok(Etag::of_rule(&rule)));
}

async fn a_command_that_is_bound_to_an_old_etag_does_nothing(db: Db) {
    let caller = db.user("ada@example.org").await;
    let first = db.rule(caller, "AAPL").await;
    let (old, commands) = (Etag::of_rule(&first), db.commands());
    let second = commands
        .update_rule(caller, first.id, note("x", Some(old.clone())), None)
        .await
        .unwrap();
    db.publish_all().await;
    let late = commands
        .update_rule(caller, first.id, note("y", Some(old.clone())), None)
        .await;
    assert!(is_changed(late, "rule"));
    let late = commands.delete_rule_if(caller, first.id, Some(old), None).await;
    assert!(is_changed(late, "rule"));
    assert_eq!(stored(&db, caller, &first).await, second);
    assert!(db.pending().await.is_empty());
    let now = Some(Etag::of_rule(&second));
    commands
        .delete_rule_if(caller, first.id, now, None)
        .await
        .unwrap();
    assert_eq!(db.queries().rule(caller, first.id).await.unwrap(), None);
}

async fn a_user_that_changed_is_not_edited_by_an_old_etag(db: Db) {
    let user = db.registration("ada@example.org").await.user;
    let caller = Caller(user.id);
    let edit = |seconds: i64, etag| UserEdit {
        reminder_interval: Some(Some(cqrs::domain::ReminderInterval::from_secs(seconds).unwrap())),
        etag,
        ..UserEdit::default()
    };
    let old = Some(Etag::of_user(&user));
    let edited = db
        .commands()
        .update_user(caller, edit(60, old.clone()), None)
        .await
        .unwrap();
    let late = db.commands().update_user(caller, edit(90, old), None).await;
    assert!(is_changed(late, "user"));
    assert_eq!(db.queries().user(caller).await.unwrap(), Some(edited));
}

async fn a_repeat_gets_its_answer_although_its_etag_is_old_by_then(db: Db) {
    let caller = db.user("ada@example.org").await;
    let rule = db.rule(caller, "AAPL").await;
    let edit = RuleEdit {
        low: Some(Some(price("120"))),
        etag: Some(Etag::of_rule(&rule)),
        ..RuleEdit::default()
    };
    let update = async || {
        db.commands()
            .update_rule(caller, rule.id, edit.clone(), request("edit", "body"))
            .await
            .unwrap()
    };
    assert_eq!(update().await, update().await);
}
