//! What the alert-system costs on a real broker, and how fast the feed is, each beside the client and the broker alone in
//! the same run. `make bench` brings the broker and the programs.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

mod broker;
mod child;
mod cpu;
mod feed;
mod latency;
mod loop_cost;
mod restore;
mod scene;
mod system;
mod workload;
mod writer;

use std::time::Duration;

use anyhow::bail;
use clap::Parser;
use service::config::KafkaArgs;
use service::kafka::Kafka;

use crate::broker::Broker;
use crate::child::Baseline;
use crate::scene::Scene;
use crate::workload::TICKERS;
use e2e::report::{Progress, Row};

/// The alert-system on a real broker, in numbers.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    kafka: KafkaArgs,
    /// Fewer and shorter rounds: numbers of the right size within a minute and a half.
    #[arg(long)]
    quick: bool,
    #[command(subcommand)]
    baseline: Option<Baseline>,
}

/// How much is measured.
struct Plan {
    latency: latency::Times,
    latency_rules: usize,
    rules: usize,
    restores: usize,
    quotes: usize,
    loops: usize,
    feed: feed::Rounds,
}

const FULL: Plan = Plan {
    latency: latency::Times {
        warm_up: Duration::from_secs(10),
        phase: Duration::from_secs(10),
        phases: 6,
    },
    latency_rules: 100_000,
    rules: 1_000_000,
    restores: 3,
    quotes: 1_000_000,
    loops: 5,
    feed: feed::Rounds {
        rounds: 5,
        duration: Duration::from_secs(4),
        records: 1_000_000,
    },
};

const QUICK: Plan = Plan {
    latency: latency::Times {
        warm_up: Duration::from_secs(4),
        phase: Duration::from_secs(3),
        phases: 5,
    },
    restores: 3,
    loops: 3,
    feed: feed::Rounds {
        rounds: 3,
        duration: Duration::from_secs(3),
        records: 500_000,
    },
    ..FULL
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(baseline) = arguments.baseline {
        let kafka = Kafka::connect(&arguments.kafka.settings()).await?;
        return child::run(baseline, &kafka);
    }
    if cfg!(debug_assertions) {
        bail!("a development build measures nothing; run `make bench`");
    }
    let rows = measure(arguments.kafka, if arguments.quick { &QUICK } else { &FULL }).await?;
    e2e::report::print(&rows);
    Ok(())
}

async fn measure(kafka: KafkaArgs, plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let progress = Progress::start();
    let broker = Broker::claim(kafka)?;
    let logs = tempfile::tempdir()?;

    // First, while the broker has nothing to tidy up.
    progress.say(&format!("writing {} rules", plan.latency_rules));
    let mut scene = Scene::set(broker.fresh().await?, plan.latency_rules / TICKERS)?;
    let latency = latency::measure(&broker, &mut scene, plan.latency, logs.path(), &progress).await?;

    progress.say(&format!("writing {} rules", plan.rules));
    let mut scene = Scene::set(broker.fresh().await?, plan.rules / TICKERS)?;
    let (restore, system) = restore::measure(&broker, &scene, plan.restores, logs.path(), &progress).await?;
    let rounds = (plan.quotes, plan.loops);
    let loop_cost = loop_cost::measure(&broker, &mut scene, &system, rounds, &progress)?;
    system::stop(system).await?;
    let [fast, steady] = feed::measure(&broker, plan.feed, &progress).await?;
    progress.say("done");
    Ok(vec![loop_cost, restore, latency, fast, steady])
}
