//! Three data collectors share tickers on a real Kafka while one after the other is killed: no ticker is silent for long, and
//! none is asked for too often. A stub in place of the provider writes down who asked for what, and when.

mod provider;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use cqrs::domain::{Range, RuleId, RuleSnapshot, RuleVersion, Ticker, Timestamp, UserId};
use e2e::is_full;
use e2e::process::Service;
use e2e::servers::KafkaServer;
use service::codec::encode_rule;
use service::config::KafkaArgs;
use service::kafka::{Kafka, Outgoing};
use service::topics::RULES;
use tempfile::TempDir;

use crate::system;
use provider::{Asked, Provider};

const COLLECTORS: usize = 3;
const PARTITIONS: i32 = 12;
const TICKERS: usize = 300;
/// Longer than half of the time that a killed collector's tickers have no holder, so that beats fall into it and beside it.
const INTERVAL: Duration = Duration::from_secs(6);
/// What the system promises: a dead collector's tickers are asked for by another.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(15);
const KILL_EVERY: Duration = Duration::from_secs(20);
/// Every other victim comes back only after others have taken its tickers.
const LONG_ABSENCE: Duration = Duration::from_secs(13);
/// Tickers that are due together go out in one call, and calls take their time on a busy machine.
const JITTER: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka; run by make test"]
async fn killed_collectors_leave_no_ticker_silent_and_none_is_asked_for_twice_as_often_on_kafka() {
    let _turn = system::beside_others().await;
    let kills = if is_full() { 15 } else { 2 };
    let mut run = Collectors::start().await;
    run.all_tickers_are_asked_for().await;
    let start = Instant::now();
    for kill in 0..kills {
        run.kill(kill).await;
        let next = start + KILL_EVERY * u32::try_from(kill + 1).unwrap();
        tokio::time::sleep_until(next.into()).await;
    }
    // The last one's tickers are taken over, too.
    tokio::time::sleep(TAKEN_OVER_WITHIN + INTERVAL).await;
    run.compare(start, Instant::now());
}

struct Collectors {
    // Dropped in this order: the services before their server.
    collectors: Vec<Service>,
    provider: Provider,
    _kafka: KafkaServer,
    _folder: TempDir,
}

