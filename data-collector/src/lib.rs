#![doc = include_str!("../README.md")]

pub mod baseline;
pub mod breaker;
mod config;
pub mod feed;
pub mod follow;
mod metrics;
pub mod poll;
pub mod provider;
pub mod publish;
pub mod replay;
pub mod sanity;
pub mod schedule;
pub mod staleness;
pub mod watchlist;

pub use config::{Config, FallbackKind, ProviderArgs, ProviderKind, SourceArgs, read_tickers};
pub use provider::synthetic::start_price;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::Context as _;
use cqrs::domain::Ticker;
use service::kafka::{BatchLimits, Kafka, StartFrom};
use service::topics::{RULES, TICKERS};
use tokio::sync::mpsc;

use baseline::Baselines;
use poll::{Pace, Poller};
use provider::Provider;
use provider::source::Sources;
use publish::Publisher;
use replay::{OpenFile, Replay, Rows};
use watchlist::Watchlist;

/// The consumer group whose members share the tickers.
pub const GROUP: &str = "data-collector";
/// As whom all instances read the tickers' last prices.
const BASELINES: &str = "data-collector-baselines";

/// Polls that run at once. Most of them wait for company and for the provider's limit; only a few calls are in flight.
const MAX_CONCURRENT_POLLS: usize = 4_096;
/// How long a polled quote is offered to the broker: longer than a broker takes to come back (45 s), short enough that
/// a price is not published when nobody wants it any more.
const POLLED_MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a replayed row is offered to the broker: there is no later one to make up for it.
const REPLAYED_MESSAGE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a quote waits for company: a thousandth of what people notice.
const LINGER: Duration = Duration::from_millis(2);
/// How long the end of the process waits for acknowledgements, within the supervisor's grace period.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);
/// Changes of the watchlist that wait for the schedule.
const CHANGES: usize = 1_024;

/// Collects quotes until `context.shutdown`.
///
/// # Errors
/// A setting that can't be used, before anything connects; a broker that is not there within a minute or whose topics
/// don't fit; a consumer that failed for good.
pub async fn run(config: Config, context: service::Context) -> anyhow::Result<()> {
    metrics::describe();
    let source = Source::open(&config.source)?;
    let kafka_health = context.health.component("kafka");
    let settings = config.kafka.settings();
    let Some(kafka) = context
        .shutdown
        .run_until_cancelled(Kafka::connect(&settings))
        .await
    else {
        return Ok(());
    };
    let kafka = kafka?;
    let publisher = Publisher::new(kafka.producer(source.message_timeout(), LINGER)?);
    kafka_health.ready();
    match source {
        Source::Polled {
            providers,
            pinned,
            pace,
        } => {
            collect(&kafka, providers, pinned, pace, &publisher, context).await?;
        }
        Source::Replayed { replay, rows } => {
            tracing::info!(file = %replay.path.display(), speed = replay.speed, "replay starts");
            let totals = replay.run(rows, &publisher, &context.shutdown).await;
            tracing::info!(?totals, "replay ended");
            // A supervisor would start an ended process again, and the replay with it.
            context.shutdown.cancelled().await;
        }
    }
    publisher.flush(FLUSH_TIMEOUT).await;
    Ok(())
}

/// Where quotes come from, opened and checked.
enum Source {
    Polled {
        providers: Vec<Box<dyn Provider>>,
        pinned: Vec<Ticker>,
        pace: Pace,
    },
    Replayed {
        replay: Replay,
        rows: OpenFile,
    },
}

impl Source {
    fn open(args: &SourceArgs) -> anyhow::Result<Self> {
        if args.quote_provider == ProviderKind::Replay {
            let path = args
                .replay_file
                .clone()
                .context("QUOTE_PROVIDER=replay needs REPLAY_FILE")?;
            let rows = Rows::open(&path)?;
            return Ok(Self::Replayed {
                replay: Replay {
                    path,
                    speed: args.replay_speed,
                },
                rows,
            });
        }
        let pinned = args
            .ticker_file
            .as_deref()
            .map(read_tickers)
            .transpose()
            .map_err(anyhow::Error::msg)?;
        Ok(Self::Polled {
            providers: provider::open::providers(args)?,
            pinned: pinned.unwrap_or_default(),
            pace: Pace {
                interval: args.quote_poll_interval,
                stale_after: args.quote_stale_after,
            },
        })
    }

    const fn message_timeout(&self) -> Duration {
        match self {
            Self::Polled { .. } => POLLED_MESSAGE_TIMEOUT,
            Self::Replayed { .. } => REPLAYED_MESSAGE_TIMEOUT,
        }
    }
}

/// Polls what the rules ask for.
async fn collect(
    kafka: &Kafka,
    providers: Vec<Box<dyn Provider>>,
    pinned: Vec<Ticker>,
    pace: Pace,
    publisher: &Publisher,
    context: service::Context,
) -> anyhow::Result<()> {
    let health = context.health.component("watchlist");
    tracing::info!(
        quote.sources = ?providers.iter().map(|provider| provider.name()).collect::<Vec<_>>(),
        interval = ?pace.interval,
        pinned = pinned.len(),
        "polling starts"
    );
    let limits = BatchLimits {
        max_records: 1_000,
        max_wait: Duration::from_millis(20),
    };
    let consumer = kafka.consumer(GROUP, RULES, StartFrom::Beginning, limits)?;
    let (changes, changed) = mpsc::channel(CHANGES);
    let list = Watchlist::new(kafka.partitions(), pinned);
    let watched = Arc::new(AtomicU64::new(0));
    let sources = Arc::new(Sources::start(providers, pace.interval, &watched));
    let baselines = Arc::new(Baselines::default());
    let marks = kafka.reader(BASELINES, TICKERS, limits)?;
    let poller = Arc::new(Poller::new(
        Arc::clone(&sources),
        publisher.clone(),
        Arc::clone(&baselines),
        pace,
        context.shutdown.clone(),
    ));
    let poll = move |ticker, state| {
        let poller = Arc::clone(&poller);
        async move { poller.poll(&ticker, state).await }
    };
    let polling = schedule::run(
        pace.interval,
        MAX_CONCURRENT_POLLS,
        changed,
        context.shutdown.clone(),
        watched,
        poll,
    );
    let limited = Arc::clone(&sources);
    let share = move |part, whole| limited.share_limits(part, whole);
    let following = follow::follow(consumer, list, changes, share, health, context.shutdown.clone());
    let following = async { following.await.context("the rules can't be followed") };
    let baseline_health = context.health.component("baselines");
    let remembering = baseline::follow(marks, baselines, baseline_health, context.shutdown.clone());
    let remembering = async {
        remembering
            .await
            .context("the tickers' last prices can't be read")
    };
    let reporting = sources.report(publisher, &context.shutdown);
    let reporting = async {
        reporting.await;
        Ok(())
    };
    let working = async { tokio::try_join!(polling, following, remembering, reporting) };
    let out_of_time = async {
        context.shutdown.cancelled().await;
        tokio::time::sleep(FLUSH_TIMEOUT).await;
    };
    tokio::select! {
        result = working => result.map(|_| ()),
        () = out_of_time => {
            tracing::warn!("quotes were left unacknowledged");
            Ok(())
        }
    }
}

/// FNV-1a: the same in every version of this program, which the standard hash is not. For spreading and seeding, not
/// against people who choose tickers to collide.
fn hash(ticker: &Ticker) -> u64 {
    ticker.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
