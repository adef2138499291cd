use std::collections::HashMap;
use std::time::{Duration, Instant};

use cqrs::domain::{Alert, Timestamp};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message as _, Offset, TopicPartitionList};
use service::codec::{decode_quote, decode_rule, decode_rule_key, encode_alert, encode_ticker};
use service::kafka::{DeadLetters, Kafka, KafkaError, Record};
use service::topics::{ALERTS, QUOTES, RULES, TICKERS};
use service::{ComponentHealth, TraceParent};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::acknowledgements::{AcknowledgedProducer, Write};
use crate::engine::RearmMargin;
use crate::engine::naive::{QuoteFate, RuleEffect};
use crate::partition::Partition;
use crate::rebalance::{Rebalance, RebalanceContext};
use crate::restore::restore;

/// The consumer group that shares the partitions of the quotes topic.
pub(crate) const GROUP: &str = "alert-system";

/// A commit is due after so many quotes ...
const COMMIT_QUOTES: usize = 5_000;
/// ... or so long after the first of them. What a crash makes the successor read again.
const COMMIT_AFTER: Duration = Duration::from_millis(200);
/// Records taken before rule changes, rebalances and commits are looked at again.
const BURST: usize = 500;
/// How long to wait for a quote when there is nothing else to do: bounds the delay of a rule change.
const IDLE: Duration = Duration::from_millis(5);

/// Works on this instance's partitions, on one thread: the order of reads, evaluation, writes and commits is the order
/// of the statements.
pub(crate) struct Worker {
    kafka: Kafka,
    margin: RearmMargin,
    quotes: BaseConsumer<RebalanceContext>,
    rules: BaseConsumer,
    producer: AcknowledgedProducer,
    dead_letters: DeadLetters,
    runtime: Handle,
    health: ComponentHealth,
    partitions: HashMap<i32, Partition>,
    handled: usize,
    first_handled: Option<Instant>,
    alerts: Vec<Alert>,
}

impl Worker {
    pub(crate) fn start(
        kafka: Kafka,
        margin: RearmMargin,
        dead_letters: DeadLetters,
        runtime: Handle,
        health: ComponentHealth,
    ) -> Result<Self, KafkaError> {
        let quotes: BaseConsumer<RebalanceContext> = kafka
            .consumer_config(GROUP)
            .create_with_context(RebalanceContext::default())?;
        quotes.subscribe(&[QUOTES.name])?;
        let rules = kafka.consumer_config("alert-system-rules").create()?;
        // An alert waits for nobody. The timeout is longer than a broker takes to come back.
        let producer =
            AcknowledgedProducer::create(&kafka.producer_config(Duration::from_secs(120), Duration::ZERO))?;
        Ok(Self {
            kafka,
            margin,
            quotes,
            rules,
            producer,
            dead_letters,
            runtime,
            health,
            partitions: HashMap::new(),
            handled: 0,
            first_handled: None,
            alerts: Vec::new(),
        })
    }

    /// Until shutdown.
    pub(crate) fn work(mut self, shutdown: &CancellationToken) -> Result<(), KafkaError> {
        while !shutdown.is_cancelled() {
            self.take_rules()?;
            self.take_quotes()?;
            for rebalance in self.quotes.context().take() {
                self.rebalance(rebalance)?;
            }
            let waited = self
                .first_handled
                .is_some_and(|first| first.elapsed() >= COMMIT_AFTER);
            if waited || self.handled >= COMMIT_QUOTES {
                self.checkpoint(CommitMode::Async)?;
            }
        }
        self.checkpoint(CommitMode::Sync)?;
        self.quotes.context().close();
        Ok(())
    }

