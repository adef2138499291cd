use std::time::{Duration, Instant};

use anyhow::bail;
use e2e::log::ends;
use e2e::process::Service;
use service::topics::{ALERTS, QUOTES};

use crate::broker::{Broker, GroupOffsets, SYSTEM_GROUP};
use crate::child::{BARE_GROUP, Baseline, Process, Taken};
use crate::cpu::cpu_time;
use crate::scene::Scene;
use crate::writer::Writer;
use e2e::report::{Bar, Progress, Row, median};

/// librdkafka's own.
const LINGER: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(300);

/// What a quote costs the alert-system, beside what it costs a consumer that does nothing with it.
///
/// Quotes are written in a transaction, so that they appear all at once: the system is ready and idle before, and has
/// all of them to read after. The consumer reads the same records next.
pub(crate) fn measure(
    broker: &Broker,
    scene: &mut Scene,
    system: &Service,
    (quotes, rounds): (usize, usize),
    progress: &Progress,
) -> anyhow::Result<Row> {
    GroupOffsets::of(&scene.kafka, BARE_GROUP, QUOTES)?.commit(&scene.evaluated)?;
    let writer = Writer::hidden(&scene.kafka, LINGER)?;
    let group = GroupOffsets::of(&scene.kafka, SYSTEM_GROUP, QUOTES)?;
    let (mut whole, mut bare): (Vec<Taken>, Vec<Taken>) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        progress.say(&format!(
            "whole loop, round {round} of {rounds}: writing {quotes} quotes"
        ));
        let before = alerts(broker)?;
        writer.begin()?;
        let expected = write_quotes(scene, &writer, quotes)?;
        progress.say(&format!(
            "whole loop, round {round} of {rounds}: {expected} alerts to come"
        ));
        whole.push(take(system, &group, &writer)?);
        let made = alerts(broker)? - before;
        if made != expected {
            bail!("{made} alerts were made, not {expected}: what was measured was not what was meant");
        }
        let records = quotes;
        bare.push(Process::start(Baseline::Consume { records }, &broker.arguments)?.answer()?);
    }
    Ok(row(&whole, &bare, quotes))
}

/// Makes the quotes appear and waits until the system has committed them.
fn take(system: &Service, group: &GroupOffsets, writer: &Writer) -> anyhow::Result<Taken> {
    let process = system.id().to_string();
    let ends = group.ends()?;
    let (cpu, start) = (cpu_time(&process)?, Instant::now());
    writer.publish()?;
    let end = group.reached(&ends, PATIENCE)?;
    Ok(Taken {
        cpu: cpu_time(&process)?.saturating_sub(cpu),
        wall: end.duration_since(start),
    })
}

/// Returns how many of them are alerts.
fn write_quotes(scene: &mut Scene, writer: &Writer, quotes: usize) -> anyhow::Result<i64> {
    let mut alerts = 0;
    for _ in 0..quotes {
        let tick = scene.workload.tick()?;
        let partition = scene.workload.listings[tick.listing].partition;
        writer.write_quote(QUOTES.name, partition, &tick.quote)?;
        alerts += i64::from(tick.alerts);
    }
    writer.finish()?;
    Ok(alerts)
}

fn alerts(broker: &Broker) -> anyhow::Result<i64> {
    Ok(ends(&broker.arguments.bootstrap_servers, ALERTS)?.iter().sum())
}

fn row(whole: &[Taken], bare: &[Taken], quotes: usize) -> Row {
    let each = |time: Duration| time.as_secs_f64() * 1e9 / quotes as f64;
    let cpu = |taken: &[Taken]| taken.iter().map(|taken| taken.cpu).collect::<Vec<_>>();
    let nanoseconds = |taken: &[Taken]| -> Vec<String> {
        cpu(taken)
            .iter()
            .map(|time| format!("{:.0}", each(*time)))
            .collect()
    };
    let rate = |taken: &[Taken]| {
        let walls: Vec<Duration> = taken.iter().map(|taken| taken.wall).collect();
        quotes as f64 / median(&walls).as_secs_f64()
    };
    Row {
        name: "whole loop, CPU per quote : bare consumer".into(),
        unit: "ns",
        measured: each(median(&cpu(whole))),
        baseline: each(median(&cpu(bare))),
        bar: Bar::AtMost(1.3),
        notes: vec![
            format!(
                "whole loop, every round: {} ns; bare {} ns",
                nanoseconds(whole).join(", "),
                nanoseconds(bare).join(", ")
            ),
            format!(
                "whole loop, wall: {:.0} quotes/s; bare {:.0}",
                rate(whole),
                rate(bare)
            ),
        ],
    }
}
