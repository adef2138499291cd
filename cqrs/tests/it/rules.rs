use std::time::Duration;

use cqrs::domain::{RangeError, RuleChange, Timestamp};
use cqrs::{CommandError, Limits, RuleEdit};

use crate::support::{Db, new_rule, price};

on_both_databases! {
    an_edit_changes_what_it_names_and_nothing_else,
    an_edit_that_leaves_nonsense_is_refused_and_changes_nothing,
    another_users_rule_is_not_there,
    a_deleted_rule_is_gone,
    concurrent_edits_make_gapless_versions_with_one_outbox_row_each,
    concurrent_creates_stop_at_the_limit,
    the_limit_of_the_whole_installation_holds,
    a_rule_expires_once_and_comes_back_with_a_new_time,
    sweeps_at_the_same_time_expire_each_rule_once,
}

/// What an edit is to do, given the new expiry.
type Change = fn(&mut cqrs::domain::Rule, Timestamp);

async fn an_edit_changes_what_it_names_and_nothing_else(db: Db) {
    let caller = db.user("ada@example.org").await;
    let mut rule = db.rule(caller, "BRK-B").await;
    let expiry = Timestamp::now().plus(Duration::from_secs(3600));
    let steps: [(RuleEdit, Change); 5] = [
        (
            RuleEdit {
                paused: Some(true),
                ..Default::default()
            },
            |rule, _| rule.paused = true,
        ),
        (
            RuleEdit {
                note: Some("sell?".parse().unwrap()),
                ..Default::default()
            },
            |rule, _| {
                rule.note = "sell?".parse().unwrap();
            },
        ),
        (
            RuleEdit {
                low: Some(None),
                high: Some(Some(price("150.25"))),
                ..Default::default()
            },
            |rule, _| {
                rule.range = cqrs::domain::Range::new(None, Some(price("150.25"))).unwrap();
            },
        ),
        (
            RuleEdit {
                expires_at: Some(Some(expiry)),
                ..Default::default()
            },
            |rule, expiry| {
                rule.expires_at = Some(expiry);
            },
        ),
        (
            RuleEdit {
                expires_at: Some(None),
                paused: Some(false),
                ..Default::default()
            },
            |rule, _| {
                rule.expires_at = None;
                rule.paused = false;
            },
        ),
    ];
    for (edit, change) in steps {
        let edited = db
            .commands()
            .update_rule(caller, rule.id, edit, None)
            .await
            .unwrap();
        let mut expected = rule.clone();
        change(&mut expected, expiry);
        expected.version = rule.version.next();
        expected.updated_at = edited.updated_at;
        assert!(edited.updated_at > rule.updated_at);
        assert_eq!(edited, expected);
        assert_eq!(
            db.queries().rule(caller, rule.id).await.unwrap().as_ref(),
            Some(&edited)
        );
        let pending = db.pending().await;
        let RuleChange::Changed(snapshot) = &pending.last().unwrap().change else {
            panic!("{pending:?}")
        };
        assert_eq!(
            (
                snapshot.range,
                snapshot.active,
                snapshot.version,
                snapshot.expires_at,
                snapshot.updated_at
            ),
            (
                edited.range,
                !edited.paused,
                edited.version,
                edited.expires_at,
                edited.updated_at
            )
        );
        assert_eq!(
            (snapshot.user_id, &snapshot.ticker, snapshot.generation),
            (caller.0, &edited.ticker, 1)
        );
        rule = edited;
    }
}

async fn an_edit_that_leaves_nonsense_is_refused_and_changes_nothing(db: Db) {
    let caller = db.user("ada@example.org").await;
    let rule = db.rule(caller, "AAPL").await;
    let past = Timestamp::now().minus(Duration::from_secs(1));
    let edits = [
        RuleEdit {
            low: Some(Some(price("200"))),
            ..Default::default()
        },
        RuleEdit {
            high: Some(Some(price("99.99"))),
            ..Default::default()
        },
        RuleEdit {
            low: Some(None),
            high: Some(None),
            ..Default::default()
        },
        RuleEdit {
            expires_at: Some(Some(past)),
            ..Default::default()
        },
    ];
    for edit in edits {
        let error = db
            .commands()
            .update_rule(caller, rule.id, edit, None)
            .await
            .unwrap_err();
        assert!(
            matches!(
                error,
                CommandError::Range(RangeError::Inverted { .. } | RangeError::NoThreshold)
                    | CommandError::ExpiryInPast { .. }
            ),
            "{error:?}"
        );
    }
    assert_eq!(db.queries().rule(caller, rule.id).await.unwrap(), Some(rule));
    assert_eq!(db.pending().await.len(), 1);
}

