use cqrs::domain::{RuleChange, RuleId, Timestamp};
use cqrs::{Caller, CommandError, Limits, RuleEdit, UserEdit};

use crate::support::{Db, alert, new_rule, price, request};

on_both_databases! {
    many_rules_are_created_all_or_none_and_once,
    a_repeated_create_answers_the_first_rule,
    repeats_at_the_same_time_act_once,
    another_body_under_the_same_id_is_refused,
    two_users_may_use_the_same_id,
    a_refused_command_does_not_use_up_its_id,
    a_repeated_edit_and_delete_act_once,
    a_repeated_registration_gives_fresh_secrets_to_the_same_user,
    registrations_at_the_same_time_with_one_id_make_one_user,
    an_id_is_free_again_after_a_day,
    a_test_alert_is_answered_as_the_first_time,
}

async fn a_repeated_create_answers_the_first_rule(db: Db) {
    let caller = db.user("ada@example.org").await;
    let create = async || {
        db.commands()
            .create_rule(caller, new_rule("AAPL"), request("one", "body"))
            .await
    };
    let mut new = new_rule("AAPL");
    new.range = cqrs::domain::Range::new(None, Some(price("1.00000001"))).unwrap();
    new.note = "\"株\"".parse().unwrap();
    new.expires_at = Some(Timestamp::from_micros(i64::MAX));
    let first = db
        .commands()
        .create_rule(caller, new, request("one", "body"))
        .await
        .unwrap();
    // The answer stays the first, whatever became of the rule.
    let edit = RuleEdit {
        paused: Some(true),
        ..Default::default()
    };
    db.commands()
        .update_rule(caller, first.id, edit, None)
        .await
        .unwrap();
    assert_eq!(create().await.unwrap(), first);
    db.commands().delete_rule(caller, first.id, None).await.unwrap();
    assert_eq!(create().await.unwrap(), first);
    assert_eq!(db.number("select count(*) from rules").await, 0);
}

async fn repeats_at_the_same_time_act_once(db: Db) {
    let caller = db.user("ada@example.org").await;
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let commands = db.commands();
            tokio::spawn(async move {
                commands
                    .create_rule(caller, new_rule("AAPL"), request("one", "body"))
                    .await
            })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap().unwrap());
    }
    assert!(answers.iter().all(|rule| *rule == answers[0]), "{answers:?}");
    assert_eq!(db.number("select count(*) from rules").await, 1);
    assert_eq!(db.pending().await.len(), 1);
}

async fn another_body_under_the_same_id_is_refused(db: Db) {
    let caller = db.user("ada@example.org").await;
    db.commands()
        .create_rule(caller, new_rule("AAPL"), request("one", "body"))
        .await
        .unwrap();
    let result = db
        .commands()
        .create_rule(caller, new_rule("MSFT"), request("one", "other"))
        .await;
    assert!(matches!(result, Err(CommandError::RequestIdReused)), "{result:?}");
    db.commands()
        .create_rule(caller, new_rule("MSFT"), request("two", "other"))
        .await
        .unwrap();
    assert_eq!(db.number("select count(*) from rules").await, 2);
}

async fn two_users_may_use_the_same_id(db: Db) {
    let (ada, bob) = (db.user("ada@example.org").await, db.user("bob@example.org").await);
    let first = db
        .commands()
        .create_rule(ada, new_rule("AAPL"), request("one", "body"))
        .await
        .unwrap();
    let second = db
        .commands()
        .create_rule(bob, new_rule("AAPL"), request("one", "body"))
        .await
        .unwrap();
    assert_eq!((first.user_id, second.user_id), (ada.0, bob.0));
}

async fn a_refused_command_does_not_use_up_its_id(db: Db) {
    let caller = db.user("ada@example.org").await;
    let rule = db.rule(caller, "AAPL").await;
    let edit = |low| RuleEdit {
        low: Some(Some(price(low))),
        ..Default::default()
    };
    let result = db
        .commands()
        .update_rule(caller, rule.id, edit("500"), request("one", "500"))
        .await;
    assert!(matches!(result, Err(CommandError::Range(_))), "{result:?}");
    let rule = db
        .commands()
        .update_rule(caller, rule.id, edit("150"), request("one", "150"))
        .await
        .unwrap();
    assert_eq!(rule.range.low(), Some(price("150")));
}

async fn a_repeated_edit_and_delete_act_once(db: Db) {
    let caller = db.user("ada@example.org").await;
    let rule = db.rule(caller, "AAPL").await;
    let commands = db.commands();
    let edit = RuleEdit {
        paused: Some(true),
        ..Default::default()
    };
    let first = commands
        .update_rule(caller, rule.id, edit.clone(), request("edit", "x"))
        .await
        .unwrap();
    assert_eq!(
        commands
            .update_rule(caller, rule.id, edit, request("edit", "x"))
            .await
            .unwrap(),
        first
    );
    commands
        .delete_rule(caller, rule.id, request("delete", "x"))
        .await
        .unwrap();
    commands
        .delete_rule(caller, rule.id, request("delete", "x"))
        .await
        .unwrap();
    let changes: Vec<_> = db.pending().await.into_iter().map(|entry| entry.change).collect();
    assert_eq!(changes.len(), 3);
    assert!(matches!(changes[2], RuleChange::Deleted { .. }), "{changes:?}");

    let edit = UserEdit {
        email: Some("countess@example.org".parse().unwrap()),
        ..Default::default()
    };
    let first = commands
        .update_user(caller, edit.clone(), request("user", "x"))
        .await
        .unwrap();
    assert_eq!(
        commands
            .update_user(caller, edit, request("user", "x"))
            .await
            .unwrap(),
        first
    );
}

