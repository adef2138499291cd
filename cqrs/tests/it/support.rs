use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cqrs::domain::{
    Alert, AlertPosition, NewRule, Note, Price, Quote, Range, Rule, RuleId, Side, Timestamp, UserId,
};
use cqrs::{
    Caller, Commands, Idempotency, Ledger, Limits, Outbox, OutboxEntry, Queries, Registration, Store,
    StoreSettings,
};
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Executor as _};
use uuid::Uuid;

/// A database of one test.
#[derive(Clone)]
pub(crate) struct Db {
    pub(crate) store: Store,
    pub(crate) url: Arc<str>,
}

impl Db {
    async fn open(url: String) -> Self {
        let store = Store::open(&settings(&url))
            .await
            .expect("the test's database can be opened");
        Self {
            store,
            url: url.into(),
        }
    }

    pub(crate) fn commands(&self) -> Commands {
        self.store.commands(Limits::default())
    }

    pub(crate) fn queries(&self) -> Queries {
        self.store.queries()
    }

    pub(crate) fn outbox(&self) -> Outbox {
        self.store.outbox()
    }

    pub(crate) fn ledger(&self) -> Ledger {
        self.store.ledger()
    }

    /// Registers somebody without rules.
    pub(crate) async fn user(&self, email: &str) -> Caller {
        Caller(self.registration(email).await.user.id)
    }

    pub(crate) async fn registration(&self, email: &str) -> Registration {
        self.commands()
            .register_user(email.parse().unwrap(), vec![], None)
            .await
            .unwrap()
    }

    pub(crate) async fn rule(&self, caller: Caller, ticker: &str) -> Rule {
        self.commands()
            .create_rule(caller, new_rule(ticker), None)
            .await
            .unwrap()
    }

    /// Everything that waits to be published.
    pub(crate) async fn pending(&self) -> Vec<OutboxEntry> {
        self.outbox().pending(1_000_000).await.unwrap()
    }

    /// Forgets what waits to be published.
    pub(crate) async fn publish_all(&self) {
        let entries = self.pending().await;
        self.outbox().delete(&entries).await.unwrap();
    }

    /// A statement that the store has no command for.
    pub(crate) async fn execute(&self, sql: &str) {
        let mut connection = AnyConnection::connect(&self.url).await.unwrap();
        connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
        connection.close().await.unwrap();
    }

    /// A number that the store has no query for.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let mut connection = AnyConnection::connect(&self.url).await.unwrap();
        let number = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .fetch_one(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        number
    }
}

pub(crate) fn settings(url: &str) -> StoreSettings {
    StoreSettings {
        url: url.to_owned(),
        read_url: None,
        max_connections: 16,
        connect_timeout: Duration::from_secs(30),
    }
}

pub(crate) async fn on_sqlite<F>(scenario: impl FnOnce(Db) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open(format!("sqlite://{}/stock.db", folder.path().display())).await;
    let store = db.store.clone();
    let result = tokio::spawn(scenario(db)).await;
    store.close().await;
    end(result);
}

pub(crate) async fn on_mariadb<F>(scenario: impl FnOnce(Db) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    sqlx::any::install_default_drivers();
    let server = std::env::var("TEST_DATABASE_URL").unwrap_or_else(|_| {
        panic!(
            "TEST_DATABASE_URL is not set; run make test, or name a server whose user may create databases"
        )
    });
    let name = format!("stockalert_test_{}", Uuid::new_v4().simple());
    // The worst default a server can have: the store must not rely on a better one.
    let mut admin = AnyConnection::connect(&server).await.unwrap();
    admin
        .execute(AssertSqlSafe(format!(
            "create database {name} character set latin1"
        )))
        .await
        .unwrap();

    let (base, _) = server
        .rsplit_once('/')
        .expect("TEST_DATABASE_URL names a database");
    let db = Db::open(format!("{base}/{name}")).await;
    let store = db.store.clone();
    let result = tokio::spawn(scenario(db)).await;
    store.close().await;
    admin
        .execute(AssertSqlSafe(format!("drop database {name}")))
        .await
        .unwrap();
    end(result);
}

fn end(result: Result<(), tokio::task::JoinError>) {
    if let Err(error) = result {
        std::panic::resume_unwind(error.into_panic());
    }
}

pub(crate) fn price(text: &str) -> Price {
    text.parse().unwrap()
}

/// 100 to 200.
pub(crate) fn new_rule(ticker: &str) -> NewRule {
    NewRule {
        ticker: ticker.parse().unwrap(),
        range: Range::new(Some(price("100")), Some(price("200"))).unwrap(),
        note: Note::default(),
        paused: false,
        expires_at: None,
    }
}

/// A request id with a body.
pub(crate) fn request(id: &str, body: &str) -> Option<Idempotency> {
    Some(Idempotency {
        request_id: id.to_owned(),
        fingerprint: body.to_owned(),
    })
}

pub(crate) fn quote(ticker: &str, text: &str, micros: i64) -> Quote {
    Quote {
        ticker: ticker.parse().unwrap(),
        price: price(text),
        currency: "USD".to_owned(),
        volume: None,
        trade_side: None,
        event_time: Timestamp::from_micros(micros),
        ingest_time: Timestamp::from_micros(micros + 5),
        source: "test".to_owned(),
    }
}

/// An alert of a rule that broke through 200.
pub(crate) fn alert(rule: RuleId, user: UserId, offset: i64, raised_at: i64) -> Alert {
    Alert {
        rule_id: rule,
        user_id: user,
        ticker: "AAPL".parse().unwrap(),
        position: AlertPosition {
            version: cqrs::domain::RuleVersion::FIRST,
            generation: 1,
            offset,
        },
        side: if offset % 2 == 0 { Side::Above } else { Side::In },
        price: price("201.5"),
        threshold: price("200"),
        currency: "USD".to_owned(),
        quote_time: Timestamp::from_micros(raised_at - 20),
        quote_ingest_time: Timestamp::from_micros(raised_at - 10),
        raised_at: Timestamp::from_micros(raised_at),
        already_outside: offset == 0,
    }
}
