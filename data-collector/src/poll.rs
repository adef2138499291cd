//! One poll of one ticker: ask the provider, check the answer, publish it, and tell if the ticker's prices stopped or came
//! back.

use std::sync::Arc;
use std::time::Duration;

use cqrs::domain::{FeedChange, Quote, Ticker, TickerFeed, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::breaker::CallError;
use crate::metrics::FETCHES;
use crate::provider::source::Sources;
use crate::provider::{Fetched, ProviderError};
use crate::publish::Publisher;
use crate::staleness::{Seen, Staleness, Trading, UNMOVED_FOR};

/// A price from further ahead is a mistake of the provider or of a clock: published, it would make every true price
/// after it look old.
const MAX_AHEAD: Duration = Duration::from_secs(60);
/// How long an unknown symbol is left alone: at first, and at most. It may be listed tomorrow.
const UNKNOWN_FOR: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(60 * 60));

/// What polling remembers of a ticker.
#[derive(Debug, Default)]
pub struct TickerState {
    /// Event time of the last quote published.
    published: Option<Timestamp>,
    /// Set while the provider does not know the symbol: until when it is left alone, and the pause after that.
    unknown: Option<(Instant, Duration)>,
    /// The last outcome, so that what goes on is logged once.
    outcome: Option<&'static str>,
    /// As the provider last said.
    trading: Trading,
    staleness: Staleness,
}

/// Why an answer is not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The same price as before, by its time: the market rests.
    Unchanged,
    /// Older than what was published: the provider stepped back.
    Late,
    /// More than a minute ahead of this machine's clock.
    Future,
}

impl Refusal {
    const fn label(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Late => "late",
            Self::Future => "future",
        }
    }
}

impl TickerState {
    /// Whether the quote may be published.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, quote: &Quote, now: Timestamp) -> Result<(), Refusal> {
        match self.published {
            _ if quote.event_time > now.plus(MAX_AHEAD) => Err(Refusal::Future),
            Some(last) if quote.event_time == last => Err(Refusal::Unchanged),
            Some(last) if quote.event_time < last => Err(Refusal::Late),
            _ => Ok(()),
        }
    }

    fn is_left_alone(&self, now: Instant) -> bool {
        self.unknown.is_some_and(|(until, _)| now < until)
    }

    fn failed(&mut self, error: &ProviderError, now: Instant) {
        self.unknown = match error {
            ProviderError::UnknownSymbol => {
                let pause = self.unknown.map_or(UNKNOWN_FOR.0, |(_, pause)| pause);
                Some((now + pause, (pause * 2).min(UNKNOWN_FOR.1)))
            }
            ProviderError::NoPrice { .. }
            | ProviderError::RateLimited { .. }
            | ProviderError::Unauthorized { .. }
            | ProviderError::Unavailable { .. }
            | ProviderError::BadResponse { .. } => None,
        };
    }
}

/// Polls tickers.
#[derive(Debug)]
pub struct Poller {
    sources: Arc<Sources>,
    publisher: Publisher,
    stale_after: Duration,
    shutdown: CancellationToken,
}

