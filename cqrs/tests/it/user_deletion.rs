//! What is left of a user who was deleted. The tables are those that the schema has, so that a new one can't escape.

use std::collections::BTreeMap;

use cqrs::domain::{ChatId, RuleChange, Timestamp, UserId};
use cqrs::{Caller, Holder, LedgerChange, Registration};
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Row as _};

use crate::support::{Db, alert, new_rule, request};

on_both_databases! {
    nothing_names_a_deleted_user_but_the_deletions_of_their_rules,
    what_is_late_brings_nothing_of_a_deleted_user_back,
}

const CHAT: i64 = 8_154_711_081;

/// Every column of every table.
async fn columns(connection: &mut AnyConnection, is_sqlite: bool) -> BTreeMap<String, Vec<String>> {
    let select = if is_sqlite {
        "select m.name as table_name, c.name as column_name
         from sqlite_master m join pragma_table_info(m.name) c where m.type = 'table' and m.name not like 'sqlite%'"
    } else {
        "select cast(table_name as char) as table_name, cast(column_name as char) as column_name
         from information_schema.columns where table_schema = database()"
    };
    let mut tables = BTreeMap::<String, Vec<String>>::new();
    for row in sqlx::query(select).fetch_all(connection).await.unwrap() {
        let (table, column): (String, String) = (row.get("table_name"), row.get("column_name"));
        if table != "_sqlx_migrations" {
            tables.entry(table).or_default().push(column);
        }
    }
    assert!(tables.len() >= 18, "{tables:?}");
    tables
}

/// Every row of every table as text, a column behind the other.
async fn everything(db: &Db) -> BTreeMap<String, Vec<String>> {
    let mut connection = AnyConnection::connect(&db.url).await.unwrap();
    let tables = columns(&mut connection, db.url.starts_with("sqlite")).await;
    let mut rows = BTreeMap::new();
    for (table, columns) in tables {
        let mut found = Vec::new();
        for column in &columns {
            let select = format!("select cast({column} as char(5000)) as value from {table}");
            let values = sqlx::query(AssertSqlSafe(select))
                .fetch_all(&mut connection)
                .await
                .unwrap();
            for value in values {
                if let Some(value) = value.get::<Option<String>, _>("value") {
                    found.push(format!("{column} = {value}"));
                }
            }
        }
        rows.insert(table, found);
    }
    connection.close().await.unwrap();
    rows
}

/// The tables that have this text anywhere.
fn tables_with(everything: &BTreeMap<String, Vec<String>>, text: &str) -> Vec<String> {
    everything
        .iter()
        .filter(|(_, values)| values.iter().any(|value| value.contains(text)))
        .map(|(table, _)| table.clone())
        .collect()
}

/// The tables that have a column for a user's id.
async fn tables_of_users(db: &Db) -> Vec<String> {
    let mut connection = AnyConnection::connect(&db.url).await.unwrap();
    let tables = columns(&mut connection, db.url.starts_with("sqlite")).await;
    connection.close().await.unwrap();
    tables
        .into_iter()
        .filter(|(_, columns)| columns.iter().any(|column| column.contains("user")))
        .map(|(table, _)| table)
        .collect()
}

/// Something of this user in every table that has a user's things.
async fn fill(db: &Db, registered: &Registration, chat: i64) -> Caller {
    let caller = Caller(registered.user.id);
    let mut rule = new_rule("AAPL");
    rule.note = format!("known to {}", registered.user.email.as_str())
        .parse()
        .unwrap();
    let rule = db
        .commands()
        .create_rule(caller, rule, request("1", "x"))
        .await
        .unwrap();
    db.rule(caller, "MSFT").await;
    let chat = ChatId::new(chat);
    db.commands()
        .link_chat(&registered.link.token, chat, None)
        .await
        .unwrap();
    let holder = Holder {
        caller,
        token: Some(registered.api_token.hash()),
    };
    db.commands()
        .rotate_token(holder, request("2", "x"))
        .await
        .unwrap();
    db.commands().create_link(caller).await.unwrap();
    let raised = Timestamp::now();
    let alert = alert(rule.id, caller.0, 4, raised.as_micros());
    db.ledger()
        .fold(&[LedgerChange::Alert(alert)], raised)
        .await
        .unwrap();
    caller
}

