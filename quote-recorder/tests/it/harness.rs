use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use cqrs::Store;
use cqrs::domain::{Quote, Timestamp};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, TopicPartitionList};
use service::Context;
use service::codec::encode_quote;
use service::config::{DatabaseArgs, KafkaArgs};
use service::kafka::{EmbeddedBroker, Kafka, Outgoing, Producer};
use service::topics::QUOTES;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Executor as _};
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(90);
const PARTITIONS: i32 = 2;

/// The `n`th quote of a ticker: its price is `n`, its time `n` microseconds.
pub(crate) fn quote(ticker: &str, n: i64) -> Quote {
    Quote {
        ticker: ticker.parse().unwrap(),
        price: n.to_string().parse().unwrap(),
        currency: "USD".to_owned(),
        volume: None,
        trade_side: None,
        event_time: Timestamp::from_micros(n),
        ingest_time: Timestamp::from_micros(n),
        source: "test".to_owned(),
    }
}

/// A broker and a database, and hands to write and look.
pub(crate) struct Harness {
    pub(crate) store: Store,
    producer: Producer,
    written: AtomicI64,
    url: String,
    broker: EmbeddedBroker,
    _folder: tempfile::TempDir,
}

/// A recorder in this process.
pub(crate) struct Running {
    context: Context,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    pub(crate) async fn stop(self) {
        self.context.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }

    pub(crate) async fn until_readiness(&self, wanted: impl Fn(Result<(), String>) -> bool) {
        until("the recorder's readiness", async || {
            wanted(self.context.health.readiness())
        })
        .await;
    }
}

impl Harness {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/stock.db", folder.path().display());
        let store = Store::open(&DatabaseArgs::single(url.clone()).store_settings())
            .await
            .unwrap();
        let broker = EmbeddedBroker::start(PARTITIONS).unwrap();
        let kafka = Kafka::connect(broker.settings()).await.unwrap();
        let producer = kafka.producer(Duration::from_secs(60), Duration::ZERO).unwrap();
        Self {
            store,
            producer,
            written: AtomicI64::new(0),
            url,
            broker,
            _folder: folder,
        }
    }

    /// Runs one, and waits until it has its partitions.
    pub(crate) async fn run_recorder(&self) -> Running {
        let settings = self.broker.settings();
        let mut kafka = KafkaArgs::plain(settings.bootstrap_servers.clone(), settings.partitions);
        let properties: Vec<_> = settings
            .properties
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        kafka.properties = properties.join(",");
        let config = quote_recorder::Config {
            database: DatabaseArgs::single(self.url.clone()),
            kafka,
        };
        let context = Context::default();
        let started = context.health.component("test");
        let task = tokio::spawn(quote_recorder::run(config, context.clone()));
        let running = Running { context, task };
        running
            .until_readiness(|state| state.is_err_and(|reason| !reason.contains("kafka")))
            .await;
        started.ready();
        running
    }

    /// Writes a record about this quote's ticker: the quote itself, or another value.
    pub(crate) async fn write(&self, quote: &Quote, value: Option<Option<&[u8]>>) {
        let encoded = encode_quote(quote);
        let outgoing = Outgoing {
            topic: QUOTES,
            ticker: &quote.ticker,
            key: quote.ticker.as_str().as_bytes(),
            payload: value.unwrap_or(Some(&encoded)),
            trace: None,
        };
        self.producer.send(outgoing).await.unwrap().wait().await.unwrap();
        self.written.fetch_add(1, Ordering::Relaxed);
    }

    /// How many records were written.
    pub(crate) fn written(&self) -> i64 {
        self.written.load(Ordering::Relaxed)
    }

    /// How many records the group's offsets say are done.
    pub(crate) fn committed(&self) -> i64 {
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.broker.settings().bootstrap_servers)
            .set("group.id", quote_recorder::GROUP)
            .create()
            .unwrap();
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_range(QUOTES.name, 0, PARTITIONS - 1);
        let offsets = client.committed_offsets(partitions, PATIENCE).unwrap();
        offsets
            .elements()
            .iter()
            // Below zero: nothing was committed.
            .map(|element| element.offset().to_raw().unwrap().max(0))
            .sum()
    }

    pub(crate) async fn recorded(&self, ticker: &str) -> i64 {
        let mut connection = AnyConnection::connect(&self.url).await.unwrap();
        let count = sqlx::query_scalar("select count(*) from quotes where ticker = ?")
            .bind(ticker.to_owned())
            .fetch_one(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        count
    }

    pub(crate) async fn until_recorded(&self, ticker: &str, count: i64) {
        until("the quotes' recording", async || {
            self.recorded(ticker).await == count
        })
        .await;
    }

    /// A statement that the store has no command for.
    pub(crate) async fn execute(&self, sql: &str) {
        let mut connection = AnyConnection::connect(&self.url).await.unwrap();
        connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
        connection.close().await.unwrap();
    }
}

async fn until(what: &str, done: impl AsyncFn() -> bool) {
    let wait = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen in time"));
}
