//! The baselines: the client without the system, in processes of their own, so that their CPU time is theirs alone.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cqrs::domain::{Ticker, Timestamp};
use data_collector::provider::synthetic::Synthetic;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::producer::{BaseProducer, BaseRecord};
use rdkafka::{ClientContext, Message as _, Offset, TopicPartitionList};
use service::TraceParent;
use service::codec::encode_quote;
use service::config::KafkaArgs;
use service::kafka::Kafka;
use service::topics::{ALERTS, QUOTES, RULES, TICKERS, partition_of};

use crate::cpu::cpu_time;
use crate::feed::{FED_TICKERS, FEED_LINGER};
use crate::writer::Writer;

/// The group of a consumer that does nothing.
pub(crate) const BARE_GROUP: &str = "bench-bare";
/// What `Baseline::Forward` reads and writes.
pub(crate) const HOP_IN: &str = "bench.hop.in";
pub(crate) const HOP_OUT: &str = "bench.hop.out";

const POLL: Duration = Duration::from_millis(100);

/// What a baseline's process does.
#[derive(Debug, Clone, Copy, clap::Subcommand)]
pub(crate) enum Baseline {
    /// Reads so many quotes as a member of a group, from where it committed.
    #[command(hide = true)]
    Consume { records: usize },
    /// Reads the topics that hold state from their beginning, all partitions at once.
    #[command(hide = true)]
    ReadState { records: usize },
    /// Reads one topic and writes every so many-th record to another, until it is killed.
    #[command(hide = true)]
    Forward { every: usize },
    /// Writes so many quotes that were made beforehand, with the settings of `stockalert feed`.
    #[command(hide = true)]
    Produce { records: usize },
}

/// What a baseline took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
}

/// A baseline's process; killed when dropped.
pub(crate) struct Process {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn start(baseline: Baseline, kafka: &KafkaArgs) -> anyhow::Result<Self> {
        let (name, number) = match baseline {
            Baseline::Consume { records } => ("consume", records),
            Baseline::ReadState { records } => ("read-state", records),
            Baseline::Forward { every } => ("forward", every),
            Baseline::Produce { records } => ("produce", records),
        };
        let mut child = Command::new(std::env::current_exe()?)
            .args([name, &number.to_string()])
            .env("KAFKA_BOOTSTRAP_SERVERS", &kafka.bootstrap_servers)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("the child has no standard output")?;
        Ok(Self {
            child,
            answers: BufReader::new(stdout),
        })
    }

    /// Waits until it says something; that is what it took, in microseconds.
    pub(crate) fn answer(&mut self) -> anyhow::Result<Taken> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(cpu)), Some(Ok(wall))) => Ok(Taken {
                cpu: Duration::from_micros(cpu),
                wall: Duration::from_micros(wall),
            }),
            _ => bail!("a baseline failed: it said {line:?}"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs as the baseline's process.
pub(crate) fn run(baseline: Baseline, kafka: &Kafka) -> anyhow::Result<()> {
    match baseline {
        Baseline::Consume { records } => consume(kafka, records),
        Baseline::ReadState { records } => read_state(kafka, records),
        Baseline::Forward { every } => forward(kafka, every),
        Baseline::Produce { records } => produce(kafka, records),
    }
}

fn say(taken: Taken) {
    println!("{} {}", taken.cpu.as_micros(), taken.wall.as_micros());
}

/// A moment of this process.
#[derive(Debug, Clone, Copy)]
struct Mark {
    cpu: Duration,
    at: Instant,
}

impl Mark {
    fn now() -> anyhow::Result<Self> {
        Ok(Self {
            cpu: cpu_time("self")?,
            at: Instant::now(),
        })
    }

    fn taken(self) -> anyhow::Result<Taken> {
        Ok(Taken {
            cpu: cpu_time("self")?.saturating_sub(self.cpu),
            wall: self.at.elapsed(),
        })
    }
}

/// Notes the moment in which partitions were given: as the system, it is measured without joining the group.
#[derive(Debug, Default)]
struct Joined(Mutex<Option<Mark>>);

impl ClientContext for Joined {}

impl ConsumerContext for Joined {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let (Rebalance::Assign(_), Ok(mut noted)) = (rebalance, self.0.lock()) {
            *noted = Mark::now().ok();
        }
    }
}

