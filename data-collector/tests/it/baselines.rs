//! A collector that starts, or takes tickers over, knows the prices that were compared with rules before.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cqrs::domain::{FeedChange, Price, Quote, Split, Ticker, Timestamp};
use data_collector::baseline::{self, Baselines};
use data_collector::{FallbackKind, ProviderKind, SourceArgs};
use rdkafka::mocking::MockCluster;
use service::Health;
use service::kafka::{BatchLimits, Kafka, KafkaSettings};
use service::topics::{ALL, TICKERS};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::provider_stub::{Asked, Reply, Server};
use crate::trial::{PATIENCE, Trial};

/// As Yahoo and as Finnhub, a provider whose prices can be set.
struct Market {
    server: Server,
    price: Arc<Mutex<&'static str>>,
}

impl Market {
    async fn start(price: &'static str) -> Self {
        let price = Arc::new(Mutex::new(price));
        let now = Arc::clone(&price);
        let server = Server::start(move |asked| {
            let (price, time) = (*now.lock().unwrap(), Timestamp::now().as_micros() / 1_000_000);
            let name = ticker_of(asked);
            let meta = format!(
                r#"{{"symbol":"{name}","currency":"USD","regularMarketPrice":{price},"regularMarketTime":{time},"priceHint":2}}"#
            );
            let chart = format!(r#"{{"result":[{{"meta":{meta}}}],"error":null}}"#);
            Reply::new(200, format!(r#"{{"c":{price},"t":{time},"chart":{chart}}}"#))
        })
        .await;
        Self { server, price }
    }

    fn is_at(&self, price: &'static str) {
        *self.price.lock().unwrap() = price;
    }

    fn source(&self) -> SourceArgs {
        SourceArgs {
            quote_provider: ProviderKind::Yahoo,
            quote_provider_url: self.server.url(),
            ..unhurried()
        }
    }

    /// How often each ticker was asked for.
    fn polls(&self) -> HashMap<String, usize> {
        let mut polls = HashMap::new();
        for asked in self.server.asked() {
            *polls.entry(ticker_of(&asked)).or_default() += 1;
        }
        polls
    }

    /// Waits until each of the tickers has been asked for so many times more.
    async fn until_asked(&self, names: &[String], times: usize) {
        let before = self.polls();
        let asked = async {
            loop {
                let now = self.polls();
                let of = |polls: &HashMap<String, usize>, name| polls.get(name).copied().unwrap_or(0);
                if names
                    .iter()
                    .all(|name| of(&now, name) >= of(&before, name) + times)
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, asked)
            .await
            .expect("polls in time");
    }
}

fn unhurried() -> SourceArgs {
    let mut source = SourceArgs::synthetic(1, Duration::from_millis(100)).unwrap();
    source.providers.yahoo_calls = 100_000;
    source
}

fn ticker_of(asked: &Asked) -> String {
    let symbol = asked.query("symbol").map(str::to_owned);
    symbol.unwrap_or_else(|| asked.path.rsplit('/').next().unwrap().to_owned())
}

fn price(text: &str) -> Price {
    text.parse().unwrap()
}

/// One ticker's next quote, which must be so much.
async fn next_is(trial: &mut Trial, text: &str) -> Quote {
    let quote = trial.quote_of("AAPL").await;
    assert_eq!(quote.price, price(text));
    quote
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_that_happened_while_nobody_looked_is_held_back_until_it_is_proved_and_restates_prices() {
    let market = Market::start("645.70").await;
    let aapl = ["AAPL".to_owned()];
    let mut trial = Trial::start(market.source()).await;
    let rule = trial.add_rule("AAPL").await;
    let before = next_is(&mut trial, "645.70").await;
    trial.put(TICKERS, &before.ticker, "AAPL", None).await;
    let garbage = Some(&b"\xff\xff no mark"[..]);
    trial.put(TICKERS, &before.ticker, "AAPL", garbage).await;
    trial.mark(&before, 0).await;

    // A restart.
    market.is_at("92.42");
    trial.restart(market.source()).await;
    market.until_asked(&aapl, 5).await;
    market.is_at("645.80");
    let back = loop {
        // Those that were published before the mark's price was left.
        let quote = trial.quote_of("AAPL").await;
        if quote.price != before.price {
            break quote;
        }
    };
    assert_eq!(
        back.price,
        price("645.80"),
        "what was held back was never published"
    );
    trial.mark(&back, 1).await;

    // A ticker that is wanted no more, and then again.
    let control = trial.add_rule("CONTROL").await;
    trial.delete_rule(&rule).await;
    loop {
        let polls = market.polls();
        market.until_asked(&["CONTROL".to_owned()], 5).await;
        if polls.get("AAPL") == market.polls().get("AAPL") {
            break;
        }
    }
    trial.delete_rule(&control).await;
    market.is_at("92.43");
    trial.add_rule("AAPL").await;
    market.until_asked(&aapl, 5).await;

    // And now somebody else says so too.
    let mut source = market.source();
    source.providers.quote_fallback = vec![FallbackKind::Finnhub];
    source.providers.finnhub_url = market.server.url();
    source.providers.finnhub_api_key = Some("SECRET-key".parse().unwrap());
    trial.restart(source).await;
    let (split, mark) = loop {
        let (quote, mark) = trial.next_marked().await;
        if quote.ticker.as_str() == "AAPL" && quote.price != back.price {
            break (quote, mark);
        }
    };
    assert_eq!((split.price, split.source.as_str()), (price("92.43"), "finnhub"));
    let feeds = trial
        .feeds_until(|feed| matches!(feed, FeedChange::Restated(_)))
        .await;
    let Some(FeedChange::Restated(told)) = feeds.last() else {
        panic!("{feeds:?}")
    };
    assert_eq!((told.from, told.split), (back.price, Split::new(7, 1)));
    assert_eq!(mark, Some(told.restated_at));
    trial.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_tickers_over_knows_their_prices_at_once() {
    let names: Vec<String> = (0..12).map(|number| format!("T{number}")).collect();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(names.join("\n").as_bytes()).unwrap();
    let of = |market: &Market| SourceArgs {
        ticker_file: Some(file.path().to_owned()),
        ..market.source()
    };
    let (ours, theirs) = (Market::start("700").await, Market::start("700").await);
    let mut trial = Trial::start(of(&ours)).await;
    let mut last: HashMap<Ticker, Quote> = HashMap::new();
    while last.len() < names.len() {
        let quote = trial.next_quote().await;
        last.insert(quote.ticker.clone(), quote);
    }
    let other = trial.another(of(&theirs));
    // Both have some of them.
    let shared = async {
        while theirs.polls().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, shared)
        .await
        .expect("shared in time");
    for quote in last.values() {
        trial.mark(quote, 1_000).await;
    }
    // Until the other one has read it, in the place of those that it polls already.
    theirs
        .until_asked(
            &[names
                .iter()
                .find(|name| theirs.polls().contains_key(*name))
                .unwrap()
                .clone()],
            20,
        )
        .await;
    theirs.is_at("100");
    trial.hand_over_to(other).await;
    theirs.until_asked(&names, 3).await;
    theirs.is_at("701");
    let mut back = HashMap::new();
    while back.len() < names.len() {
        let quote = trial.next_quote().await;
        assert!(quote.price >= price("700"), "{quote:?}");
        if quote.price == price("701") {
            back.insert(quote.ticker.clone(), ());
        }
    }
    trial.end().await;
}

#[tokio::test]
async fn a_broker_that_is_away_keeps_polls_waiting_for_some_seconds_and_no_longer() {
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
    cluster.broker_down(1).unwrap();
    let limits = BatchLimits {
        max_records: 10,
        max_wait: Duration::from_millis(10),
    };
    let reader = kafka.reader("test", TICKERS, limits).unwrap();
    let (baselines, health, shutdown) = (
        Arc::new(Baselines::default()),
        Health::default(),
        CancellationToken::new(),
    );
    let following = baseline::follow(
        reader,
        Arc::clone(&baselines),
        health.component("baselines"),
        shutdown.clone(),
    );
    let following = tokio::spawn(following);
    let start = Instant::now();
    assert!(health.readiness().is_err());
    // As long as a takeover may take.
    let waiting = tokio::time::timeout(Duration::from_secs(15), baselines.usable());
    waiting.await.expect("polls go on");
    assert!(start.elapsed() >= Duration::from_secs(3), "some time is given");
    assert_eq!(health.readiness(), Ok(()));
    shutdown.cancel();
    following.await.unwrap().unwrap();
}
