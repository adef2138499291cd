//! Binance: `GET {base}/api/v3/ticker/price?symbols=["BTCUSDT","ETHBTC"]&symbolStatus=TRADING`, without a key.
//!
//! Prices are text without a time, so pairs that are no longer traded are left out by their status: their last price would
//! look new for ever. One symbol that is not known fails the whole call, and nobody says which: then all pairs are asked for,
//! which costs as much as a hundred, and what is not among them is unknown.
//!
//! Binance trades no dollars. `BTC-USD` is answered with the pair in USDT, a coin that is meant to be worth one, and the
//! quote's currency says so.

use std::num::NonZeroUsize;
use std::time::Duration;

use cqrs::domain::{Ticker, Timestamp};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::header::HeaderMap;
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;

use super::error::{bad, cut, no_price};
use super::http::{Http, Redirects};
use super::limit::{Limiter, Rate};
use super::sighting::Sightings;
use super::symbol::{Asked, Instrument, price_of_text, quote};
use super::{Answers, Fetched, Market, Provider, ProviderError};
use crate::staleness::Trading;

/// As many as Binance's other endpoints take; an address of 2 KiB.
const BATCH: NonZeroUsize = NonZeroUsize::new(100).unwrap();
/// What several pairs cost, and also all of them.
const WEIGHT: u32 = 4;
/// Of an address, which others may share: half of what Binance allows.
const RATE: Rate = Rate {
    budget: 3_000,
    per: Duration::from_secs(60),
};
/// In place of dollars.
const DOLLAR_COIN: &str = "USDT";
/// Binance's number for a symbol that it does not know.
const INVALID_SYMBOL: i64 = -1121;
/// Too many requests after too many requests: this address is shut out for as long as `Retry-After` says.
const SHUT_OUT: u16 = 418;

/// Crypto prices from Binance, up to 100 tickers a call.
#[derive(Debug)]
pub struct Binance {
    http: Http,
    limiter: Limiter,
    seen: Sightings,
}

impl Binance {
    /// What quotes name as their source.
    pub const NAME: &'static str = "binance";
    /// Where Binance answers questions about prices, and no others.
    pub const DEFAULT_URL: &'static str = "https://data-api.binance.vision";

    /// Asks at `base`, whose path, if any, is kept in front.
    ///
    /// # Errors
    /// If TLS can't be set up.
    pub fn new(base: Url) -> reqwest::Result<Self> {
        Ok(Self {
            http: Http::new(base, super::USER_AGENT, HeaderMap::new(), Redirects::Anywhere)?,
            limiter: Limiter::new(RATE),
            seen: Sightings::default(),
        })
    }

    async fn prices(&self, tickers: &[Ticker]) -> Result<Answers, ProviderError> {
        let asked = Asked::new(tickers, spell);
        if asked.is_empty() {
            return Ok(Answers::default());
        }
        match self.ask(&asked, Some(&asked.symbols())).await? {
            Prices::Of(answers) => Ok(answers),
            Prices::BadSymbol => {
                self.limiter.charge(WEIGHT);
                match self.ask(&asked, None).await? {
                    Prices::Of(answers) => Ok(answers),
                    Prices::BadSymbol => Err(bad("a symbol is called invalid that was not asked for")),
                }
            }
        }
    }

    /// None: all symbols.
    async fn ask(&self, asked: &Asked<'_>, symbols: Option<&[&str]>) -> Result<Prices, ProviderError> {
        let mut url = self.http.url("/api/v3/ticker/price");
        if let Some(symbols) = symbols {
            let list = format!("[\"{}\"]", symbols.join("\",\""));
            url.query_pairs_mut().append_pair("symbols", &list);
        }
        url.query_pairs_mut().append_pair("symbolStatus", "TRADING");
        let reply = self.http.get(url, HeaderMap::new()).await?;
        match reply.status() {
            StatusCode::OK => read(asked, &reply.body().await?, Timestamp::now()).map(Prices::Of),
            StatusCode::BAD_REQUEST => refused(&reply.body().await?),
            status if status.as_u16() == SHUT_OUT => Err(ProviderError::RateLimited {
                retry_after: reply.retry_after(),
            }),
            _ => Err(reply.failure()),
        }
    }
}

