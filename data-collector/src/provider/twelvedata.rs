//! Twelve Data: `GET {base}/price?symbol=AAPL,EUR/USD`, with the key in a header.
//!
//! Errors come with status 200 as well, as an object in place of the price: of one symbol, or of the whole call. Each symbol
//! costs a credit, of which a plan has so many a minute; a call that would need more gets nothing. One symbol alone is
//! answered without its name. The answer has neither a time nor a currency.

use std::num::NonZeroUsize;
use std::time::Duration;

use cqrs::domain::{Ticker, Timestamp};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use serde_json::{Map, Value};

use super::error::{bad, cut, no_price};
use super::http::{ApiKey, Http, Redirects, failure_of};
use super::limit::{Limiter, Rate};
use super::sighting::Sightings;
use super::symbol::{Asked, Instrument, price_of_text, quote};
use super::{Answers, Fetched, Market, Provider, ProviderError};
use crate::staleness::Trading;

/// Most symbols of a call, whatever the plan.
const MAX_BATCH: u32 = 120;
/// Of the free plan.
const RATE: Rate = Rate {
    budget: 8,
    per: Duration::from_secs(60),
};
/// Credits of the minute come back with the next one.
const MINUTE: Duration = Duration::from_secs(60);

/// Prices from Twelve Data, as many tickers a call as the plan has credits a minute.
#[derive(Debug)]
pub struct TwelveData {
    http: Http,
    limiter: Limiter,
    seen: Sightings,
}

impl TwelveData {
    /// What quotes name as their source.
    pub const NAME: &'static str = "twelvedata";
    /// Where Twelve Data answers.
    pub const DEFAULT_URL: &'static str = "https://api.twelvedata.com";

    /// Asks at `base`, whose path, if any, is kept in front.
    ///
    /// # Errors
    /// If TLS can't be set up.
    pub fn new(base: Url, key: &ApiKey) -> reqwest::Result<Self> {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, key.header("apikey "))]);
        Ok(Self {
            http: Http::new(base, super::USER_AGENT, headers, Redirects::SameOrigin)?,
            limiter: Limiter::new(RATE),
            seen: Sightings::default(),
        })
    }

    /// With another plan's credits.
    #[must_use]
    pub fn limited_to(mut self, rate: Rate) -> Self {
        self.limiter = Limiter::new(rate);
        self
    }

    async fn prices(&self, tickers: &[Ticker]) -> Result<Answers, ProviderError> {
        let asked = Asked::new(tickers, spell);
        if asked.is_empty() {
            return Ok(Answers::default());
        }
        let mut url = self.http.url("/price");
        url.query_pairs_mut()
            .append_pair("symbol", &asked.symbols().join(","));
        let reply = self.http.get(url, HeaderMap::new()).await?;
        let (refusal, retry_after) = (reply.failure(), reply.retry_after());
        match reply.status().as_u16() {
            200 => read(&asked, &reply.body().await?, Timestamp::now()),
            // The body says more than the status, if it comes.
            status @ (400..=499) => match reply.body().await.map(|body| error_of(&body)) {
                Ok(Some(error)) => error.of_call(&asked, retry_after),
                Ok(None) | Err(_) => Err(failure_of(status, retry_after)),
            },
            _ => Err(refusal),
        }
    }
}