impl Joined {
    fn mark(&self) -> anyhow::Result<Mark> {
        let noted = self.0.lock().map_or(None, |noted| *noted);
        noted.context("records came before partitions")
    }
}

fn consume(kafka: &Kafka, records: usize) -> anyhow::Result<()> {
    let consumer: BaseConsumer<Joined> = kafka
        .consumer_config(BARE_GROUP)
        .create_with_context(Joined::default())?;
    consumer.subscribe(&[QUOTES.name])?;
    let mut ends = vec![0; usize::try_from(kafka.partitions())?];
    touch(&consumer, records, |partition, offset| {
        ends[partition] = offset + 1
    })?;
    let taken = consumer.context().mark()?.taken()?;
    let mut done = TopicPartitionList::new();
    for (partition, end) in (0..).zip(&ends) {
        done.add_partition_offset(QUOTES.name, partition, Offset::Offset(*end))?;
    }
    consumer.commit(&done, CommitMode::Sync)?;
    say(taken);
    Ok(())
}

fn read_state(kafka: &Kafka, records: usize) -> anyhow::Result<()> {
    let mark = Mark::now()?;
    let consumer: BaseConsumer = kafka.consumer_config(BARE_GROUP).create()?;
    let mut partitions = TopicPartitionList::new();
    for topic in [RULES, ALERTS, TICKERS] {
        for partition in 0..kafka.partitions() {
            partitions.add_partition_offset(topic.name, partition, Offset::Beginning)?;
        }
    }
    consumer.assign(&partitions)?;
    touch(&consumer, records, |_, _| ())?;
    say(mark.taken()?);
    Ok(())
}

fn produce(kafka: &Kafka, records: usize) -> anyhow::Result<()> {
    let market = Synthetic::new(1);
    let quote = |number: u32| -> anyhow::Result<(Ticker, i32, Vec<u8>)> {
        let ticker: Ticker = format!("T{number}").parse()?;
        let payload = encode_quote(&market.trade(&ticker, Timestamp::now())?);
        let partition = partition_of(&ticker, kafka.partitions());
        Ok((ticker, partition, payload))
    };
    let quotes: Vec<_> = (0..FED_TICKERS).map(quote).collect::<anyhow::Result<_>>()?;
    let trace = TraceParent::generate().to_string();
    let writer = Writer::open(kafka, FEED_LINGER)?;
    let mark = Mark::now()?;
    for (ticker, partition, payload) in quotes.iter().cycle().take(records) {
        writer.write_as_is(QUOTES.name, *partition, ticker.as_str(), payload, Some(&trace))?;
    }
    writer.finish()?;
    say(mark.taken()?);
    Ok(())
}

/// The least a program can do with a record: look how long it is.
fn touch<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    records: usize,
    mut each: impl FnMut(usize, i64),
) -> anyhow::Result<()> {
    let mut bytes = 0;
    for _ in 0..records {
        let message = loop {
            if let Some(message) = consumer.poll(POLL) {
                break message?;
            }
        };
        bytes += message.payload_len();
        each(usize::try_from(message.partition())?, message.offset());
    }
    std::hint::black_box(bytes);
    Ok(())
}

fn forward(kafka: &Kafka, every: usize) -> anyhow::Result<()> {
    let consumer: BaseConsumer<Joined> = kafka
        .consumer_config(BARE_GROUP)
        .create_with_context(Joined::default())?;
    consumer.subscribe(&[HOP_IN])?;
    let config = kafka.producer_config(Duration::from_secs(30), Duration::ZERO);
    let producer: BaseProducer = config.create()?;
    let mut joined = false;
    for number in 0_usize.. {
        let message = loop {
            if !joined && let Ok(mark) = consumer.context().mark() {
                say(mark.taken()?);
                joined = true;
            }
            producer.poll(Duration::ZERO);
            if let Some(message) = consumer.poll(POLL) {
                break message?;
            }
        };
        if number % every == every - 1 {
            let record = BaseRecord::to(HOP_OUT)
                .partition(message.partition())
                .key(message.key().unwrap_or_default())
                .payload(message.payload().unwrap_or_default());
            producer.send(record).map_err(|(error, _)| error)?;
        }
    }
    Ok(())
}
