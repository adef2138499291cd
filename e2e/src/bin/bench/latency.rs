use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cqrs::domain::Timestamp;
use e2e::log::ends;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message as _, Offset, TopicPartitionList};
use service::codec::{decode_alert, decode_quote};
use service::topics::{ALERTS, QUOTES};

use crate::broker::Broker;
use crate::child::{Baseline, HOP_IN, HOP_OUT, Process};
use crate::scene::Scene;
use crate::system::{start, stop};
use crate::writer::Writer;
use e2e::report::{Bar, Progress, Row, at, median};

/// Quotes per second.
const RATE: usize = 10_000;
/// The share that goes on is the same on both ways.
const FORWARDED_OF: usize = 100;
/// How often the quotes that are due are written.
const BEAT: Duration = Duration::from_micros(500);
const PATIENCE: Duration = Duration::from_secs(60);

/// How long phases take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) warm_up: Duration,
    pub(crate) phase: Duration,
    pub(crate) phases: usize,
}

/// How a quote travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Through the alert-system.
    System,
    /// Through a process that only passes it on.
    Bare,
}

/// From a quote's send to the alert's arrival, beside two bare hops at the same rate. Both ways are open all the time and
/// take turns.
pub(crate) async fn measure(
    broker: &Broker,
    scene: &mut Scene,
    times: Times,
    logs: &Path,
    progress: &Progress,
) -> anyhow::Result<Row> {
    let bootstrap_servers = &broker.arguments.bootstrap_servers;
    broker.create(HOP_IN).await?;
    broker.create(HOP_OUT).await?;
    let system = start(&broker.arguments, logs).await?;
    let mut bare = Process::start(Baseline::Forward { every: FORWARDED_OF }, &broker.arguments)?;
    bare.answer()?;
    let mut road = Road {
        writer: Writer::open(&scene.kafka, Duration::ZERO)?,
        arrivals: listen(scene, bootstrap_servers)?,
        forwarded: 0,
        scene,
    };
    for way in [Way::System, Way::Bare] {
        progress.say(&format!("quote to alert, warming up: {way:?}"));
        road.phase(way, times.warm_up)?;
    }
    let (mut whole, mut hops): (Vec<Vec<Duration>>, Vec<Vec<Duration>>) = (Vec::new(), Vec::new());
    for number in 1..=times.phases {
        for (way, into) in [(Way::System, &mut whole), (Way::Bare, &mut hops)] {
            let count = times.phases;
            progress.say(&format!("quote to alert, phase {number} of {count}: {way:?}"));
            into.push(road.phase(way, times.phase)?);
        }
    }
    stop(system).await?;
    Ok(row(&whole, &hops))
}

/// Both ways, from the first producer to the last consumer.
struct Road<'a> {
    scene: &'a mut Scene,
    writer: Writer,
    arrivals: Receiver<(Way, Duration)>,
    /// Quotes that went the bare way so far.
    forwarded: usize,
}

impl Road<'_> {
    /// Sends quotes for so long and waits until what they lead to has arrived.
    fn phase(&mut self, way: Way, duration: Duration) -> anyhow::Result<Vec<Duration>> {
        let quotes = usize::try_from(duration.as_micros())? * RATE / 1_000_000;
        let start = Instant::now();
        let (mut sent, mut expected) = (0, 0);
        while sent < quotes {
            let due = usize::try_from(start.elapsed().as_micros())? * RATE / 1_000_000;
            while sent < due.min(quotes) {
                expected += usize::from(self.send(way)?);
                sent += 1;
            }
            self.writer.poll();
            std::thread::sleep(BEAT);
        }
        let mut latencies = Vec::with_capacity(expected);
        while latencies.len() < expected {
            let arrival = self.arrivals.recv_timeout(PATIENCE);
            let (arrived, latency) =
                arrival.with_context(|| format!("{} of {expected} came: {way:?}", latencies.len()))?;
            if arrived == way {
                latencies.push(latency);
            }
        }
        self.writer.finish()?;
        Ok(latencies)
    }

    /// Whether it leads to a record at the other end.
    fn send(&mut self, way: Way) -> anyhow::Result<bool> {
        let tick = self.scene.workload.tick()?;
        let partition = self.scene.workload.listings[tick.listing].partition;
        match way {
            Way::System => {
                self.writer.write_quote(QUOTES.name, partition, &tick.quote)?;
                Ok(tick.alerts)
            }
            Way::Bare => {
                self.writer.write_quote(HOP_IN, partition, &tick.quote)?;
                self.forwarded += 1;
                Ok(self.forwarded.is_multiple_of(FORWARDED_OF))
            }
        }
    }
}

/// Reads what arrives from now on, on a thread of its own, until nobody asks for it.
fn listen(scene: &Scene, bootstrap_servers: &str) -> anyhow::Result<Receiver<(Way, Duration)>> {
    let consumer: BaseConsumer = scene.kafka.consumer_config("bench-listener").create()?;
    let mut partitions = TopicPartitionList::new();
    for (partition, end) in (0..).zip(ends(bootstrap_servers, ALERTS)?) {
        partitions.add_partition_offset(ALERTS.name, partition, Offset::Offset(end))?;
        partitions.add_partition_offset(HOP_OUT, partition, Offset::Beginning)?;
    }
    consumer.assign(&partitions)?;
    let (sender, arrivals) = channel();
    std::thread::Builder::new()
        .name("listen".into())
        .spawn(move || pass_on(&consumer, &sender))?;
    Ok(arrivals)
}

fn pass_on(consumer: &BaseConsumer, arrivals: &Sender<(Way, Duration)>) {
    loop {
        let arrival = match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => arrival(&message, Timestamp::now()),
            // What is missing is missed at the other end of the channel.
            Some(Err(_)) | None => None,
        };
        if arrival.is_some_and(|arrival| arrivals.send(arrival).is_err()) {
            return;
        }
    }
}

fn arrival(message: &BorrowedMessage<'_>, now: Timestamp) -> Option<(Way, Duration)> {
    let payload = message.payload()?;
    if message.topic() == HOP_OUT {
        let quote = decode_quote(payload).ok()?;
        Some((Way::Bare, now.since(quote.ingest_time)))
    } else {
        let alert = decode_alert(payload).ok()?;
        Some((Way::System, now.since(alert.quote_ingest_time)))
    }
}

fn row(whole: &[Vec<Duration>], hops: &[Vec<Duration>]) -> Row {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let p99 = |phases: &[Vec<Duration>]| {
        let each: Vec<Duration> = phases.iter().map(|phase| at(phase, 990)).collect();
        milliseconds(median(&each))
    };
    let note = |name: &str, phases: &[Vec<Duration>]| {
        let all = phases.concat();
        let shown = |permille| milliseconds(at(&all, permille));
        let each: Vec<String> = phases
            .iter()
            .map(|phase| format!("{:.2}", milliseconds(at(phase, 990))))
            .collect();
        format!(
            "{name}: {} records, p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms; p99 of each phase {}",
            all.len(),
            shown(500),
            shown(990),
            shown(1_000),
            each.join(", ")
        )
    };
    Row {
        name: format!("quote to alert at {RATE}/s, p99 : two bare hops"),
        unit: "ms",
        measured: p99(whole),
        baseline: p99(hops),
        bar: Bar::AtMost(1.5),
        notes: vec![note("quote to alert", whole), note("two bare hops", hops)],
    }
}
