//! A server with users and prices.

use std::time::Duration;

use anyhow::Context as _;
use cqrs::domain::{Quote, Timestamp};
use cqrs::{Limits, Store};
use e2e::process::{Service, free_port};
use service::config::{DatabaseArgs, KafkaArgs};
use tempfile::TempDir;
use tonic::metadata::{Ascii, MetadataValue};

use crate::load::CLIENTS;

/// Users of each client: as many as there are in life, each with a few rules.
const USERS_OF_CLIENT: usize = 20;

/// Different tickers.
pub(crate) const TICKERS: usize = 1_000;

/// To start, and to publish what was created, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Somebody who calls.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) bearer: MetadataValue<Ascii>,
}

/// The process and what it serves from; killed when dropped.
pub(crate) struct Scene {
    pub(crate) address: String,
    pub(crate) callers: Vec<Caller>,
    store: Store,
    _server: Service,
    _logs: TempDir,
}

pub(crate) fn ticker(n: usize) -> String {
    format!("B{n}")
}

impl Scene {
    pub(crate) async fn set(kafka: &KafkaArgs, database: &DatabaseArgs) -> anyhow::Result<Self> {
        let (port, logs) = (free_port()?, tempfile::tempdir()?);
        let settings = [
            ("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers.clone()),
            ("DATABASE_URL", database.database_url.clone()),
            ("GRPC_LISTEN", format!("127.0.0.1:{port}")),
            // Callers call as fast as they can here.
            ("CALLS_PER_SECOND", "1000000".to_owned()),
            ("MAX_RULES_PER_USER", "10000".to_owned()),
        ];
        let mut server = Service::start("grpc-server", "grpc-server", &settings, logs.path())?;
        server.ready(PATIENCE).await?;
        let store = Store::open(&database.store_settings()).await?;
        let mut callers = Vec::with_capacity(CLIENTS * USERS_OF_CLIENT);
        for n in 0..CLIENTS * USERS_OF_CLIENT {
            let email = format!("user{n}@example.org").parse()?;
            let registered = store
                .commands(Limits::default())
                .register_user(email, vec![], None)
                .await?;
            let bearer = format!("Bearer {}", registered.api_token.expose()).parse()?;
            callers.push(Caller { bearer });
        }
        record_prices(&store).await?;
        Ok(Self {
            address: format!("http://127.0.0.1:{port}"),
            callers,
            store,
            _server: server,
            _logs: logs,
        })
    }

    /// Waits until all changes are published.
    pub(crate) async fn settle(&self) -> anyhow::Result<()> {
        let settled = async {
            while !self.store.outbox().pending(1).await?.is_empty() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok(())
        };
        tokio::time::timeout(PATIENCE, settled)
            .await
            .context("the outbox did not get empty")?
    }
}

async fn record_prices(store: &Store) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let mut quotes = Vec::with_capacity(TICKERS);
    for n in 0..TICKERS {
        let quote = Quote {
            ticker: ticker(n).parse()?,
            price: "200.5".parse()?,
            currency: "USD".into(),
            volume: None,
            trade_side: None,
            event_time: now,
            ingest_time: now,
            source: "bench".into(),
        };
        quotes.push((quote, i64::try_from(n)?));
    }
    store.history().record(&quotes).await?;
    Ok(())
}
