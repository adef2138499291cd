use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cqrs::domain::{Quote, Ticker};
use cqrs::{Queries, StoreError};
use tokio::sync::watch;

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

impl Prices {
    pub(super) fn follow(&self, tickers: &[Ticker]) {
        let mut followed = self.lock();
        for ticker in tickers {
            followed.entry(ticker.clone()).or_default().streams += 1;
        }
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
                Some(known) if *known.quote == quote => continue,
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

#[cfg(test)]
mod tests {
    use cqrs::domain::Timestamp;

    use super::*;

    fn quote(price: &str) -> Quote {
        Quote {
            ticker: "AAPL".parse().unwrap(),
            price: price.parse().unwrap(),
            currency: String::new(),
            volume: None,
            trade_side: None,
            event_time: Timestamp::from_micros(5),
            ingest_time: Timestamp::from_micros(6),
            source: "test".into(),
        }
    }

    #[test]
    fn only_the_newest_price_is_kept_and_the_others_are_counted() {
        let (prices, tickers) = (Prices::default(), ["AAPL".parse().unwrap()]);
        assert!(!prices.take(vec![quote("1")]), "nobody follows it");
        prices.follow(&tickers);
        prices.follow(&tickers);
        assert!(prices.take(vec![quote("1")]));
        assert!(!prices.take(vec![quote("1")]), "the same again");
        for price in ["2", "3", "4"] {
            assert!(prices.take(vec![quote(price)]));
        }
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
}
