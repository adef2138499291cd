use std::sync::Arc;
use std::time::{Duration, Instant};

use cqrs::domain::{Ticker, Timestamp};
use rdkafka::Message as _;
use rdkafka::message::BorrowedMessage;
use service::TraceParent;
use service::codec::{DecodeError, QuoteDecoder, decode_rule, decode_rule_key, encode_alert, encode_ticker};
use service::kafka::{DeadLetters, Record};
use service::topics::{ALERTS, QUOTES, RULES, TICKERS};
use tokio::runtime::Handle;

use crate::acknowledgements::{Lanes, Write, Writer};
use crate::checkpoint::{Checkpoint, Offsets, Snapshot, Step};
use crate::engine::{QuoteFate, Tick, Transition};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::partition::{Partition, Partitions, Slot};
use crate::watchdog::Beat;
use crate::worker::Setup;

/// Applies rules and quotes to this instance's partitions and writes what follows.
pub(crate) struct Evaluator {
    pub(crate) partitions: Partitions,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) lanes: Lanes,
    pub(crate) metrics: Metrics,
    outgoing: Outgoing,
    decoder: QuoteDecoder,
    transitions: Vec<Transition>,
    /// Alerts of this turn. Written together at its end: one by one, each would be a request of its own while the quotes
    /// come fast; while they come slowly, a turn is over at once.
    raised: Vec<Raised>,
}

/// An alert to be written.
struct Raised {
    partition: i32,
    key: String,
    payload: Vec<u8>,
    trace: TraceParent,
}

/// Where records go.
struct Outgoing {
    alerts: Writer,
    marks: Writer,
    lanes: Lanes,
    dead_letters: DeadLetters,
    runtime: Handle,
    beat: Arc<Beat>,
}

/// How far the checkpoint got in one step.
#[derive(Debug)]
pub(crate) enum Progress {
    /// There is none, or it waits for acknowledgements.
    Waits,
    /// Marks were written.
    Wrote,
    /// These offsets are to be committed.
    Ended(Vec<Offsets>),
}

impl Evaluator {
    /// Alerts that are held back at most: one quote can raise millions.
    const MOST_RAISED: usize = 1_024;
    /// Longer than a broker takes to come back.
    const MESSAGE_TIMEOUT: Duration = Duration::from_secs(120);
    /// Marks come in crowds and nobody waits for them: full batches cost the broker less.
    const MARKS_LINGER: Duration = Duration::from_millis(20);

    pub(crate) fn start(setup: &Setup) -> Result<Self, Error> {
        let lanes = Lanes::default();
        let writer = |linger| {
            let config = setup.kafka.producer_config(Self::MESSAGE_TIMEOUT, linger);
            Writer::create(&config, &lanes)
        };
        Ok(Self {
            partitions: Partitions::default(),
            checkpoint: Checkpoint::new(),
            metrics: Metrics::new(),
            outgoing: Outgoing {
                // An alert waits for nobody.
                alerts: writer(Duration::ZERO)?,
                marks: writer(Self::MARKS_LINGER)?,
                lanes: lanes.clone(),
                dead_letters: setup.dead_letters.clone(),
                runtime: setup.runtime.clone(),
                beat: Arc::clone(&setup.beat),
            },
            lanes,
            decoder: QuoteDecoder::default(),
            transitions: Vec::new(),
            raised: Vec::new(),
        })
    }

    /// Takes a record of the rules topic.
    pub(crate) fn take_rule(&mut self, message: &BorrowedMessage<'_>) -> Result<(), Error> {
        let number = message.partition();
        let Some(Slot::Ready(partition)) = self.partitions.get_mut(number) else {
            return Ok(());
        };
        if message.offset() < partition.next_rule {
            return Ok(());
        }
        partition.next_rule = message.offset() + 1;
        partition.uncommitted = true;
        self.checkpoint.handled(0, Instant::now());
        match apply_rule(partition, message) {
            Ok(RuleEffect::None) => Ok(()),
            Ok(RuleEffect::StateGone) => {
                let tombstone = Write {
                    topic: ALERTS,
                    partition: number,
                    key: message.key().unwrap_or_default(),
                    payload: None,
                    trace: None,
                };
                self.outgoing.alert(&self.checkpoint, tombstone)
            }
            Err(error) => {
                self.outgoing
                    .set_aside(&self.checkpoint, Record::of(RULES.name, message), &error);
                Ok(())
            }
        }
    }