async fn another_users_rule_is_not_there(db: Db) {
    let (ada, bob) = (db.user("ada@example.org").await, db.user("bob@example.org").await);
    let rule = db.rule(ada, "AAPL").await;
    let edit = RuleEdit {
        paused: Some(true),
        ..Default::default()
    };
    let result = db.commands().update_rule(bob, rule.id, edit, None).await;
    assert!(
        matches!(result, Err(CommandError::RuleNotFound(id)) if id == rule.id),
        "{result:?}"
    );
    let result = db.commands().delete_rule(bob, rule.id, None).await;
    assert!(
        matches!(result, Err(CommandError::RuleNotFound(id)) if id == rule.id),
        "{result:?}"
    );
    assert_eq!(db.queries().rule(bob, rule.id).await.unwrap(), None);
    assert!(db.queries().rules(bob, None, 10).await.unwrap().items.is_empty());
    assert_eq!(db.queries().rule(ada, rule.id).await.unwrap(), Some(rule));
}

async fn a_deleted_rule_is_gone(db: Db) {
    let caller = db.user("ada@example.org").await;
    let rule = db.rule(caller, "AAPL").await;
    db.publish_all().await;
    db.commands().delete_rule(caller, rule.id, None).await.unwrap();
    assert_eq!(db.queries().rule(caller, rule.id).await.unwrap(), None);
    let result = db.commands().delete_rule(caller, rule.id, None).await;
    assert!(matches!(result, Err(CommandError::RuleNotFound(_))), "{result:?}");
    let pending = db.pending().await;
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0].version, rule.version.next());
    assert_eq!(
        pending[0].change,
        RuleChange::Deleted {
            rule_id: rule.id,
            ticker: rule.ticker
        }
    );
}

async fn concurrent_edits_make_gapless_versions_with_one_outbox_row_each(db: Db) {
    let caller = db.user("ada@example.org").await;
    let rule = db.rule(caller, "AAPL").await;
    let tasks: Vec<_> = (0..64)
        .map(|step: i64| {
            let commands = db.commands();
            let high = price(&format!("{}", 300 + step));
            let edit = RuleEdit {
                high: Some(Some(high)),
                ..Default::default()
            };
            tokio::spawn(async move { commands.update_rule(caller, rule.id, edit, None).await })
        })
        .collect();
    let mut answers = vec![rule];
    for task in tasks {
        answers.push(task.await.unwrap().unwrap());
    }
    answers.sort_by_key(|rule| rule.version);
    let pending = db.pending().await;
    assert_eq!(pending.len(), 65);
    for ((answer, entry), version) in answers.iter().zip(&pending).zip(1..) {
        assert_eq!((answer.version.get(), entry.version.get()), (version, version));
        let RuleChange::Changed(snapshot) = &entry.change else {
            panic!("{entry:?}")
        };
        assert_eq!(
            (snapshot.range, snapshot.updated_at),
            (answer.range, answer.updated_at)
        );
    }
    assert!(answers.is_sorted_by(|one, next| one.updated_at < next.updated_at));
}

