//! Single tickers into calls for many.

use std::sync::Arc;
use std::time::Duration;

use cqrs::domain::{Ticker, Timestamp};
use tokio::sync::mpsc::Receiver;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::breaker::{Breaker, CallError, State};
use crate::feed::Feed;
use crate::provider::{Answers, Fetched, Provider, ProviderError};

/// Calls to one endpoint in flight. More would not be faster: the provider's limit is reached before.
const MAX_CALLS: usize = 8;

/// One ticker that somebody waits for.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) ticker: Ticker,
    pub(super) answer: oneshot::Sender<Result<Fetched, CallError>>,
}

/// Who makes the calls.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) provider: Arc<dyn Provider>,
    pub(super) breaker: Arc<Breaker>,
    pub(super) feed: Arc<Feed>,
    pub(super) linger: Duration,
}

impl Caller {
    /// Until nobody can ask any more.
    pub(super) async fn run(self, mut requests: Receiver<Request>) {
        let places = Arc::new(Semaphore::new(MAX_CALLS));
        let mut calls = JoinSet::new();
        // Nobody closes the semaphore.
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            while calls.try_join_next().is_some() {}
            let Some(mut batch) = self.gather(&mut requests).await else {
                break;
            };
            // Who can only be refused does not wait in line for it.
            let is_paid = self.breaker.state() != State::Open;
            if is_paid {
                self.pay(&mut batch, &mut requests).await;
            }
            let caller = self.clone();
            calls.spawn(async move {
                caller.call(batch, is_paid).await;
                drop(place);
            });
        }
        while calls.join_next().await.is_some() {}
    }

    /// Tickers for one call: as many as it takes, or as come in time. None: nobody can ask any more.
    async fn gather(&self, requests: &mut Receiver<Request>) -> Option<Vec<Request>> {
        let mut batch = vec![requests.recv().await?];
        let until = Instant::now() + self.linger;
        while batch.len() < self.provider.batch_size().get() {
            match timeout_at(until, requests.recv()).await {
                Ok(Some(request)) => batch.push(request),
                Ok(None) | Err(_) => break,
            }
        }
        Some(batch)
    }

    /// Waits for the provider's limit, and takes those along who came meanwhile, if they cost nothing more.
    async fn pay(&self, batch: &mut Vec<Request>, requests: &mut Receiver<Request>) {
        let provider = &self.provider;
        if let Some(limiter) = provider.limiter() {
            limiter.acquire(provider.cost(batch.len())).await;
        }
        while batch.len() < provider.batch_size().get()
            && provider.cost(batch.len() + 1) == provider.cost(batch.len())
        {
            match requests.try_recv() {
                Ok(request) => batch.push(request),
                Err(_) => break,
            }
        }
    }

    /// Makes the call for those who still wait, and gives each its answer. Where it did not wait for the limit and is let
    /// through all the same, as a probe, it pays afterwards.
    async fn call(&self, mut batch: Vec<Request>, is_paid: bool) {
        batch.retain(|request| !request.answer.is_closed());
        let mut tickers: Vec<Ticker> = batch.iter().map(|request| request.ticker.clone()).collect();
        tickers.sort_unstable();
        tickers.dedup();
        if tickers.is_empty() {
            return;
        }
        let asking = async {
            if let Some(limiter) = self.provider.limiter().filter(|_| !is_paid) {
                limiter.charge(self.provider.cost(tickers.len()));
            }
            self.provider.fetch_batch(&tickers).await
        };
        let answers = self.breaker.call_with(asking, Answers::trouble).await;
        if answers.as_ref().is_ok_and(Answers::has_price) {
            self.feed.succeeded(Timestamp::now());
        }
        for request in batch {
            let answer = match &answers {
                Ok(answers) => {
                    let answer = answers.get(&request.ticker).cloned();
                    answer
                        .unwrap_or(Err(ProviderError::UnknownSymbol))
                        .map_err(CallError::Provider)
                }
                Err(error) => Err(error.clone()),
            };
            // Who went away needs no answer.
            drop(request.answer.send(answer));
        }
    }
}
