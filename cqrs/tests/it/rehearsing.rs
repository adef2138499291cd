use cqrs::domain::{NewRule, RuleVersion};
use cqrs::{Caller, CommandError, Limits, RuleEdit, RuleRefusal, UserEdit};

use crate::support::{Db, new_rule, price, request};

on_both_databases! {
    what_is_rehearsed_is_answered_as_it_would_be_and_leaves_nothing,
    each_rule_of_a_batch_has_its_own_outcome,
    a_batch_that_comes_again_gets_its_first_outcomes,
}

async fn rows(db: &Db) -> Vec<i64> {
    let mut rows = Vec::new();
    for table in ["users", "rules", "outbox", "requests", "api_tokens"] {
        rows.push(db.number(&format!("select count(*) from {table}")).await);
    }
    rows.push(db.number("select cast(sum(version) as signed) from rules").await);
    rows
}

async fn what_is_rehearsed_is_answered_as_it_would_be_and_leaves_nothing(db: Db) {
    let caller = db.user("ada@example.org").await;
    db.user("bob@example.org").await;
    let rule = db.rule(caller, "AAPL").await;
    let before = rows(&db).await;
    let commands = db.store.commands(Limits {
        rules_per_user: 2,
        ..Limits::default()
    });
    let rehearsal = commands.rehearsing();
    for _ in 0..3 {
        let created = rehearsal
            .create_rule(caller, new_rule("MSFT"), request("create", "x"))
            .await
            .unwrap();
        assert_eq!(
            (created.ticker.as_str(), created.version),
            ("MSFT", RuleVersion::FIRST)
        );
    }
    let edit = RuleEdit {
        low: Some(Some(price("150"))),
        ..RuleEdit::default()
    };
    let edited = rehearsal.update_rule(caller, rule.id, edit, None).await.unwrap();
    assert_eq!(
        (edited.range.low(), edited.version.get()),
        (Some(price("150")), 2)
    );
    let inverted = RuleEdit {
        low: Some(Some(price("900"))),
        ..RuleEdit::default()
    };
    let refused = rehearsal.update_rule(caller, rule.id, inverted, None).await;
    assert!(matches!(refused, Err(CommandError::Range(_))), "{refused:?}");
    let other = UserEdit {
        email: Some("bob@example.org".parse().unwrap()),
        ..UserEdit::default()
    };
    let edited = rehearsal.update_user(caller, other, None).await.unwrap();
    assert_eq!(edited.email.as_str(), "bob@example.org");
    let many = (0..3).map(|place| (place, new_rule("MSFT"))).collect();
    let outcomes = rehearsal.create_each(caller, many, None).await.unwrap();
    let created: Vec<_> = outcomes.iter().map(|(_, outcome)| outcome.is_ok()).collect();
    assert_eq!(created, [true, false, false]);
    rehearsal.delete_rule(caller, rule.id, None).await.unwrap();
    rehearsal.delete_user(caller).await.unwrap();
    assert_eq!(rows(&db).await, before);
    assert_eq!(db.queries().rule(caller, rule.id).await.unwrap(), Some(rule));
    // The commands themselves still keep what they do.
    commands
        .create_rule(caller, new_rule("MSFT"), None)
        .await
        .unwrap();
    assert_ne!(rows(&db).await, before);
}

fn batch(tickers: &[&str]) -> Vec<(usize, NewRule)> {
    let mut batch: Vec<_> = tickers
        .iter()
        .map(|ticker| new_rule(ticker))
        .enumerate()
        .collect();
    // Places may be missing: of rules that were refused before.
    for (place, _) in &mut batch {
        *place *= 2;
    }
    batch
}

async fn tickers(db: &Db, caller: Caller) -> Vec<String> {
    let rules = db.queries().rules(caller, None, 100).await.unwrap().items;
    rules.iter().map(|rule| rule.ticker.to_string()).collect()
}

async fn each_rule_of_a_batch_has_its_own_outcome(db: Db) {
    let (ada, bob) = (db.user("ada@example.org").await, db.user("bob@example.org").await);
    let commands = db.store.commands(Limits {
        rules_per_user: 3,
        rules_in_all: Some(4),
    });
    let mut rules = batch(&["A", "B", "C", "D", "E"]);
    let past = cqrs::domain::Timestamp::EPOCH;
    rules[1].1.expires_at = Some(past);
    let outcomes = commands.create_each(ada, rules, None).await.unwrap();
    let shown: Vec<_> = outcomes
        .iter()
        .map(|(place, outcome)| (*place, outcome.as_ref().map(|rule| rule.ticker.as_str())))
        .collect();
    let full = RuleRefusal::TooManyRules { limit: 3 };
    assert_eq!(
        shown,
        [
            (0, Ok("A")),
            (2, Err(&RuleRefusal::ExpiryInPast { expires_at: past })),
            (4, Ok("C")),
            (6, Ok("D")),
            (8, Err(&full)),
        ]
    );
    assert_eq!(tickers(&db, ada).await, ["A", "C", "D"]);
    assert_eq!(db.pending().await.len(), 3, "each has its outbox row");
    let outcomes = commands.create_each(bob, batch(&["X", "Y"]), None).await.unwrap();
    assert!(outcomes[0].1.is_ok());
    assert_eq!(outcomes[1].1, Err(RuleRefusal::EmbeddedLogFull { limit: 4 }));
    assert_eq!(commands.create_each(bob, vec![], None).await.unwrap(), []);
}

async fn a_batch_that_comes_again_gets_its_first_outcomes(db: Db) {
    let caller = db.user("ada@example.org").await;
    let commands = db.store.commands(Limits {
        rules_per_user: 900,
        ..Limits::default()
    });
    let rules: Vec<_> = (0..1_000).map(|place| (place, new_rule("AAPL"))).collect();
    let create = async || {
        commands
            .create_each(caller, rules.clone(), request("batch", "body"))
            .await
            .unwrap()
    };
    let first = create().await;
    assert_eq!(first.iter().filter(|(_, outcome)| outcome.is_ok()).count(), 900);
    assert!(first.iter().map(|(place, _)| *place).eq(0..1_000));
    assert_eq!(create().await, first);
    assert_eq!(db.number("select count(*) from rules").await, 900);
    let other = commands
        .create_each(caller, rules.clone(), request("batch", "other"))
        .await;
    assert!(matches!(other, Err(CommandError::RequestIdReused)), "{other:?}");
}
