use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use e2e::report::{Bar, Progress, Row};

use crate::broker::Broker;
use crate::child::{Baseline, Process};

/// As many as `stockalert feed synthetic` quotes unless it is told otherwise.
pub(crate) const FED_TICKERS: u32 = 10_000;
/// As `stockalert feed` has it.
pub(crate) const FEED_LINGER: Duration = Duration::from_millis(5);

/// Quotes per second that the feed is to keep up.
const RATE: f64 = 100_000.0;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounds {
    pub(crate) rounds: usize,
    /// Of a feed, the start of its process among it.
    pub(crate) duration: Duration,
    /// Of the bare producer.
    pub(crate) records: usize,
}

/// Quotes per second of `stockalert feed`, as fast as it can and at a rate that it is given, beside a process that only
/// hands quotes to the client that were made and encoded beforehand: the same keys, sizes, header and settings.
pub(crate) async fn measure(broker: &Broker, plan: Rounds, progress: &Progress) -> anyhow::Result<[Row; 2]> {
    broker.fresh().await?;
    let (mut bare, mut fast, mut steady) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=plan.rounds {
        progress.say(&format!("feed, round {round} of {}", plan.rounds));
        let records = plan.records;
        let taken = Process::start(Baseline::Produce { records }, &broker.arguments)?.answer()?;
        bare.push(records as f64 / taken.wall.as_secs_f64());
        fast.push(feed(broker, "max", plan.duration)?);
        steady.push(feed(broker, &format!("{RATE:.0}/s"), plan.duration)?);
    }
    let note = |name: &str, rates: &[f64]| {
        let each: Vec<String> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
        format!("{name}, every round: {} quotes/s", each.join(", "))
    };
    Ok([
        Row {
            name: "feed, as fast as it can : bare producer".into(),
            unit: "/s",
            measured: middle(&fast),
            baseline: middle(&bare),
            bar: Bar::AtLeast(0.8),
            notes: vec![note("feed", &fast), note("bare producer", &bare)],
        },
        Row {
            name: format!("feed at {RATE:.0}/s : that, or the bare producer"),
            unit: "/s",
            measured: middle(&steady),
            baseline: middle(&bare).min(RATE),
            bar: Bar::AtLeast(0.8),
            notes: vec![note("feed at that rate", &steady)],
        },
    ])
}

/// What the feed says of itself, after so long.
fn feed(broker: &Broker, rate: &str, duration: Duration) -> anyhow::Result<f64> {
    let folder =
        std::env::var("STOCKALERT_BIN_DIR").context("STOCKALERT_BIN_DIR is not set; run make bench")?;
    let child = Command::new(Path::new(&folder).join("stockalert"))
        .args(["feed", "synthetic", "--json", "--rate", rate])
        .args(["--tickers", &FED_TICKERS.to_string()])
        .env("KAFKA_BOOTSTRAP_SERVERS", &broker.arguments.bootstrap_servers)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("stockalert could not be started")?;
    std::thread::sleep(duration);
    Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("the feed failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let totals: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    totals["quotes_per_second"]
        .as_f64()
        .context("the feed told no rate")
}

/// Of at least one.
fn middle(rates: &[f64]) -> f64 {
    let mut sorted = rates.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
