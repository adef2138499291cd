//! How long a quote takes to become an alert, beside what the broker alone takes in the same run. Needs Kafka and the
//! programs; `make bench` brings both.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use cqrs::domain::{Quote, Range, RuleId, RuleSnapshot, RuleVersion, Ticker, Timestamp, UserId};
use e2e::log::lag;
use e2e::process::Service;
use service::codec::{decode_alert, decode_quote, encode_quote, encode_rule};
use service::config::KafkaArgs;
use service::kafka::{BatchLimits, ConsumerEvent, Kafka, Outgoing, Producer, Record, StartFrom};
use service::topics::{ALERTS, QUOTES, RULES, Topic};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

/// Quote to alert, in numbers.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    kafka: KafkaArgs,
    /// Quotes per second.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: u64,
    /// How long, in seconds.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
}

/// Each watched by one rule.
const TICKERS: u64 = 100;
/// Every so many-th quote of a ticker changes its rule's side.
const ALERT_EVERY: u64 = 10;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let kafka = Kafka::connect(&arguments.kafka.settings()).await?;
    let producer = kafka.producer(Duration::from_secs(30), Duration::ZERO)?;
    let tickers: Vec<Ticker> = (0..TICKERS)
        .map(|n| format!("T{n}").parse())
        .collect::<Result<_, _>>()?;
    for ticker in &tickers {
        write_rule(&producer, ticker).await?;
    }
    let logs = tempfile::tempdir()?;
    let bootstrap_servers = arguments.kafka.bootstrap_servers.clone();
    let settings = [("KAFKA_BOOTSTRAP_SERVERS", bootstrap_servers.clone())];
    let mut system = Service::start("alert-system", "alert-system", &settings, logs.path())?;
    system.ready(Duration::from_secs(120)).await?;

    let quotes = arguments.rate * arguments.seconds;
    let alerts = quotes / ALERT_EVERY;
    let hop = collect(&kafka, QUOTES, quotes, |record, now| {
        let quote = record
            .payload
            .as_deref()
            .and_then(|payload| decode_quote(payload).ok())?;
        Some((now.since(quote.ingest_time), Duration::ZERO))
    })?;
    let told = collect(&kafka, ALERTS, alerts, |record, now| {
        let alert = record
            .payload
            .as_deref()
            .and_then(|payload| decode_alert(payload).ok())?;
        Some((
            alert.raised_at.since(alert.quote_ingest_time),
            now.since(alert.quote_ingest_time),
        ))
    })?;
    // Both readers are members before the first quote, so that joining is not measured.
    while lag(&bootstrap_servers, "alert-system", RULES)? > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!(
        "{quotes} quotes at {}/s, {alerts} of them alerts, {TICKERS} tickers",
        arguments.rate
    );
    write_quotes(&producer, &tickers, quotes, arguments.rate).await?;

    let (hops, _) = hop.await??;
    let (raised, received) = told.await??;
    println!(
        "{:<44} {:>8} {:>9} {:>9} {:>9}",
        "", "records", "p50 ms", "p99 ms", "max ms"
    );
    row("bare produce to consume, one hop", hops);
    row("quote ingested to alert raised", raised);
    row("quote ingested to alert consumed, two hops", received);
    Ok(())
}

async fn write_rule(producer: &Producer, ticker: &Ticker) -> anyhow::Result<()> {
    let rule = RuleSnapshot {
        rule_id: RuleId::generate(),
        user_id: UserId::generate(),
        ticker: ticker.clone(),
        range: Range::new(Some("90".parse()?), Some("110".parse()?))?,
        version: RuleVersion::FIRST,
        active: true,
        expires_at: None,
        updated_at: Timestamp::EPOCH,
        generation: 1,
    };
    let (key, payload) = (rule.rule_id.to_string(), encode_rule(&rule));
    let outgoing = Outgoing {
        topic: RULES,
        ticker,
        key: key.as_bytes(),
        payload: Some(&payload),
        trace: None,
    };
    Ok(producer.send(outgoing).await?.wait().await?)
}

async fn write_quotes(producer: &Producer, tickers: &[Ticker], quotes: u64, rate: u64) -> anyhow::Result<()> {
    let mut beat = tokio::time::interval(Duration::from_millis(1));
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let start = Instant::now();
    let mut written = 0;
    while written < quotes {
        beat.tick().await;
        let due = u64::try_from(start.elapsed().as_micros())? * rate / 1_000_000;
        while written < due.min(quotes) {
            let ticker = &tickers[usize::try_from(written % TICKERS)?];
            let round = written / TICKERS;
            let outside = (round / ALERT_EVERY).is_multiple_of(2);
            let now = Timestamp::now();
            let quote = Quote {
                ticker: ticker.clone(),
                price: if outside { "120" } else { "100" }.parse()?,
                currency: "USD".into(),
                volume: None,
                trade_side: None,
                event_time: now,
                ingest_time: now,
                source: "bench".into(),
            };
            let payload = encode_quote(&quote);
            let key = ticker.as_str().as_bytes();
            let outgoing = Outgoing {
                topic: QUOTES,
                ticker,
                key,
                payload: Some(&payload),
                trace: None,
            };
            // Failures show as missing records at the other end.
            drop(producer.send(outgoing).await?);
            written += 1;
        }
    }
    Ok(())
}

type Latencies = (Vec<Duration>, Vec<Duration>);

/// Reads so many records of a topic from now on, and measures each at the moment it arrives.
fn collect(
    kafka: &Kafka,
    topic: Topic,
    count: u64,
    measure: impl Fn(&Record, Timestamp) -> Option<(Duration, Duration)> + Send + 'static,
) -> anyhow::Result<JoinHandle<anyhow::Result<Latencies>>> {
    let limits = BatchLimits {
        max_records: 1,
        max_wait: Duration::ZERO,
    };
    let group = RuleId::generate().to_string();
    let mut consumer = kafka.consumer(&group, topic, StartFrom::Beginning, limits)?;
    let count = usize::try_from(count)?;
    Ok(tokio::spawn(async move {
        let (mut first, mut second) = (Vec::with_capacity(count), Vec::with_capacity(count));
        while first.len() < count {
            let event = tokio::time::timeout(Duration::from_secs(60), consumer.next()).await;
            let event =
                event.with_context(|| format!("{}: {} of {count} records came", topic.name, first.len()))?;
            if let ConsumerEvent::Batch(batch) = event? {
                let now = Timestamp::now();
                for (a, b) in batch.records.iter().filter_map(|record| measure(record, now)) {
                    first.push(a);
                    second.push(b);
                }
            }
        }
        Ok((first, second))
    }))
}

fn row(name: &str, mut latencies: Vec<Duration>) {
    latencies.sort();
    let at = |permille: usize| {
        let index = (latencies.len() * permille / 1_000).min(latencies.len().saturating_sub(1));
        latencies
            .get(index)
            .map_or(f64::NAN, |latency| latency.as_secs_f64() * 1_000.0)
    };
    println!(
        "{name:<44} {:>8} {:>9.2} {:>9.2} {:>9.2}",
        latencies.len(),
        at(500),
        at(990),
        at(1_000)
    );
}
