use std::collections::HashMap;
use std::sync::{Arc, mpsc};

use rdkafka::Message as _;
use rdkafka::message::BorrowedMessage;
use service::codec::{DecodeError, StateDecoder, decode_rule_key};
use service::kafka::Record;
use service::topics::{ALERTS, QUOTES, RULES, TICKERS};

use super::reader::{Event, Reader, Span};
use super::repair::{Keys, RepairWriter, append_newest};
use super::{Cancelled, Progress, Restored, Tools, progress};
use crate::engine::{Restoring, StateFate};
use crate::error::Error;
use crate::metrics;

/// One restore: of all partitions that came with one rebalance.
pub(super) struct Job {
    pub(super) number: u64,
    pub(super) tools: Tools,
    pub(super) cancelled: Cancelled,
    pub(super) progress: Arc<Progress>,
    pub(super) finishing: mpsc::Sender<Restored>,
}

/// What is known so far of one partition.
struct Collected {
    restoring: Restoring,
    rules: Span,
    tickers: Span,
    alerts: Span,
    /// Keys whose last record is not the newest.
    stale_rules: Keys,
    stale_marks: Keys,
    stale_states: Keys,
    /// Rules that are gone, whose last state is not a tombstone.
    orphans: Keys,
    malformed: Vec<(Record, String)>,
}

impl Job {
    pub(super) fn run(self, partitions: &[i32]) -> Result<(), Error> {
        let reader = Reader::open(&self.tools.kafka)?;
        let rules = reader.spans(RULES, partitions)?;
        let tickers = reader.spans(TICKERS, partitions)?;
        let alerts = reader.spans(ALERTS, partitions)?;
        let spans = || rules.iter().chain(&tickers).chain(&alerts);
        self.progress.expect(spans().map(Span::len).sum());
        // Malformed records before these were set aside when they were first met.
        let first_quotes = self.first_quotes(&reader, partitions)?;
        let inspected = reader.committed(&[RULES, TICKERS], partitions)?;
        let mut collected: HashMap<i32, Collected> = HashMap::new();
        for ((rules, tickers), alerts) in rules.iter().zip(&tickers).zip(&alerts) {
            let expected = usize::try_from(rules.len()).unwrap_or(usize::MAX);
            let new = Collected::new(
                Restoring::new(self.tools.margin, expected),
                *rules,
                *tickers,
                *alerts,
            );
            collected.insert(rules.partition, new);
        }
        let mut decoder = StateDecoder::default();
        // All rules before any state.
        let first: Vec<Span> = rules.iter().chain(&tickers).copied().collect();
        let is_cancelled = |partition| self.cancelled.contains(partition);
        reader.read(&first, &self.progress, is_cancelled, |span, event| {
            if let (Event::Record(message), Some(partition)) = (event, collected.get_mut(&span.partition)) {
                let inspected = inspected.get(&(span.topic.name, span.partition));
                partition.take_rule_or_mark(&mut decoder, *span, message, inspected.copied());
            }
            Ok(())
        })?;
        let (mut restored, mut restored_rules) = (0, 0);
        reader.read(&alerts, &self.progress, is_cancelled, |span, event| {
            match event {
                Event::Record(message) => {
                    if let Some(partition) = collected.get_mut(&span.partition) {
                        partition.take_state(&mut decoder, message);
                    }
                }
                Event::End => {
                    if let Some(partition) = collected.remove(&span.partition)
                        && !self.cancelled.contains(span.partition)
                    {
                        restored += 1;
                        restored_rules += partition.restoring.rules();
                        self.finish(partition, &first_quotes)?;
                    }
                }
            }
            Ok(())
        })?;
        if restored == 0 {
            // All of them went meanwhile.
            return Ok(());
        }
        let (records, took) = (self.progress.done(), self.progress.elapsed());
        metrics::restored(took);
        tracing::info!(
            partitions = restored,
            of = partitions.len(),
            rules = restored_rules,
            records,
            milliseconds = took.as_millis(),
            records_per_second = progress::per_second(records, took),
            "state restored"
        );
        Ok(())
    }

    /// Where the quotes of each partition will be read from.
    fn first_quotes(&self, reader: &Reader, partitions: &[i32]) -> Result<HashMap<i32, i64>, Error> {
        let committed = reader.committed(&[QUOTES], partitions)?;
        let spans = reader.spans(QUOTES, partitions)?;
        let first = spans.iter().map(|span| {
            let committed = committed.get(&(QUOTES.name, span.partition));
            (span.partition, committed.copied().unwrap_or(0).max(span.low))
        });
        Ok(first.collect())
    }

