//! `GET {base}/v7/finance/quote?symbols=AAPL,MSFT&crumb=...` with a cookie.
//!
//! A symbol that is not known, or no longer, is missing in the result; if none is known, the result is empty.

use std::num::NonZeroUsize;

use cqrs::domain::{Ticker, Timestamp};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::Url;
use reqwest::header::HeaderMap;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::Value;

use super::session::{Session, Sessions};
use super::{Meta, NAME, RATE, USER_AGENT, YahooError};
use crate::provider::error::{bad, no_price};
use crate::provider::http::{Http, Redirects};
use crate::provider::limit::{Limiter, Rate};
use crate::provider::symbol::Asked;
use crate::provider::{Answers, Fetched, Market, Provider, ProviderError};
use crate::staleness::Trading;

/// Of the longest tickers, an address of 4 KiB.
const BATCH: NonZeroUsize = NonZeroUsize::new(100).unwrap();
/// A tenth of all that would come otherwise.
const FIELDS: &str = "currency,marketState,priceHint,quoteType,regularMarketPrice,regularMarketTime";

/// Prices from Yahoo's quote endpoint, up to 100 tickers a call.
#[derive(Debug)]
pub struct Quotes {
    http: Http,
    sessions: Sessions,
    limiter: Limiter,
}

impl Quotes {
    /// Asks at `base`, whose path, if any, is kept in front, with a cookie from `cookies`.
    ///
    /// # Errors
    /// If TLS can't be set up.
    pub fn new(base: Url, cookies: Url) -> reqwest::Result<Self> {
        Ok(Self {
            // What is secret in a request opens nothing but what everybody can have.
            http: Http::new(base, USER_AGENT, HeaderMap::new(), Redirects::Anywhere)?,
            sessions: Sessions::new(cookies),
            limiter: Limiter::new(RATE),
        })
    }

    /// Held to another rate.
    #[must_use]
    pub fn limited_to(mut self, rate: Rate) -> Self {
        self.limiter = Limiter::new(rate);
        self
    }

    /// With a session that is renewed once, if it is refused.
    async fn quotes(&self, tickers: &[Ticker]) -> Result<Answers, ProviderError> {
        let session = self.sessions.get(&self.http, None).await?;
        match self.ask(&session, tickers).await {
            Err(ProviderError::Unauthorized { status: 401 }) => {
                tracing::debug!(
                    quote.source = NAME,
                    "the crumb is refused; a new one is asked for"
                );
                // Cookie, crumb, and the call once more.
                self.limiter.charge(3);
                let renewed = self.sessions.get(&self.http, Some(&session)).await?;
                self.ask(&renewed, tickers).await
            }
            result => result,
        }
    }

    async fn ask(&self, session: &Session, tickers: &[Ticker]) -> Result<Answers, ProviderError> {
        let asked = Asked::new(tickers, |ticker| Some(ticker.as_str().to_owned()));
        let mut url = self.http.url("/v7/finance/quote");
        url.query_pairs_mut()
            .append_pair("symbols", &asked.symbols().join(","))
            .append_pair("fields", FIELDS)
            .append_pair("crumb", session.crumb.expose_secret());
        let reply = self.http.get(url, session.headers()).await?;
        read(&asked, &reply.ok().await?, Timestamp::now())
    }
}

impl Provider for Quotes {
    fn name(&self) -> &'static str {
        NAME
    }

    fn endpoint(&self) -> &'static str {
        "quote"
    }

    fn batch_size(&self) -> NonZeroUsize {
        BATCH
    }

    fn limiter(&self) -> Option<&Limiter> {
        Some(&self.limiter)
    }

    fn fetch_batch<'a>(&'a self, tickers: &'a [Ticker]) -> BoxFuture<'a, Result<Answers, ProviderError>> {
        self.quotes(tickers).boxed()
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    quote_response: Body,
}

#[derive(Debug, Deserialize)]
struct Body {
    /// Each read apart: one that is odd must not take the others with it.
    result: Option<Vec<Value>>,
    error: Option<YahooError>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    #[serde(flatten)]
    meta: Meta,
    market_state: Option<String>,
    quote_type: Option<String>,
}

/// What the body says of the tickers `asked` for, at `now`.
fn read(asked: &Asked<'_>, body: &[u8], now: Timestamp) -> Result<Answers, ProviderError> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|error| bad(format!("not quotes in JSON: {error}")))?;
    if let Some(error) = answer.quote_response.error {
        return Err(match error.code.as_str() {
            "Unauthorized" => ProviderError::Unauthorized { status: 401 },
            _ => bad(error.text()),
        });
    }
    let items = answer
        .quote_response
        .result
        .ok_or_else(|| bad("there is no result"))?;
    let mut answers = Answers::default();
    for item in items {
        let symbol = item["symbol"].as_str().unwrap_or_default().to_ascii_uppercase();
        // Others than those asked for are renamed symbols, and not taken for what was asked.
        for ticker in asked.tickers(&symbol) {
            answers.extend([((*ticker).clone(), read_item(ticker, item.clone(), now))]);
        }
    }
    Ok(answers)
}