impl Collectors {
    async fn start() -> Self {
        let kafka = KafkaServer::start().unwrap();
        write_rules(&kafka.bootstrap_servers).await;
        let provider = Provider::start().await;
        let folder = tempfile::tempdir().unwrap();
        let collectors = (0..COLLECTORS).map(|number| {
            let settings = [
                ("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers.clone()),
                ("QUOTE_PROVIDER", "binance".into()),
                ("BINANCE_URL", provider.url_of(number)),
                ("QUOTE_POLL_INTERVAL", format!("{}s", INTERVAL.as_secs())),
            ];
            let name = format!("data-collector-{number}");
            Service::start(&name, "data-collector", &settings, folder.path()).unwrap()
        });
        let mut collectors: Vec<Service> = collectors.collect();
        for collector in &mut collectors {
            collector.ready(PATIENCE).await.unwrap();
        }
        Self {
            collectors,
            provider,
            _kafka: kafka,
            _folder: folder,
        }
    }

    /// Twice, so that what the start brings with it has passed.
    async fn all_tickers_are_asked_for(&self) {
        for _ in 0..2 {
            let start = Instant::now();
            loop {
                let asked = self.provider.asked();
                let now: HashSet<&str> = asked
                    .iter()
                    .filter(|asked| asked.at >= start)
                    .map(|asked| asked.symbol.as_str())
                    .collect();
                if now.len() == TICKERS {
                    break;
                }
                assert!(
                    start.elapsed() < PATIENCE,
                    "{} of {TICKERS} are asked for",
                    now.len()
                );
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    async fn kill(&mut self, number: usize) {
        let victim = number % COLLECTORS;
        self.collectors[victim].kill().unwrap();
        self.provider.dead(victim);
        println!("kill {}: collector {victim}", number + 1);
        if number % 2 == 1 {
            tokio::time::sleep(LONG_ABSENCE).await;
        }
        self.collectors[victim].start_again().unwrap();
    }

    fn compare(&self, start: Instant, end: Instant) {
        let mut by_symbol: HashMap<String, Vec<Asked>> = HashMap::new();
        for asked in self.provider.asked() {
            by_symbol.entry(asked.symbol.clone()).or_default().push(asked);
        }
        assert_eq!(by_symbol.len(), TICKERS);
        let mut seen = Seen::default();
        for (symbol, asked) in &by_symbol {
            let since = asked.iter().rposition(|asked| asked.at < start).unwrap_or(0);
            seen.look(symbol, &asked[since..], end);
        }
        println!(
            "{TICKERS} tickers every {INTERVAL:?}, {} s: asked for {} times, {} takeovers, {} of them with one time too many; the longest silence was {:.1} s",
            (end - start).as_secs(),
            seen.asked,
            seen.takeovers,
            seen.extra,
            seen.silence.as_secs_f64()
        );
        assert!(
            seen.takeovers > TICKERS / COLLECTORS,
            "the kills moved no tickers"
        );
        // The last time before, each interval once with one at either end, and once for each takeover.
        let intervals = (end - start).as_secs_f64() / INTERVAL.as_secs_f64();
        let wanted = TICKERS as f64 * (intervals + 2.0) + seen.takeovers as f64;
        assert!(
            (seen.asked as f64) <= wanted,
            "asked for {} times, {wanted:.0} are wanted",
            seen.asked
        );
    }
}

/// What was seen of all tickers.
#[derive(Debug, Default)]
struct Seen {
    asked: usize,
    /// How often another process asked than the last time.
    takeovers: usize,
    /// Of these, how often within half an interval.
    extra: usize,
    silence: Duration,
}

impl Seen {
    /// One ticker, from the last time before the kills.
    fn look(&mut self, symbol: &str, asked: &[Asked], end: Instant) {
        let longest = TAKEN_OVER_WITHIN + INTERVAL;
        for pair in asked.windows(2) {
            let apart = pair[1].at - pair[0].at;
            assert!(apart <= longest, "{symbol} was silent for {apart:?}: {pair:?}");
            self.silence = self.silence.max(apart);
            if pair[0].process == pair[1].process {
                let half = INTERVAL / 2 - JITTER;
                assert!(
                    apart >= half,
                    "{symbol} was asked for again after {apart:?}: {pair:?}"
                );
            } else {
                self.takeovers += 1;
                self.extra += usize::from(apart < INTERVAL / 2);
            }
        }
        // Whoever gives a ticker away asks for it no more.
        for three in asked.windows(3) {
            let apart = three[2].at - three[0].at;
            let half = INTERVAL / 2 - JITTER;
            assert!(
                apart >= half,
                "{symbol} was asked for three times within {apart:?}: {three:?}"
            );
        }
        let last = asked.last().map_or(longest, |last| end - last.at);
        assert!(last <= longest, "{symbol} was not asked for in the last {last:?}");
        self.asked += asked.len();
    }
}

/// One rule for each ticker, and for some of them many older ones, as in a topic that lives.
async fn write_rules(bootstrap_servers: &str) {
    let settings = KafkaArgs::plain(bootstrap_servers.to_owned(), PARTITIONS).settings();
    let kafka = Kafka::connect(&settings).await.unwrap();
    let producer = kafka
        .producer(Duration::from_secs(60), Duration::from_millis(5))
        .unwrap();
    let mut written = Vec::new();
    for number in 0..TICKERS {
        let ticker: Ticker = provider::ticker(number).parse().unwrap();
        for version in 1..=20 {
            let rule = RuleSnapshot {
                rule_id: RuleId::generate(),
                user_id: UserId::generate(),
                ticker: ticker.clone(),
                range: Range::new(None, Some("1000".parse().unwrap())).unwrap(),
                version: RuleVersion::FIRST,
                active: version == 20,
                expires_at: None,
                updated_at: Timestamp::now(),
                generation: 1,
            };
            let (key, payload) = (rule.rule_id.to_string(), encode_rule(&rule));
            let record = Outgoing {
                topic: RULES,
                ticker: &ticker,
                key: key.as_bytes(),
                payload: Some(&payload),
                trace: None,
            };
            written.push(producer.send(record).await.unwrap());
        }
    }
    for acknowledgement in written {
        acknowledgement.wait().await.unwrap();
    }
}
