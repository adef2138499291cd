//! Prices that are counted anew: what is told of them, in which order, and what a broker leaves that fails half-way.

mod collected;
mod log;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cqrs::domain::{FeedChange, Price, Quote, Restatement, Split, Ticker, TickerMark, Timestamp};
use data_collector::baseline::Baselines;
use data_collector::breaker::{Breaker, Settings};
use data_collector::feed::Feed;
use data_collector::poll::{Pace, Poller, TickerState};
use data_collector::provider::source::{Source, Sources};
use data_collector::provider::{Answers, Fetched, Market, Provider, ProviderError};
use data_collector::publish::Publisher;
use data_collector::staleness::Trading;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use service::kafka::{Kafka, KafkaSettings};
use service::topics::ALL;

use log::{Seen, feeds, quotes};

const FINE: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
const REFUSED: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;

fn price(text: &str) -> Price {
    text.parse().unwrap()
}

fn unmarked(text: &str) -> Seen {
    (price(text), None)
}

/// What a provider says of every ticker: its price, and the currency.
type Word = Arc<Mutex<(&'static str, &'static str)>>;

/// A provider that says what it is told to.
#[derive(Debug)]
struct Voice {
    name: &'static str,
    word: Word,
    /// How often anybody was asked.
    asked: Arc<AtomicUsize>,
}

impl Provider for Voice {
    fn name(&self) -> &'static str {
        self.name
    }

    fn endpoint(&self) -> &'static str {
        "voice"
    }

    fn batch_size(&self) -> NonZeroUsize {
        NonZeroUsize::MIN
    }

    fn fetch_batch<'a>(&'a self, tickers: &'a [Ticker]) -> BoxFuture<'a, Result<Answers, ProviderError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let ((price, currency), now) = (*self.word.lock().unwrap(), Timestamp::now());
        let answers = tickers.iter().map(|ticker| {
            let quote = Quote {
                ticker: ticker.clone(),
                price: self::price(price),
                currency: currency.into(),
                volume: None,
                trade_side: None,
                event_time: now,
                ingest_time: now,
                source: self.name.into(),
            };
            let fetched = Fetched {
                quote,
                trading: Trading::Unknown,
                market: Market::Unknown,
            };
            (ticker.clone(), Ok(fetched))
        });
        std::future::ready(Ok(answers.collect())).boxed()
    }
}

/// A poller of one ticker with two providers, and a broker that fails when it is told to.
struct Scene {
    words: [Word; 2],
    poller: Poller,
    ticker: Ticker,
    state: Option<TickerState>,
    kafka: Kafka,
    baselines: Arc<Baselines>,
    asked: Arc<AtomicUsize>,
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Scene {
    /// After the first poll.
    async fn start(price: &'static str, currency: &'static str) -> Self {
        let mut scene = Self::open(price, currency).await;
        scene.baselines.use_them();
        scene.poll().await;
        assert_eq!(scene.quotes(), [unmarked(price)]);
        scene
    }

    async fn open(price: &'static str, currency: &'static str) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        for topic in ALL {
            cluster.create_topic(topic.name, 1, 1).unwrap();
        }
        let settings = KafkaSettings {
            bootstrap_servers: cluster.bootstrap_servers(),
            partitions: 1,
            properties: Vec::new(),
        };
        let kafka = Kafka::connect(&settings).await.unwrap();
        let producer = kafka.producer(Duration::from_secs(20), Duration::ZERO).unwrap();
        let asked = Arc::<AtomicUsize>::default();
        let words = [(); 2].map(|()| Word::new(Mutex::new((price, currency))));
        let sources = ["first", "second"].into_iter().zip(&words).map(|(name, word)| {
            let voice = Voice {
                name,
                word: Arc::clone(word),
                asked: Arc::clone(&asked),
            };
            let breaker = Arc::new(Breaker::new(name, "voice", &Settings::default()));
            let feed = Arc::new(Feed::new(name, Arc::default()));
            Source::new(Box::new(voice), breaker, feed, Duration::ZERO)
        });
        let sources = Arc::new(Sources::new(sources.collect()));
        let pace = Pace {
            interval: Duration::from_secs(60),
            stale_after: Duration::from_secs(60),
        };
        let baselines = Arc::new(Baselines::default());
        Self {
            words,
            poller: Poller::new(
                sources,
                Publisher::new(producer),
                Arc::clone(&baselines),
                pace,
                Default::default(),
            ),
            ticker: "AAPL".parse().unwrap(),
            state: None,
            kafka,
            cluster,
            baselines,
            asked,
        }
    }

    async fn poll(&mut self) {
        let state = self.state.take().unwrap_or_default();
        self.state = Some(self.poller.poll(&self.ticker, state).await);
    }

    fn both_say(&self, price: &'static str, currency: &'static str) {
        for word in &self.words {
            *word.lock().unwrap() = (price, currency);
        }
    }

