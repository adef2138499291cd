use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

use crate::StoreError;
use crate::domain::{Quote, Ticker};

/// How long a price that was read is given again: as long as prices wait that streams follow.
const GOOD_FOR: Duration = Duration::from_millis(500);

/// Most prices kept: some 10 MB.
const MOST: usize = 20_000;

/// Latest quotes that are being read, or were a moment ago: what everybody asks for costs the database what one does.
#[derive(Debug, Default)]
pub(super) struct RecentQuotes(Mutex<HashMap<Ticker, Arc<Answer>>>);

#[derive(Debug)]
struct Answer {
    asked: Instant,
    quote: OnceCell<Option<Quote>>,
}

impl RecentQuotes {
    /// The quote that was, or is, asked for less than half a second ago, or else what `read` says.
    ///
    /// # Errors
    /// As `read`; whoever else waits for it asks again.
    pub(super) async fn get<F>(
        &self,
        ticker: &Ticker,
        now: Instant,
        read: impl FnOnce() -> F,
    ) -> Result<Option<Quote>, StoreError>
    where
        F: Future<Output = Result<Option<Quote>, StoreError>>,
    {
        let answer = self.answer(ticker, now);
        let quote = answer.quote.get_or_try_init(read).await?.clone();
        if quote.is_none() {
            self.forget(ticker, &answer);
        }
        Ok(quote)
    }

    fn answer(&self, ticker: &Ticker, now: Instant) -> Arc<Answer> {
        let mut answers = self.lock();
        if let Some(answer) = answers.get(ticker)
            && now.duration_since(answer.asked) < GOOD_FOR
        {
            return Arc::clone(answer);
        }
        if answers.len() >= MOST {
            answers.clear();
        }
        let answer = Arc::new(Answer {
            asked: now,
            quote: OnceCell::new(),
        });
        answers.insert(ticker.clone(), Arc::clone(&answer));
        answer
    }

    /// That there is no price is not remembered: the first one is waited for.
    fn forget(&self, ticker: &Ticker, answer: &Arc<Answer>) {
        let mut answers = self.lock();
        if answers
            .get(ticker)
            .is_some_and(|known| Arc::ptr_eq(known, answer))
        {
            answers.remove(ticker);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Ticker, Arc<Answer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::domain::Timestamp;

    fn ticker(n: usize) -> Ticker {
        format!("T{n}").parse().unwrap()
    }

    fn quote(price: u32) -> Quote {
        Quote {
            ticker: ticker(1),
            price: price.to_string().parse().unwrap(),
            currency: String::new(),
            volume: None,
            trade_side: None,
            event_time: Timestamp::from_micros(5),
            ingest_time: Timestamp::from_micros(6),
            source: "test".into(),
        }
    }

    async fn get(recent: &RecentQuotes, now: Instant, read: Option<Quote>) -> Option<Quote> {
        recent.get(&ticker(1), now, async || Ok(read)).await.unwrap()
    }

    #[tokio::test]
    async fn a_quote_is_given_again_for_half_a_second_from_when_it_was_asked_for() {
        let (recent, start) = (RecentQuotes::default(), Instant::now());
        assert_eq!(get(&recent, start, Some(quote(1))).await, Some(quote(1)));
        let last = start + GOOD_FOR - Duration::from_micros(1);
        assert_eq!(get(&recent, last, Some(quote(2))).await, Some(quote(1)));
        let after = start + GOOD_FOR;
        assert_eq!(get(&recent, after, Some(quote(2))).await, Some(quote(2)));
    }

    #[tokio::test]
    async fn what_fails_or_is_not_there_yet_is_asked_for_again() {
        let (recent, start) = (RecentQuotes::default(), Instant::now());
        let ticker = ticker(1);
        let failed = recent.get(&ticker, start, async || Err(StoreError::Interrupted));
        assert!(failed.await.is_err());
        assert_eq!(get(&recent, start, None).await, None);
        assert_eq!(get(&recent, start, Some(quote(1))).await, Some(quote(1)));
    }

    #[tokio::test]
    async fn who_asks_at_the_same_time_is_answered_together() {
        let (recent, start, reads) = (RecentQuotes::default(), Instant::now(), Cell::new(0));
        let ask = async || {
            let read = async || {
                reads.set(reads.get() + 1);
                tokio::task::yield_now().await;
                Ok(Some(quote(1)))
            };
            recent.get(&ticker(1), start, read).await.unwrap()
        };
        assert_eq!(tokio::join!(ask(), ask()), (Some(quote(1)), Some(quote(1))));
        assert_eq!(reads.get(), 1);
    }

    #[test]
    fn so_many_are_kept_and_no_more() {
        let (recent, start) = (RecentQuotes::default(), Instant::now());
        for n in 0..MOST {
            recent.answer(&ticker(n), start);
        }
        recent.answer(&ticker(0), start);
        assert_eq!(recent.lock().len(), MOST);
        recent.answer(&ticker(MOST), start);
        assert_eq!(recent.lock().len(), 1);
    }
}