    fn take_rules(&mut self) -> Result<(), KafkaError> {
        for _ in 0..BURST {
            let message = match self.rules.poll(Duration::ZERO) {
                Some(Ok(message)) => message,
                Some(Err(error)) => {
                    log_poll_error(&error, RULES.name);
                    continue;
                }
                None => return Ok(()),
            };
            let Some(partition) = self.partitions.get_mut(&message.partition()) else {
                continue;
            };
            if message.offset() < partition.next_rule {
                continue;
            }
            partition.next_rule = message.offset() + 1;
            partition.uncommitted = true;
            self.first_handled.get_or_insert_with(Instant::now);
            let decoded = decode_rule_key(message.key()).and_then(|id| match message.payload() {
                None => Ok(partition.engine.delete(id)),
                Some(payload) => {
                    let rule = decode_rule(payload)?;
                    Ok(partition.engine.apply(cqrs::domain::RuleChange::Changed(rule)))
                }
            });
            match decoded {
                Ok(RuleEffect::None) => {}
                Ok(RuleEffect::DeleteState) => {
                    let key = String::from_utf8_lossy(message.key().unwrap_or_default());
                    let partition = message.partition();
                    self.producer.write(Write {
                        topic: ALERTS,
                        partition,
                        key: &key,
                        payload: None,
                        trace: None,
                    })?;
                }
                Err(error) => {
                    let record = Record::of(RULES.name, &message);
                    self.runtime
                        .block_on(self.dead_letters.send(&record, &error.to_string()))?;
                }
            }
        }
        Ok(())
    }

    fn take_quotes(&mut self) -> Result<(), KafkaError> {
        let mut wait = IDLE;
        for _ in 0..BURST {
            match self.quotes.poll(std::mem::take(&mut wait)) {
                Some(Ok(message)) => {
                    let Some(partition) = self.partitions.get_mut(&message.partition()) else {
                        continue;
                    };
                    // Fields by name: the message borrows the consumer.
                    let mut step = Step {
                        producer: &mut self.producer,
                        dead_letters: &self.dead_letters,
                        runtime: &self.runtime,
                        alerts: &mut self.alerts,
                    };
                    step.take_quote(partition, &message)?;
                    self.handled += 1;
                    self.first_handled.get_or_insert_with(Instant::now);
                }
                Some(Err(error)) => log_poll_error(&error, QUOTES.name),
                None => break,
            }
        }
        Ok(())
    }

    /// Alerts acknowledged, then marks acknowledged, then offsets committed: a crash between any two of them is repaired
    /// by reading the quotes again.
    fn checkpoint(&mut self, mode: CommitMode) -> Result<(), KafkaError> {
        if self.first_handled.is_none() {
            return Ok(());
        }
        self.producer.wait_for_all()?;
        let mut offsets = TopicPartitionList::new();
        for (number, partition) in &mut self.partitions {
            for ticker in partition.touched.drain() {
                if let Some(mark) = partition.engine.mark(&ticker) {
                    let payload = encode_ticker(mark);
                    self.producer.write(Write {
                        topic: TICKERS,
                        partition: *number,
                        key: ticker.as_str(),
                        payload: Some(&payload),
                        trace: None,
                    })?;
                }
            }
            if std::mem::take(&mut partition.uncommitted) {
                if let Some(next) = partition.next_quote {
                    offsets.add_partition_offset(QUOTES.name, *number, Offset::Offset(next))?;
                }
                // Up to here, malformed records are in the dead letters. Nothing is resumed from these.
                offsets.add_partition_offset(RULES.name, *number, Offset::Offset(partition.next_rule))?;
                offsets.add_partition_offset(TICKERS.name, *number, Offset::Offset(partition.tickers_end))?;
            }
        }
        self.producer.wait_for_all()?;
        if offsets.count() > 0
            && let Err(error) = self.quotes.commit(&offsets, mode)
        {
            // Lost partitions can't be committed, and need not be: whoever has them reads the quotes again.
            tracing::warn!(%error, "a commit was refused");
        }
        self.handled = 0;
        self.first_handled = None;
        Ok(())
    }

    fn rebalance(&mut self, rebalance: Rebalance) -> Result<(), KafkaError> {
        match rebalance {
            Rebalance::Revoke => {
                let numbers: Vec<_> = self.partitions.keys().copied().collect();
                tracing::info!(partitions = ?numbers, "partitions revoked");
                self.health.not_ready("partitions are being shared anew");
                self.checkpoint(CommitMode::Sync)?;
                self.partitions.clear();
                self.follow_rules()?;
                self.quotes.unassign()?;
            }
            Rebalance::Assign(assigned) => {
                let numbers: Vec<i32> = assigned
                    .elements()
                    .iter()
                    .map(|element| element.partition())
                    .collect();
                tracing::info!(partitions = ?numbers, "partitions assigned, restoring their state");
                for number in &numbers {
                    let partition = self.restore(*number)?;
                    self.partitions.insert(*number, partition);
                }
                self.follow_rules()?;
                // From the committed offsets, or from the beginning where there are none.
                self.quotes.assign(&assigned)?;
                self.health.ready();
            }
        }
        metrics::gauge!("stockalert_partitions").set(f64::from(
            u32::try_from(self.partitions.len()).unwrap_or(u32::MAX),
        ));
        Ok(())
    }