impl Provider for Binance {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn endpoint(&self) -> &'static str {
        "price"
    }

    fn covers(&self, ticker: &Ticker) -> bool {
        spell(ticker).is_some()
    }

    fn batch_size(&self) -> NonZeroUsize {
        BATCH
    }

    fn limiter(&self) -> Option<&Limiter> {
        Some(&self.limiter)
    }

    fn cost(&self, _tickers: usize) -> u32 {
        WEIGHT
    }

    fn fetch_batch<'a>(&'a self, tickers: &'a [Ticker]) -> BoxFuture<'a, Result<Answers, ProviderError>> {
        async move {
            let mut answers = self.prices(tickers).await?;
            self.seen.date(&mut answers);
            Ok(answers)
        }
        .boxed()
    }
}

/// What a call for prices gives.
#[derive(Debug, PartialEq, Eq)]
enum Prices {
    Of(Answers),
    /// At least one of the symbols is not known, and so none has a price.
    BadSymbol,
}

/// A pair as Binance spells it: `BTCUSDT`.
pub(super) fn spell(ticker: &Ticker) -> Option<String> {
    match Instrument::of(ticker) {
        Instrument::Crypto { base, quote } => Some(format!("{base}{}", currency_of(quote))),
        Instrument::Share { .. } | Instrument::Fx { .. } | Instrument::Other => None,
    }
}

pub(super) fn currency_of(quote: &str) -> &str {
    if quote == "USD" { DOLLAR_COIN } else { quote }
}

#[derive(Debug, Deserialize)]
struct Refusal {
    code: i64,
    msg: String,
}

fn refused(body: &[u8]) -> Result<Prices, ProviderError> {
    let refusal: Refusal =
        serde_json::from_slice(body).map_err(|error| bad(format!("HTTP 400, not in JSON: {error}")))?;
    if refusal.code == INVALID_SYMBOL {
        Ok(Prices::BadSymbol)
    } else {
        Err(bad(format!("HTTP 400, {}: {}", refusal.code, cut(&refusal.msg))))
    }
}

/// What the body says of the symbols `asked` for, at `now`: a list, or one alone.
fn read(asked: &Asked<'_>, body: &[u8], now: Timestamp) -> Result<Answers, ProviderError> {
    let body: Value =
        serde_json::from_slice(body).map_err(|error| bad(format!("not prices in JSON: {error}")))?;
    let items = match (body.as_array(), body["symbol"].is_string()) {
        (Some(items), _) => items.as_slice(),
        (None, true) => std::slice::from_ref(&body),
        (None, false) => return Err(bad("it is no list of prices")),
    };
    let mut answers = Answers::default();
    for item in items {
        let Some(symbol) = item["symbol"].as_str() else {
            return Err(bad("it is a list of something else than prices"));
        };
        answers.extend(asked.answers(symbol, |ticker| price_of(ticker, &item["price"], now)));
    }
    Ok(answers)
}

