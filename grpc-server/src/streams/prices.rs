use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cqrs::domain::{Quote, Ticker, Timestamp};
use cqrs::{Queries, StoreError};
use tokio::sync::watch;
use tonic::{Code, Status};

use crate::status::retry_refusal;

/// The newest price of each ticker that a stream of this server follows: one place for each, whatever the number of streams
/// and however slow they are.
#[derive(Debug)]
pub(super) struct Prices {
    followed: Mutex<HashMap<Ticker, Followed>>,
    /// Changes with each price.
    news: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Followed {
    streams: usize,
    newest: Option<Numbered>,
}

/// A price and how many of its ticker this server had seen with it.
#[derive(Debug, Clone)]
pub(super) struct Numbered {
    pub number: u64,
    pub quote: Arc<Quote>,
}

impl Default for Prices {
    fn default() -> Self {
        Self {
            followed: Mutex::default(),
            news: watch::channel(()).0,
        }
    }
}

/// Most tickers that streams of this server follow in all: each is asked for with every poll.
const MOST_TICKERS: usize = 20_000;

impl Prices {
    /// # Errors
    /// RESOURCE_EXHAUSTED if the streams follow as many tickers as they may; nothing is followed then.
    pub(super) fn follow(&self, tickers: &[Ticker]) -> Result<(), Status> {
        let mut followed = self.lock();
        let new = tickers.iter().filter(|ticker| !followed.contains_key(*ticker));
        if followed.len() + new.count() > MOST_TICKERS {
            return Err(retry_refusal(
                Code::ResourceExhausted,
                "TOO_MANY_TICKERS",
                "the streams of this server follow as many tickers as they may; name fewer, or try again later",
                Duration::from_secs(10),
            ));
        }
        for ticker in tickers {
            followed.entry(ticker.clone()).or_default().streams += 1;
        }
        Ok(())
    }

    /// As often as [`Self::follow`].
    pub(super) fn leave(&self, tickers: &[Ticker]) {
        let mut followed = self.lock();
        for ticker in tickers {
            if let Some(entry) = followed.get_mut(ticker) {
                entry.streams = entry.streams.saturating_sub(1);
                if entry.streams == 0 {
                    followed.remove(ticker);
                }
            }
        }
    }

    /// Changes with each price of any ticker that is followed.
    pub(super) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    pub(super) fn newest(&self, ticker: &Ticker) -> Option<Numbered> {
        self.lock().get(ticker).and_then(|entry| entry.newest.clone())
    }

    /// Looks for new prices of all tickers that are followed, and wakes the streams.
    pub(super) async fn poll(&self, queries: &Queries) -> Result<(), StoreError> {
        let tickers: Vec<Ticker> = self.lock().keys().cloned().collect();
        if tickers.is_empty() {
            return Ok(());
        }
        let quotes = queries.latest_quotes(&tickers).await?;
        if self.take(quotes) {
            self.wake();
        }
        Ok(())
    }

    pub(super) fn wake(&self) {
        self.news.send_replace(());
    }

    /// Whether there was any news.
    pub(super) fn take(&self, quotes: Vec<Quote>) -> bool {
        let mut followed = self.lock();
        let mut news = false;
        for quote in quotes {
            let Some(entry) = followed.get_mut(&quote.ticker) else {
                continue;
            };
            let number = match &entry.newest {
                // Another server's replica may be behind this one's.
                Some(known) if made(&quote) <= made(&known.quote) => continue,
                Some(known) => known.number + 1,
                None => 1,
            };
            entry.newest = Some(Numbered {
                number,
                quote: Arc::new(quote),
            });
            news = true;
        }
        news
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Ticker, Followed>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When it was made, and among those of one moment when it came.
fn made(quote: &Quote) -> (Timestamp, Timestamp) {
    (quote.event_time, quote.ingest_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The greater the price, the later.
    fn quote(price: &str) -> Quote {
        Quote {
            ticker: "AAPL".parse().unwrap(),
            price: price.parse().unwrap(),
            currency: String::new(),
            volume: None,
            trade_side: None,
            event_time: Timestamp::from_micros(5),
            ingest_time: Timestamp::from_micros(price.parse().unwrap()),
            source: "test".into(),
        }
    }

    #[test]
    fn only_the_newest_price_is_kept_and_the_others_are_counted() {
        let (prices, tickers) = (Prices::default(), ["AAPL".parse().unwrap()]);
        assert!(!prices.take(vec![quote("1")]), "nobody follows it");
        prices.follow(&tickers).unwrap();
        prices.follow(&tickers).unwrap();
        assert!(prices.take(vec![quote("1")]));
        assert!(!prices.take(vec![quote("1")]), "the same again");
        for price in ["2", "3", "4"] {
            assert!(prices.take(vec![quote(price)]));
        }
        assert!(!prices.take(vec![quote("3")]), "an older one, from a replica");
        let newest = prices.newest(&tickers[0]).unwrap();
        assert_eq!(
            (newest.number, newest.quote.price.to_string()),
            (4, "4".to_owned())
        );
        prices.leave(&tickers);
        assert!(prices.newest(&tickers[0]).is_some(), "one still follows it");
        prices.leave(&tickers);
        assert!(prices.lock().is_empty());
    }

    #[test]
    fn streams_follow_so_many_tickers_and_no_more() {
        let prices = Prices::default();
        let ticker = |n: usize| format!("T{n}").parse::<Ticker>().unwrap();
        let all: Vec<_> = (0..MOST_TICKERS).map(ticker).collect();
        prices.follow(&all[1..]).unwrap();
        let refused = prices.follow(&[ticker(0), ticker(MOST_TICKERS)]).unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        prices.follow(&all[..2]).unwrap();
        assert!(prices.follow(&[ticker(MOST_TICKERS)]).is_err());
        prices.leave(&all);
        prices.follow(&[ticker(MOST_TICKERS)]).unwrap();
    }
}
