use std::time::Duration;

use cqrs::{Store, StoreError, StoreSettings};

use sqlx::{AnyConnection, Connection as _, Executor as _};

use crate::support::{Db, new_rule, on_mariadb, settings};

on_both_databases! {
    many_processes_may_open_a_new_database_at_once,
    a_command_whose_caller_goes_away_leaves_no_open_transaction,
    any_text_is_kept_as_it_is,
}

async fn many_processes_may_open_a_new_database_at_once(db: Db) {
    // Of this database only the server (or folder) matters.
    let (base, _) = db.url.rsplit_once('/').unwrap();
    let fresh = if base.starts_with("mysql") {
        db.execute("drop table token_revocations; drop table restatements; drop table pacing; drop table feeds; drop table stale_tickers; drop table deliveries; drop table episodes; drop table alerts; drop table latest_quotes; drop table quotes; drop table service_state; drop table requests; drop table leases; drop table log_state; drop table outbox; drop table rules; drop table link_tokens; drop table replaced_tokens; drop table api_tokens; drop table users; drop table _sqlx_migrations").await;
        db.url.to_string()
    } else {
        format!("{base}/new folder/fresh.db")
    };
    let opening: Vec<_> = (0..8)
        .map(|_| {
            let settings = settings(&fresh);
            tokio::spawn(async move { Store::open(&settings).await })
        })
        .collect();
    for task in opening {
        let store = task.await.unwrap().unwrap();
        store.ping().await.unwrap();
        store.close().await;
    }
}

async fn a_command_whose_caller_goes_away_leaves_no_open_transaction(db: Db) {
    let caller = db.user("ada@example.org").await;
    let rule = db.rule(caller, "AAPL").await;
    let wait = Duration::from_micros(200);
    for step in 0..50 {
        let commands = db.commands();
        let edit = cqrs::RuleEdit {
            paused: Some(step % 2 == 0),
            ..Default::default()
        };
        // Dropped at another point each time.
        let _ = tokio::time::timeout(wait * step, commands.update_rule(caller, rule.id, edit, None)).await;
    }
    // An open transaction would hold the rule's row (or the whole file).
    let command = db.commands();
    let edit = cqrs::RuleEdit {
        paused: Some(true),
        ..Default::default()
    };
    let last = tokio::time::timeout(
        Duration::from_secs(60),
        command.update_rule(caller, rule.id, edit, None),
    )
    .await
    .expect("nothing holds the rule")
    .unwrap();
    assert!(last.paused);
    let versions: Vec<_> = db
        .pending()
        .await
        .iter()
        .map(|entry| entry.version.get())
        .collect();
    assert_eq!(versions, (1..=last.version.get()).collect::<Vec<_>>());
}

async fn any_text_is_kept_as_it_is(db: Db) {
    let caller = db.user("ada@example.org").await;
    for text in [
        "",
        "Zürich 🚀 株価",
        "it's \"quoted\" \\ ; -- %_",
        &"株".repeat(500),
        "trailing ",
    ] {
        let mut new = new_rule("AAPL");
        new.note = text.parse().unwrap();
        let rule = db.commands().create_rule(caller, new, None).await.unwrap();
        let stored = db.queries().rule(caller, rule.id).await.unwrap().unwrap();
        assert_eq!(stored, rule);
        assert_eq!(stored.note.as_str(), text);
    }
}

#[tokio::test]
async fn a_url_that_can_not_work_is_refused_without_showing_its_password() {
    for (url, read_url) in [
        ("postgres://user:s3cret@host/db", None),
        ("s3cret", None),
        ("mysql://user:s3cret@host:port/db", None),
        ("sqlite::memory:?s3cret", None),
        ("sqlite://s3cret.db?mode=memory", None),
        ("sqlite:///proc/s3cret/x.db", Some("sqlite://s3cret")),
    ] {
        let settings = StoreSettings {
            read_url: read_url.map(str::to_owned),
            ..settings(url)
        };
        let error = Store::open(&settings).await.unwrap_err();
        assert!(matches!(error, StoreError::Setting(_)), "{error:?}");
        if !url.contains("/proc") {
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
        assert!(!format!("{settings:?}").contains("s3cret"));
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_after_the_time_set() {
    let settings = StoreSettings {
        connect_timeout: Duration::from_millis(700),
        ..settings("mysql://u:p@127.0.0.1:1/db")
    };
    let error = Store::open(&settings).await.unwrap_err();
    assert!(matches!(error, StoreError::Database(_)), "{error:?}");
}

#[tokio::test]
async fn a_file_that_can_not_be_opened_is_not_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let settings = StoreSettings {
        connect_timeout: Duration::from_secs(3600),
        ..settings(&format!("sqlite://{}", folder.path().display()))
    };
    let opening = tokio::time::timeout(Duration::from_secs(60), Store::open(&settings));
    let error = opening.await.expect("it ends at once").unwrap_err();
    assert!(matches!(error, StoreError::Database(_)), "{error:?}");
}

#[tokio::test]
#[ignore = "needs MariaDB; run by make test"]
async fn a_wrong_password_is_not_tried_again() {
    let server = std::env::var("TEST_DATABASE_URL").expect("TEST_DATABASE_URL is set by make test");
    let (_, rest) = server.split_once('@').unwrap();
    let settings = StoreSettings {
        connect_timeout: Duration::from_secs(3600),
        ..settings(&format!("mysql://nobody:s3cret@{rest}"))
    };
    let opening = tokio::time::timeout(Duration::from_secs(60), Store::open(&settings));
    let error = opening.await.expect("it ends at once").unwrap_err();
    assert!(matches!(error, StoreError::Database(_)), "{error:?}");
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs MariaDB; run by make test"]
async fn a_read_that_takes_too_long_ends_on_mariadb() {
    on_mariadb(async |db: Db| {
        let mut other = AnyConnection::connect(&db.url).await.unwrap();
        other.execute("lock tables quotes write").await.unwrap();
        let (queries, apple) = (db.queries(), "AAPL".parse().unwrap());
        let read = queries.quotes(&apple, None, None, None, 1);
        let result = tokio::time::timeout(Duration::from_secs(120), read).await;
        let result = result.expect("it ends although what it waits for does not");
        assert!(matches!(result, Err(StoreError::Database(_))), "{result:?}");
        other.close().await.unwrap();
        assert_eq!(
            queries.quotes(&apple, None, None, None, 1).await.unwrap().items,
            []
        );
    })
    .await;
}