impl Poller {
    /// A provider may give no answer for a ticker in an open market for `stale_after`. Once `shutdown` is cancelled, calls to the provider are cut short; quotes in hand are still published.
    #[must_use]
    pub fn new(
        sources: Arc<Sources>,
        publisher: Publisher,
        stale_after: Duration,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            sources,
            publisher,
            stale_after,
            shutdown,
        }
    }

    /// Polls `ticker` once. Gives back what the next poll needs to know.
    pub async fn poll(&self, ticker: &Ticker, mut state: TickerState) -> TickerState {
        if let Some(seen) = self.look(ticker, &mut state).await {
            self.tell(ticker, seen, &mut state).await;
        }
        state
    }

    /// None: whatever the provider said, nobody would hear of it now.
    async fn look(&self, ticker: &Ticker, state: &mut TickerState) -> Option<Seen> {
        if state.is_left_alone(Instant::now()) {
            return Some(Seen::Nothing);
        }
        let call = self.sources.fetch(ticker);
        let (outcome, seen) = match self.shutdown.run_until_cancelled(call).await? {
            Ok(Fetched { quote, trading, .. }) => {
                // Not everybody who has a price knows the hours.
                if trading != Trading::Unknown {
                    state.trading = trading;
                }
                self.handle(quote, state).await
            }
            Err(CallError::Rejected) => {
                self.count(ticker, "rejected");
                return Some(Seen::Nothing);
            }
            Err(CallError::Provider(error)) => {
                state.failed(&error, Instant::now());
                if state.outcome != Some(error.label()) {
                    tracing::warn!(stock.ticker = %ticker, quote.source = self.sources.first_name(ticker), "no quote: {error}");
                }
                (error.label(), Some(Seen::Nothing))
            }
        };
        self.count(ticker, outcome);
        state.outcome = Some(outcome);
        seen
    }

    async fn handle(&self, quote: Quote, state: &mut TickerState) -> (&'static str, Option<Seen>) {
        state.unknown = None;
        let now = Timestamp::now();
        if let Err(refusal) = state.check(&quote, now) {
            if refusal == Refusal::Future && state.outcome != Some(refusal.label()) {
                tracing::warn!(
                    stock.ticker = %quote.ticker,
                    quote.event_time = %quote.event_time,
                    quote.source = quote.source,
                    "a price from the future is not published; check this machine's clock and the provider"
                );
            }
            let seen = match refusal {
                Refusal::Unchanged | Refusal::Late => Seen::Same,
                Refusal::Future => Seen::Nothing,
            };
            return (refusal.label(), Some(seen));
        }
        match self.publisher.publish(&quote).await {
            Ok(()) => {
                state.published = Some(quote.event_time);
                ("published", Some(seen_of(&quote, now)))
            }
            // The next poll publishes the price again, or a newer one.
            Err(error) => {
                tracing::warn!(stock.ticker = %quote.ticker, "a quote was not published: {error}");
                ("undelivered", None)
            }
        }
    }

    /// Tells if the ticker is stale now, or no longer.
    async fn tell(&self, ticker: &Ticker, seen: Seen, state: &mut TickerState) {
        let (now, before) = (Timestamp::now(), state.staleness);
        let session = state.trading.session_at(now);
        let Some(stale_since) = state.staleness.observe(seen, now, session, self.stale_after) else {
            return;
        };
        let change = FeedChange::Ticker(TickerFeed {
            ticker: ticker.clone(),
            stale_since,
            updated_at: now,
        });
        match (self.publisher.publish_feed(&change).await, stale_since) {
            (Ok(()), Some(since)) => tracing::warn!(
                stock.ticker = %ticker,
                quote.source = self.sources.first_name(ticker),
                stale.since = %since,
                "the market is open and no new price comes"
            ),
            (Ok(()), None) => tracing::debug!(stock.ticker = %ticker, "prices come"),
            (Err(error), _) => {
                tracing::warn!(stock.ticker = %ticker, "whether prices come was not told: {error}");
                // The next poll tells it.
                state.staleness = before;
            }
        }
    }

    /// Under the provider that is asked first.
    fn count(&self, ticker: &Ticker, outcome: &'static str) {
        metrics::counter!(FETCHES, "provider" => self.sources.first_name(ticker), "outcome" => outcome)
            .increment(1);
    }
}

/// The first price after the start may be yesterday's: it is not new because this process is.
fn seen_of(published: &Quote, now: Timestamp) -> Seen {
    if now.since(published.event_time) < UNMOVED_FOR {
        Seen::New
    } else {
        Seen::Same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quote(micros: i64) -> Quote {
        Quote {
            ticker: "AAPL".parse().unwrap(),
            price: "1".parse().unwrap(),
            currency: String::new(),
            volume: None,
            trade_side: None,
            event_time: Timestamp::from_micros(micros),
            ingest_time: Timestamp::EPOCH,
            source: "test".into(),
        }
    }

    #[test]
    fn only_a_newer_quote_that_is_not_from_the_future_is_published() {
        let now = Timestamp::from_micros(1_000_000_000);
        let new = TickerState::default();
        let known = TickerState {
            published: Some(Timestamp::from_micros(500)),
            ..TickerState::default()
        };
        assert_eq!(new.check(&quote(1), now), Ok(()), "the first may be old");
        assert_eq!(known.check(&quote(499), now), Err(Refusal::Late));
        assert_eq!(known.check(&quote(500), now), Err(Refusal::Unchanged));
        assert_eq!(known.check(&quote(501), now), Ok(()));
        assert_eq!(new.check(&quote(1_060_000_000), now), Ok(()));
        assert_eq!(new.check(&quote(1_060_000_001), now), Err(Refusal::Future));
        assert_eq!(known.check(&quote(1_060_000_001), now), Err(Refusal::Future));
    }

    #[test]
    fn an_old_price_is_no_news_even_if_it_is_the_first() {
        let now = Timestamp::from_micros(10_000_000_000);
        let age = |age: Duration| seen_of(&quote(now.minus(age).as_micros()), now);
        assert_eq!(age(Duration::ZERO), Seen::New);
        assert_eq!(age(UNMOVED_FOR - Duration::from_micros(1)), Seen::New);
        assert_eq!(age(UNMOVED_FOR), Seen::Same);
        assert_eq!(
            seen_of(&quote(10_000_000_001), now),
            Seen::New,
            "clocks differ a little"
        );
    }

    #[test]
    fn an_unknown_symbol_is_left_alone_for_longer_and_longer() {
        let mut state = TickerState::default();
        let mut now = Instant::now();
        for seconds in [60, 120, 240, 480, 960, 1_920, 3_600, 3_600] {
            assert!(!state.is_left_alone(now));
            state.failed(&ProviderError::UnknownSymbol, now);
            assert!(state.is_left_alone(now + Duration::from_secs(seconds - 1)));
            now += Duration::from_secs(seconds);
        }
        state.failed(&ProviderError::NoPrice { reason: "x".into() }, now);
        assert!(
            !state.is_left_alone(now),
            "a symbol that is known again is polled as before"
        );
    }
}