async fn concurrent_creates_stop_at_the_limit(db: Db) {
    let caller = db.user("ada@example.org").await;
    let limits = Limits {
        rules_per_user: 20,
        rules_in_all: None,
    };
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let commands = db.store.commands(limits);
            tokio::spawn(async move { commands.create_rule(caller, new_rule("AAPL"), None).await })
        })
        .collect();
    let mut created = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => created += 1,
            Err(error) => assert!(
                matches!(error, CommandError::TooManyRules { limit: 20 }),
                "{error:?}"
            ),
        }
    }
    assert_eq!(created, 20);
    assert_eq!(
        db.queries().rules(caller, None, 100).await.unwrap().items.len(),
        20
    );
    assert_eq!(db.pending().await.len(), 20);
    // Room is made by deleting, and only one's own rules count.
    let rule = db.queries().rules(caller, None, 1).await.unwrap().items[0].id;
    db.commands().delete_rule(caller, rule, None).await.unwrap();
    db.store
        .commands(limits)
        .create_rule(caller, new_rule("AAPL"), None)
        .await
        .unwrap();
    let bob = db.user("bob@example.org").await;
    db.store
        .commands(limits)
        .create_rule(bob, new_rule("AAPL"), None)
        .await
        .unwrap();
}

async fn the_limit_of_the_whole_installation_holds(db: Db) {
    let commands = db.store.commands(Limits {
        rules_per_user: 200,
        rules_in_all: Some(3),
    });
    for (email, count) in [("a@example.org", 2), ("b@example.org", 1)] {
        commands
            .register_user(email.parse().unwrap(), vec![new_rule("AAPL"); count], None)
            .await
            .unwrap();
    }
    let result = commands
        .register_user("c@example.org".parse().unwrap(), vec![new_rule("AAPL")], None)
        .await;
    assert!(
        matches!(result, Err(CommandError::EmbeddedLogFull { limit: 3 })),
        "{result:?}"
    );
}

async fn a_rule_expires_once_and_comes_back_with_a_new_time(db: Db) {
    let caller = db.user("ada@example.org").await;
    let start = Timestamp::now();
    let expiry = start.plus(Duration::from_secs(3600));
    let mut new = new_rule("AAPL");
    new.expires_at = Some(expiry);
    let rule = db.commands().create_rule(caller, new, None).await.unwrap();
    db.rule(caller, "MSFT").await;
    db.publish_all().await;

    let commands = db.commands();
    assert_eq!(
        commands
            .expire_rules(expiry.minus(Duration::from_micros(1)), 10)
            .await
            .unwrap(),
        0
    );
    assert_eq!(commands.expire_rules(expiry, 10).await.unwrap(), 1);
    assert_eq!(commands.expire_rules(expiry, 10).await.unwrap(), 0);
    let expired = db.queries().rule(caller, rule.id).await.unwrap().unwrap();
    assert!(expired.expired && !expired.is_active());
    assert_eq!(expired.version, rule.version.next());
    let pending = db.pending().await;
    assert_eq!(pending.len(), 1);
    let RuleChange::Changed(snapshot) = &pending[0].change else {
        panic!("{pending:?}")
    };
    assert!(!snapshot.active);

    let edit = RuleEdit {
        expires_at: Some(Some(expiry.plus(Duration::from_secs(60)))),
        ..Default::default()
    };
    let revived = commands.update_rule(caller, rule.id, edit, None).await.unwrap();
    assert!(revived.is_active());
    assert!(revived.updated_at > expired.updated_at);
    let last = db.pending().await.pop().unwrap();
    let RuleChange::Changed(snapshot) = last.change else {
        panic!("{last:?}")
    };
    assert!(snapshot.active);
}

async fn sweeps_at_the_same_time_expire_each_rule_once(db: Db) {
    let caller = db.user("ada@example.org").await;
    let expiry = Timestamp::now().plus(Duration::from_secs(3600));
    for _ in 0..30 {
        let mut new = new_rule("AAPL");
        new.expires_at = Some(expiry);
        db.commands().create_rule(caller, new, None).await.unwrap();
    }
    db.publish_all().await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let commands = db.commands();
            tokio::spawn(async move { commands.expire_rules(expiry, 7).await.unwrap() })
        })
        .collect();
    let mut expired = 0;
    for task in tasks {
        expired += task.await.unwrap();
    }
    while let more @ 1.. = db.commands().expire_rules(expiry, 7).await.unwrap() {
        expired += more;
    }
    assert_eq!(expired, 30);
    assert_eq!(db.pending().await.len(), 30);
}