    /// How the broker answers the next records.
    fn broker_says(&self, answers: &[RDKafkaRespErr]) {
        self.cluster.request_errors(RDKafkaApiKey::Produce, answers);
    }

    fn quotes(&self) -> Vec<Seen> {
        quotes(&self.kafka)
    }

    fn restatements(&self) -> Vec<Restatement> {
        let feeds = feeds(&self.kafka).into_iter();
        feeds
            .filter_map(|feed| match feed {
                FeedChange::Restated(restatement) => Some(restatement),
                FeedChange::Ticker(_) | FeedChange::Provider(_) => None,
            })
            .collect()
    }
}

#[tokio::test]
async fn a_split_is_told_of_and_its_first_quote_bears_the_mark() {
    let mut scene = Scene::start("645.70", "USD").await;
    scene.both_say("92.42", "USD");
    let before = Timestamp::now();
    scene.poll().await;
    let [told] = scene.restatements().try_into().unwrap();
    assert!(before <= told.event_time && told.event_time <= told.restated_at);
    let expected = Restatement {
        ticker: scene.ticker.clone(),
        from: price("645.70"),
        to: price("92.42"),
        split: Split::new(7, 1),
        ..told.clone()
    };
    assert_eq!(told, expected);
    scene.both_say("92.50", "USD");
    scene.poll().await;
    let marked = (price("92.42"), Some(told.restated_at));
    assert_eq!(scene.quotes(), [unmarked("645.7"), marked, unmarked("92.5")]);
    assert_eq!(scene.restatements(), [told], "once");
}

#[tokio::test]
async fn no_quote_is_written_where_the_feeds_record_was_not_and_the_next_poll_writes_both() {
    let mut scene = Scene::start("645.70", "USD").await;
    scene.both_say("92.42", "USD");
    scene.broker_says(&[REFUSED]);
    scene.poll().await;
    assert_eq!(scene.quotes(), [unmarked("645.7")]);
    assert_eq!(scene.restatements(), []);
    scene.poll().await;
    let [told] = scene.restatements().try_into().unwrap();
    let marked = (price("92.42"), Some(told.restated_at));
    assert_eq!(scene.quotes(), [unmarked("645.7"), marked]);
}

#[tokio::test]
async fn where_the_quote_was_not_written_the_next_poll_writes_both_again_with_one_new_time() {
    let mut scene = Scene::start("645.70", "USD").await;
    scene.both_say("92.42", "USD");
    scene.broker_says(&[FINE, REFUSED]);
    scene.poll().await;
    let [first] = scene.restatements().try_into().unwrap();
    assert_eq!(scene.quotes(), [unmarked("645.7")], "told of, and not written");
    scene.both_say("92.43", "USD");
    scene.poll().await;
    let [_, second] = scene.restatements().try_into().unwrap();
    assert!(first.restated_at < second.restated_at);
    assert_eq!((second.from, second.to), (first.from, price("92.43")));
    let marked = (price("92.43"), Some(second.restated_at));
    assert_eq!(scene.quotes(), [unmarked("645.7"), marked]);
}

#[tokio::test]
async fn another_unit_is_told_of_with_its_hundred_where_it_is_one() {
    for (to, split) in [
        ("0.148", Split::new(100, 1)),
        ("1440", Split::new(1, 100)),
        ("14550", None),
    ] {
        let mut scene = Scene::start("14.55", "GBp").await;
        scene.both_say(to, "GBp");
        scene.poll().await;
        let [told] = scene.restatements().try_into().unwrap();
        assert_eq!(told.split, split, "{to}");
        let marked = (price(to), Some(told.restated_at));
        assert_eq!(scene.quotes(), [unmarked("14.55"), marked]);
    }
}

#[tokio::test]
async fn a_true_move_restates_nothing() {
    let mut scene = Scene::start("100", "USD").await;
    scene.both_say("45", "USD");
    scene.poll().await;
    assert_eq!(scene.quotes(), [unmarked("100"), unmarked("45")]);
    assert_eq!(scene.restatements(), []);
}

#[tokio::test]
async fn no_provider_is_asked_before_it_is_known_what_was_published_before() {
    let scene = Scene::open("92.42", "USD").await;
    let polling = scene.poller.poll(&scene.ticker, TickerState::default());
    let reading = async {
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(scene.asked.load(Ordering::Relaxed), 0);
        let yesterday = Timestamp::now().minus(Duration::from_secs(24 * 60 * 60));
        scene.baselines.take(TickerMark {
            ticker: scene.ticker.clone(),
            price: price("645.70"),
            event_time: yesterday,
            ingest_time: yesterday,
            offset: 7,
            restated_at: None,
        });
        scene.baselines.use_them();
    };
    tokio::join!(polling, reading);
    let [told] = scene.restatements().try_into().unwrap();
    assert_eq!((told.from, told.split), (price("645.70"), Split::new(7, 1)));
    assert_eq!(scene.quotes(), [(price("92.42"), Some(told.restated_at))]);
}
