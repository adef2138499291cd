use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use cqrs::domain::{
    Alert, Quote, Range, RuleId, RuleSnapshot, RuleVersion, Ticker, TickerMark, Timestamp, UserId,
};
use service::codec::{decode_alert, encode_quote, encode_restated_quote, encode_rule, encode_ticker};
use service::config::KafkaArgs;
use service::kafka::{
    BatchConsumer, BatchLimits, ConsumerEvent, EmbeddedBroker, Kafka, Outgoing, Producer, Record, StartFrom,
};
use service::topics::{ALERTS, QUOTES, RULES, TICKERS, Topic, partition_of};
use service::{Context, Health};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::process::Process;

pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Version 1 of a new rule.
pub(crate) fn rule(ticker: &str, low: &str, high: &str) -> RuleSnapshot {
    RuleSnapshot {
        rule_id: RuleId::generate(),
        user_id: UserId::generate(),
        ticker: ticker.parse().unwrap(),
        range: Range::new(Some(low.parse().unwrap()), Some(high.parse().unwrap())).unwrap(),
        version: RuleVersion::FIRST,
        active: true,
        expires_at: None,
        updated_at: Timestamp::EPOCH,
        generation: 1,
    }
}

fn quote(ticker: &str, price: &str, event_time: Timestamp) -> Quote {
    Quote {
        ticker: ticker.parse().unwrap(),
        price: price.parse().unwrap(),
        currency: "USD".into(),
        volume: None,
        trade_side: None,
        event_time,
        ingest_time: Timestamp::now(),
        source: "test".into(),
    }
}

/// A broker, and hands to write and read.
pub(crate) struct Harness {
    broker: EmbeddedBroker,
    kafka: Kafka,
    producer: Producer,
    clock: AtomicI64,
}

/// An alert system in this process.
pub(crate) struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}

impl Harness {
    pub(crate) async fn start() -> Self {
        Self::with_partitions(2).await
    }

    pub(crate) async fn with_partitions(partitions: i32) -> Self {
        let broker = EmbeddedBroker::start(partitions).unwrap();
        let kafka = Kafka::connect(broker.settings()).await.unwrap();
        let producer = kafka.producer(Duration::from_secs(60), Duration::ZERO).unwrap();
        Self {
            broker,
            kafka,
            producer,
            clock: AtomicI64::new(1),
        }
    }

    /// Runs one as a process of its own, with metrics.
    pub(crate) fn start_process(&self) -> Process {
        Process::start(&self.kafka_args())
    }

    fn kafka_args(&self) -> KafkaArgs {
        let settings = self.broker.settings();
        let mut kafka = KafkaArgs::plain(settings.bootstrap_servers.clone(), settings.partitions);
        kafka.properties = settings
            .properties
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join(",");
        kafka
    }

    /// A ticker of each partition.
    pub(crate) fn tickers(&self) -> Vec<Ticker> {
        (0..self.kafka.partitions())
            .map(|partition| {
                (0..)
                    .map(|number| format!("T{number}").parse::<Ticker>().unwrap())
                    .find(|ticker| partition_of(ticker, self.kafka.partitions()) == partition)
                    .unwrap()
            })
            .collect()
    }

