//! One running server, as a process would run it, on a store and a broker of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cqrs::domain::{ChatId, Quote, Timestamp, Token};
use cqrs::{Store, StoreSettings};
use grpc_server::{Config, SecurityArgs};
use proto::v1;
use proto::v1::admin_service_client::AdminServiceClient;
use proto::v1::alert_service_client::AlertServiceClient;
use proto::v1::quote_service_client::QuoteServiceClient;
use proto::v1::rule_service_client::RuleServiceClient;
use proto::v1::system_service_client::SystemServiceClient;
use proto::v1::user_service_client::UserServiceClient;
use service::Context;
use service::config::{DatabaseArgs, KafkaArgs};
use service::kafka::KafkaSettings;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Connection as _, Executor as _};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use uuid::Uuid;

/// Nothing takes this long on a machine that works; a test that waits longer fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A database of the test's own.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) url: String,
    _folder: Option<Arc<TempDir>>,
}

impl Database {
    /// An SQLite file that goes with the test.
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("stockalert.db").display());
        Self {
            url,
            _folder: Some(Arc::new(folder)),
        }
    }

    /// Runs a scenario on a new database of the server that TEST_DATABASE_URL names, and drops that afterwards.
    pub(crate) async fn on_mariadb<F>(scenario: impl FnOnce(Self) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let server = std::env::var("TEST_DATABASE_URL").expect(
            "TEST_DATABASE_URL is not set; run make test, or name a server whose user may create databases",
        );
        let name = format!("stockalert_test_{}", Uuid::new_v4().simple());
        let (base, _) = server
            .rsplit_once('/')
            .expect("TEST_DATABASE_URL names a database");
        sqlx::any::install_default_drivers();
        let mut admin = AnyConnection::connect(&server).await.unwrap();
        admin
            .execute(AssertSqlSafe(format!("create database {name}")))
            .await
            .unwrap();
        let database = Self {
            url: format!("{base}/{name}"),
            _folder: None,
        };
        let result = tokio::spawn(scenario(database)).await;
        admin
            .execute(AssertSqlSafe(format!("drop database {name}")))
            .await
            .unwrap();
        if let Err(error) = result {
            std::panic::resume_unwind(error.into_panic());
        }
    }

    pub(crate) async fn open(&self) -> Store {
        let settings = StoreSettings {
            url: self.url.clone(),
            read_url: None,
            max_connections: 4,
            connect_timeout: PATIENCE,
        };
        Store::open(&settings).await.unwrap()
    }

    /// How many rows each table has that a command writes.
    pub(crate) async fn row_counts(&self) -> Vec<(&'static str, i64)> {
        let pool = AnyPool::connect(&self.url).await.unwrap();
        let mut counts = Vec::new();
        for (table, statement) in [
            ("users", "select count(*) from users"),
            ("api_tokens", "select count(*) from api_tokens"),
            ("rules", "select count(*) from rules"),
            (
                "rule versions",
                "select cast(coalesce(sum(version), 0) as signed) from rules",
            ),
            ("outbox", "select count(*) from outbox"),
            ("requests", "select count(*) from requests"),
        ] {
            counts.push((
                table,
                sqlx::query_scalar::<_, i64>(statement)
                    .fetch_one(&pool)
                    .await
                    .unwrap(),
            ));
        }
        pool.close().await;
        counts
    }
}

/// A broker that is not there: the outbox stays as commands left it.
pub(crate) fn no_broker() -> KafkaSettings {
    KafkaSettings {
        bootstrap_servers: "127.0.0.1:9".into(),
        partitions: 4,
        properties: Vec::new(),
    }
}

/// The broker that TEST_KAFKA_BOOTSTRAP_SERVERS names; its topics are shared with other tests.
pub(crate) fn kafka_server() -> KafkaSettings {
    let bootstrap_servers = std::env::var("TEST_KAFKA_BOOTSTRAP_SERVERS")
        .expect("TEST_KAFKA_BOOTSTRAP_SERVERS is not set; run make test, or name a broker");
    KafkaSettings {
        bootstrap_servers,
        partitions: 12,
        properties: Vec::new(),
    }
}

/// Tests come from one address, and some ask as fast as they can.
pub(crate) fn without_limits() -> SecurityArgs {
    SecurityArgs {
        calls_per_second: 1_000_000,
        registrations_per_hour: 1_000_000_000,
        ..SecurityArgs::default()
    }
}

/// A running server.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    pub(crate) channel: Channel,
    pub(crate) context: Context,
    task: Option<JoinHandle<anyhow::Result<()>>>,
}

impl App {
    pub(crate) async fn start(database: &Database, kafka: &KafkaSettings) -> Self {
        Self::start_with(database, kafka, |_| {}).await
    }