fn price_of(ticker: &Ticker, price: &Value, now: Timestamp) -> Result<Fetched, ProviderError> {
    let text = price
        .as_str()
        .ok_or_else(|| no_price("there is none in the answer"))?;
    let currency = match Instrument::of(ticker) {
        Instrument::Crypto { quote, .. } => currency_of(quote),
        Instrument::Share { .. } | Instrument::Fx { .. } | Instrument::Other => "",
    };
    Ok(Fetched {
        quote: quote(Binance::NAME, ticker, price_of_text(text)?, currency, now, now),
        trading: Trading::Always,
        market: Market::Open,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    fn read_of(names: &[&str], body: &str) -> Result<Answers, ProviderError> {
        let tickers: Vec<Ticker> = names.iter().map(|name| name.parse().unwrap()).collect();
        read(&Asked::new(&tickers, spell), body.as_bytes(), NOW)
    }

    #[test]
    fn a_list_has_exact_prices_and_what_is_missing_is_unknown() {
        let body = r#"[{"symbol":"ETHBTC","price":"0.07946600"},{"symbol":"LTCBTC","price":"4.00000200"},{"symbol":"BTCUSDT","price":"97000.10000000"}]"#;
        let mut answers = read_of(&["LTC-BTC", "BTC-USD", "BTC-USDT", "NOPE-BTC"], body).unwrap();
        let mut take = |name: &str| -> Result<(String, String), ProviderError> {
            let fetched = answers.take(&name.parse().unwrap())?;
            assert_eq!(fetched.quote.event_time, NOW);
            Ok((fetched.quote.price.to_string(), fetched.quote.currency))
        };
        let text = |price: &str, currency: &str| Ok((price.to_owned(), currency.to_owned()));
        assert_eq!(take("LTC-BTC"), text("4.000002", "BTC"));
        assert_eq!(take("BTC-USD"), text("97000.1", "USDT"), "and not dollars");
        assert_eq!(take("BTC-USDT"), text("97000.1", "USDT"));
        assert_eq!(take("NOPE-BTC"), Err(ProviderError::UnknownSymbol));
    }

    #[test]
    fn one_alone_is_read_too() {
        let answers = read_of(&["LTC-BTC"], r#"{"symbol":"LTCBTC","price":"4.00000200"}"#).unwrap();
        assert!(answers.get(&"LTC-BTC".parse().unwrap()).unwrap().is_ok());
    }

    #[test]
    fn one_bad_symbol_is_told_from_other_refusals() {
        assert_eq!(
            refused(br#"{"code":-1121,"msg":"Invalid symbol."}"#),
            Ok(Prices::BadSymbol)
        );
        for body in [
            r#"{"code":-1100,"msg":"Illegal characters found in parameter 'symbols'."}"#,
            "",
            "<html>",
            "{}",
        ] {
            assert!(
                matches!(refused(body.as_bytes()), Err(ProviderError::BadResponse { .. })),
                "{body}"
            );
        }
    }

    #[test]
    fn what_is_no_price_is_none() {
        for price in [
            r#""0.00000000""#,
            r#""-1""#,
            r#""""#,
            r#""NaN""#,
            "null",
            "4.000002",
        ] {
            let body =
                format!(r#"[{{"symbol":"LTCBTC","price":{price}}},{{"symbol":"ETHBTC","price":"1"}}]"#);
            let mut answers = read_of(&["LTC-BTC", "ETH-BTC"], &body).unwrap();
            assert!(
                matches!(
                    answers.take(&"LTC-BTC".parse().unwrap()),
                    Err(ProviderError::NoPrice { .. })
                ),
                "{price}"
            );
            assert!(answers.take(&"ETH-BTC".parse().unwrap()).is_ok());
        }
        for body in [
            "",
            "<html>",
            "null",
            "{}",
            "7",
            r#"["LTCBTC"]"#,
            r#"[{"price":"1"}]"#,
        ] {
            assert!(
                matches!(
                    read_of(&["LTC-BTC"], body),
                    Err(ProviderError::BadResponse { .. })
                ),
                "{body}"
            );
        }
        assert!(
            read_of(&["LTC-BTC"], "[]").unwrap().is_empty(),
            "none of them is traded"
        );
    }

    #[test]
    fn only_pairs_are_asked_for() {
        for (ticker, spelled) in [
            ("BTC-USD", Some("BTCUSDT")),
            ("BTC-EUR", Some("BTCEUR")),
            ("ETH-BTC", Some("ETHBTC")),
            ("BRK-B", None),
            ("EURUSD=X", None),
            ("AAPL", None),
        ] {
            assert_eq!(spell(&ticker.parse().unwrap()).as_deref(), spelled, "{ticker}");
        }
    }
}
