use std::io::Write as _;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::time::Duration;

use cqrs::domain::Quote;
use service::TraceParent;
use service::codec::encode_quote;
use service::topics::partition_of;
use tokio_util::sync::CancellationToken;

/// Quotes in one batch: ten beats' worth at 100,000 a second.
const MAX_RECORDS: usize = 1_024;
/// Batches between the two threads. More would only make quotes old before they are sent.
const MAX_BATCHES: usize = 4;
/// How soon the end is noticed.
const WAIT: Duration = Duration::from_millis(20);

/// Encoded quotes, one after the other in memory that is used again.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// Where a record's parts are in the bytes.
#[derive(Debug, Clone, Copy)]
struct Place {
    partition: i32,
    start: usize,
    key_end: usize,
    value_end: usize,
    end: usize,
}

/// A quote as it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Encoded<'a> {
    pub partition: i32,
    pub key: &'a [u8],
    pub value: &'a [u8],
    /// Value of the trace's header.
    pub trace: &'a [u8],
}

impl Batch {
    fn put(&mut self, quote: &Quote, partitions: i32) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(quote.ticker.as_str().as_bytes());
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(&encode_quote(quote));
        let value_end = self.bytes.len();
        // Memory takes everything.
        let _ = write!(self.bytes, "{}", TraceParent::generate());
        self.places.push(Place {
            partition: partition_of(&quote.ticker, partitions),
            start,
            key_end,
            value_end,
            end: self.bytes.len(),
        });
    }

    pub(super) fn records(&self) -> impl Iterator<Item = Encoded<'_>> {
        self.places.iter().map(|place| Encoded {
            partition: place.partition,
            key: &self.bytes[place.start..place.key_end],
            value: &self.bytes[place.key_end..place.value_end],
            trace: &self.bytes[place.value_end..place.end],
        })
    }
}

/// The other thread has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closed;

/// Where quotes are made.
#[derive(Debug)]
pub(super) struct Outbox {
    full: SyncSender<Batch>,
    empty: Receiver<Batch>,
    batch: Batch,
    partitions: i32,
}

/// Where they are sent.
#[derive(Debug)]
pub(super) struct Inbox {
    full: Receiver<Batch>,
    empty: Sender<Batch>,
}

/// The way from the thread that makes quotes to the one that sends them.
pub(super) fn way(partitions: i32) -> (Outbox, Inbox) {
    let (full, to_send) = mpsc::sync_channel(MAX_BATCHES);
    let (sent, empty) = mpsc::channel();
    let outbox = Outbox {
        full,
        empty,
        batch: Batch::default(),
        partitions,
    };
    let inbox = Inbox {
        full: to_send,
        empty: sent,
    };
    (outbox, inbox)
}

impl Outbox {
    /// Encodes a quote. A full batch is handed over.
    pub(super) fn put(&mut self, quote: &Quote) -> Result<(), Closed> {
        self.batch.put(quote, self.partitions);
        if self.batch.places.len() < MAX_RECORDS {
            Ok(())
        } else {
            self.hand_over()
        }
    }

    /// Waits while the other thread is behind.
    pub(super) fn hand_over(&mut self) -> Result<(), Closed> {
        if self.batch.places.is_empty() {
            return Ok(());
        }
        let next = self.empty.try_recv().unwrap_or_default();
        let batch = std::mem::replace(&mut self.batch, next);
        self.full.send(batch).map_err(|_| Closed)
    }
}

impl Inbox {
    /// The next batch. None: the other thread has ended, or shall end.
    pub(super) fn next(&self, stop: &CancellationToken) -> Option<Batch> {
        loop {
            match self.full.recv_timeout(WAIT) {
                Ok(batch) => return Some(batch),
                Err(RecvTimeoutError::Timeout) if !stop.is_cancelled() => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// For the next quotes.
    pub(super) fn give_back(&self, mut batch: Batch) {
        batch.bytes.clear();
        batch.places.clear();
        // Whoever has ended needs none.
        let _ = self.empty.send(batch);
    }
}

#[cfg(test)]
mod tests {
    use cqrs::domain::Timestamp;
    use service::codec::decode_quote;

    use super::*;

    fn quote(number: i64) -> Quote {
        Quote {
            ticker: format!("T{number}").parse().unwrap(),
            price: "12.34".parse().unwrap(),
            currency: "USD".into(),
            volume: None,
            trade_side: None,
            event_time: Timestamp::from_micros(number),
            ingest_time: Timestamp::from_micros(number),
            source: "synthetic".into(),
        }
    }

    #[test]
    fn quotes_come_out_as_they_went_in_also_from_memory_that_was_used_before() {
        let stop = CancellationToken::new();
        let (mut outbox, inbox) = way(12);
        for round in 0..10 {
            let quotes: Vec<Quote> = (0..50).map(|n| quote(round * 100 + n)).collect();
            for quote in &quotes {
                outbox.put(quote).unwrap();
            }
            outbox.hand_over().unwrap();
            let batch = inbox.next(&stop).unwrap();
            assert_eq!(batch.records().count(), quotes.len());
            for (record, quote) in batch.records().zip(&quotes) {
                assert_eq!(record.key, quote.ticker.as_str().as_bytes());
                assert_eq!(&decode_quote(record.value).unwrap(), quote);
                assert_eq!(record.partition, partition_of(&quote.ticker, 12));
                let trace = std::str::from_utf8(record.trace).unwrap();
                assert!(trace.parse::<TraceParent>().is_ok(), "{trace}");
            }
            inbox.give_back(batch);
        }
    }

    #[test]
    fn neither_side_waits_for_one_that_has_ended() {
        let stop = CancellationToken::new();
        let (mut outbox, inbox) = way(1);
        outbox.put(&quote(1)).unwrap();
        drop(inbox);
        assert_eq!(outbox.hand_over(), Err(Closed));
        let (mut outbox, inbox) = way(1);
        outbox.put(&quote(1)).unwrap();
        outbox.hand_over().unwrap();
        drop(outbox);
        assert!(inbox.next(&stop).is_some(), "what was made is sent");
        assert!(inbox.next(&stop).is_none());
        let (_outbox, inbox) = way(1);
        stop.cancel();
        assert!(inbox.next(&stop).is_none());
    }
}
