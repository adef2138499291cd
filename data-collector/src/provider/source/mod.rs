//! Several providers at once: who is asked for what, in which order, and how single tickers become batches.

mod batch;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use cqrs::domain::Ticker;
use futures::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{Disposition, Fetched, Provider, ProviderError};
use crate::breaker::{Breaker, CallError, Settings};
use crate::feed::Feed;
use crate::publish::Publisher;
use batch::{Caller, Request};

/// How long a ticker waits for others to be asked for in the same call; less where it is polled more than every four seconds.
/// Long enough for hundreds of tickers that are spread over 15 seconds to fill a call.
const LINGER: Duration = Duration::from_millis(200);
/// Tickers that wait for their call. Who comes when it is full waits in front of it.
const QUEUE: usize = 1_024;

/// Providers in order of preference, each behind its breaker.
///
/// A ticker is asked of the first that covers it; where that has no price, for whatever reason, of the next. As providers
/// cover different kinds of things, one order is an order for each kind: `binance, yahoo` asks Binance for crypto, and Yahoo
/// for the rest and for what crypto Binance does not have.
#[derive(Debug)]
pub struct Sources(Vec<Source>);

impl Sources {
    /// In order of preference.
    #[must_use]
    pub const fn new(sources: Vec<Source>) -> Self {
        Self(sources)
    }

    /// `providers` in order of preference, for tickers that are polled once an `interval`; `watched` is how many there are.
    /// To be called in a runtime.
    #[must_use]
    pub fn start(providers: Vec<Box<dyn Provider>>, interval: Duration, watched: &Arc<AtomicU64>) -> Self {
        let linger = (interval / 20).min(LINGER);
        let names: Vec<&str> = providers.iter().map(|provider| provider.name()).collect();
        let sources = providers.into_iter().map(|provider| {
            let (name, endpoint) = (provider.name(), provider.endpoint());
            let breaker = Arc::new(Breaker::new(name, endpoint, &Settings::default()));
            let is_alone = names.iter().filter(|other| **other == name).count() == 1;
            let told_as = if is_alone {
                name.to_owned()
            } else {
                format!("{name} {endpoint}")
            };
            let feed = Arc::new(Feed::new(told_as, Arc::clone(watched)));
            Source::new(provider, breaker, feed, linger)
        });
        Self(sources.collect())
    }

    /// Tells how each provider is doing, until `shutdown`.
    pub async fn report(&self, publisher: &Publisher, shutdown: &CancellationToken) {
        let reports = self
            .0
            .iter()
            .map(|source| source.feed.report(&source.breaker, publisher, shutdown));
        join_all(reports).await;
    }

    /// The name of the provider that is asked first for `ticker`.
    #[must_use]
    pub fn first_name(&self, ticker: &Ticker) -> &'static str {
        let mut covering = self.0.iter().filter(|source| source.provider.covers(ticker));
        covering.next().map_or("none", |source| source.provider.name())
    }

    /// Holds each provider to `part` of `whole` of its limit: other processes ask it for the rest of the tickers.
    pub fn share_limits(&self, part: u32, whole: u32) {
        let limiters = self.0.iter().filter_map(|source| source.provider.limiter());
        limiters.for_each(|limiter| limiter.share(part, whole));
    }

    /// The latest price of `ticker`, from the first that has one.
    ///
    /// # Errors
    /// Where nobody has: the error that leaves most open. A symbol is unknown only if all that cover it say so.
    pub async fn fetch(&self, ticker: &Ticker) -> Result<Fetched, CallError> {
        let mut told: Option<CallError> = None;
        for source in self.0.iter().filter(|source| source.provider.covers(ticker)) {
            match source.fetch(ticker).await {
                Ok(fetched) => return Ok(fetched),
                Err(error) if told.as_ref().is_none_or(|told| openness(told) < openness(&error)) => {
                    told = Some(error);
                }
                Err(_) => {}
            }
        }
        Err(told.unwrap_or(CallError::Provider(ProviderError::UnknownSymbol)))
    }

    /// What another provider than the one named `doubted` says of `ticker`. None: nobody says anything.
    pub async fn second_opinion(&self, ticker: &Ticker, doubted: &str) -> Option<Fetched> {
        for source in &self.0 {
            if source.provider.name() != doubted
                && source.provider.covers(ticker)
                && let Ok(fetched) = source.fetch(ticker).await
            {
                return Some(fetched);
            }
        }
        None
    }
}

/// How much an error leaves open whether the ticker has a price.
fn openness(error: &CallError) -> u8 {
    match error {
        CallError::Provider(ProviderError::UnknownSymbol) => 0,
        CallError::Provider(error) => match error.disposition() {
            Disposition::Symbol => 1,
            Disposition::Provider | Disposition::LeaveAlone => 3,
        },
        CallError::Rejected => 2,
    }
}

/// A provider behind its breaker, asked for single tickers, which go out in batches.
#[derive(Debug)]
pub struct Source {
    provider: Arc<dyn Provider>,
    breaker: Arc<Breaker>,
    feed: Arc<Feed>,
    queue: mpsc::Sender<Request>,
    /// Its calls end with it.
    _work: AbortOnDropHandle<()>,
}

impl Source {
    /// Starts to work; ends when it is dropped. A ticker waits for others for `linger`. To be called in a runtime.
    #[must_use]
    pub fn new(
        provider: Box<dyn Provider>,
        breaker: Arc<Breaker>,
        feed: Arc<Feed>,
        linger: Duration,
    ) -> Self {
        let provider: Arc<dyn Provider> = provider.into();
        let (queue, requests) = mpsc::channel(QUEUE);
        let caller = Caller {
            provider: Arc::clone(&provider),
            breaker: Arc::clone(&breaker),
            feed: Arc::clone(&feed),
            linger,
        };
        Self {
            provider,
            breaker,
            feed,
            queue,
            _work: AbortOnDropHandle::new(tokio::spawn(caller.run(requests))),
        }
    }

    /// Waits for company, for the provider's limit, and for the answer. Dropped before its call went out, it is not asked for.
    async fn fetch(&self, ticker: &Ticker) -> Result<Fetched, CallError> {
        let (answer, answered) = oneshot::channel();
        let request = Request {
            ticker: ticker.clone(),
            answer,
        };
        let lost = || {
            CallError::Provider(ProviderError::Unavailable {
                reason: "the call was given up".into(),
            })
        };
        self.queue.send(request).await.map_err(|_| lost())?;
        answered.await.unwrap_or_else(|_| Err(lost()))
    }
}