    /// Runs one, and waits until it has its partitions.
    pub(crate) async fn run_alert_system(&self) -> Running {
        let kafka = self.kafka_args();
        let context = Context {
            shutdown: CancellationToken::new(),
            health: Health::default(),
        };
        let shutdown = context.shutdown.clone();
        let health = context.health.clone();
        let config = alert_system::Config {
            kafka,
            rearm_margin_permille: 2,
        };
        let task = tokio::spawn(alert_system::run(config, context));
        let ready = async {
            while health.readiness().is_err() {
                assert!(!task.is_finished(), "the alert system ended");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.unwrap();
        Running { shutdown, task }
    }

    pub(crate) async fn write_raw(&self, topic: Topic, ticker: &str, key: &[u8], payload: Option<&[u8]>) {
        let ticker: Ticker = ticker.parse().unwrap();
        let outgoing = Outgoing {
            topic,
            ticker: &ticker,
            key,
            payload,
            trace: None,
        };
        self.producer.send(outgoing).await.unwrap().wait().await.unwrap();
    }

    pub(crate) async fn write_rule(&self, rule: &RuleSnapshot) {
        let payload = encode_rule(rule);
        self.write_raw(
            RULES,
            rule.ticker.as_str(),
            rule.rule_id.to_string().as_bytes(),
            Some(&payload),
        )
        .await;
    }

    pub(crate) async fn write_mark(&self, ticker: &str, offset: i64) {
        let mark = TickerMark {
            ticker: ticker.parse().unwrap(),
            price: "48".parse().unwrap(),
            event_time: Timestamp::EPOCH,
            ingest_time: Timestamp::EPOCH,
            offset,
            restated_at: None,
        };
        self.write_raw(TICKERS, ticker, ticker.as_bytes(), Some(&encode_ticker(&mark)))
            .await;
    }

    pub(crate) async fn delete_rule(&self, rule: &RuleSnapshot) {
        self.write_raw(
            RULES,
            rule.ticker.as_str(),
            rule.rule_id.to_string().as_bytes(),
            None,
        )
        .await;
    }

    /// Each a microsecond after the one before.
    pub(crate) async fn write_quotes(&self, ticker: &str, prices: &[&str]) {
        for price in prices {
            let time = self.clock.fetch_add(1, Ordering::Relaxed);
            self.write_quote(ticker, price, Timestamp::from_micros(time))
                .await;
        }
    }

    /// Older than all others.
    pub(crate) async fn write_late_quote(&self, ticker: &str, price: &str) {
        self.write_quote(ticker, price, Timestamp::EPOCH).await;
    }

    /// A price that is counted otherwise than those before it.
    pub(crate) async fn write_restated_quote(&self, ticker: &str, price: &str, restated_at: Timestamp) {
        let time = self.clock.fetch_add(1, Ordering::Relaxed);
        let payload = encode_restated_quote(&quote(ticker, price, Timestamp::from_micros(time)), restated_at);
        self.write_raw(QUOTES, ticker, ticker.as_bytes(), Some(&payload))
            .await;
    }

    async fn write_quote(&self, ticker: &str, price: &str, event_time: Timestamp) {
        let payload = encode_quote(&quote(ticker, price, event_time));
        self.write_raw(QUOTES, ticker, ticker.as_bytes(), Some(&payload))
            .await;
    }

    /// The same price again and again, until the alert system has seen a rule change and answered.
    pub(crate) async fn write_quotes_until_alerts(&self, ticker: &str, price: &str, alerts: usize) {
        let answered = async {
            while self.read_all(ALERTS).await.len() < alerts {
                self.write_quotes(ticker, &[price]).await;
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.unwrap();
    }

    pub(crate) async fn alerts_until(&self, count: usize) -> Vec<Alert> {
        let records = self.read_until(ALERTS, count).await;
        records
            .iter()
            .map(|record| decode_alert(record.payload.as_ref().unwrap()).unwrap())
            .collect()
    }

    /// All records of a topic, once there are so many.
    pub(crate) async fn read_until(&self, topic: Topic, count: usize) -> Vec<Record> {
        let mut consumer = self.consumer(topic);
        let mut records = Vec::new();
        let all = async {
            while records.len() < count {
                if let ConsumerEvent::Batch(batch) = consumer.next().await.unwrap() {
                    records.extend(batch.records);
                }
            }
        };
        tokio::time::timeout(PATIENCE, all)
            .await
            .unwrap_or_else(|_| panic!("{} did not get {count} records", topic.name));
        consumer.close().await;
        records
    }

    /// All records of a topic that are there now.
    pub(crate) async fn read_all(&self, topic: Topic) -> Vec<Record> {
        let count = usize::try_from(self.end_offsets(topic)).unwrap();
        if count == 0 {
            Vec::new()
        } else {
            self.read_until(topic, count).await
        }
    }

    fn end_offsets(&self, topic: Topic) -> i64 {
        use rdkafka::consumer::{BaseConsumer, Consumer as _};
        let client: BaseConsumer = self.kafka.consumer_config("watermarks").create().unwrap();
        let partitions = if topic.by_ticker {
            self.kafka.partitions()
        } else {
            1
        };
        (0..partitions)
            .map(|p| client.fetch_watermarks(topic.name, p, PATIENCE).unwrap().1)
            .sum()
    }

    fn consumer(&self, topic: Topic) -> BatchConsumer {
        let limits = BatchLimits {
            max_records: 100,
            max_wait: Duration::from_millis(20),
        };
        // A group of its own: each reader sees all partitions.
        self.kafka
            .consumer(
                &RuleId::generate().to_string(),
                topic,
                StartFrom::Beginning,
                limits,
            )
            .unwrap()
    }
}