fn read_item(ticker: &Ticker, item: Value, now: Timestamp) -> Result<Fetched, ProviderError> {
    let item: Item =
        serde_json::from_value(item).map_err(|error| no_price(format!("it is not understood: {error}")))?;
    let market = match item.market_state.as_deref() {
        Some("REGULAR") => Market::Open,
        Some("PRE" | "POST") => Market::Extended,
        Some("CLOSED" | "PREPRE" | "POSTPOST") => Market::Closed,
        Some(_) | None => Market::Unknown,
    };
    let trading = if item.quote_type.as_deref() == Some("CRYPTOCURRENCY") {
        Trading::Always
    } else {
        Trading::Unknown
    };
    Ok(Fetched {
        quote: item.meta.quote(ticker, now)?,
        trading,
        market,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_739_998_900_000_000);

    fn tickers(names: &[&str]) -> Vec<Ticker> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn read_of(names: &[&str], body: &str) -> Result<Answers, ProviderError> {
        let tickers = tickers(names);
        let asked = Asked::new(&tickers, |ticker| Some(ticker.as_str().to_owned()));
        read(&asked, body.as_bytes(), NOW)
    }

    fn body(items: &[&str]) -> String {
        format!(
            r#"{{"quoteResponse":{{"result":[{}],"error":null}}}}"#,
            items.join(",")
        )
    }

    const SHARE: &str = r#"{"language":"en-US","quoteType":"EQUITY","currency":"USD","marketState":"POSTPOST","regularMarketPrice":210.69000244140625,"regularMarketTime":1739998801,"priceHint":2,"postMarketPrice":299.5,"symbol":"AAPL"}"#;
    const PENCE: &str = r#"{"quoteType":"EQUITY","currency":"GBp","marketState":"REGULAR","regularMarketPrice":308.8,"regularMarketTime":1739998800,"priceHint":2,"symbol":"OCDO.L"}"#;
    const COIN: &str = r#"{"quoteType":"CRYPTOCURRENCY","currency":"USD","marketState":"REGULAR","regularMarketPrice":96077.45,"regularMarketTime":1739998740,"priceHint":2,"symbol":"BTC-USD"}"#;

    #[test]
    fn each_item_is_matched_by_its_symbol_and_what_is_missing_is_unknown() {
        let names = ["BTC-USD", "AAPL", "NOPE", "OCDO.L"];
        let mut answers = read_of(&names, &body(&[SHARE, PENCE, COIN])).unwrap();
        let mut take = |name: &str| answers.take(&name.parse().unwrap());
        let share = take("AAPL").unwrap();
        assert_eq!(
            share.quote.price.to_string(),
            "210.69",
            "the regular market's, without noise"
        );
        assert_eq!(share.quote.event_time.as_micros(), 1_739_998_801_000_000);
        assert_eq!(share.quote.ingest_time, NOW);
        assert_eq!((share.market, share.trading), (Market::Closed, Trading::Unknown));
        let pence = take("OCDO.L").unwrap();
        assert_eq!(
            (pence.quote.currency.as_str(), pence.market),
            ("GBp", Market::Open)
        );
        let coin = take("BTC-USD").unwrap();
        assert_eq!(coin.trading, Trading::Always);
        assert_eq!(take("NOPE"), Err(ProviderError::UnknownSymbol));
    }

    #[test]
    fn nothing_known_is_an_empty_result() {
        assert_eq!(read_of(&["SIX"], &body(&[])).unwrap(), Answers::default());
        assert!(matches!(
            read_of(&["SIX"], r#"{"quoteResponse":{"result":null,"error":null}}"#),
            Err(ProviderError::BadResponse { .. })
        ));
    }

    #[test]
    fn an_item_without_a_price_of_its_own_leaves_the_others_alone() {
        for odd in [
            SHARE.replace("210.69000244140625", "null"),
            SHARE.replace("210.69000244140625", "0"),
            SHARE.replace("210.69000244140625", "-1"),
            SHARE.replace("210.69000244140625", "\"210.69\""),
            SHARE.replace("\"regularMarketPrice\":210.69000244140625,", ""),
            SHARE.replace("1739998801", "0"),
            SHARE.replace(":2,", ":-2,"),
        ] {
            let mut answers = read_of(&["AAPL", "BTC-USD"], &body(&[&odd, "null", "7", COIN])).unwrap();
            assert!(
                matches!(
                    answers.take(&"AAPL".parse().unwrap()),
                    Err(ProviderError::NoPrice { .. })
                ),
                "{odd}"
            );
            assert!(answers.take(&"BTC-USD".parse().unwrap()).is_ok());
        }
    }

    #[test]
    fn a_renamed_symbol_is_not_what_was_asked_for() {
        let renamed = SHARE.replace("AAPL", "AAPB");
        let answers = read_of(&["AAPL"], &body(&[&renamed])).unwrap();
        assert!(answers.is_empty());
    }

    #[test]
    fn an_error_in_the_body_is_about_the_whole_call() {
        let of = |code: &str| {
            read_of(
                &["AAPL"],
                &format!(
                    r#"{{"quoteResponse":{{"result":null,"error":{{"code":"{code}","description":"x"}}}}}}"#
                ),
            )
            .unwrap_err()
        };
        assert_eq!(of("Unauthorized"), ProviderError::Unauthorized { status: 401 });
        assert!(matches!(of("internal-error"), ProviderError::BadResponse { .. }));
        for text in [
            "",
            "<html>consent</html>",
            "Edge: Too Many Requests",
            "[]",
            "{}",
            "null",
        ] {
            assert!(
                matches!(read_of(&["AAPL"], text), Err(ProviderError::BadResponse { .. })),
                "{text}"
            );
        }
    }
}
