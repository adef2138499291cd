use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use e2e::process::Service;

use crate::broker::Broker;
use crate::child::{Baseline, Process, Taken};
use crate::scene::Scene;
use crate::system::{start, stop};
use e2e::report::{Bar, Progress, Row, median};

/// Histogram of the alert-system, of which the sum is asked.
const RESTORE: &str = "stockalert_restore_seconds_sum";

/// How long the alert-system takes to read its state, beside a consumer that reads the same records and forgets them.
/// Gives the system that restored last, which is ready.
pub(crate) async fn measure(
    broker: &Broker,
    scene: &Scene,
    rounds: usize,
    logs: &Path,
    progress: &Progress,
) -> anyhow::Result<(Row, Service)> {
    let (mut restored, mut bare): (Vec<Duration>, Vec<Taken>) = (Vec::new(), Vec::new());
    let mut system: Option<Service> = None;
    for round in 1..=rounds {
        progress.say(&format!("restore, round {round} of {rounds}"));
        if let Some(system) = system.take() {
            stop(system).await?;
        }
        let records = scene.state_records;
        bare.push(Process::start(Baseline::ReadState { records }, &broker.arguments)?.answer()?);
        let service = start(&broker.arguments, logs).await?;
        restored.push(restore_time(&service).await?);
        system = Some(service);
    }
    let bare: Vec<Duration> = bare.iter().map(|taken| taken.wall).collect();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let each = |times: &[Duration]| -> Vec<String> {
        let shown = |time: &Duration| format!("{:.0}", milliseconds(*time));
        times.iter().map(shown).collect()
    };
    let row = Row {
        name: format!("restore of {} records : bare consumer", scene.state_records),
        unit: "ms",
        measured: milliseconds(median(&restored)),
        baseline: milliseconds(median(&bare)),
        bar: Bar::AtMost(1.5),
        notes: vec![format!(
            "restore, every round: {} ms; bare {} ms",
            each(&restored).join(", "),
            each(&bare).join(", ")
        )],
    };
    Ok((row, system.context("no round was made")?))
}

async fn restore_time(service: &Service) -> anyhow::Result<Duration> {
    let seconds = service.metric(RESTORE).await;
    let seconds = seconds.with_context(|| format!("the alert-system has no metric {RESTORE}"))?;
    Ok(Duration::from_secs_f64(seconds))
}
