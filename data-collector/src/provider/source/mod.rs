//! Several providers at once: who is asked for what, in which order, and how single tickers become batches.

mod batch;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use cqrs::domain::Ticker;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::{Disposition, Fetched, Provider, ProviderError};
use crate::breaker::{Breaker, CallError};
use batch::{Request, work};

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

    /// All of them, in order.
    #[must_use]
    pub fn all(&self) -> &[Source] {
        &self.0
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
    queue: mpsc::Sender<Request>,
    /// Its calls end with it.
    _work: AbortOnDropHandle<()>,
}

impl Source {
    /// Starts to work; ends when it is dropped. To be called in a runtime.
    #[must_use]
    pub fn new(provider: Box<dyn Provider>, breaker: Arc<Breaker>) -> Self {
        let provider: Arc<dyn Provider> = provider.into();
        let (queue, requests) = mpsc::channel(QUEUE);
        let work = work(Arc::clone(&provider), Arc::clone(&breaker), requests);
        Self {
            provider,
            breaker,
            queue,
            _work: AbortOnDropHandle::new(tokio::spawn(work)),
        }
    }

    /// The provider.
    #[must_use]
    pub fn provider(&self) -> &dyn Provider {
        &*self.provider
    }

    /// Its breaker.
    #[must_use]
    pub fn breaker(&self) -> &Arc<Breaker> {
        &self.breaker
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
