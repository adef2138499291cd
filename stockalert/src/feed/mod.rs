//! For load tests: quotes straight into the quotes topic.
//!
//! ```text
//! source (schedule or file) --batches--> sender --> client --> broker
//!        one thread                    another        its reports --> counts --> progress
//! ```
//!
//! One thread makes quotes when they are due and encodes them; another only hands them to the client.

mod args;
mod batch;
mod counts;
mod progress;
mod schedule;
mod sender;
mod source;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use service::kafka::dead_letters::DeadLetterError;
use service::kafka::{Kafka, KafkaError, KafkaSettings};
use service::topics::QUOTES;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_util::sync::CancellationToken;

pub(crate) use self::args::FeedCommand;
use self::counts::{Counts, Totals};
use self::progress::Progress;
use self::sender::{Client, Reports};
use self::source::Source;
use crate::dead_letters;
use crate::failure::{Exit, Failure};
use crate::screen::Screen;

/// How long a broker is looked for: a person waits.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the broker may take to acknowledge a quote.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a quote waits for company: librdkafka's own. The client sends each partition's batches by themselves.
const LINGER: Duration = Duration::from_millis(5);
/// How long acknowledgements are waited for at the end: the client gives up before.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(35);
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
const SETTLE_CHECK: Duration = Duration::from_millis(5);
/// Signals that are closer together are one: `timeout` sends its own to the process, and again to the group.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

pub(crate) async fn run(command: FeedCommand, json: bool) -> Result<(), Failure> {
    let screen = Screen::detect(json);
    let (source, kafka) = match command {
        FeedCommand::Synthetic(args) => (Source::synthetic(&args)?, args.kafka),
        FeedCommand::Replay(args) => (Source::replay(&args)?, args.kafka),
    };
    let settings = dead_letters::named(kafka.as_ref())?.settings();
    let progress = Progress::detect();
    let kafka = connect(&settings, &progress).await.map_err(refusal)?;
    let mut signals = Signals::listen()?;
    progress.say(&format!(
        "publishing {source} to {} at {}; Ctrl-C ends it",
        QUOTES.name, settings.bootstrap_servers
    ));
    let counts = Arc::new(Counts::new());
    let stop = CancellationToken::new();
    let sent = start(source, &kafka, &counts, &stop)?;
    watch(sent, &counts, &stop, &mut signals, progress).await;
    report(&screen, &counts.totals())
}

async fn connect(settings: &KafkaSettings, progress: &Progress) -> Result<Kafka, KafkaError> {
    let mut connected = pin!(Kafka::connect_to_existing(settings, CONNECT_TIMEOUT));
    if let Ok(connected) = timeout(PROGRESS_INTERVAL, &mut connected).await {
        return connected;
    }
    progress.say(&format!("looking for a broker at {}", settings.bootstrap_servers));
    connected.await
}

/// Starts both threads. What comes back is answered when everything was handed to the client.
fn start(
    source: Source,
    kafka: &Kafka,
    counts: &Arc<Counts>,
    stop: &CancellationToken,
) -> Result<oneshot::Receiver<()>, Failure> {
    let client: Client = kafka
        .producer_config(MESSAGE_TIMEOUT, LINGER)
        .create_with_context(Reports(Arc::clone(counts)))
        .map_err(|error| refusal(error.into()))?;
    let (outbox, inbox) = batch::way(kafka.partitions());
    let (counted, stopped) = (Arc::clone(counts), stop.clone());
    spawn("make-quotes", move || source.make(outbox, &counted, &stopped))?;
    let (ended, sent) = oneshot::channel();
    let (counted, stopped) = (Arc::clone(counts), stop.clone());
    spawn("send-quotes", move || {
        sender::send_all(&inbox, &client, &counted, &stopped);
        let _ = ended.send(());
        // Dropped, the client would forget what is not acknowledged yet; and dropping has been seen to hang. It ends with
        // the process.
        std::mem::forget(client);
    })?;
    Ok(sent)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map(drop)
        .map_err(|error| Failure::new(Exit::Internal, format!("a thread did not start: {error}")))
}

/// Shows how far it is until everything is sent and it is known what became of it. The first signal ends the sending, the
/// second the waiting.
async fn watch(
    mut sent: oneshot::Receiver<()>,
    counts: &Counts,
    stop: &CancellationToken,
    signals: &mut Signals,
    mut progress: Progress,
) {
    let mut ticks = interval_at(Instant::now() + PROGRESS_INTERVAL, PROGRESS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut ended: Option<Instant> = None;
    let mut signalled: Option<Instant> = None;
    let mut explained = false;
    loop {
        tokio::select! {
            () = signals.next() => {
                if signalled.map_or(explained, |first| first.elapsed() > SAME_SIGNAL) {
                    break;
                }
                signalled.get_or_insert_with(Instant::now);
                stop.cancel();
            }
            _ = ticks.tick() => {
                let now = counts.snapshot();
                if !explained && now.waiting() > 0 && ended.is_some_and(|ended| ended.elapsed() >= PROGRESS_INTERVAL) {
                    explained = true;
                    progress.explain(&format!(
                        "no more is sent; waiting up to {} s for the acknowledgements of {}; Ctrl-C ends it",
                        SETTLE_TIMEOUT.as_secs(),
                        now.waiting()
                    ));
                }
                progress.show(now);
            }
            _ = &mut sent, if ended.is_none() => ended = Some(Instant::now()),
            () = sleep(SETTLE_CHECK), if ended.is_some() => {}
        }
        if ended.is_some_and(|ended| counts.is_settled() || ended.elapsed() > SETTLE_TIMEOUT) {
            break;
        }
    }
    progress.end();
}

/// Ctrl-C, and what `kill` sends.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Failure::new(Exit::Internal, format!("can't listen for signals: {error}")))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn report(screen: &Screen, totals: &Totals) -> Result<(), Failure> {
    screen.result(totals, || progress::summary(totals))?;
    if totals.not_acknowledged == 0 {
        return Ok(());
    }
    let reason = totals.fault.as_deref().unwrap_or("nobody waited for them");
    let message = format!(
        "{} of {} quotes were not acknowledged: {reason}",
        totals.not_acknowledged, totals.sent
    );
    Err(Failure::new(Exit::Unavailable, message)
        .remedy("check that the broker is well; some of them may have been written all the same"))
}

fn refusal(error: KafkaError) -> Failure {
    match error {
        KafkaError::Topics(reason) => Failure::new(Exit::Refused, reason)
            .remedy("check KAFKA_BOOTSTRAP_SERVERS: give the broker that this system's services use"),
        error @ (KafkaError::Unreachable { .. }
        | KafkaError::Client(_)
        | KafkaError::NotAcknowledged { .. }
        | KafkaError::Ended) => dead_letters::failure(DeadLetterError::Kafka(error)),
    }
}
