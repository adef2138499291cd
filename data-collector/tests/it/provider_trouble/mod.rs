//! Every call that is made of a provider (also those for a cookie, a crumb, or once more) meets everything that can go wrong on
//! the way. It ends within its time with the documented error, never with a price; and the next one, when all is well again,
//! with the price.

mod server;

use std::sync::Arc;
use std::time::Duration;

use cqrs::domain::Ticker;
use data_collector::breaker::{Breaker, CallError, Settings};
use data_collector::provider::{Provider, ProviderError};
use futures::future::join_all;

use crate::provider_stub::{KEY, providers};
use server::{Fault, Server, Stage};

const KEPT_WAITING: [Fault; 5] = [
    Fault::Hang,
    Fault::SlowHead,
    Fault::EndlessHead,
    Fault::HangAfterHead,
    Fault::SlowBody,
];
/// How long a call may take that is kept waiting.
const SHORT: Duration = Duration::from_millis(800);
/// And one that is not, on a machine that is busy.
const LONG: Duration = Duration::from_secs(60);
/// How long it takes until it is back at most.
const BACK: Duration = Duration::from_secs(90);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Bad,
    Unavailable,
    Price,
}

/// What is documented.
fn expected(fault: Fault, stage: Stage) -> Outcome {
    match fault {
        Fault::Hang
        | Fault::SlowHead
        | Fault::EndlessHead
        | Fault::Reset
        | Fault::NoHttp
        | Fault::HalfHead => Outcome::Unavailable,
        Fault::RedirectLoop | Fault::RedirectToFile => Outcome::Bad,
        // Of the page that sets a cookie nothing is read but the head, and there is none in it.
        _ if stage == Stage::Cookie => Outcome::Bad,
        Fault::HangAfterHead
        | Fault::SlowBody
        | Fault::HalfBody
        | Fault::BadChunk
        | Fault::GzipCutOff
        | Fault::GzipGarbage => Outcome::Unavailable,
        Fault::EndlessBody | Fault::GzipBomb | Fault::TenMebibytes | Fault::Empty | Fault::Page => {
            Outcome::Bad
        }
        Fault::WrongType => Outcome::Price,
    }
}

fn is_as(outcome: &Result<String, CallError>) -> Option<Outcome> {
    match outcome {
        Ok(price) if price == "7.5" => Some(Outcome::Price),
        Err(CallError::Provider(ProviderError::BadResponse { .. })) => Some(Outcome::Bad),
        Err(CallError::Provider(ProviderError::Unavailable { .. })) => Some(Outcome::Unavailable),
        Ok(_) | Err(_) => None,
    }
}

async fn ask(breaker: &Breaker, provider: &dyn Provider, ticker: &Ticker) -> Result<String, CallError> {
    let fetched = tokio::time::timeout(BACK, breaker.call(provider.fetch(ticker)))
        .await
        .expect("the call is back");
    fetched.map(|fetched| fetched.quote.price.to_string())
}

/// One provider, one of its calls, one fault.
async fn meet(index: usize, stage: Stage, fault: Fault) {
    let waits = expected(fault, stage) == Outcome::Unavailable && KEPT_WAITING.contains(&fault);
    let call_timeout = if waits { SHORT } else { LONG };
    let server = Server::start(providers(&"http://127.0.0.1:1".parse().unwrap())[index].2).await;
    let (provider, name, _) = providers(&server.url()).swap_remove(index);
    let case = format!(
        "{} {}, {stage:?}, {fault:?}",
        provider.name(),
        provider.endpoint()
    );
    let breaker = Breaker::new(
        provider.name(),
        provider.endpoint(),
        &Settings {
            call_timeout,
            ..Settings::default()
        },
    );
    let ticker: Ticker = name.parse().unwrap();
    server.fails(stage, fault);
    let outcome = ask(&breaker, &*provider, &ticker).await;
    assert_eq!(
        is_as(&outcome),
        Some(expected(fault, stage)),
        "{case}: {outcome:?}"
    );
    if let Err(error) = &outcome {
        assert!(!error.to_string().contains(KEY), "{case}");
    }
    assert!(server.met() > 0, "{case}: it was never asked");
    server.is_well();
    // Nothing that was kept is in the way of the next.
    let breaker = Breaker::new(provider.name(), provider.endpoint(), &Settings::default());
    let outcome = ask(&breaker, &*provider, &ticker).await;
    assert_eq!(
        is_as(&outcome),
        Some(Outcome::Price),
        "{case}, afterwards: {outcome:?}"
    );
}

fn stages(index: usize) -> &'static [Stage] {
    match index {
        1 => &[Stage::Cookie, Stage::Crumb, Stage::Prices],
        4 => &[Stage::Prices, Stage::OnceMore],
        _ => &[Stage::Prices],
    }
}

async fn all_meet(faults: &[Fault]) {
    let mut meetings = Vec::new();
    for index in 0..5 {
        for stage in stages(index) {
            meetings.extend(faults.iter().map(|fault| meet(index, *stage, *fault)));
        }
    }
    join_all(meetings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_keeps_a_call_waiting_does_not_keep_it_for_ever() {
    all_meet(&KEPT_WAITING).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_anywhere_is_no_answer() {
    all_meet(&[
        Fault::Reset,
        Fault::HalfHead,
        Fault::HalfBody,
        Fault::NoHttp,
        Fault::BadChunk,
        Fault::GzipCutOff,
        Fault::GzipGarbage,
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_too_much_or_none_is_given_up() {
    all_meet(&[
        Fault::EndlessBody,
        Fault::TenMebibytes,
        Fault::GzipBomb,
        Fault::Empty,
        Fault::Page,
        Fault::RedirectLoop,
        Fault::RedirectToFile,
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_answer_is_called_does_not_matter() {
    // A page without a cookie is none, whatever it is called.
    let all = (0..5).flat_map(|index| stages(index).iter().map(move |stage| (index, *stage)));
    let all = all.filter(|(_, stage)| *stage != Stage::Cookie);
    join_all(all.map(|(index, stage)| meet(index, stage, Fault::WrongType))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_tasks_that_hang_at_the_cookie_are_all_back_and_then_served() {
    let server = Server::start(providers(&"http://127.0.0.1:1".parse().unwrap())[1].2).await;
    let (provider, name, _) = providers(&server.url()).swap_remove(1);
    let settings = Settings {
        call_timeout: Duration::from_secs(5),
        window: 1_000,
        minimum_calls: 1_000,
        ..Settings::default()
    };
    let (breaker, provider) = (
        Arc::new(Breaker::new("yahoo", "quote", &settings)),
        Arc::new(provider),
    );
    let ticker: Ticker = name.parse().unwrap();
    for (fault, outcome) in [(Some(Fault::Hang), Outcome::Unavailable), (None, Outcome::Price)] {
        match fault {
            Some(fault) => server.fails(Stage::Cookie, fault),
            None => server.is_well(),
        }
        let calls = (0..64).map(|_| ask(&breaker, &**provider, &ticker));
        for result in join_all(calls).await {
            assert_eq!(is_as(&result), Some(outcome), "{result:?}");
        }
    }
}
