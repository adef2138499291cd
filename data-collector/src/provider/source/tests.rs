use std::num::NonZeroUsize;
use std::sync::Mutex;

use cqrs::domain::Timestamp;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::*;
use crate::breaker::State;
use crate::provider::limit::{Limiter, Rate};
use crate::provider::symbol::quote;
use crate::provider::{Answers, Market};
use crate::staleness::Trading;

const SIZE: usize = 10;

/// What a call asked for, and when.
type Calls = Arc<Mutex<Vec<(Vec<Ticker>, Instant)>>>;

/// Knows tickers that begin with its letters; those with a digit 0 at the end have no price.
#[derive(Debug)]
struct Fake {
    name: &'static str,
    knows: &'static str,
    fails: Option<ProviderError>,
    limiter: Option<Limiter>,
    calls: Calls,
}

impl Provider for Fake {
    fn name(&self) -> &'static str {
        self.name
    }

    fn endpoint(&self) -> &'static str {
        "fake"
    }

    fn covers(&self, ticker: &Ticker) -> bool {
        !ticker.as_str().starts_with('^')
    }

    fn batch_size(&self) -> NonZeroUsize {
        NonZeroUsize::new(SIZE).unwrap()
    }

    fn limiter(&self) -> Option<&Limiter> {
        self.limiter.as_ref()
    }

    fn fetch_batch<'a>(&'a self, tickers: &'a [Ticker]) -> BoxFuture<'a, Result<Answers, ProviderError>> {
        self.calls
            .lock()
            .unwrap()
            .push((tickers.to_vec(), Instant::now()));
        let known = |ticker: &&Ticker| ticker.as_str().starts_with(self.knows);
        let answer = |ticker: &Ticker| {
            if ticker.as_str().ends_with('0') {
                let reason = "x".to_owned();
                return (ticker.clone(), Err(ProviderError::NoPrice { reason }));
            }
            let now = Timestamp::EPOCH;
            let price = "1".parse().unwrap();
            let fetched = Fetched {
                quote: quote(self.name, ticker, price, "", now, now),
                trading: Trading::Always,
                market: Market::Open,
            };
            (ticker.clone(), Ok(fetched))
        };
        let answers = match self.fails.clone() {
            Some(error) => Err(error),
            None => Ok(tickers.iter().filter(known).map(answer).collect()),
        };
        async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            answers
        }
        .boxed()
    }
}

fn fake(name: &'static str, knows: &'static str, fails: Option<ProviderError>) -> (Source, Calls) {
    limited(name, knows, fails, None)
}

fn limited(
    name: &'static str,
    knows: &'static str,
    fails: Option<ProviderError>,
    rate: Option<Rate>,
) -> (Source, Calls) {
    let calls = Calls::default();
    let provider = Fake {
        name,
        knows,
        fails,
        limiter: rate.map(Limiter::new),
        calls: Arc::clone(&calls),
    };
    let breaker = Arc::new(Breaker::new(name, "fake", &Settings::default()));
    let feed = Arc::new(Feed::new(name, Arc::default()));
    (Source::new(Box::new(provider), breaker, feed, LINGER), calls)
}

fn ticker(text: &str) -> Ticker {
    text.parse().unwrap()
}

fn sizes(calls: &Calls) -> Vec<usize> {
    calls
        .lock()
        .unwrap()
        .iter()
        .map(|(asked, _)| asked.len())
        .collect()
}

fn down() -> ProviderError {
    ProviderError::Unavailable { reason: "x".into() }
}

async fn source_of(sources: &Sources, name: &str) -> Result<String, CallError> {
    let fetched = sources.fetch(&ticker(name)).await?;
    assert_eq!(fetched.quote.ticker.as_str(), name);
    Ok(fetched.quote.source)
}

