//! The last prices that were compared with rules, by ticker: what the first quote that this process sees of a ticker is
//! compared with.
//!
//! The alert system writes them to the tickers topic. It is read whole, by every instance, all the time: so whoever takes a
//! ticker over knows its price at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cqrs::domain::{Price, Ticker, TickerMark, Timestamp};
use service::ComponentHealth;
use service::codec::decode_ticker;
use service::kafka::{KafkaError, ReaderEvent, Record, TopicReader};
use tokio_util::sync::CancellationToken;

use crate::metrics::TICKERS_UNREADABLE;
use crate::sanity::Sanity;

/// How old a price may be that the next is compared with: after so long it may have become any other. As long as a price
/// in another unit is doubted.
const USED_FOR: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// How long polls wait for the topic to have been read: a dead instance's tickers are polled by others within 15 s.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is known of each ticker: as much memory as there are tickers.
#[derive(Debug, Default)]
pub struct Baselines {
    known: Mutex<HashMap<Ticker, Baseline>>,
    /// Set once they can be used; nothing else is cancelled.
    usable: CancellationToken,
}

#[derive(Debug)]
struct Baseline {
    price: Price,
    event_time: Timestamp,
    /// Of the quote. Newer ones have greater ones.
    offset: i64,
}

impl Baselines {
    /// Waits until all that was known when the process began has been read, a few seconds at most.
    pub async fn usable(&self) {
        self.usable.cancelled().await;
    }

    /// What the first quote of `ticker` is compared with that comes `now`.
    #[must_use]
    pub fn of(&self, ticker: &Ticker, now: Timestamp) -> Sanity {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .get(ticker)
            .filter(|baseline| now.since(baseline.event_time) <= USED_FOR)
            .map_or_else(Sanity::default, |baseline| {
                Sanity::after(baseline.price, baseline.event_time)
            })
    }

    /// Takes note of a ticker's quote, unless a newer one is known.
    pub fn take(&self, mark: TickerMark) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known
            .get(&mark.ticker)
            .is_none_or(|baseline| baseline.offset <= mark.offset)
        {
            let baseline = Baseline {
                price: mark.price,
                event_time: mark.event_time,
                offset: mark.offset,
            };
            known.insert(mark.ticker, baseline);
        }
    }

    /// From now on nobody waits.
    pub fn use_them(&self) {
        self.usable.cancel();
    }

    fn read(&self, record: &Record) {
        match record.payload.as_deref().map(decode_ticker) {
            Some(Ok(mark)) => self.take(mark),
            // Nobody writes tombstones; a dead letter for what can't be read is written by alert-system.
            None => metrics::counter!(TICKERS_UNREADABLE).increment(1),
            Some(Err(error)) => {
                metrics::counter!(TICKERS_UNREADABLE).increment(1);
                tracing::warn!(
                    kafka.partition = record.partition,
                    kafka.offset = record.offset,
                    "a ticker's last price is skipped: {error}"
                );
            }
        }
    }
}

/// Reads the tickers topic until `shutdown`. Ready when it was read once, or that takes too long.
///
/// # Errors
/// If the reader fails for good.
pub async fn follow(
    mut reader: TopicReader,
    baselines: Arc<Baselines>,
    health: ComponentHealth,
    shutdown: CancellationToken,
) -> Result<(), KafkaError> {
    let overdue = tokio::time::sleep(PATIENCE);
    tokio::pin!(overdue);
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            event = reader.next() => match event? {
                ReaderEvent::Batch(batch) => batch.records.iter().for_each(|record| baselines.read(record)),
                ReaderEvent::CaughtUp => {
                    baselines.use_them();
                    health.ready();
                }
            },
            () = &mut overdue, if !baselines.usable.is_cancelled() => {
                tracing::warn!("the tickers' last prices were not read within {PATIENCE:?}; where they are missing, the first quote is believed");
                baselines.use_them();
                health.ready();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cqrs::domain::Quote;

    use super::*;
    use crate::sanity::{Outcome, Refusal};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn mark(price: &str, seconds: i64, offset: i64) -> TickerMark {
        TickerMark {
            ticker: ticker(),
            price: price.parse().unwrap(),
            event_time: at(seconds),
            ingest_time: at(seconds),
            offset,
            restated_at: None,
        }
    }

    fn ticker() -> Ticker {
        "AAPL".parse().unwrap()
    }

    fn known(baselines: &Baselines, now: i64) -> Sanity {
        baselines.of(&ticker(), at(now))
    }

    fn after(price: &str, seconds: i64) -> Sanity {
        Sanity::after(price.parse().unwrap(), at(seconds))
    }

    #[test]
    fn the_newest_by_offset_counts() {
        let baselines = Baselines::default();
        assert_eq!(known(&baselines, 20), Sanity::default());
        baselines.take(mark("1", 10, 5));
        assert_eq!(known(&baselines, 20), after("1", 10));
        baselines.take(mark("2", 11, 4));
        assert_eq!(known(&baselines, 20), after("1", 10));
        baselines.take(mark("3", 9, 6));
        assert_eq!(known(&baselines, 20), after("3", 9));
    }

    #[test]
    fn a_price_of_two_weeks_ago_is_too_old() {
        let baselines = Baselines::default();
        baselines.take(mark("1", 0, 5));
        assert_eq!(known(&baselines, 14 * 86_400), after("1", 0));
        assert_eq!(known(&baselines, 14 * 86_400 + 1), Sanity::default());
    }

    #[test]
    fn what_can_not_be_read_is_skipped() {
        let baselines = Baselines::default();
        baselines.take(mark("1", 10, 5));
        for payload in [None, Some(b"\xff\xff no ticker".to_vec())] {
            baselines.read(&Record {
                topic: "x",
                partition: 0,
                offset: 0,
                timestamp: None,
                key: Some(b"AAPL".to_vec()),
                payload,
                trace: None,
            });
        }
        assert_eq!(known(&baselines, 20), after("1", 10));
    }

    #[test]
    fn the_first_quote_is_compared_with_what_is_known() {
        let mut sanity = after("700", 10);
        let quote = |price: &str, seconds| Quote {
            ticker: ticker(),
            price: price.parse().unwrap(),
            currency: "USD".into(),
            volume: None,
            trade_side: None,
            event_time: at(seconds),
            ingest_time: at(seconds),
            source: "test".into(),
        };
        let mut check = |price, seconds| sanity.check(&quote(price, seconds), at(20));
        assert!(matches!(check("100", 20), Outcome::Quarantine(_)));
        assert_eq!(check("701", 9), Outcome::Refuse(Refusal::Late));
        assert_eq!(check("701", 20), Outcome::Accept);
    }
}
