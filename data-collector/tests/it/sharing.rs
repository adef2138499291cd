//! Two collectors on one broker divide the tickers, and one alone takes them all.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use cqrs::domain::{Quote, Ticker};
use data_collector::{Config, SourceArgs, start_price};
use service::Context;
use service::codec::decode_quote;
use service::config::KafkaArgs;
use service::kafka::{BatchConsumer, BatchLimits, ConsumerEvent, EmbeddedBroker, Kafka, StartFrom};
use service::topics::QUOTES;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const PARTITIONS: i32 = 6;
const TICKERS: usize = 40;
const INTERVAL: Duration = Duration::from_millis(500);
/// The embedded broker lets members join only every few seconds, and machines are busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Collectors make different prices, so that a quote tells whose it is.
const SEEDS: [u64; 2] = [1, 2];

/// Tickers whose prices the two seeds make far apart.
fn tickers() -> Vec<Ticker> {
    (0..)
        .map(|number| format!("T{number}").parse().unwrap())
        .filter(|ticker| {
            let [one, two] = SEEDS.map(|seed| start_price(seed, ticker).to_f64());
            (one / two).ln().abs() > 0.7
        })
        .take(TICKERS)
        .collect()
}

/// Which of the collectors made it.
fn maker(quote: &Quote) -> usize {
    let [one, two] = SEEDS.map(|seed| {
        (quote.price.to_f64() / start_price(seed, &quote.ticker).to_f64())
            .ln()
            .abs()
    });
    usize::from(two < one)
}

struct Collector {
    context: Context,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Collector {
    fn start(kafka: &KafkaArgs, seed: u64, tickers: &tempfile::NamedTempFile) -> Self {
        let mut source = SourceArgs::synthetic(seed, INTERVAL).unwrap();
        source.ticker_file = Some(tickers.path().to_owned());
        let config = Config {
            kafka: kafka.clone(),
            source,
        };
        let context = Context::default();
        Self {
            running: tokio::spawn(data_collector::run(config, context.clone())),
            context,
        }
    }

    async fn end(self) {
        self.context.shutdown.cancel();
        self.running.await.unwrap().unwrap();
    }
}

/// Who made each ticker's quotes in so long from now on, in order.
async fn makers(quotes: &mut BatchConsumer, time: Duration) -> BTreeMap<Ticker, Vec<usize>> {
    let end = Instant::now() + time;
    let mut makers: BTreeMap<Ticker, Vec<usize>> = BTreeMap::new();
    while let Ok(event) = tokio::time::timeout_at(end, quotes.next()).await {
        if let ConsumerEvent::Batch(batch) = event.unwrap() {
            for record in batch.records {
                let quote = decode_quote(record.payload.as_deref().unwrap()).unwrap();
                makers
                    .entry(quote.ticker.clone())
                    .or_default()
                    .push(maker(&quote));
            }
        }
    }
    makers
}

/// Looks again and again, for an interval and a half, until it is as `wanted`.
async fn until(quotes: &mut BatchConsumer, wanted: impl Fn(&BTreeMap<Ticker, Vec<usize>>) -> bool) {
    let start = Instant::now();
    loop {
        let seen = makers(quotes, INTERVAL * 3 / 2).await;
        if wanted(&seen) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "it stays as it is: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_collectors_divide_the_tickers_and_one_that_is_left_alone_takes_them_all() {
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
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for ticker in tickers() {
        writeln!(file, "{ticker}").unwrap();
    }
    let kafka = Kafka::connect(settings).await.unwrap();
    let limits = BatchLimits {
        max_records: 100,
        max_wait: Duration::from_millis(10),
    };
    let mut quotes = kafka
        .consumer("test", QUOTES, StartFrom::Beginning, limits)
        .unwrap();
    let [one, two] = SEEDS.map(|seed| Collector::start(&kafka_args, seed, &file));

    let by_both = |seen: &BTreeMap<Ticker, Vec<usize>>| {
        let of = |maker| seen.values().filter(|makers| makers.contains(&maker)).count();
        seen.len() == TICKERS && of(0) > 0 && of(1) > 0 && of(0) + of(1) == TICKERS
    };
    until(&mut quotes, by_both).await;
    let seen = makers(&mut quotes, INTERVAL * 8).await;
    assert!(by_both(&seen), "each ticker is one's alone: {seen:?}");
    for (ticker, makers) in &seen {
        assert!(
            (6..=10).contains(&makers.len()),
            "{ticker}: {} times in 8 intervals",
            makers.len()
        );
    }

    one.end().await;
    let by_the_second = |seen: &BTreeMap<Ticker, Vec<usize>>| {
        seen.len() == TICKERS && seen.values().all(|makers| makers.iter().all(|maker| *maker == 1))
    };
    until(&mut quotes, by_the_second).await;
    two.end().await;
    quotes.close().await;
}