    fn restore(&mut self, number: i32) -> Result<Partition, KafkaError> {
        let restored = restore(&self.kafka, number, self.margin, &mut self.producer)?;
        let mut inspected = TopicPartitionList::new();
        inspected.add_partition(RULES.name, number);
        inspected.add_partition(TICKERS.name, number);
        let inspected = self
            .quotes
            .committed_offsets(inspected, Duration::from_secs(30))?;
        for (record, error) in &restored.malformed {
            let committed = inspected
                .find_partition(record.topic, number)
                .map(|element| element.offset());
            // Records before the committed offset were set aside when they were first met.
            if !matches!(committed, Some(Offset::Offset(committed)) if record.offset < committed) {
                self.runtime.block_on(self.dead_letters.send(record, error))?;
            }
        }
        // How far the rules were read is committed also where nothing else happens: operators see no lag.
        self.first_handled.get_or_insert_with(Instant::now);
        Ok(Partition {
            uncommitted: true,
            engine: restored.engine,
            next_rule: restored.rules_end,
            next_quote: None,
            tickers_end: restored.tickers_end,
            touched: std::collections::HashSet::new(),
        })
    }

    /// Goes on reading the rules of this instance's partitions where it stopped.
    fn follow_rules(&self) -> Result<(), KafkaError> {
        let mut partitions = TopicPartitionList::new();
        for (number, partition) in &self.partitions {
            partitions.add_partition_offset(RULES.name, *number, Offset::Offset(partition.next_rule))?;
        }
        Ok(self.rules.assign(&partitions)?)
    }
}

/// What handling one quote needs beside the partition it belongs to.
struct Step<'a> {
    producer: &'a mut AcknowledgedProducer,
    dead_letters: &'a DeadLetters,
    runtime: &'a Handle,
    alerts: &'a mut Vec<Alert>,
}

impl Step<'_> {
    fn take_quote(
        &mut self,
        partition: &mut Partition,
        message: &BorrowedMessage<'_>,
    ) -> Result<(), KafkaError> {
        partition.next_quote = Some(message.offset() + 1);
        partition.uncommitted = true;
        let decoded = message
            .payload()
            .ok_or(service::codec::DecodeError::Empty)
            .and_then(decode_quote);
        let quote = match decoded {
            Ok(quote) => quote,
            Err(error) => {
                let record = Record::of(QUOTES.name, message);
                return self
                    .runtime
                    .block_on(self.dead_letters.send(&record, &error.to_string()));
            }
        };
        let now = Timestamp::now();
        let fate = partition
            .engine
            .on_quote(&quote, message.offset(), now, self.alerts);
        let outcome = match fate {
            QuoteFate::Evaluated => {
                partition.touched.insert(quote.ticker);
                "evaluated"
            }
            QuoteFate::NotWatched => "not_watched",
            QuoteFate::Late => "late",
            QuoteFate::Repeated => "repeated",
        };
        metrics::counter!("stockalert_quotes_total", "outcome" => outcome).increment(1);
        if self.alerts.is_empty() {
            return Ok(());
        }
        let trace = Record::of(QUOTES.name, message)
            .trace
            .map_or_else(TraceParent::generate, TraceParent::child);
        for alert in self.alerts.drain(..) {
            let payload = encode_alert(&alert);
            let key = alert.rule_id.to_string();
            self.producer.write(Write {
                topic: ALERTS,
                partition: message.partition(),
                key: &key,
                payload: Some(&payload),
                trace: Some(trace),
            })?;
            metrics::counter!("stockalert_alerts_total").increment(1);
            metrics::histogram!("stockalert_quote_to_alert_seconds")
                .record(now.since(alert.quote_ingest_time).as_secs_f64());
            tracing::debug!(
                stock.ticker = %alert.ticker, rule.id = %alert.rule_id, alert.position = %alert.position,
                side = ?alert.side, traceparent = %trace, "alert"
            );
        }
        Ok(())
    }
}

fn log_poll_error(error: &ClientError, topic: &str) {
    tracing::warn!(%error, kafka.topic = topic, "the consumer met an error and goes on");
}