    /// Takes a quote. After the last one of a turn, the caller calls `end_quotes`.
    pub(crate) fn take_quote(&mut self, message: &BorrowedMessage<'_>) -> Result<(), Error> {
        let offset = message.offset();
        let partition = match self.partitions.get_mut(message.partition()) {
            Some(Slot::Ready(partition)) => partition,
            Some(Slot::Restoring { dropped, .. }) => {
                // Came before the pause took hold. Not lost: reading starts again here once the state is restored.
                dropped.get_or_insert(offset);
                return Ok(());
            }
            // Came before the partition went. Its next owner reads it.
            None => return Ok(()),
        };
        if partition.next_quote.is_some_and(|next| offset < next) {
            return Ok(());
        }
        partition.next_quote = Some(offset + 1);
        partition.uncommitted = true;
        let decoded = message
            .payload()
            .ok_or(DecodeError::Empty)
            .and_then(|bytes| self.decoder.decode(bytes));
        let quote = match decoded {
            Ok(quote) => quote,
            Err(error) => {
                self.outgoing
                    .set_aside(&self.checkpoint, Record::of(QUOTES.name, message), &error);
                return Ok(());
            }
        };
        let Some(ticker) = partition.engine.ticker(quote.ticker) else {
            match quote.ticker.parse::<Ticker>() {
                Ok(_) => self.metrics.quote(QuoteFate::NotWatched),
                Err(error) => {
                    let error = DecodeError::from(error);
                    self.outgoing
                        .set_aside(&self.checkpoint, Record::of(QUOTES.name, message), &error);
                }
            }
            return Ok(());
        };
        let tick = Tick {
            ticker,
            price: quote.price,
            event_time: quote.event_time,
            ingest_time: quote.ingest_time,
            offset,
        };
        if let Some(at) = quote.restated_at {
            partition.engine.restate(ticker, at);
        }
        self.metrics
            .quote(partition.engine.on_quote(&tick, &mut self.transitions));
        if self.transitions.is_empty() {
            return Ok(());
        }
        let now = Timestamp::now();
        let trace = Record::trace_of(message).map_or_else(TraceParent::generate, TraceParent::child);
        for transition in &self.transitions {
            let alert = partition.engine.alert(&tick, transition, quote.currency, now);
            self.raised.push(Raised {
                partition: message.partition(),
                key: alert.rule_id.to_string(),
                payload: encode_alert(&alert),
                trace,
            });
            if self.raised.len() >= Self::MOST_RAISED {
                write_raised(&mut self.raised, &self.outgoing, &self.checkpoint)?;
            }
            tracing::debug!(
                stock.ticker = %alert.ticker, rule.id = %alert.rule_id, alert.position = %alert.position,
                side = ?alert.side, traceparent = %trace, "alert"
            );
        }
        self.metrics
            .alerts(self.transitions.len(), now.since(quote.ingest_time));
        self.transitions.clear();
        Ok(())
    }

    /// Writes what the quotes of this turn raised, and counts them for the checkpoint.
    pub(crate) fn end_quotes(&mut self, handled: usize) -> Result<(), Error> {
        self.checkpoint.handled(handled, Instant::now());
        write_raised(&mut self.raised, &self.outgoing, &self.checkpoint)
    }