impl Provider for TwelveData {
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
        let size = self.limiter.budget().clamp(1, MAX_BATCH);
        usize::try_from(size)
            .ok()
            .and_then(NonZeroUsize::new)
            .unwrap_or(NonZeroUsize::MIN)
    }

    fn limiter(&self) -> Option<&Limiter> {
        Some(&self.limiter)
    }

    fn cost(&self, tickers: usize) -> u32 {
        u32::try_from(tickers).unwrap_or(u32::MAX)
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

/// As Twelve Data spells it: `BRK.B`, `EUR/USD`, `BTC/USD`. Other exchanges than those of the USA are left out: without a
/// currency in the answer, pence are not told from pounds.
fn spell(ticker: &Ticker) -> Option<String> {
    match Instrument::of(ticker) {
        Instrument::Share {
            symbol,
            exchange: None,
        } => Some(symbol.replace('-', ".")),
        Instrument::Crypto { base, quote } | Instrument::Fx { base, quote } => {
            Some(format!("{base}/{quote}"))
        }
        Instrument::Share {
            exchange: Some(_), ..
        }
        | Instrument::Other => None,
    }
}

/// An error object.
#[derive(Debug)]
struct ErrorBody {
    code: u16,
    message: String,
}

impl ErrorBody {
    /// None: it is something else.
    fn of(object: &Map<String, Value>) -> Option<Self> {
        let code = object.get("code")?.as_u64()?;
        let message = object.get("message").and_then(Value::as_str).unwrap_or_default();
        Some(Self {
            code: u16::try_from(code).unwrap_or(0),
            message: message.to_owned(),
        })
    }

    /// In place of one symbol's price.
    fn of_symbol(&self) -> ProviderError {
        match self.code {
            400 | 404 => ProviderError::UnknownSymbol,
            // Not in the key's plan; a wrong key fails the whole call.
            401 | 403 => no_price(cut(&self.message)),
            code => self.by_code(code, None),
        }
    }

    /// In place of the whole answer. What is wrong with the only symbol is that symbol's.
    fn of_call(&self, asked: &Asked<'_>, retry_after: Option<Duration>) -> Result<Answers, ProviderError> {
        if let ([symbol], 400 | 404) = (asked.symbols().as_slice(), self.code) {
            return Ok(asked.answers(symbol, |_| Err(ProviderError::UnknownSymbol)));
        }
        Err(self.by_code(self.code, retry_after))
    }

    fn by_code(&self, code: u16, retry_after: Option<Duration>) -> ProviderError {
        match code {
            429 => {
                // A day's credits may be used up as well: then nobody says for how long.
                let minute = self.message.contains("current minute").then_some(MINUTE);
                failure_of(code, retry_after.or(minute))
            }
            401 | 403 | 500..=599 => failure_of(code, None),
            _ => bad(format!("error {code}: {}", cut(&self.message))),
        }
    }
}

fn error_of(body: &[u8]) -> Option<ErrorBody> {
    let object: Map<String, Value> = serde_json::from_slice(body).ok()?;
    ErrorBody::of(&object)
}

/// What the body says of the symbols `asked` for, at `now`.
fn read(asked: &Asked<'_>, body: &[u8], now: Timestamp) -> Result<Answers, ProviderError> {
    let object: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| bad(format!("not prices in JSON: {error}")))?;
    // A symbol may be called CODE or PRICE: its value is an object, and these are not.
    if let Some(error) = ErrorBody::of(&object) {
        return error.of_call(asked, None);
    }
    let symbols = asked.symbols();
    if let ([symbol], Some(Value::String(_))) = (symbols.as_slice(), object.get("price")) {
        return Ok(asked.answers(symbol, |ticker| price_of(ticker, &object, now)));
    }
    let mut answers = Answers::default();
    for symbol in symbols {
        let Some(value) = object.get(symbol) else {
            continue;
        };
        answers.extend(asked.answers(symbol, |ticker| match value.as_object() {
            Some(object) => price_of(ticker, object, now),
            None => Err(no_price("it is not understood")),
        }));
    }
    if answers.is_empty() {
        return Err(bad("none of the symbols asked for is in the answer"));
    }
    Ok(answers)
}

