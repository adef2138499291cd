//! Finnhub: `GET {base}/quote?symbol=AAPL`, with the key in a header.
//!
//! A symbol that is not known is answered 200 with zeros. One that the key's plan does not include is answered 401 or 403,
//! as a wrong key is; only the text tells them apart.
//!
//! Of shares only those of the USA are asked for: the answer has no currency, and London's are in pence as often as in
//! pounds. Of crypto those of Coinbase, which are priced in true dollars and not in a coin that is meant to be worth one.

use std::time::Duration;

use cqrs::domain::{Price, Ticker, Timestamp};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName};
use serde::Deserialize;

use super::answer::one_by_one;
use super::error::{bad, cut, no_price};
use super::http::{ApiKey, Http, Redirects};
use super::limit::{Limiter, Rate};
use super::symbol::{Instrument, moment_of_seconds, quote};
use super::{Answers, Fetched, Market, Provider, ProviderError};
use crate::staleness::Trading;

const KEY_HEADER: HeaderName = HeaderName::from_static("x-finnhub-token");
/// Of the free plan.
const RATE: Rate = Rate {
    budget: 60,
    per: Duration::from_secs(60),
};

/// Prices from Finnhub, one ticker a call.
#[derive(Debug)]
pub struct Finnhub {
    http: Http,
    limiter: Limiter,
}

impl Finnhub {
    /// What quotes name as their source.
    pub const NAME: &'static str = "finnhub";
    /// Where Finnhub answers.
    pub const DEFAULT_URL: &'static str = "https://finnhub.io/api/v1";

    /// Asks at `base`, whose path is kept in front.
    ///
    /// # Errors
    /// If TLS can't be set up.
    pub fn new(base: Url, key: &ApiKey) -> reqwest::Result<Self> {
        let headers = HeaderMap::from_iter([(KEY_HEADER, key.header(""))]);
        Ok(Self {
            http: Http::new(base, super::USER_AGENT, headers, Redirects::SameOrigin)?,
            limiter: Limiter::new(RATE),
        })
    }

    /// Held to another rate than the free plan's.
    #[must_use]
    pub fn limited_to(mut self, rate: Rate) -> Self {
        self.limiter = Limiter::new(rate);
        self
    }

    async fn quote(&self, ticker: &Ticker) -> Result<Fetched, ProviderError> {
        let symbol = spell(ticker).ok_or(ProviderError::UnknownSymbol)?;
        let mut url = self.http.url("/quote");
        url.query_pairs_mut().append_pair("symbol", &symbol);
        let reply = self.http.get(url, HeaderMap::new()).await?;
        match reply.status().as_u16() {
            200 => read(ticker, &reply.body().await?, Timestamp::now()),
            401 | 403 => {
                let refusal = reply.failure();
                Err(refused(refusal, &reply.body().await?))
            }
            _ => Err(reply.failure()),
        }
    }
}

impl Provider for Finnhub {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn endpoint(&self) -> &'static str {
        "quote"
    }

    fn covers(&self, ticker: &Ticker) -> bool {
        spell(ticker).is_some()
    }

    fn limiter(&self) -> Option<&Limiter> {
        Some(&self.limiter)
    }

    fn fetch_batch<'a>(&'a self, tickers: &'a [Ticker]) -> BoxFuture<'a, Result<Answers, ProviderError>> {
        one_by_one(tickers, |ticker| self.quote(ticker)).boxed()
    }
}

/// As Finnhub spells it: `BRK.B`, `COINBASE:BTC-USD`.
pub(super) fn spell(ticker: &Ticker) -> Option<String> {
    match Instrument::of(ticker) {
        Instrument::Share {
            symbol,
            exchange: None,
        } => Some(symbol.replace('-', ".")),
        Instrument::Crypto { base, quote } => Some(format!("COINBASE:{base}-{quote}")),
        Instrument::Share {
            exchange: Some(_), ..
        }
        | Instrument::Fx { .. }
        | Instrument::Other => None,
    }
}

#[derive(Debug, Deserialize)]
struct Answer {
    /// The current price.
    c: Option<f64>,
    /// When it was made, in seconds since the epoch.
    t: Option<i64>,
    error: Option<String>,
}