    pub(crate) async fn start_with(
        database: &Database,
        kafka: &KafkaSettings,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let properties: Vec<_> = kafka
            .properties
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut config = Config {
            database: DatabaseArgs::single(database.url.clone()),
            kafka: KafkaArgs {
                bootstrap_servers: kafka.bootstrap_servers.clone(),
                partitions: kafka.partitions,
                properties: properties.join(","),
            },
            grpc_listen: address,
            max_rules_per_user: 200,
            rearm_margin_permille: 2,
            rules_in_all: None,
            security: without_limits(),
        };
        change(&mut config);
        let speaks_tls = config.security.grpc_tls_cert.is_some();
        let context = Context::default();
        let task = tokio::spawn(grpc_server::serve(listener, config, context.clone()));
        // The listener is bound, so the first call waits until the server is up.
        let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
        let channel = if speaks_tls {
            endpoint.connect_lazy()
        } else {
            endpoint.connect().await.unwrap()
        };
        Self {
            address,
            channel,
            context,
            task: Some(task),
        }
    }

    /// Ends it as SIGTERM does.
    pub(crate) async fn stop(mut self) {
        self.context.shutdown.cancel();
        let task = self.task.take().unwrap();
        tokio::time::timeout(PATIENCE, task)
            .await
            .expect("it ends in time")
            .unwrap()
            .unwrap();
    }

    /// Ends it as a kill does: nothing is finished, nothing is given back.
    pub(crate) async fn kill(mut self) {
        let task = self.task.take().unwrap();
        task.abort();
        let _ = task.await;
    }

    pub(crate) fn users(&self) -> UserServiceClient<Channel> {
        UserServiceClient::new(self.channel.clone())
    }

    pub(crate) fn rules(&self) -> RuleServiceClient<Channel> {
        RuleServiceClient::new(self.channel.clone())
    }

    pub(crate) fn quotes(&self) -> QuoteServiceClient<Channel> {
        QuoteServiceClient::new(self.channel.clone())
    }

    pub(crate) fn alerts(&self) -> AlertServiceClient<Channel> {
        AlertServiceClient::new(self.channel.clone())
    }

    pub(crate) fn system(&self) -> SystemServiceClient<Channel> {
        SystemServiceClient::new(self.channel.clone())
    }

    pub(crate) fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel.clone())
    }

    /// Links a chat as the bot does.
    pub(crate) async fn links_chat(&self, database: &Database, caller: &Caller, chat: i64) {
        let request = caller.asks(v1::CreateLinkTokenRequest::default());
        let link = self
            .users()
            .create_link_token(request)
            .await
            .unwrap()
            .into_inner();
        let token = Token::presented(&link.telegram_link.unwrap().token);
        let store = database.open().await;
        let commands = store.commands(cqrs::Limits::default());
        commands.link_chat(&token, ChatId::new(chat), None).await.unwrap();
        store.close().await;
    }

    /// A new user without rules.
    pub(crate) async fn register(&self) -> Caller {
        let request = v1::RegisterUserRequest {
            email: some_email(),
            ..Default::default()
        };
        let answer = self.users().register_user(request).await.unwrap().into_inner();
        Caller {
            token: answer.api_token,
            user: answer.user.unwrap(),
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.context.shutdown.cancel();
    }
}

/// A registered user.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) token: String,
    pub(crate) user: v1::User,
}

impl Caller {
    /// The request with this caller's token.
    pub(crate) fn asks<T>(&self, message: T) -> Request<T> {
        with_token(message, &self.token)
    }

    pub(crate) async fn creates(&self, app: &App, rule: v1::NewRule) -> v1::Rule {
        let request = v1::CreateRuleRequest {
            rule: Some(rule),
            ..Default::default()
        };
        app.rules()
            .create_rule(self.asks(request))
            .await
            .unwrap()
            .into_inner()
            .rule
            .unwrap()
    }
}

pub(crate) fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(
        "authorization",
        MetadataValue::try_from(format!("Bearer {token}")).unwrap(),
    );
    request
}

pub(crate) fn some_email() -> String {
    format!("user-{}@example.org", Uuid::new_v4().simple())
}

/// Records a price of a minute ago.
pub(crate) async fn record_quote(database: &Database, ticker: &str) {
    let time = Timestamp::now().minus(Duration::from_secs(60));
    let quote = Quote {
        ticker: ticker.parse().unwrap(),
        price: "190.5".parse().unwrap(),
        currency: "USD".into(),
        volume: None,
        trade_side: None,
        event_time: time,
        ingest_time: time,
        source: "replay".into(),
    };
    let store = database.open().await;
    store.history().record(&[(quote, 1)]).await.unwrap();
    store.close().await;
}

/// A rule that makes sense.
pub(crate) fn some_rule() -> v1::NewRule {
    v1::NewRule {
        ticker: "AAPL".into(),
        low: Some("170.5".into()),
        high: Some("200.25".into()),
        note: "earnings week".into(),
        ..Default::default()
    }
}

/// Seconds from now, on the wire.
pub(crate) fn in_seconds(seconds: i64) -> prost_types::Timestamp {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    prost_types::Timestamp {
        seconds: i64::try_from(now).unwrap() + seconds,
        nanos: 0,
    }
}
