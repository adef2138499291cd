//! A collector between a provider and the embedded broker.

use std::collections::VecDeque;
use std::time::Duration;

use cqrs::domain::{
    FeedChange, Quote, Range, RuleId, RuleSnapshot, RuleVersion, Ticker, TickerMark, Timestamp, UserId,
};
use data_collector::{Config, SourceArgs};
use service::Context;
use service::codec::{QuoteDecoder, decode_feed, decode_quote, encode_rule, encode_ticker};
use service::config::KafkaArgs;
use service::kafka::{
    BatchConsumer, BatchLimits, ConsumerEvent, EmbeddedBroker, Kafka, Outgoing, Producer, StartFrom,
};
use service::topics::{FEEDS, QUOTES, RULES, TICKERS, Topic, partition_of};
use tokio::task::JoinHandle;

/// Far longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 4;

/// A running collector.
pub(crate) struct Collector {
    context: Context,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Collector {
    fn start(kafka: KafkaArgs, source: SourceArgs) -> Self {
        let context = Context::default();
        let config = Config { kafka, source };
        Self {
            running: tokio::spawn(data_collector::run(config, context.clone())),
            context,
        }
    }

    async fn end(self) {
        self.context.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.running)
            .await
            .expect("an end in time")
            .unwrap()
            .unwrap();
    }
}

/// A collector, its broker, and a look at its quotes. (The broker is dropped last.)
pub(crate) struct Trial {
    collector: Option<Collector>,
    kafka_args: KafkaArgs,
    producer: Producer,
    quotes: BatchConsumer,
    feeds: BatchConsumer,
    pending: Vec<(Quote, Option<Timestamp>)>,
    pending_feeds: VecDeque<FeedChange>,
    _broker: EmbeddedBroker,
}

impl Trial {
    pub(crate) async fn start(source: SourceArgs) -> Self {
        let broker = EmbeddedBroker::start(PARTITIONS).unwrap();
        let settings = broker.settings();
        let properties: Vec<String> = settings
            .properties
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let kafka_args = KafkaArgs {
            bootstrap_servers: settings.bootstrap_servers.clone(),
            partitions: settings.partitions,
            properties: properties.join(","),
        };
        let kafka = Kafka::connect(settings).await.unwrap();
        let limits = BatchLimits {
            max_records: 100,
            max_wait: Duration::from_millis(10),
        };
        Self {
            collector: Some(Collector::start(kafka_args.clone(), source)),
            kafka_args,
            producer: kafka.producer(Duration::from_secs(10), Duration::ZERO).unwrap(),
            quotes: kafka
                .consumer("test", QUOTES, StartFrom::Beginning, limits)
                .unwrap(),
            feeds: kafka
                .consumer("test-feeds", FEEDS, StartFrom::Beginning, limits)
                .unwrap(),
            pending: Vec::new(),
            pending_feeds: VecDeque::new(),
            _broker: broker,
        }
    }

    /// One more on the same broker.
    pub(crate) fn another(&self, source: SourceArgs) -> Collector {
        Collector::start(self.kafka_args.clone(), source)
    }

    /// Ends the collector, and then starts another one.
    pub(crate) async fn restart(&mut self, source: SourceArgs) {
        self.end_collector().await;
        self.collector = Some(self.another(source));
    }

    /// Ends the first collector, so that only the other goes on.
    pub(crate) async fn hand_over_to(&mut self, other: Collector) {
        self.end_collector().await;
        self.collector = Some(other);
    }

    async fn end_collector(&mut self) {
        self.collector.take().unwrap().end().await;
    }

    pub(crate) async fn put(&self, topic: Topic, ticker: &Ticker, key: &str, payload: Option<&[u8]>) {
        let record = Outgoing {
            topic,
            ticker,
            key: key.as_bytes(),
            payload,
            trace: None,
        };
        self.producer.send(record).await.unwrap().wait().await.unwrap();
    }