fn price_of(ticker: &Ticker, object: &Map<String, Value>, now: Timestamp) -> Result<Fetched, ProviderError> {
    if let Some(error) = ErrorBody::of(object) {
        return Err(error.of_symbol());
    }
    let text = object
        .get("price")
        .and_then(Value::as_str)
        .ok_or_else(|| no_price("there is none in the answer"))?;
    let price = price_of_text(text)?;
    let (currency, trading, market) = match Instrument::of(ticker) {
        Instrument::Crypto { quote, .. } => (quote, Trading::Always, Market::Open),
        Instrument::Fx { quote, .. } => (quote, Trading::Unknown, Market::Unknown),
        Instrument::Share { .. } | Instrument::Other => ("USD", Trading::Unknown, Market::Unknown),
    };
    Ok(Fetched {
        quote: quote(TwelveData::NAME, ticker, price, currency, now, now),
        trading,
        market,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    fn tickers(names: &[&str]) -> Vec<Ticker> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn read_of(names: &[&str], body: &str) -> Result<Answers, ProviderError> {
        let tickers = tickers(names);
        read(&Asked::new(&tickers, spell), body.as_bytes(), NOW)
    }

    fn take(answers: &mut Answers, name: &str) -> Result<(String, String), ProviderError> {
        let fetched = answers.take(&name.parse().unwrap())?;
        assert_eq!(fetched.quote.event_time, NOW, "it has no time of its own");
        Ok((fetched.quote.price.to_string(), fetched.quote.currency))
    }

    const UNKNOWN: &str = r#"{"code":400,"message":"**symbol** or **figi** parameter is missing or invalid.","status":"error"}"#;
    const NO_CREDITS: &str = r#"{"code":429,"message":"You have run out of API credits for the current minute. 10 API credits were used, with the current limit being 8.","status":"error"}"#;
    const NO_KEY: &str =
        r#"{"code":401,"message":"**apikey** parameter is incorrect or not specified.","status":"error"}"#;

    #[test]
    fn a_batch_has_a_price_or_an_error_for_each_symbol() {
        let body = format!(
            r#"{{"AAPL":{{"price":"200.99001"}},"EUR/USD":{{"price":"1.12570"}},"NOPE":{UNKNOWN},"BRK.B":{{"code":403,"message":"available starting with Grow","status":"error"}}}}"#
        );
        let names = ["NOPE", "EURUSD=X", "AAPL", "BRK-B", "BTC-USD"];
        let mut answers = read_of(&names, &body).unwrap();
        let text = |price: &str, currency: &str| Ok((price.to_owned(), currency.to_owned()));
        assert_eq!(take(&mut answers, "AAPL"), text("200.99001", "USD"));
        assert_eq!(take(&mut answers, "EURUSD=X"), text("1.1257", "USD"));
        assert_eq!(take(&mut answers, "NOPE"), Err(ProviderError::UnknownSymbol));
        assert!(matches!(
            take(&mut answers, "BRK-B"),
            Err(ProviderError::NoPrice { .. })
        ));
        assert_eq!(
            take(&mut answers, "BTC-USD"),
            Err(ProviderError::UnknownSymbol),
            "missing"
        );
    }

    #[test]
    fn one_symbol_is_answered_without_its_name() {
        let mut answers = read_of(&["USDJPY=X"], r#"{"price":"151.2"}"#).unwrap();
        assert_eq!(take(&mut answers, "USDJPY=X"), Ok(("151.2".into(), "JPY".into())));
        let mut answers = read_of(&["NOPE"], UNKNOWN).unwrap();
        assert_eq!(take(&mut answers, "NOPE"), Err(ProviderError::UnknownSymbol));
        assert!(
            read_of(&["A", "B"], r#"{"price":"151.2"}"#).is_err(),
            "nobody knows whose it is"
        );
        let odd = r#"{"PRICE":{"price":"1.5"},"CODE":{"price":"2.5"}}"#;
        let mut answers = read_of(&["PRICE", "CODE"], odd).unwrap();
        assert_eq!(take(&mut answers, "CODE"), Ok(("2.5".into(), "USD".into())));
    }

    #[test]
    fn an_error_with_status_200_is_the_whole_calls() {
        let names = ["A", "B"];
        let minute = Some(Duration::from_secs(60));
        assert_eq!(
            read_of(&names, NO_CREDITS),
            Err(ProviderError::RateLimited { retry_after: minute })
        );
        let of_the_day = NO_CREDITS.replace("current minute", "day");
        assert_eq!(
            read_of(&names, &of_the_day),
            Err(ProviderError::RateLimited { retry_after: None })
        );
        assert_eq!(
            read_of(&names, NO_KEY),
            Err(ProviderError::Unauthorized { status: 401 })
        );
        assert!(matches!(
            read_of(&names, &NO_KEY.replace("401", "503")),
            Err(ProviderError::Unavailable { .. })
        ));
        assert!(
            matches!(read_of(&names, UNKNOWN), Err(ProviderError::BadResponse { .. })),
            "of two symbols, nobody knows which"
        );
    }

    #[test]
    fn credits_that_run_out_half_way_are_told() {
        let body = format!(r#"{{"A":{{"price":"1"}},"B":{NO_CREDITS}}}"#);
        let answers = read_of(&["A", "B"], &body).unwrap();
        assert_eq!(
            answers.trouble(),
            Some(&ProviderError::RateLimited {
                retry_after: Some(MINUTE)
            })
        );
        assert!(answers.get(&"A".parse().unwrap()).unwrap().is_ok());
    }

    #[test]
    fn what_is_no_price_is_none() {
        for value in [
            r#""0""#, r#""-1""#, r#""""#, r#""NaN""#, r#""1e5""#, "null", "1.5",
        ] {
            let body = format!(r#"{{"A":{{"price":{value}}},"B":{{"price":"1"}},"C":7}}"#);
            let mut answers = read_of(&["A", "B", "C"], &body).unwrap();
            for name in ["A", "C"] {
                assert!(
                    matches!(take(&mut answers, name), Err(ProviderError::NoPrice { .. })),
                    "{name}: {body}"
                );
            }
            assert!(take(&mut answers, "B").is_ok());
        }
        for body in ["", "<html>", "[]", "null", "{}", "{\"status\":\"error\"}"] {
            assert!(
                matches!(read_of(&["A", "B"], body), Err(ProviderError::BadResponse { .. })),
                "{body}"
            );
        }
    }

    #[test]
    fn only_what_has_a_known_unit_is_asked_for() {
        for (ticker, spelled) in [
            ("AAPL", Some("AAPL")),
            ("BRK-B", Some("BRK.B")),
            ("BTC-USD", Some("BTC/USD")),
            ("EURUSD=X", Some("EUR/USD")),
            ("JPY=X", Some("USD/JPY")),
            ("OCDO.L", None),
            ("^GSPC", None),
        ] {
            assert_eq!(spell(&ticker.parse().unwrap()).as_deref(), spelled, "{ticker}");
        }
    }
}
