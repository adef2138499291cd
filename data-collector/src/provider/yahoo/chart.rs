//! `GET {base}/v8/finance/chart/{symbol}?interval=1m&range=1d`.
//!
//! What is taken is `meta`; the bars beside it contain nulls, and are missing while the market is closed.
//! `meta.currentTradingPeriod.regular` says when it is open: today's hours, or the next ones, without a break for lunch.

use cqrs::domain::{Ticker, Timestamp};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::header::HeaderMap;
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::{Meta, NAME, RATE, USER_AGENT, YahooError};
use crate::provider::answer::one_by_one;
use crate::provider::error::{bad, no_price};
use crate::provider::http::{Http, Redirects};
use crate::provider::limit::{Limiter, Rate};
use crate::provider::{Answers, Fetched, Market, Provider, ProviderError};
use crate::staleness::Trading;

/// Prices from Yahoo's chart endpoint, one ticker a call.
#[derive(Debug)]
pub struct Chart {
    http: Http,
    limiter: Limiter,
}

impl Chart {
    /// Asks at `base`, whose path, if any, is kept in front.
    ///
    /// # Errors
    /// If TLS can't be set up.
    pub fn new(base: Url) -> reqwest::Result<Self> {
        Ok(Self {
            http: Http::new(base, USER_AGENT, HeaderMap::new(), Redirects::Anywhere)?,
            limiter: Limiter::new(RATE),
        })
    }

    /// Held to another rate.
    #[must_use]
    pub fn limited_to(mut self, rate: Rate) -> Self {
        self.limiter = Limiter::new(rate);
        self
    }

    async fn chart(&self, ticker: &Ticker) -> Result<Fetched, ProviderError> {
        let reply = self.http.get(self.url(ticker), HeaderMap::new()).await?;
        match reply.status() {
            // A 400 is Yahoo's way to say that it has nothing for this symbol and range.
            StatusCode::OK | StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
                read(ticker, &reply.body().await?, Timestamp::now())
            }
            StatusCode::NOT_FOUND => Err(ProviderError::UnknownSymbol),
            _ => Err(reply.failure()),
        }
    }

    fn url(&self, ticker: &Ticker) -> Url {
        // Of what a ticker can hold, only the caret has to be escaped.
        let symbol = ticker.as_str().replace('^', "%5E");
        let mut url = self.http.url(&format!("/v8/finance/chart/{symbol}"));
        url.query_pairs_mut()
            .append_pair("interval", "1m")
            .append_pair("range", "1d");
        url
    }
}

impl Provider for Chart {
    fn name(&self) -> &'static str {
        NAME
    }

    fn endpoint(&self) -> &'static str {
        "chart"
    }

    fn limiter(&self) -> Option<&Limiter> {
        Some(&self.limiter)
    }

    fn fetch_batch<'a>(&'a self, tickers: &'a [Ticker]) -> BoxFuture<'a, Result<Answers, ProviderError>> {
        one_by_one(tickers, |ticker| self.chart(ticker)).boxed()
    }
}

#[derive(Debug, Deserialize)]
struct Answer {
    chart: Body,
}

#[derive(Debug, Deserialize)]
struct Body {
    result: Option<Vec<ChartResult>>,
    error: Option<YahooError>,
}

#[derive(Debug, Deserialize)]
struct ChartResult {
    meta: ChartMeta,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChartMeta {
    #[serde(flatten)]
    meta: Meta,
    /// Read apart: a price does not depend on what it looks like.
    #[serde(default)]
    current_trading_period: serde_json::Value,
}

impl ChartMeta {
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

/// What the body says of `ticker` at `now`.
fn read(ticker: &Ticker, body: &[u8], now: Timestamp) -> Result<Fetched, ProviderError> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|error| bad(format!("not a chart in JSON: {error}")))?;
    if let Some(error) = answer.chart.error {
        return Err(match error.code.as_str() {
            "Not Found" => ProviderError::UnknownSymbol,
            "Unauthorized" => ProviderError::Unauthorized { status: 401 },
            _ => no_price(error.text()),
        });
    }
    let Some(ChartResult { meta }) = answer.chart.result.unwrap_or_default().into_iter().next() else {
        return Err(no_price("the answer is empty"));
    };
    let trading = meta.trading();
    let market = match trading {
        Trading::Unknown => Market::Unknown,
        Trading::Always | Trading::Between { .. } if trading.session_at(now).is_some() => Market::Open,
        Trading::Always | Trading::Between { .. } => Market::Closed,
    };
    Ok(Fetched {
        quote: meta.meta.quote(ticker, now)?,
        trading,
        market,
    })
}