    /// Begins a checkpoint where one is due, and goes one step on with the one that runs. `now_due`: begin also before its
    /// time.
    pub(crate) fn step_checkpoint(&mut self, now_due: bool) -> Result<Progress, Error> {
        self.outgoing.take_acknowledgements();
        let now = Instant::now();
        let begins = self.checkpoint.is_idle() && now_due && self.checkpoint.has_work();
        if begins || self.checkpoint.is_due(now) {
            let snapshot = self.snapshot();
            self.checkpoint.begin(snapshot, now);
        }
        let lanes = &self.lanes;
        match self.checkpoint.step(|lane| lanes.outstanding(lane)) {
            Step::Nothing => Ok(Progress::Waits),
            Step::Write(marks) => {
                for (partition, mark) in marks {
                    let payload = encode_ticker(mark);
                    let write = Write {
                        topic: TICKERS,
                        partition: *partition,
                        key: mark.ticker.as_str().as_bytes(),
                        payload: Some(&payload),
                        trace: None,
                    };
                    self.outgoing.mark(write)?;
                }
                Ok(Progress::Wrote)
            }
            Step::Commit(offsets, since) => {
                self.metrics.checkpoint(since.elapsed());
                Ok(Progress::Ended(offsets))
            }
        }
    }

    fn snapshot(&mut self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let mut marks = Vec::new();
        for (number, partition) in self.partitions.ready_mut() {
            if partition.engine.has_touched() {
                partition.engine.take_touched(&mut marks);
                snapshot.marks.extend(marks.drain(..).map(|mark| (number, mark)));
            }
            if std::mem::take(&mut partition.uncommitted) {
                snapshot.offsets.push(Offsets {
                    partition: number,
                    next_quote: partition.next_quote,
                    next_rule: partition.next_rule,
                    tickers_end: partition.tickers_end,
                });
            }
        }
        snapshot
    }

    /// A commit failed: the next checkpoint commits all partitions.
    pub(crate) fn commit_again(&mut self) {
        for (_, partition) in self.partitions.ready_mut() {
            partition.uncommitted = true;
        }
        self.checkpoint.handled(0, Instant::now());
    }
}

fn write_raised(raised: &mut Vec<Raised>, outgoing: &Outgoing, checkpoint: &Checkpoint) -> Result<(), Error> {
    for alert in raised.drain(..) {
        let write = Write {
            topic: ALERTS,
            partition: alert.partition,
            key: alert.key.as_bytes(),
            payload: Some(&alert.payload),
            trace: Some(alert.trace),
        };
        outgoing.alert(checkpoint, write)?;
    }
    Ok(())
}

/// What a rule's record asks of the alerts topic.
enum RuleEffect {
    /// Nothing: a state starts from inside, which needs no record.
    None,
    /// The rule is gone: its state is to be deleted.
    StateGone,
}

fn apply_rule(partition: &mut Partition, message: &BorrowedMessage<'_>) -> Result<RuleEffect, DecodeError> {
    let id = decode_rule_key(message.key())?;
    let Some(payload) = message.payload() else {
        return Ok(if partition.engine.delete(id) {
            RuleEffect::StateGone
        } else {
            RuleEffect::None
        });
    };
    let rule = decode_rule(payload)?;
    if rule.rule_id != id {
        return Err(DecodeError::Key);
    }
    partition.engine.change(&rule);
    Ok(RuleEffect::None)
}

impl Outgoing {
    fn take_acknowledgements(&self) {
        self.alerts.take_reports();
        self.marks.take_reports();
    }

    fn alert(&self, checkpoint: &Checkpoint, write: Write<'_>) -> Result<(), Error> {
        let waiting = || self.beat.doing("waiting for the broker to take alerts");
        Ok(self.alerts.write(checkpoint.lane(), write, waiting)?)
    }

    fn mark(&self, write: Write<'_>) -> Result<(), Error> {
        let waiting = || self.beat.doing("waiting for the broker to take tickers' records");
        Ok(self
            .marks
            .write(crate::acknowledgements::Lane::Marks, write, waiting)?)
    }

    /// Sends a record to the dead letters. Like an alert, the letter is acknowledged before the offset is committed.
    fn set_aside(&self, checkpoint: &Checkpoint, record: Record, error: &DecodeError) {
        let lane = checkpoint.lane();
        self.lanes.begin(lane);
        let (dead_letters, lanes, error) = (self.dead_letters.clone(), self.lanes.clone(), error.to_string());
        self.runtime.spawn(async move {
            match dead_letters.send(&record, &error).await {
                Ok(()) => lanes.end(lane),
                Err(error) => lanes.fail(error),
            }
        });
    }
}