fn read(ticker: &Ticker, body: &[u8], now: Timestamp) -> Result<Fetched, ProviderError> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|error| bad(format!("not a quote in JSON: {error}")))?;
    if let Some(error) = answer.error {
        return Err(bad(cut(&error)));
    }
    let (Some(value), Some(time)) = (answer.c, answer.t) else {
        return Err(bad("the price or its time is missing"));
    };
    if time == 0 {
        return Err(ProviderError::UnknownSymbol);
    }
    let price = Price::from_f64(value, u8::MAX).map_err(|error| no_price(error.to_string()))?;
    let event_time = moment_of_seconds(time).ok_or_else(|| no_price("the price has no time"))?;
    let (currency, trading, market) = match Instrument::of(ticker) {
        Instrument::Crypto { quote, .. } => (quote, Trading::Always, Market::Open),
        Instrument::Share { .. } | Instrument::Fx { .. } | Instrument::Other => {
            ("USD", Trading::Unknown, Market::Unknown)
        }
    };
    Ok(Fetched {
        quote: quote(Finnhub::NAME, ticker, price, currency, event_time, now),
        trading,
        market,
    })
}

/// A wrong key is the provider's refusal; a symbol outside of the key's plan is that symbol's.
fn refused(refusal: ProviderError, body: &[u8]) -> ProviderError {
    if String::from_utf8_lossy(body).contains("have access to this resource") {
        no_price("the API key's plan does not include it")
    } else {
        refusal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_582_641_060_000_000);

    fn read_of(ticker: &str, body: &str) -> Result<Fetched, ProviderError> {
        read(&ticker.parse().unwrap(), body.as_bytes(), NOW)
    }

    #[test]
    fn a_price_has_its_time_and_the_currency_that_its_symbol_has() {
        let body =
            r#"{"c":261.75,"d":1.5,"dp":null,"h":263.3,"l":260.7,"o":261.1,"pc":259.4,"t":1582641000}"#;
        let share = read_of("AAPL", body).unwrap();
        assert_eq!(share.quote.price.to_string(), "261.75");
        assert_eq!(share.quote.currency, "USD");
        assert_eq!(
            share.quote.event_time,
            Timestamp::from_micros(1_582_641_000_000_000)
        );
        assert_eq!(share.trading, Trading::Unknown);
        let coin = read_of("BTC-EUR", body).unwrap();
        assert_eq!(
            (coin.quote.currency.as_str(), coin.trading),
            ("EUR", Trading::Always)
        );
    }

    #[test]
    fn zeros_are_an_unknown_symbol_and_never_a_price() {
        let zeros = r#"{"c":0,"d":null,"dp":null,"h":0,"l":0,"o":0,"pc":0,"t":0}"#;
        assert_eq!(read_of("NOPE", zeros), Err(ProviderError::UnknownSymbol));
        for body in [
            r#"{"c":0,"t":1582641000}"#,
            r#"{"c":-1,"t":1582641000}"#,
            r#"{"c":1e300,"t":1582641000}"#,
            r#"{"c":5,"t":-7}"#,
            r#"{"c":5,"t":9223372036854775807}"#,
        ] {
            assert!(
                matches!(read_of("AAPL", body), Err(ProviderError::NoPrice { .. })),
                "{body}"
            );
        }
        assert_eq!(
            read_of("AAPL", r#"{"c":5,"t":0}"#),
            Err(ProviderError::UnknownSymbol)
        );
    }

    #[test]
    fn what_is_no_quote_is_a_bad_response() {
        for body in [
            "",
            "API limit reached. Please try again later. Remaining Limit: 0",
            "<html>",
            "{}",
            "null",
            "[]",
            r#"{"c":null,"t":1582641000}"#,
            r#"{"c":"261","t":1582641000}"#,
            r#"{"error":"Wrong arguments"}"#,
        ] {
            assert!(
                matches!(read_of("AAPL", body), Err(ProviderError::BadResponse { .. })),
                "{body}"
            );
        }
    }

    #[test]
    fn a_symbol_outside_of_the_plan_is_told_from_a_wrong_key() {
        let refusal = ProviderError::Unauthorized { status: 403 };
        let outside = br#"{"error":"You don't have access to this resource."}"#;
        assert!(matches!(
            refused(refusal.clone(), outside),
            ProviderError::NoPrice { .. }
        ));
        assert_eq!(
            refused(refusal.clone(), br#"{"error":"Invalid API key"}"#),
            refusal
        );
    }

    #[test]
    fn only_what_has_a_known_unit_is_asked_for() {
        for (ticker, spelled) in [
            ("AAPL", Some("AAPL")),
            ("BRK-B", Some("BRK.B")),
            ("BTC-USD", Some("COINBASE:BTC-USD")),
            ("OCDO.L", None),
            ("EURUSD=X", None),
            ("^GSPC", None),
            ("GC=F", None),
        ] {
            assert_eq!(spell(&ticker.parse().unwrap()).as_deref(), spelled, "{ticker}");
        }
    }
}
