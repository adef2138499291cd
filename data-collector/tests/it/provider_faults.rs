//! What goes wrong between here and a provider has the same outcome for all of them, and is never a price.

use std::time::Duration;

use data_collector::provider::ProviderError;
use reqwest::Url;

use crate::provider_stub::{KEY, Reply, Server, providers, session};
use crate::stub::{Answer, Stub};

const MIB: usize = 1024 * 1024;

/// What all providers make of `reply`, given for the body of a good answer.
async fn outcomes(reply: impl Fn(&'static str) -> Reply) -> Vec<(String, Result<String, ProviderError>)> {
    let mut outcomes = Vec::new();
    for index in 0..providers(&nowhere()).len() {
        let good = providers(&nowhere())[index].2;
        let reply = reply(good);
        let server = Server::start(move |asked| session(asked).unwrap_or_else(|| reply.clone())).await;
        let (provider, ticker, _) = providers(&server.url()).swap_remove(index);
        let fetched = provider.fetch(&ticker.parse().unwrap()).await;
        let price = fetched.map(|fetched| {
            assert_eq!(fetched.quote.source, provider.name());
            fetched.quote.price.to_string()
        });
        outcomes.push((format!("{} {}", provider.name(), provider.endpoint()), price));
    }
    outcomes
}

fn nowhere() -> Url {
    "http://127.0.0.1:1".parse().unwrap()
}

async fn all(
    what: &str,
    is_right: impl Fn(&Result<String, ProviderError>) -> bool,
    reply: impl Fn(&'static str) -> Reply,
) {
    for (provider, outcome) in outcomes(reply).await {
        assert!(is_right(&outcome), "{provider}, {what}: {outcome:?}");
    }
}

fn is_bad(outcome: &Result<String, ProviderError>) -> bool {
    matches!(outcome, Err(ProviderError::BadResponse { .. }))
}

fn is_unavailable(outcome: &Result<String, ProviderError>) -> bool {
    matches!(outcome, Err(ProviderError::Unavailable { .. }))
}

fn is_price(outcome: &Result<String, ProviderError>) -> bool {
    outcome.as_deref() == Ok("7.5")
}

#[tokio::test]
async fn a_good_answer_is_a_price_whatever_it_is_called_and_however_it_is_packed() {
    all("plain", is_price, |good| Reply::new(200, good)).await;
    all("as a page", is_price, |good| {
        Reply::new(200, good).with("content-type", "text/html")
    })
    .await;
    all("packed", is_price, |good| Reply::new(200, good).gzipped()).await;
}

#[tokio::test]
async fn what_is_no_answer_of_the_provider_is_bad() {
    for body in [
        "",
        "<!doctype html><html>",
        "Edge: Too Many Requests",
        "null",
        "{",
        "[[[[[",
    ] {
        all(body, is_bad, |_| {
            Reply::new(200, body).with("content-type", "application/json")
        })
        .await;
    }
    all("half", is_bad, |good| Reply::new(200, &good[..good.len() / 2])).await;
    all("packed in words only", is_unavailable, |good| {
        Reply::new(200, good).with("content-encoding", "gzip")
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_given_up_also_if_it_is_packed() {
    let padded = |good: &str| format!("{good}{}", " ".repeat(10 * MIB));
    all("10 MiB", is_bad, |good| Reply::new(200, padded(good))).await;
    all("10 MiB, packed", is_bad, |good| {
        Reply::new(200, padded(good)).gzipped()
    })
    .await;
}

#[tokio::test]
async fn a_limit_is_told_with_the_time_that_the_provider_asks_for() {
    let limited = |seconds: Option<u64>| {
        let error = ProviderError::RateLimited {
            retry_after: seconds.map(Duration::from_secs),
        };
        move |outcome: &Result<String, ProviderError>| *outcome == Err(error.clone())
    };
    all("429", limited(Some(7)), |_| {
        Reply::new(429, "Too Many Requests\r\n").with("retry-after", "7")
    })
    .await;
    all("429, no time", limited(None), |_| {
        Reply::new(
            429,
            "API limit reached. Please try again later. Remaining Limit: 0",
        )
    })
    .await;
}

#[tokio::test]
async fn other_statuses_mean_what_they_say() {
    for status in [500, 502, 503, 504, 408] {
        all("status", is_unavailable, |_| Reply::new(status, "<html>")).await;
    }
    for status in [403, 451] {
        all(
            "status",
            |outcome| *outcome == Err(ProviderError::Unauthorized { status }),
            |_| Reply::new(status, ""),
        )
        .await;
    }
    for status in [204, 301, 304, 405, 410] {
        all("status", is_bad, |good| Reply::new(status, good)).await;
    }
}

#[tokio::test]
async fn a_redirect_that_goes_round_is_given_up() {
    all("round", is_bad, |_| {
        Reply::new(302, "").with("location", "/round")
    })
    .await;
}

#[tokio::test]
async fn a_key_is_sent_to_its_provider_alone_and_never_in_an_address() {
    let other = Server::start(|_| Reply::new(200, "{}")).await;
    let elsewhere = other.url().join("/elsewhere").unwrap();
    let server = Server::start(move |_| Reply::new(302, "").with("location", elsewhere.as_str())).await;
    let mut with_key = 0;
    for (provider, ticker, _) in providers(&server.url()) {
        assert!(!format!("{provider:?}").contains(KEY), "{}", provider.name());
        let error = provider.fetch(&ticker.parse().unwrap()).await.unwrap_err();
        assert!(!error.to_string().contains(KEY));
        let asked = server.asked().pop().unwrap();
        if asked
            .headers
            .values()
            .any(|value| value.to_str().unwrap().contains(KEY))
        {
            with_key += 1;
            assert!(
                matches!(&error, ProviderError::BadResponse { reason } if reason.contains("another host")),
                "{error}"
            );
        }
    }
    assert_eq!(with_key, 2, "Finnhub and Twelve Data");
    for asked in other.asked() {
        assert!(
            asked
                .headers
                .values()
                .all(|value| !value.to_str().unwrap().contains(KEY))
        );
    }
    assert!(other.asked().len() >= 2, "those without a key follow");
}

#[tokio::test]
async fn a_connection_that_breaks_is_unavailable_and_one_that_hangs_ends_with_the_call() {
    for answer in [Answer::Reset, Answer::HalfBody("{\"price\":\"1\"}".into())] {
        let stub = Stub::start(answer).await;
        for (provider, ticker, _) in providers(&stub.url()) {
            let outcome = provider.fetch(&ticker.parse().unwrap()).await;
            let outcome = outcome.map(|fetched| fetched.quote.price.to_string());
            let is_right = is_unavailable(&outcome) || (provider.endpoint() == "quote" && is_bad(&outcome));
            assert!(
                is_right,
                "{} {}: {outcome:?}",
                provider.name(),
                provider.endpoint()
            );
        }
    }
    for answer in [Answer::Hang, Answer::HangAfterHeaders] {
        let stub = Stub::start(answer).await;
        for (provider, ticker, _) in providers(&stub.url()) {
            let ticker = ticker.parse().unwrap();
            let call = tokio::time::timeout(Duration::from_millis(200), provider.fetch(&ticker)).await;
            // A page without a cookie is known from its head.
            assert!(
                call.is_err() || provider.endpoint() == "quote",
                "{} {}",
                provider.name(),
                provider.endpoint()
            );
        }
    }
}