#[tokio::test(start_paused = true)]
async fn tickers_that_come_together_go_out_in_full_calls() {
    let (source, calls) = fake("a", "T", None);
    let sources = Sources::new(vec![source]);
    let names: Vec<String> = (100..125).map(|number| format!("T{number}")).collect();
    let answers = join_all(names.iter().map(|name| source_of(&sources, name))).await;
    let good = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(good, 22, "all but 100, 110 and 120");
    assert_eq!(sizes(&calls), [10, 10, 5]);
    let start = Instant::now();
    assert!(source_of(&sources, "T1").await.is_ok());
    assert!(
        start.elapsed() < LINGER + Duration::from_millis(60),
        "one alone waits no longer"
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_first_has_no_price_of_the_next_is_asked_for() {
    let (first, first_calls) = fake("first", "A", None);
    let (second, second_calls) = fake("second", "", None);
    let sources = Sources::new(vec![first, second]);
    assert_eq!(source_of(&sources, "A1").await, Ok("first".into()));
    assert!(second_calls.lock().unwrap().is_empty());
    assert_eq!(
        source_of(&sources, "B1").await,
        Ok("second".into()),
        "unknown there"
    );
    assert!(matches!(
        source_of(&sources, "A0").await,
        Err(CallError::Provider(ProviderError::NoPrice { .. }))
    ));
    assert_eq!(sizes(&second_calls), [1, 1]);
    assert_eq!(
        source_of(&sources, "^X").await,
        Err(CallError::Provider(ProviderError::UnknownSymbol))
    );
    assert_eq!(
        sizes(&first_calls).len(),
        3,
        "what it does not cover it is not asked for"
    );
}

#[tokio::test(start_paused = true)]
async fn a_second_opinion_is_another_providers_and_of_one_that_has_a_price() {
    let (first, calls) = fake("first", "", None);
    let (same, same_calls) = fake("first", "", None);
    let (fails, _) = fake("second", "", Some(down()));
    let (third, _) = fake("third", "A", None);
    let sources = Sources::new(vec![first, same, fails, third]);
    let opinion = sources.second_opinion(&ticker("A1"), "first").await;
    assert_eq!(opinion.unwrap().quote.source, "third");
    assert_eq!(sources.second_opinion(&ticker("B1"), "first").await, None);
    assert!(calls.lock().unwrap().is_empty() && same_calls.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn while_the_first_is_left_alone_the_next_serves() {
    let limit = ProviderError::RateLimited { retry_after: None };
    let (first, calls) = fake("first", "", Some(limit));
    let (second, _) = fake("second", "", None);
    let sources = Sources::new(vec![first, second]);
    for _ in 0..5 {
        assert_eq!(source_of(&sources, "A1").await, Ok("second".into()));
    }
    assert_eq!(sizes(&calls), [1], "its breaker opened at once");
    assert_eq!(sources.0[0].breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_symbol_is_unknown_only_if_nobody_may_know_it() {
    let (knows_not, _) = fake("first", "A", None);
    let (fails, _) = fake("second", "", Some(down()));
    let sources = Sources::new(vec![knows_not, fails]);
    assert_eq!(source_of(&sources, "B1").await, Err(CallError::Provider(down())));
    let (knows_not, _) = fake("first", "A", None);
    let (neither, _) = fake("second", "A", None);
    let sources = Sources::new(vec![knows_not, neither]);
    assert_eq!(
        source_of(&sources, "B1").await,
        Err(CallError::Provider(ProviderError::UnknownSymbol))
    );
}

#[tokio::test(start_paused = true)]
async fn five_thousand_tickers_keep_to_the_providers_limit_in_full_calls() {
    let rate = Rate {
        budget: 60,
        per: Duration::from_secs(60),
    };
    let (source, calls) = limited("a", "", None, Some(rate));
    let sources = Sources::new(vec![source]);
    let start = Instant::now();
    let names: Vec<String> = (0..5_000).map(|number| format!("T{number}X")).collect();
    for answer in join_all(names.iter().map(|name| source_of(&sources, name))).await {
        assert!(answer.is_ok());
    }
    assert_eq!(sizes(&calls), vec![SIZE; 500]);
    assert_eq!(start.elapsed().as_secs() / 60, 8, "500 calls, 60 a minute");
    let calls = calls.lock().unwrap();
    for (_, at) in &*calls {
        let minute = *at..*at + Duration::from_secs(60);
        let within = calls.iter().filter(|(_, at)| minute.contains(at)).count();
        assert!(within <= 60, "{within}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_went_away_is_not_asked_for() {
    let (source, calls) = fake("a", "", None);
    let sources = Sources::new(vec![source]);
    let gone = tokio::time::timeout(LINGER / 2, source_of(&sources, "A1")).await;
    assert!(gone.is_err());
    tokio::time::sleep(LINGER * 2).await;
    assert!(calls.lock().unwrap().is_empty());
    assert!(source_of(&sources, "A1").await.is_ok());
}