async fn open_episodes(db: &Db, user: UserId) -> i64 {
    let open = "select count(*) from episodes where episode_id is not null and user_id";
    db.number(&format!("{open} = '{user}'")).await
}

async fn nothing_names_a_deleted_user_but_the_deletions_of_their_rules(db: Db) {
    let (ada, bob) = (
        db.registration("ada@example.org").await,
        db.registration("bob@example.org").await,
    );
    let caller = fill(&db, &ada, CHAT).await;
    fill(&db, &bob, CHAT + 1).await;
    let rules = db.queries().rules(caller, None, 10).await.unwrap().items;
    let id = ada.user.id.to_string();
    let before = everything(&db).await;
    for table in tables_of_users(&db).await {
        let found = tables_with(&before, &id);
        assert!(
            found.contains(&table),
            "{table} has nothing of the user: fill it, too"
        );
    }
    assert_eq!(open_episodes(&db, ada.user.id).await, 1);
    let of_ada = |everything: &BTreeMap<String, Vec<String>>, texts: &[&str]| {
        texts
            .iter()
            .flat_map(|text| tables_with(everything, text))
            .collect::<Vec<_>>()
    };
    let (api, chat) = (ada.api_token.hash(), CHAT.to_string());
    let secrets = ["known to ada@", "ada@", api.as_str(), &chat];
    for secret in &secrets {
        assert!(
            !of_ada(&before, &[secret]).is_empty(),
            "{secret} is not there before"
        );
    }
    let links = db.number("select count(*) from link_tokens").await;

    db.commands().delete_user(caller).await.unwrap();

    let after = everything(&db).await;
    assert_eq!(of_ada(&after, &secrets), [""; 0]);
    assert_eq!(of_ada(&after, &[&id]), ["outbox"]);
    assert_eq!(db.number("select count(*) from link_tokens").await, links - 1);
    assert_eq!(open_episodes(&db, ada.user.id).await, 0);
    assert_eq!(open_episodes(&db, bob.user.id).await, 1);
    // What is on its way to the log ends with the deletion of each rule, and goes when the log has it.
    let pending = db.pending().await;
    for rule in &rules {
        let deleted = RuleChange::Deleted {
            rule_id: rule.id,
            ticker: rule.ticker.clone(),
        };
        let last = pending.iter().rfind(|entry| entry.rule_id() == rule.id).unwrap();
        assert_eq!((&last.change, last.version), (&deleted, rule.version.next()));
    }
    db.publish_all().await;
    let published = everything(&db).await;
    assert_eq!(of_ada(&published, &[&id]), [""; 0]);
    for rule in &rules {
        assert_eq!(of_ada(&published, &[&rule.id.to_string()]), [""; 0]);
    }
    // Nothing of another's went with it.
    let bob = bob.user.id.to_string();
    for table in tables_of_users(&db).await {
        let kept = table == "outbox" || tables_with(&published, &bob).contains(&table);
        assert!(kept, "{table}");
    }
}

async fn what_is_late_brings_nothing_of_a_deleted_user_back(db: Db) {
    let ada = db.registration("ada@example.org").await;
    let caller = fill(&db, &ada, CHAT).await;
    let rule = db.queries().rules(caller, None, 1).await.unwrap().items[0].id;
    db.commands().delete_user(caller).await.unwrap();
    db.publish_all().await;
    // An alert that alert-system raised before it knew, and a link that was open in a browser.
    let raised = Timestamp::now();
    for offset in [4, 5, 6] {
        let late = alert(rule, caller.0, offset, raised.as_micros());
        db.ledger()
            .fold(&[LedgerChange::Alert(late)], raised)
            .await
            .unwrap();
    }
    let link = db
        .commands()
        .link_chat(&ada.link.token, ChatId::new(CHAT), None)
        .await;
    assert!(link.is_err(), "{link:?}");
    db.outbox().republish_all(false).await.unwrap();
    let id = ada.user.id.to_string();
    assert_eq!(tables_with(&everything(&db).await, &id), [""; 0]);
}
