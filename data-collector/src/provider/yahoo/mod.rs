//! Yahoo Finance: unofficial and without a contract.
//!
//! Two endpoints. [`Quotes`] answers many tickers in one call, but wants a cookie and a crumb, and does not say when the
//! market is open next. [`Chart`] answers one, to anybody who looks like a browser, with the market's hours. Both give
//! `regularMarketPrice` at `regularMarketTime`, with the same names.

mod chart;
mod quotes;
mod session;

pub use chart::Chart;
pub use quotes::Quotes;

use std::time::Duration;

use cqrs::domain::{Price, Quote, Ticker, Timestamp};
use serde::Deserialize;

use super::error::{ProviderError, bad, cut, no_price};
use super::limit::Rate;
use super::symbol::{moment_of_seconds, quote};

/// What quotes name as their source.
pub const NAME: &str = "yahoo";
/// Where Yahoo answers.
pub const DEFAULT_URL: &str = "https://query1.finance.yahoo.com";
/// Where Yahoo gives its cookies.
pub const COOKIE_URL: &str = "https://fc.yahoo.com";

/// Calls to each endpoint, unless set otherwise. Nobody outside of Yahoo knows its limit: this is a guess.
const RATE: Rate = Rate {
    budget: 120,
    per: Duration::from_secs(60),
};
/// Clients that do not look like browsers are answered 429, however few requests they make.
const USER_AGENT: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36";
/// A symbol without `priceHint` keeps all decimals that a price can have.
const DECIMALS_UNLESS_TOLD: u8 = 8;
/// Longest currency that a quote can carry, in characters.
const MAX_CURRENCY: usize = 16;

/// What both endpoints say of a symbol.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    currency: Option<String>,
    symbol: String,
    regular_market_price: Option<f64>,
    /// Seconds since the epoch.
    regular_market_time: Option<i64>,
    /// Decimals that are meant; what follows them is noise of binary floats.
    price_hint: Option<u8>,
}

impl Meta {
    fn quote(self, ticker: &Ticker, now: Timestamp) -> Result<Quote, ProviderError> {
        // A renamed symbol is answered under its new name: another share's price must not be taken for this one's.
        if !self.symbol.eq_ignore_ascii_case(ticker.as_str()) {
            return Err(no_price(format!("the answer is for {}", cut(&self.symbol))));
        }
        let value = self
            .regular_market_price
            .ok_or_else(|| no_price("there is none in the answer"))?;
        let decimals = self.price_hint.unwrap_or(DECIMALS_UNLESS_TOLD);
        let price = Price::from_f64(value, decimals).map_err(|error| no_price(error.to_string()))?;
        let event_time = self
            .regular_market_time
            .and_then(moment_of_seconds)
            .ok_or_else(|| no_price("the price has no time"))?;
        // Verbatim: "GBp" is pence.
        let currency = self.currency.unwrap_or_default();
        if currency.len() > MAX_CURRENCY || currency.chars().any(char::is_control) {
            return Err(bad(format!("the currency is {:?}", cut(&currency))));
        }
        // `regularMarketVolume` is the day's sum, not the size of a trade.
        Ok(quote(NAME, ticker, price, &currency, event_time, now))
    }
}

/// Yahoo's way to write an error into a body.
#[derive(Debug, Deserialize)]
struct YahooError {
    code: String,
    description: Option<String>,
}

impl YahooError {
    fn text(&self) -> String {
        let description = self.description.as_deref().unwrap_or_default();
        format!("{}: {}", cut(&self.code), cut(description))
    }
}