    /// Puts the topics in order where they are not, and hands the partition over.
    fn finish(&self, partition: Collected, first_quotes: &HashMap<i32, i64>) -> Result<(), Error> {
        let repairs = [
            (partition.rules, &partition.stale_rules),
            (partition.tickers, &partition.stale_marks),
            (partition.alerts, &partition.stale_states),
        ];
        if !partition.orphans.is_empty() || repairs.iter().any(|(_, keys)| !keys.is_empty()) {
            let writer = RepairWriter::create(&self.tools.kafka)?;
            for (span, keys) in repairs.into_iter().filter(|(_, keys)| !keys.is_empty()) {
                append_newest(&self.tools.kafka, span, keys, &writer)?;
            }
            for key in &partition.orphans {
                writer.write(partition.alerts, key, None)?;
            }
            writer.wait()?;
        }
        for (record, error) in &partition.malformed {
            let letter = self.tools.dead_letters.send(record, error);
            self.tools.runtime.block_on(letter)?;
        }
        let restored = Restored {
            job: self.number,
            partition: partition.rules.partition,
            rules_end: partition.rules.end,
            tickers_end: partition.tickers.end,
            first_quote: first_quotes.get(&partition.rules.partition).copied().unwrap_or(0),
            engine: partition.restoring.finish(),
        };
        // Nobody listens any more where the process ends.
        let _ = self.finishing.send(restored);
        Ok(())
    }
}

impl Collected {
    fn new(restoring: Restoring, rules: Span, tickers: Span, alerts: Span) -> Self {
        Self {
            restoring,
            rules,
            tickers,
            alerts,
            stale_rules: Keys::new(),
            stale_marks: Keys::new(),
            stale_states: Keys::new(),
            orphans: Keys::new(),
            malformed: Vec::new(),
        }
    }

    fn take_rule_or_mark(
        &mut self,
        decoder: &mut StateDecoder,
        span: Span,
        message: &BorrowedMessage<'_>,
        inspected: Option<i64>,
    ) {
        let taken = if span.topic == RULES {
            self.take_rule(decoder, message)
        } else {
            self.take_mark(decoder, message)
        };
        if let Err(error) = taken
            && inspected.is_none_or(|inspected| message.offset() >= inspected)
        {
            self.malformed
                .push((Record::of(span.topic.name, message), error.to_string()));
        }
    }

    fn take_rule(
        &mut self,
        decoder: &mut StateDecoder,
        message: &BorrowedMessage<'_>,
    ) -> Result<(), DecodeError> {
        let is_newest = match message.payload() {
            None => {
                self.restoring.delete_rule(decode_rule_key(message.key())?);
                true
            }
            Some(payload) => {
                let rule = decoder.rule(message.key(), payload)?;
                self.restoring.rule(&rule)
            }
        };
        note(&mut self.stale_rules, message.key(), !is_newest);
        Ok(())
    }

    fn take_mark(
        &mut self,
        decoder: &mut StateDecoder,
        message: &BorrowedMessage<'_>,
    ) -> Result<(), DecodeError> {
        // Nobody deletes a mark.
        if let Some(payload) = message.payload() {
            let is_newest = self.restoring.mark(&decoder.mark(payload)?);
            note(&mut self.stale_marks, message.key(), !is_newest);
        }
        Ok(())
    }

    fn take_state(&mut self, decoder: &mut StateDecoder, message: &BorrowedMessage<'_>) {
        let Some(payload) = message.payload() else {
            note(&mut self.stale_states, message.key(), false);
            note(&mut self.orphans, message.key(), false);
            return;
        };
        match decoder.state(message.key(), payload) {
            // Told once by the notifier, and nothing to this system.
            Ok(None) => {}
            Ok(Some((id, position, side))) => {
                let fate = self.restoring.state(id, position, side);
                note(&mut self.stale_states, message.key(), fate == StateFate::Old);
                note(&mut self.orphans, message.key(), fate == StateFate::NoRule);
            }
            // The notifier sets these aside.
            Err(error) => tracing::warn!(
                kafka.offset = message.offset(),
                %error,
                "an undecodable alert was skipped"
            ),
        }
    }
}

/// The last record of a key decides whether it is in the set. Nearly always, the set is empty.
fn note(keys: &mut Keys, key: Option<&[u8]>, is_in: bool) {
    let key = key.unwrap_or_default();
    if is_in {
        keys.insert(key.into());
    } else if !keys.is_empty() {
        keys.remove(key);
    }
}
