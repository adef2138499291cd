//! Single tickers into calls for many.

use std::sync::Arc;
use std::time::Duration;

use cqrs::domain::Ticker;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::breaker::{Breaker, CallError, State};
use crate::provider::{Answers, Fetched, Provider, ProviderError};

/// How long a ticker waits for others to be asked for in the same call. Small against any interval of polls, and long enough
/// for hundreds of tickers that are spread over 15 seconds to fill a call.
pub(super) const LINGER: Duration = Duration::from_millis(200);
/// Calls to one endpoint in flight. More would not be faster: the provider's limit is reached before.
const MAX_CALLS: usize = 8;
/// One ticker that somebody waits for.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) ticker: Ticker,
    pub(super) answer: oneshot::Sender<Result<Fetched, CallError>>,
}

/// Makes calls until nobody can ask any more.
pub(super) async fn work(
    provider: Arc<dyn Provider>,
    breaker: Arc<Breaker>,
    mut requests: mpsc::Receiver<Request>,
) {
    let places = Arc::new(Semaphore::new(MAX_CALLS));
    let mut calls = JoinSet::new();
    loop {
        // Only fails when it is closed, which nobody does.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        while calls.try_join_next().is_some() {}
        let Some(mut batch) = gather(&*provider, &mut requests).await else {
            break;
        };
        let paid = State::Open != breaker.state() && pay(&*provider, &mut batch, &mut requests).await;
        let (provider, breaker) = (Arc::clone(&provider), Arc::clone(&breaker));
        calls.spawn(async move {
            call(&*provider, &breaker, batch, paid).await;
            drop(place);
        });
    }
    while calls.join_next().await.is_some() {}
}

/// Tickers for one call: as many as it takes, or as come within [`LINGER`]. None: nobody can ask any more.
async fn gather(provider: &dyn Provider, requests: &mut mpsc::Receiver<Request>) -> Option<Vec<Request>> {
    let mut batch = vec![requests.recv().await?];
    let until = Instant::now() + LINGER;
    while batch.len() < provider.batch_size().get() {
        match timeout_at(until, requests.recv()).await {
            Ok(Some(request)) => batch.push(request),
            Ok(None) | Err(_) => break,
        }
    }
    Some(batch)
}

/// Waits for the provider's limit, and takes those along who came meanwhile, if they cost nothing more.
async fn pay(
    provider: &dyn Provider,
    batch: &mut Vec<Request>,
    requests: &mut mpsc::Receiver<Request>,
) -> bool {
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
    true
}

/// Makes the call for those who still wait, and gives each its answer. One through an open breaker, which refuses it or
/// takes it for a probe, did not wait for the limit, and pays afterwards.
async fn call(provider: &dyn Provider, breaker: &Breaker, mut batch: Vec<Request>, paid: bool) {
    batch.retain(|request| !request.answer.is_closed());
    if batch.is_empty() {
        return;
    }
    let mut tickers: Vec<Ticker> = batch.iter().map(|request| request.ticker.clone()).collect();
    tickers.sort_unstable();
    tickers.dedup();
    let asking = async {
        if let Some(limiter) = provider.limiter()
            && !paid
        {
            limiter.charge(provider.cost(tickers.len()));
        }
        provider.fetch_batch(&tickers).await
    };
    let answers = breaker.call_with(asking, Answers::trouble).await;
    for request in batch {
        let answer = match &answers {
            Ok(answers) => answers
                .get(&request.ticker)
                .cloned()
                .unwrap_or(Err(ProviderError::UnknownSymbol))
                .map_err(CallError::Provider),
            Err(error) => Err(error.clone()),
        };
        // Who went away needs no answer.
        drop(request.answer.send(answer));
    }
}