async fn a_repeated_registration_gives_fresh_secrets_to_the_same_user(db: Db) {
    let register = async |body: &str| {
        let rules = vec![new_rule("AAPL"), new_rule("MSFT")];
        db.commands()
            .register_user("ada@example.org".parse().unwrap(), rules, request("one", body))
            .await
    };
    let first = register("body").await.unwrap();
    let second = register("body").await.unwrap();
    assert_eq!((&second.user, &second.rules), (&first.user, &first.rules));
    let caller = Some(Caller(first.user.id));
    assert_eq!(
        db.queries().authenticate(&first.api_token.hash()).await.unwrap(),
        None
    );
    assert_eq!(
        db.queries().authenticate(&second.api_token.hash()).await.unwrap(),
        caller
    );
    assert_eq!(db.number("select count(*) from link_tokens").await, 1);
    assert!(matches!(
        register("other").await,
        Err(CommandError::RequestIdReused)
    ));
    assert_eq!(db.pending().await.len(), 2);
}

async fn registrations_at_the_same_time_with_one_id_make_one_user(db: Db) {
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let commands = db.commands();
            tokio::spawn(async move {
                let email = "ada@example.org".parse().unwrap();
                commands
                    .register_user(email, vec![new_rule("AAPL")], request("one", "body"))
                    .await
            })
        })
        .collect();
    let mut users = Vec::new();
    for task in tasks {
        users.push(task.await.unwrap().unwrap().user);
    }
    assert!(users.iter().all(|user| *user == users[0]), "{users:?}");
    assert_eq!(db.pending().await.len(), 1);
}

async fn a_test_alert_is_answered_as_the_first_time(db: Db) {
    let (caller, other) = (db.user("ada@example.org").await, db.user("bob@example.org").await);
    let commands = db.commands();
    let raised = |offset: i64| alert(RuleId::generate(), caller.0, offset, 1_000);
    let key = |body: &str| request("1", body).unwrap();
    let answered = async |caller, body: &str| commands.answered_test_alert(caller, key(body)).await;
    assert_eq!(answered(caller, "test").await.unwrap(), None);
    let first = raised(2);
    for alert in [&first, &raised(4)] {
        let answer = commands.answer_test_alert(caller, key("test"), alert.clone());
        answer.await.unwrap();
    }
    assert_eq!(answered(caller, "test").await.unwrap(), Some(first));
    assert_eq!(answered(other, "test").await.unwrap(), None);
    let another = answered(caller, "snooze").await;
    assert!(
        matches!(another, Err(CommandError::RequestIdReused)),
        "{another:?}"
    );
}

async fn an_id_is_free_again_after_a_day(db: Db) {
    const DAY: i64 = 24 * 60 * 60 * 1_000_000;
    let caller = db.user("ada@example.org").await;
    let create = async |body| {
        db.commands()
            .create_rule(caller, new_rule("AAPL"), request("one", body))
            .await
            .unwrap()
    };
    let first = create("body").await;
    db.execute(&format!(
        "update requests set created_at = created_at - {DAY} + 60000000"
    ))
    .await;
    assert_eq!(create("body").await, first);
    db.execute("update requests set created_at = created_at - 60000000")
        .await;
    let second = create("other").await;
    assert_ne!(second.id, first.id);
    assert_eq!(create("other").await, second);

    // Outdated answers are swept away, others stay.
    db.commands()
        .create_rule(caller, new_rule("AAPL"), request("two", "body"))
        .await
        .unwrap();
    db.execute("update requests set created_at = 0 where fingerprint = (select max(fingerprint) from (select fingerprint from requests) as r)").await;
    db.commands().expire_rules(Timestamp::now(), 10).await.unwrap();
    assert_eq!(db.number("select count(*) from requests").await, 1);
}

async fn many_rules_are_created_all_or_none_and_once(db: Db) {
    let caller = db.user("ada@example.org").await;
    let commands = db.store.commands(Limits {
        rules_per_user: 3,
        rules_in_all: None,
    });
    let tickers = ["MSFT", "AAPL", "MSFT"];
    let new: Vec<_> = tickers.into_iter().map(new_rule).collect();
    let rules = commands
        .create_rules(caller, new.clone(), request("import", "body"))
        .await
        .unwrap();
    assert_eq!(
        rules.iter().map(|rule| rule.ticker.as_str()).collect::<Vec<_>>(),
        tickers
    );
    let repeated = commands
        .create_rules(caller, new, request("import", "body"))
        .await
        .unwrap();
    assert_eq!(repeated, rules);
    assert_eq!(db.pending().await.len(), 3);

    let result = commands.create_rules(caller, vec![new_rule("TSLA")], None).await;
    assert!(
        matches!(result, Err(CommandError::TooManyRules { limit: 3 })),
        "{result:?}"
    );
    let mut late = new_rule("TSLA");
    late.expires_at = Some(Timestamp::now());
    let result = db
        .commands()
        .create_rules(caller, vec![new_rule("TSLA"), late], None)
        .await;
    assert!(
        matches!(result, Err(CommandError::ExpiryInPast { .. })),
        "{result:?}"
    );
    assert!(
        commands
            .create_rules(caller, vec![], None)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(db.queries().rules(caller, None, 10).await.unwrap().items, rules);
    assert_eq!(db.pending().await.len(), 3);
}
