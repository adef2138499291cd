//! What a command and a read cost over gRPC on real servers, each beside a bare tonic server that answers the same messages at
//! once, in the same run; and what one durable row a call costs a bare server. `make bench` brings the servers and the programs.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

mod bare;
mod calls;
mod echo;
mod load;
mod rows;
mod scene;

use std::time::Duration;

use anyhow::bail;
use clap::{Parser, Subcommand};
use e2e::report::{Bar, Progress, Row};
use service::config::{DatabaseArgs, KafkaArgs};

use crate::bare::Bare;
use crate::calls::{CreateRule, GetLatestQuote};
use crate::load::{Clients, Load, Phase};
use crate::scene::Scene;

/// The API on real servers, in numbers.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Fewer and shorter rounds: numbers of the right size within a minute.
    #[arg(long)]
    quick: bool,
    #[command(subcommand)]
    baseline: Option<Baseline>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Baseline {
    /// Answers every call at once with what it was asked, until it is killed.
    #[command(hide = true)]
    Echo,
    /// Answers CreateRule when a row of it is durable, until it is killed.
    #[command(hide = true)]
    Rows,
}

/// How much is measured.
struct Plan {
    rounds: usize,
    phase: Phase,
}

const FULL: Plan = Plan {
    rounds: 5,
    phase: Phase {
        warm_up: Duration::from_secs(1),
        measured: Duration::from_secs(4),
    },
};

const QUICK: Plan = Plan {
    rounds: 3,
    phase: Phase {
        warm_up: Duration::from_millis(500),
        measured: Duration::from_millis(1_500),
    },
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.baseline {
        Some(Baseline::Echo) => return echo::serve().await,
        Some(Baseline::Rows) => return rows::serve(&arguments.database.database_url).await,
        None => {}
    }
    if cfg!(debug_assertions) {
        bail!("a development build measures nothing; run `make bench`");
    }
    let plan = if arguments.quick { &QUICK } else { &FULL };
    let rows = measure(&arguments.kafka, &arguments.database, plan).await?;
    e2e::report::print(&rows);
    Ok(())
}

async fn measure(kafka: &KafkaArgs, database: &DatabaseArgs, plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let progress = Progress::start();
    progress.say("starting grpc-server, and registering users");
    let scene = Scene::set(kafka, database).await?;
    let echo = Bare::start("echo", &database.database_url)?;
    let rows = Bare::start("rows", &database.database_url)?;
    let ours = Clients::connect(&scene.address, &scene.callers).await?;
    let bare = Clients::connect(&echo.address, &scene.callers).await?;
    let durable = Clients::connect(&rows.address, &scene.callers).await?;

    let (mut created, mut read, mut kept) = (Pair::default(), Pair::default(), Vec::new());
    for round in 1..=plan.rounds {
        progress.say(&format!("round {round} of {}", plan.rounds));
        created.bare.push(bare.run(CreateRule, plan.phase).await?);
        created.ours.push(ours.run(CreateRule, plan.phase).await?);
        // What they left to be published must not take time from what is measured next.
        scene.settle().await?;
        kept.push(durable.run(CreateRule, plan.phase).await?);
        read.bare.push(bare.run(GetLatestQuote, plan.phase).await?);
        read.ours.push(ours.run(GetLatestQuote, plan.phase).await?);
    }
    progress.say("done");
    Ok(vec![
        row(
            "CreateRule with 64 clients, MariaDB / echo",
            0.5,
            &created.ours,
            &created.bare,
        ),
        row(
            "GetLatestQuote with 64 clients, MariaDB / echo",
            0.7,
            &read.ours,
            &read.bare,
        ),
        row(
            "One bare row with 64 clients, MariaDB / echo",
            0.5,
            &kept,
            &created.bare,
        ),
    ])
}

/// What alternating rounds measured.
#[derive(Default)]
struct Pair {
    ours: Vec<Load>,
    bare: Vec<Load>,
}

/// Of the medians of the rounds.
fn row(name: &str, bar: f64, measured: &[Load], baseline: &[Load]) -> Row {
    let rates =
        |loads: &[Load]| -> Vec<String> { loads.iter().map(|load| format!("{:.0}", load.rate)).collect() };
    let times = |loads: &[Load]| {
        let at =
            |permille| e2e::report::median(&loads.iter().map(|load| load.at(permille)).collect::<Vec<_>>());
        format!("p50 {:.2} ms, p99 {:.2} ms", millis(at(500)), millis(at(990)))
    };
    Row {
        name: name.into(),
        unit: "/s",
        measured: median(measured),
        baseline: median(baseline),
        bar: Bar::AtLeast(bar),
        notes: vec![format!(
            "{name}: {}; echo {}; rounds {} and {} /s",
            times(measured),
            times(baseline),
            rates(measured).join(", "),
            rates(baseline).join(", "),
        )],
    }
}

fn median(loads: &[Load]) -> f64 {
    let mut rates: Vec<_> = loads.iter().map(|load| load.rate).collect();
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