    pub(crate) async fn add_rule(&self, name: &str) -> RuleSnapshot {
        let rule = RuleSnapshot {
            rule_id: RuleId::generate(),
            user_id: UserId::generate(),
            ticker: name.parse().unwrap(),
            range: Range::new(None, Some("500".parse().unwrap())).unwrap(),
            version: RuleVersion::FIRST,
            active: true,
            expires_at: None,
            updated_at: Timestamp::now(),
            generation: 0,
        };
        let key = rule.rule_id.to_string();
        self.put(RULES, &rule.ticker, &key, Some(&encode_rule(&rule)))
            .await;
        rule
    }

    pub(crate) async fn delete_rule(&self, rule: &RuleSnapshot) {
        self.put(RULES, &rule.ticker, &rule.rule_id.to_string(), None)
            .await;
    }

    /// As alert-system does it when it has compared `quote` with the rules.
    pub(crate) async fn mark(&self, quote: &Quote, offset: i64) {
        let mark = TickerMark {
            ticker: quote.ticker.clone(),
            price: quote.price,
            event_time: quote.event_time,
            ingest_time: quote.ingest_time,
            offset,
            restated_at: None,
        };
        let value = encode_ticker(&mark);
        self.put(TICKERS, &mark.ticker, mark.ticker.as_str(), Some(&value))
            .await;
    }

    /// The next quote, checked to be in its ticker's partition.
    pub(crate) async fn next_quote(&mut self) -> Quote {
        self.next_marked().await.0
    }

    /// As [`Self::next_quote`], and with the mark that prices are counted anew.
    pub(crate) async fn next_marked(&mut self) -> (Quote, Option<Timestamp>) {
        let next = async {
            while self.pending.is_empty() {
                if let ConsumerEvent::Batch(batch) = self.quotes.next().await.unwrap() {
                    for record in batch.records.into_iter().rev() {
                        let payload = record.payload.as_deref().unwrap();
                        let quote = decode_quote(payload).unwrap();
                        let mark = QuoteDecoder::default().decode(payload).unwrap().restated_at;
                        assert_eq!(record.partition, partition_of(&quote.ticker, PARTITIONS));
                        assert_eq!(record.key.as_deref(), Some(quote.ticker.as_str().as_bytes()));
                        assert!(record.trace.is_some());
                        self.pending.push((quote, mark));
                    }
                }
            }
        };
        tokio::time::timeout(PATIENCE, next)
            .await
            .expect("a quote in time");
        self.pending.pop().unwrap()
    }

    /// Reads feeds until one is as `wanted`. Returns the feeds that came before, and it.
    pub(crate) async fn feeds_until(&mut self, wanted: impl Fn(&FeedChange) -> bool) -> Vec<FeedChange> {
        let mut found = Vec::new();
        let reading = async {
            while !found.last().is_some_and(&wanted) {
                if let Some(feed) = self.pending_feeds.pop_front() {
                    found.push(feed);
                } else if let ConsumerEvent::Batch(batch) = self.feeds.next().await.unwrap() {
                    for record in batch.records {
                        assert_eq!(record.partition, 0);
                        let payload = record.payload.as_deref().unwrap();
                        let feed = decode_feed(record.key.as_deref(), payload).unwrap();
                        self.pending_feeds.push_back(feed);
                    }
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading)
            .await
            .expect("a feed in time");
        found
    }

    pub(crate) async fn quote_of(&mut self, name: &str) -> Quote {
        let wanted: Ticker = name.parse().unwrap();
        loop {
            let quote = self.next_quote().await;
            if quote.ticker == wanted {
                return quote;
            }
        }
    }

    pub(crate) async fn until_ready(&self) {
        let ready = async {
            while self
                .collector
                .as_ref()
                .unwrap()
                .context
                .health
                .readiness()
                .is_err()
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ready)
            .await
            .expect("ready in time");
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.collector.as_ref().unwrap().running.is_finished()
    }

    pub(crate) async fn end(mut self) {
        self.end_collector().await;
    }
}
