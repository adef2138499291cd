//! One poll of one ticker: ask the provider, check the answer, publish it, and tell if the ticker's prices stopped or came
//! back.

use std::sync::Arc;
use std::time::Duration;

use cqrs::domain::{FeedChange, Quote, Restatement, Ticker, TickerFeed, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::baseline::Baselines;
use crate::breaker::CallError;
use crate::metrics::FETCHES;
use crate::provider::source::Sources;
use crate::provider::{Fetched, ProviderError};
use crate::publish::Publisher;
use crate::sanity::{Outcome, Refusal, Sanity};
use crate::staleness::{Hours, Seen, Staleness, UNMOVED_FOR};

/// How long an unknown symbol is left alone: at first, and at most. It may be listed tomorrow.
const UNKNOWN_FOR: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(60 * 60));
/// How often another provider is asked about a ticker whose quotes are held back: it may have a budget.
const SECOND_OPINION_EVERY: Duration = Duration::from_secs(60);

/// What polling remembers of a ticker.
#[derive(Debug, Default)]
pub struct TickerState {
    /// What its quotes are compared with.
    sanity: Sanity,
    /// Whether that is known which was published before by somebody else.
    knows_the_past: bool,
    /// When another provider was last asked whether a quote is true.
    doubted_at: Option<Instant>,
    /// Set while the provider does not know the symbol: until when it is left alone, and the pause after that.
    unknown: Option<(Instant, Duration)>,
    /// The last outcome, so that what goes on is logged once.
    outcome: Option<&'static str>,
    hours: Hours,
    staleness: Staleness,
}

impl TickerState {
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

/// How often a ticker is polled, and how long a provider may give no answer for it.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// From one poll to the next.
    pub interval: Duration,
    /// In an open market.
    pub stale_after: Duration,
}

/// Polls tickers.
#[derive(Debug)]
pub struct Poller {
    sources: Arc<Sources>,
    publisher: Publisher,
    baselines: Arc<Baselines>,
    pace: Pace,
    shutdown: CancellationToken,
}

