//! Yahoo Finance's chart endpoint: `GET {base}/v8/finance/chart/{symbol}?interval=1m&range=1d`.
//!
//! Unofficial and without a contract. What is taken is `meta.regularMarketPrice` at `meta.regularMarketTime`; the bars
//! beside it contain nulls, and are missing while the market is closed. `meta.currentTradingPeriod.regular` says when it is
//! open: today's hours, or the next ones, without a break for lunch.

use std::time::Duration;

use cqrs::domain::{Price, Quote, Ticker, Timestamp};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Response, StatusCode, Url, redirect};
use serde::Deserialize;

use super::{Fetched, Provider, ProviderError};
use crate::staleness::Trading;

/// Largest answer that is read, unpacked: a day of minutes is below 100 KiB.
const MAX_BODY: usize = 1024 * 1024;
/// Clients that do not look like browsers are answered 429, however few requests they make.
const USER_AGENT: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36";
/// A symbol without `priceHint` keeps all decimals that a price can have.
const DECIMALS_UNLESS_TOLD: u8 = 8;
/// Longest currency that a quote can carry, in characters.
const MAX_CURRENCY: usize = 16;

/// Prices from Yahoo Finance.
#[derive(Debug)]
pub struct Yahoo {
    client: Client,
    base: Url,
}

impl Yahoo {
    /// What quotes name as their source.
    pub const NAME: &'static str = "yahoo";
    /// Where Yahoo answers.
    pub const DEFAULT_URL: &'static str = "https://query1.finance.yahoo.com";

    /// Asks at `base`, whose path, if any, is kept in front.
    ///
    /// # Errors
    /// If TLS can't be set up.
    pub fn new(base: Url) -> reqwest::Result<Self> {
        let client = Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(10))
            .redirect(redirect::Policy::limited(3))
            .build()?;
        Ok(Self { client, base })
    }

    async fn chart(&self, ticker: &Ticker) -> Result<Fetched, ProviderError> {
        let request = self.client.get(self.chart_url(ticker));
        let response = request.send().await.map_err(of_transport)?;
        let (status, retry_after) = (response.status(), retry_after(&response));
        let body = read_body(response).await;
        match status {
            StatusCode::OK => answer_of(ticker, &body?),
            StatusCode::NOT_FOUND => Err(ProviderError::UnknownSymbol),
            StatusCode::TOO_MANY_REQUESTS => Err(ProviderError::RateLimited { retry_after }),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(ProviderError::Unauthorized {
                status: status.as_u16(),
            }),
            // Yahoo's way to say that it has nothing for this symbol and range.
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => answer_of(ticker, &body?),
            status if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
                Err(ProviderError::Unavailable {
                    reason: format!("HTTP {}", status.as_u16()),
                })
            }
            status => Err(bad(format!("HTTP {}", status.as_u16()))),
        }
    }

    fn chart_url(&self, ticker: &Ticker) -> Url {
        let mut url = self.base.clone();
        // Of what a ticker can hold, only the caret has to be escaped.
        let symbol = ticker.as_str().replace('^', "%5E");
        let path = format!(
            "{}/v8/finance/chart/{symbol}",
            self.base.path().trim_end_matches('/')
        );
        url.set_path(&path);
        url.query_pairs_mut()
            .append_pair("interval", "1m")
            .append_pair("range", "1d");
        url
    }
}

impl Provider for Yahoo {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fetch<'a>(&'a self, ticker: &'a Ticker) -> BoxFuture<'a, Result<Fetched, ProviderError>> {
        self.chart(ticker).boxed()
    }
}

fn bad(reason: String) -> ProviderError {
    ProviderError::BadResponse { reason }
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

/// Seconds; the other form, a date, is read too.
fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(Timestamp::from_micros(at.as_microsecond()).since(Timestamp::now()))
}

async fn read_body(mut response: Response) -> Result<Vec<u8>, ProviderError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(of_transport)? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(bad(format!("more than {MAX_BODY} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[derive(Debug, Deserialize)]
struct Answer {
    chart: Chart,
}

#[derive(Debug, Deserialize)]
struct Chart {
    result: Option<Vec<ChartResult>>,
    error: Option<ChartError>,
}

#[derive(Debug, Deserialize)]
struct ChartError {
    code: String,
    description: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ChartResult {
    meta: Meta,
}

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
    /// Read apart: a price does not depend on what it looks like.
    #[serde(default)]
    current_trading_period: serde_json::Value,
}

impl Meta {
    fn trading(&self) -> Trading {
        let time = |pointer| {
            let seconds = self.current_trading_period.pointer(pointer)?.as_i64()?;
            Some(Timestamp::from_micros(seconds.checked_mul(1_000_000)?))
        };
        match (time("/regular/start"), time("/regular/end")) {
            (Some(start), Some(end)) if Timestamp::EPOCH < start && start < end => {
                Trading::Between { start, end }
            }
            _ => Trading::Unknown,
        }
    }
}

fn answer_of(ticker: &Ticker, body: &[u8]) -> Result<Fetched, ProviderError> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|error| bad(format!("not a chart in JSON: {error}")))?;
    if let Some(error) = answer.chart.error {
        return Err(of_chart_error(error));
    }
    let Some(ChartResult { meta }) = answer.chart.result.unwrap_or_default().into_iter().next() else {
        return Err(no_price("the answer is empty".into()));
    };
    // A renamed symbol is answered under its new name: another share's price must not be taken for this one's.
    if !meta.symbol.eq_ignore_ascii_case(ticker.as_str()) {
        return Err(no_price(format!("the answer is for {}", cut(&meta.symbol))));
    }
    let value = meta
        .regular_market_price
        .ok_or_else(|| no_price("there is none in the answer".into()))?;
    let decimals = meta.price_hint.unwrap_or(DECIMALS_UNLESS_TOLD);
    let price = Price::from_f64(value, decimals).map_err(|error| no_price(error.to_string()))?;
    let event_time = meta
        .regular_market_time
        .filter(|seconds| *seconds > 0)
        .and_then(|seconds| seconds.checked_mul(1_000_000))
        .map(Timestamp::from_micros)
        .ok_or_else(|| no_price("the price has no time".into()))?;
    let trading = meta.trading();
    // Verbatim: "GBp" is pence.
    let currency = meta.currency.unwrap_or_default();
    if currency.len() > MAX_CURRENCY || currency.chars().any(char::is_control) {
        return Err(bad(format!("the currency is {:?}", cut(&currency))));
    }
    let quote = Quote {
        ticker: ticker.clone(),
        price,
        currency,
        // `regularMarketVolume` is the day's sum, not the size of a trade.
        volume: None,
        trade_side: None,
        event_time,
        ingest_time: Timestamp::now(),
        source: Yahoo::NAME.into(),
    };
    Ok(Fetched { quote, trading })
}

fn of_chart_error(error: ChartError) -> ProviderError {
    match error.code.as_str() {
        "Not Found" => ProviderError::UnknownSymbol,
        "Unauthorized" => ProviderError::Unauthorized { status: 401 },
        code => no_price(format!(
            "{}: {}",
            cut(code),
            cut(error.description.as_deref().unwrap_or_default())
        )),
    }
}

fn no_price(reason: String) -> ProviderError {
    ProviderError::NoPrice { reason }
}

/// Others' text, short enough for a log line.
fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}
