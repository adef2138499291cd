//! One HTTP client for all providers: how long a request may take, how large an answer may be, where it may be sent on to,
//! and what a status means.

use std::time::Duration;

use cqrs::domain::Timestamp;
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use secrecy::{ExposeSecret as _, SecretString};

use super::error::{ProviderError, bad};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer that is read, unpacked: the largest known, all prices of Binance, is a quarter of it.
const MAX_BODY: usize = 1024 * 1024;
const MAX_REDIRECTS: usize = 3;

/// A provider's key, kept out of logs.
#[derive(Debug, Clone)]
pub struct ApiKey(SecretString);

/// The text can't be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it does not have the form of an API key; give 8 to 256 letters, digits, - or _")]
pub struct ParseApiKeyError;

impl std::str::FromStr for ApiKey {
    type Err = ParseApiKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (8..=256).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        fits.then(|| Self(text.into())).ok_or(ParseApiKeyError)
    }
}

impl ApiKey {
    /// For an address, where the provider wants it there.
    pub(super) fn secret(&self) -> SecretString {
        self.0.clone()
    }

    /// As a header's value, behind `prefix`.
    pub(super) fn header(&self, prefix: &'static str) -> HeaderValue {
        let text = format!("{prefix}{}", self.0.expose_secret());
        let mut value = HeaderValue::from_str(&text)
            .unwrap_or_else(|_| unreachable!("letters and digits, checked when it was parsed"));
        value.set_sensitive(true);
        value
    }
}

/// Where a provider may send a request on to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Redirects {
    /// Any host: the request holds nothing that is not for everybody.
    Anywhere,
    /// The same scheme, host and port: it holds a key.
    SameOrigin,
}

/// Requests to one provider.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    base: Url,
}

impl Http {
    /// Below `base`, whose path, if any, is kept in front. All requests carry `headers`.
    pub(super) fn new(
        base: Url,
        user_agent: &str,
        headers: HeaderMap,
        redirects: Redirects,
    ) -> reqwest::Result<Self> {
        let client = Client::builder()
            .user_agent(user_agent)
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(policy(redirects))
            // It would tell the next host the query, and what is secret in it.
            .referer(false)
            .build()?;
        Ok(Self { client, base })
    }

    /// The address of `path`, which starts with a slash and is escaped where it has to be.
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url
    }

    pub(super) async fn get(&self, url: Url, headers: HeaderMap) -> Result<Reply, ProviderError> {
        let request = self.client.get(url).headers(headers);
        request.send().await.map(Reply).map_err(of_transport)
    }
}

fn policy(redirects: Redirects) -> redirect::Policy {
    redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > MAX_REDIRECTS {
            return attempt.error("too many redirects");
        }
        let first = attempt.previous().first().map(Url::origin);
        if redirects == Redirects::SameOrigin && first.is_some_and(|origin| origin != attempt.url().origin())
        {
            return attempt.error("sent on to another host, which must not get the key");
        }
        attempt.follow()
    })
}

/// An answer whose body has not been read.
#[derive(Debug)]
pub(super) struct Reply(Response);

impl Reply {
    pub(super) fn status(&self) -> StatusCode {
        self.0.status()
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.0.headers()
    }

    /// The body, if the status is 200, or what another status means.
    pub(super) async fn ok(self) -> Result<Vec<u8>, ProviderError> {
        if self.status() == StatusCode::OK {
            self.body().await
        } else {
            Err(self.failure())
        }
    }

    /// What the status means where the provider has no meaning of its own for it.
    pub(super) fn failure(&self) -> ProviderError {
        failure_of(self.status().as_u16(), self.retry_after())
    }

    /// Seconds; the other form, a date, is read too.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let text = self.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
        Some(Timestamp::from_micros(at.as_microsecond()).since(Timestamp::now()))
    }

    pub(super) async fn body(mut self) -> Result<Vec<u8>, ProviderError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.0.chunk().await.map_err(of_transport)? {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(bad(format!("more than {MAX_BODY} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// What a status means, also one that is written in a body of status 200.
pub(super) fn failure_of(status: u16, retry_after: Option<Duration>) -> ProviderError {
    match status {
        429 => ProviderError::RateLimited { retry_after },
        // 451: not from this country.
        401 | 403 | 451 => ProviderError::Unauthorized { status },
        408 | 425 | 500..=599 => ProviderError::Unavailable {
            reason: format!("HTTP {status}"),
        },
        _ => bad(format!("HTTP {status}")),
    }
}

/// The URL is left out: a proxy's may hold a password.
fn of_transport(error: reqwest::Error) -> ProviderError {
    let error = error.without_url();
    if error.is_redirect() {
        return bad(chain(&error));
    }
    ProviderError::Unavailable {
        reason: chain(&error),
    }
}

/// An error with its causes, which reqwest leaves out of its message.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_nowhere() {
        let key: ApiKey = "c0ffee-SECRET_1".parse().unwrap();
        assert!(!format!("{key:?} {:?}", key.header("apikey ")).contains("SECRET"));
        assert_eq!(key.header("apikey ").to_str().unwrap(), "apikey c0ffee-SECRET_1");
        for text in ["", "short", "with a space", "line\nbreak1", "schlüssel"] {
            assert!(text.parse::<ApiKey>().is_err(), "{text:?}");
        }
        assert!("x".repeat(257).parse::<ApiKey>().is_err());
    }

    #[test]
    fn a_status_means_the_same_in_a_header_and_in_a_body() {
        let minute = Some(Duration::from_secs(60));
        assert_eq!(
            failure_of(429, minute),
            ProviderError::RateLimited { retry_after: minute }
        );
        for status in [401, 403, 451] {
            assert_eq!(failure_of(status, None), ProviderError::Unauthorized { status });
        }
        for status in [408, 500, 502, 503, 599] {
            assert!(matches!(
                failure_of(status, None),
                ProviderError::Unavailable { .. }
            ));
        }
        for status in [0, 204, 304, 400, 404, 418, 600] {
            assert!(matches!(
                failure_of(status, None),
                ProviderError::BadResponse { .. }
            ));
        }
    }
}