impl Poller {
    /// A ticker's first quote is compared with what `baselines` know of it. Once `shutdown` is cancelled, calls to the provider are cut short; quotes in hand are
    /// still published.
    #[must_use]
    pub fn new(
        sources: Arc<Sources>,
        publisher: Publisher,
        baselines: Arc<Baselines>,
        pace: Pace,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            sources,
            publisher,
            baselines,
            pace,
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
        let call = self.ask(ticker, state);
        let (outcome, seen) = match self.shutdown.run_until_cancelled(call).await? {
            Ok(fetched) => {
                state
                    .hours
                    .take(fetched.trading, fetched.market, Timestamp::now());
                self.handle(fetched.quote, state).await
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

    /// The provider's answer. It may have to wait for long, for the provider's limit: each beat that passes meanwhile has seen
    /// nothing.
    async fn ask(&self, ticker: &Ticker, state: &mut TickerState) -> Result<Fetched, CallError> {
        self.baselines.usable().await;
        let answer = self.sources.fetch(ticker);
        tokio::pin!(answer);
        loop {
            match tokio::time::timeout(self.pace.interval, &mut answer).await {
                Ok(answer) => return answer,
                Err(_) => self.tell(ticker, Seen::Nothing, state).await,
            }
        }
    }

    async fn handle(&self, quote: Quote, state: &mut TickerState) -> (&'static str, Option<Seen>) {
        state.unknown = None;
        if !std::mem::replace(&mut state.knows_the_past, true) {
            state.sanity = self.baselines.of(&quote.ticker, Timestamp::now());
        }
        let (quote, outcome) = self.judge(quote, state).await;
        if state.outcome != Some(outcome.label()) {
            log(&quote, outcome);
        }
        if let Some(seen) = seen_unpublished(outcome) {
            return (outcome.label(), Some(seen));
        }
        let publishing = match restatement(&quote, outcome, Timestamp::now()) {
            Some(restatement) => self.publisher.publish_restated(&quote, restatement).await,
            None => self.publisher.publish(&quote).await,
        };
        match publishing {
            Ok(()) => {
                state.sanity.published(&quote);
                let label = match outcome {
                    Outcome::Confirmed { kind, .. } => kind.label(),
                    Outcome::Accept | Outcome::Refuse(_) | Outcome::Quarantine(_) => "published",
                };
                (label, Some(seen_of(&quote, Timestamp::now())))
            }
            // The next poll publishes the price again, or a newer one: if it takes another provider's word, with that.
            Err(error) => {
                state.doubted_at = None;
                tracing::warn!(stock.ticker = %quote.ticker, "a quote was not published: {error}");
                ("undelivered", None)
            }
        }
    }

    /// What is to be done with the quote; or, if it is doubtful and another provider says what can be believed, with that
    /// one's.
    async fn judge(&self, quote: Quote, state: &mut TickerState) -> (Quote, Outcome) {
        let outcome = state.sanity.check(&quote, Timestamp::now());
        let now = Instant::now();
        let asked_lately = state.doubted_at.is_some_and(|at| now < at + SECOND_OPINION_EVERY);
        if !matches!(outcome, Outcome::Quarantine(_)) || asked_lately {
            return (quote, outcome);
        }
        state.doubted_at = Some(now);
        let asking = self.sources.second_opinion(&quote.ticker, &quote.source);
        let other = self.shutdown.run_until_cancelled(asking).await.flatten();
        if let Some(Fetched { quote: other, .. }) = other {
            let others_outcome = state.sanity.check(&other, Timestamp::now());
            if others_outcome.is_publishable() {
                return (other, others_outcome);
            }
        }
        (quote, outcome)
    }

    /// Tells if the ticker is stale now, or no longer.
    async fn tell(&self, ticker: &Ticker, seen: Seen, state: &mut TickerState) {
        let (now, before) = (Timestamp::now(), state.staleness);
        let session = state.hours.session_at(now);
        let Some(stale_since) = state.staleness.observe(seen, now, session, self.pace.stale_after) else {
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

/// What is to be told with a quote after which prices are counted anew. None: they are not.
fn restatement(quote: &Quote, outcome: Outcome, now: Timestamp) -> Option<Restatement> {
    match outcome {
        Outcome::Confirmed { kind, from } if kind.restates_prices() => Some(Restatement {
            ticker: quote.ticker.clone(),
            from,
            to: quote.price,
            split: kind.conversion(from, quote.price),
            event_time: quote.event_time,
            restated_at: now,
        }),
        Outcome::Confirmed { .. } | Outcome::Accept | Outcome::Refuse(_) | Outcome::Quarantine(_) => None,
    }
}

/// What a quote that is not published says of the feed. None: it is to be published.
const fn seen_unpublished(outcome: Outcome) -> Option<Seen> {
    match outcome {
        Outcome::Accept | Outcome::Confirmed { .. } => None,
        Outcome::Refuse(Refusal::Unchanged | Refusal::Late) | Outcome::Quarantine(_) => Some(Seen::Same),
        Outcome::Refuse(Refusal::Future | Refusal::OtherCurrency) => Some(Seen::Nothing),
    }
}

fn log(quote: &Quote, outcome: Outcome) {
    let what = match outcome {
        Outcome::Accept | Outcome::Refuse(Refusal::Unchanged | Refusal::Late) => return,
        Outcome::Refuse(Refusal::Future) => {
            "a price from the future is not published; check this machine's clock and the provider"
        }
        Outcome::Refuse(Refusal::OtherCurrency) => {
            "a price in another currency than the ticker's other source gives is not published; leave this provider out"
        }
        Outcome::Quarantine(_) => {
            "a doubtful price is held back until another source or later prices confirm it"
        }
        Outcome::Confirmed { kind, .. } if kind.restates_prices() => {
            "a price that was held back proved to be true: prices are counted anew, and rules from before are on hold"
        }
        Outcome::Confirmed { .. } => "a price that was held back proved to be true",
    };
    tracing::warn!(
        stock.ticker = %quote.ticker,
        quote.price = %quote.price,
        quote.currency = quote.currency,
        quote.event_time = %quote.event_time,
        quote.source = quote.source,
        outcome = outcome.label(),
        "{what}"
    );
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
