//! Commands of many callers at once, which share transactions: each must come out as if it were alone.

use std::collections::BTreeMap;
use std::time::Duration;

use cqrs::domain::{Rule, RuleChange, RuleId};
use cqrs::{Caller, CommandError, Commands, Limits, RuleEdit};
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Executor as _};
use tokio::task::JoinHandle;

use crate::support::{Db, new_rule, on_mariadb, request};

on_both_databases! {
    all_commands_at_once_come_out_as_if_each_were_alone,
    the_limit_of_rules_holds_within_a_batch,
    repeats_in_one_batch_act_once,
    a_row_that_cannot_be_read_is_the_trouble_of_its_owner_alone,
    another_users_rule_is_not_found_in_a_batch_either,
    what_many_ask_at_once_is_answered_to_each,
}

fn pause() -> RuleEdit {
    RuleEdit {
        paused: Some(true),
        ..RuleEdit::default()
    }
}

fn create(commands: &Commands, caller: Caller, id: String) -> JoinHandle<Result<Rule, CommandError>> {
    let commands = commands.clone();
    tokio::spawn(async move {
        commands
            .create_rule(caller, new_rule("AAPL"), request(&id, "body"))
            .await
    })
}

async fn all_commands_at_once_come_out_as_if_each_were_alone(db: Db) {
    let commands = db.commands();
    let mut tasks = Vec::new();
    for n in 0..8 {
        let caller = db.user(&format!("user{n}@example.org")).await;
        for k in 0..12 {
            let commands = commands.clone();
            tasks.push(tokio::spawn(async move {
                let rule = commands
                    .create_rule(caller, new_rule("AAPL"), request(&format!("create {k}"), "x"))
                    .await
                    .unwrap();
                if k % 3 > 0 {
                    let edited = commands
                        .update_rule(caller, rule.id, pause(), request(&format!("edit {k}"), "x"))
                        .await
                        .unwrap();
                    assert_eq!((edited.version.get(), edited.paused), (2, true));
                }
                if k % 3 > 1 {
                    commands
                        .delete_rule(caller, rule.id, request(&format!("delete {k}"), "x"))
                        .await
                        .unwrap();
                }
                rule.id
            }));
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(db.number("select count(*) from rules").await, 8 * 8);
    assert_eq!(
        db.number("select count(*) from rules where paused = 1").await,
        8 * 4
    );
    assert_eq!(db.number("select count(*) from requests").await, 8 * (12 + 8 + 4));
    // Each version of each rule once, in order.
    let mut versions = BTreeMap::<RuleId, Vec<(i64, bool)>>::new();
    for entry in db.pending().await {
        let deleted = matches!(entry.change, RuleChange::Deleted { .. });
        versions
            .entry(entry.rule_id())
            .or_default()
            .push((entry.version.get(), deleted));
    }
    let count = |expected: &[(i64, bool)]| versions.values().filter(|seen| *seen == expected).count();
    assert_eq!(count(&[(1, false)]), 8 * 4);
    assert_eq!(count(&[(1, false), (2, false)]), 8 * 4);
    assert_eq!(count(&[(1, false), (2, false), (3, true)]), 8 * 4);
}

async fn the_limit_of_rules_holds_within_a_batch(db: Db) {
    let commands = db.store.commands(Limits {
        rules_per_user: 5,
        rules_in_all: Some(8),
    });
    let (ada, bob) = (db.user("ada@example.org").await, db.user("bob@example.org").await);
    let tasks: Vec<_> = (0..60)
        .map(|n| create(&commands, if n % 2 == 0 { ada } else { bob }, n.to_string()))
        .collect();
    let (mut created, mut refused) = (0, 0);
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => created += 1,
            Err(CommandError::TooManyRules { limit: 5 } | CommandError::EmbeddedLogFull { limit: 8 }) => {
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((created, refused), (8, 52));
    assert_eq!(db.number("select count(*) from rules").await, 8);
    assert_eq!(db.number("select count(*) from outbox").await, 8);
    assert_eq!(
        db.number("select count(*) from requests").await,
        8,
        "a refused command does not use up its id"
    );
}

async fn repeats_in_one_batch_act_once(db: Db) {
    let commands = db.commands();
    let caller = db.user("ada@example.org").await;
    let tasks: Vec<_> = (0..64)
        .map(|n| create(&commands, caller, (n % 4).to_string()))
        .collect();
    let mut rules = BTreeMap::<usize, Vec<Rule>>::new();
    for (n, task) in tasks.into_iter().enumerate() {
        rules.entry(n % 4).or_default().push(task.await.unwrap().unwrap());
    }
    for same in rules.values() {
        assert!(same.iter().all(|rule| *rule == same[0]), "{same:?}");
    }
    assert_eq!(db.number("select count(*) from rules").await, 4);
    assert_eq!(db.pending().await.len(), 4);
}

async fn a_row_that_cannot_be_read_is_the_trouble_of_its_owner_alone(db: Db) {
    let commands = db.commands();
    let mut callers = Vec::new();
    for n in 0..32 {
        let caller = db.user(&format!("user{n}@example.org")).await;
        callers.push((caller, db.rule(caller, "AAPL").await.id));
    }
    let broken = callers[7].1;
    db.execute(&format!("update rules set version = 0 where id = '{broken}'"))
        .await;
    let tasks: Vec<_> = callers
        .iter()
        .map(|(caller, rule)| {
            let (commands, caller, rule) = (commands.clone(), *caller, *rule);
            tokio::spawn(async move { (rule, commands.update_rule(caller, rule, pause(), None).await) })
        })
        .collect();
    for task in tasks {
        let (rule, outcome) = task.await.unwrap();
        match outcome {
            Ok(edited) => assert_eq!((edited.id, edited.version.get()), (rule, 2)),
            Err(error) => {
                assert_eq!(rule, broken, "{error}");
                assert!(error.to_string().contains("version 0 is below 1"), "{error}");
            }
        }
    }
    assert_eq!(db.number("select count(*) from rules where paused = 1").await, 31);
    assert_eq!(
        db.number("select count(*) from outbox where version = 2").await,
        31
    );
}

async fn another_users_rule_is_not_found_in_a_batch_either(db: Db) {
    let commands = db.commands();
    let (ada, bob) = (db.user("ada@example.org").await, db.user("bob@example.org").await);
    let (theirs, own) = (db.rule(ada, "AAPL").await.id, db.rule(bob, "AAPL").await.id);
    let tasks: Vec<_> = (0..16)
        .map(|n| {
            let (commands, rule) = (commands.clone(), if n % 2 == 0 { theirs } else { own });
            tokio::spawn(async move { (rule, commands.update_rule(bob, rule, pause(), None).await) })
        })
        .collect();
    for task in tasks {
        match task.await.unwrap() {
            (rule, Ok(_)) => assert_eq!(rule, own),
            (rule, Err(CommandError::RuleNotFound(id))) => assert_eq!((rule, id), (theirs, theirs)),
            (_, Err(other)) => panic!("{other}"),
        }
    }
    let versions = "select cast(sum(version) as signed) from rules where id = ";
    assert_eq!(db.number(&format!("{versions}'{theirs}'")).await, 1);
    assert_eq!(db.number(&format!("{versions}'{own}'")).await, 9);
}

async fn what_many_ask_at_once_is_answered_to_each(db: Db) {
    let mut users = Vec::new();
    for n in 0..40 {
        users.push(db.registration(&format!("user{n}@example.org")).await);
    }
    let queries = db.queries();
    let tasks: Vec<_> = users
        .iter()
        .map(|user| {
            let (queries, hash, id) = (queries.clone(), user.api_token.hash(), user.user.id);
            tokio::spawn(async move { (id, queries.authenticate(&hash).await.unwrap()) })
        })
        .collect();
    let stranger = cqrs::domain::Token::generate_api();
    assert_eq!(queries.authenticate(&stranger.hash()).await.unwrap(), None);
    for task in tasks {
        let (id, caller) = task.await.unwrap();
        assert_eq!(caller, Some(Caller(id)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs MariaDB; run by make test"]
async fn a_user_whom_another_transaction_holds_does_not_hold_up_others_on_mariadb() {
    on_mariadb(async |db: Db| {
        let commands = db.commands();
        let (ada, bob) = (db.user("ada@example.org").await, db.user("bob@example.org").await);
        let mut holder = AnyConnection::connect(&db.url).await.unwrap();
        holder.execute("start transaction").await.unwrap();
        let lock = format!("select id from users where id = '{}' for update", ada.0);
        holder.execute(AssertSqlSafe(lock)).await.unwrap();
        let held: Vec<_> = (0..8)
            .map(|n| create(&commands, ada, format!("ada {n}")))
            .collect();
        let free: Vec<_> = (0..8)
            .map(|n| create(&commands, bob, format!("bob {n}")))
            .collect();
        for task in free {
            task.await.unwrap().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(held.iter().all(|task| !task.is_finished()), "they wait");
        holder.execute("rollback").await.unwrap();
        for task in held {
            task.await.unwrap().unwrap();
        }
        holder.close().await.unwrap();
        assert_eq!(db.number("select count(*) from rules").await, 16);
    })
    .await;
}
