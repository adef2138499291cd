//! What a canonical ticker stands for, so that each provider can spell it its own way.

use std::collections::BTreeMap;

use cqrs::domain::{Price, Quote, Ticker, Timestamp};

use super::error::{ProviderError, no_price};
use super::{Answers, Fetched};

/// What crypto is priced in. `BRK-B` and `BTC-USD` have the same form: only what stands behind the dash tells them apart.
const CRYPTO_QUOTES: [&str; 18] = [
    "USD", "EUR", "GBP", "JPY", "CAD", "AUD", "CHF", "KRW", "INR", "BRL", "TRY", "CNY", "HKD", "USDT",
    "USDC", "BTC", "ETH", "BNB",
];

/// What a ticker stands for, told by its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instrument<'a> {
    /// A share or a fund. Yahoo writes a class with a dash (`BRK-B`) and an exchange outside of the USA with a dot (`.L`).
    Share {
        /// Without the exchange.
        symbol: &'a str,
        /// None: one in the USA.
        exchange: Option<&'a str>,
    },
    /// `BTC-USD`.
    Crypto {
        /// What is priced.
        base: &'a str,
        /// In what.
        quote: &'a str,
    },
    /// `EURUSD=X`, or `JPY=X` for dollars in yen.
    Fx {
        /// What is priced.
        base: &'a str,
        /// In what.
        quote: &'a str,
    },
    /// `^GSPC`, `GC=F`, and whatever else has no spelling that others share.
    Other,
}

impl<'a> Instrument<'a> {
    /// What `ticker` stands for.
    #[must_use]
    pub fn of(ticker: &'a Ticker) -> Self {
        let text = ticker.as_str();
        if text.starts_with('^') {
            return Self::Other;
        }
        if let Some((name, kind)) = text.split_once('=') {
            return match (kind, name.len()) {
                ("X", 6) => Self::Fx {
                    base: &name[..3],
                    quote: &name[3..],
                },
                ("X", 3) => Self::Fx {
                    base: "USD",
                    quote: name,
                },
                _ => Self::Other,
            };
        }
        if let Some((base, quote)) = text.split_once('-')
            && CRYPTO_QUOTES.contains(&quote)
        {
            return Self::Crypto { base, quote };
        }
        match text.rsplit_once('.') {
            Some((symbol, exchange)) => Self::Share {
                symbol,
                exchange: Some(exchange),
            },
            None => Self::Share {
                symbol: text,
                exchange: None,
            },
        }
    }
}

/// The tickers of a call under the provider's spelling. Two tickers may share one.
#[derive(Debug)]
pub(super) struct Asked<'a>(BTreeMap<String, Vec<&'a Ticker>>);

impl<'a> Asked<'a> {
    /// Those that have a spelling.
    pub(super) fn new(tickers: &'a [Ticker], spell: impl Fn(&Ticker) -> Option<String>) -> Self {
        let mut asked: BTreeMap<String, Vec<&Ticker>> = BTreeMap::new();
        for ticker in tickers {
            if let Some(symbol) = spell(ticker) {
                asked.entry(symbol).or_default().push(ticker);
            }
        }
        Self(asked)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The symbols, each once.
    pub(super) fn symbols(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    /// The same answer for all tickers of one symbol.
    pub(super) fn answers(
        &self,
        symbol: &str,
        answer: impl Fn(&Ticker) -> Result<Fetched, ProviderError>,
    ) -> Answers {
        let tickers = self.tickers(symbol).iter();
        tickers
            .map(|ticker| ((*ticker).clone(), answer(ticker)))
            .collect()
    }

    /// The tickers of one symbol; none: it was not asked for.
    pub(super) fn tickers(&self, symbol: &str) -> &[&'a Ticker] {
        self.0.get(symbol).map_or(&[], Vec::as_slice)
    }
}

/// A quote as a provider's answer makes it.
pub(super) fn quote(
    source: &'static str,
    ticker: &Ticker,
    price: Price,
    currency: &str,
    event_time: Timestamp,
    now: Timestamp,
) -> Quote {
    Quote {
        ticker: ticker.clone(),
        price,
        currency: currency.to_owned(),
        volume: None,
        trade_side: None,
        event_time,
        ingest_time: now,
        source: source.to_owned(),
    }
}

/// A price that is written as text. What is beyond 8 decimals is rounded.
pub(super) fn price_of_text(text: &str) -> Result<Price, ProviderError> {
    let is_decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse::<Price>()
        .or_else(|error| match text.parse::<f64>() {
            Ok(value) if is_decimal => Price::from_f64(value, u8::MAX),
            Ok(_) | Err(_) => Err(error),
        })
        .map_err(|error| no_price(error.to_string()))
}

/// A moment in seconds since the epoch; none before it or at it, where providers write "never" as 0.
pub(super) fn moment_of_seconds(seconds: i64) -> Option<Timestamp> {
    let micros = seconds.checked_mul(1_000_000)?;
    (micros > 0).then(|| Timestamp::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_a_ticker_tells_what_it_stands_for() {
        let share = |symbol, exchange| Instrument::Share { symbol, exchange };
        for (text, expected) in [
            ("AAPL", share("AAPL", None)),
            ("BRK-B", share("BRK-B", None)),
            ("M&M.NS", share("M&M", Some("NS"))),
            ("0P000071W8.TO", share("0P000071W8", Some("TO"))),
            ("RDS-A.L", share("RDS-A", Some("L"))),
            (
                "BTC-USD",
                Instrument::Crypto {
                    base: "BTC",
                    quote: "USD",
                },
            ),
            (
                "1INCH-USDT",
                Instrument::Crypto {
                    base: "1INCH",
                    quote: "USDT",
                },
            ),
            (
                "EURUSD=X",
                Instrument::Fx {
                    base: "EUR",
                    quote: "USD",
                },
            ),
            (
                "JPY=X",
                Instrument::Fx {
                    base: "USD",
                    quote: "JPY",
                },
            ),
            ("GC=F", Instrument::Other),
            ("EURO=X", Instrument::Other),
            ("^GSPC", Instrument::Other),
        ] {
            assert_eq!(Instrument::of(&text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn a_written_price_is_read_exactly_and_rounded_beyond_8_decimals() {
        for (text, expected) in [
            ("4.00000200", Some("4.000002")),
            ("200.99001", Some("200.99001")),
            ("0.0000123456789", Some("0.00001235")),
            ("0.00000000", None),
            ("0.000000001", None),
            ("-1", None),
            ("", None),
            ("NaN", None),
            ("inf", None),
            ("1e5", None),
            ("1.2.3", None),
            ("99999999999999999999", None),
        ] {
            let price = price_of_text(text).ok().map(|price| price.to_string());
            assert_eq!(price.as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_moment_is_after_the_epoch() {
        assert_eq!(
            moment_of_seconds(1_582_641_000),
            Some(Timestamp::from_micros(1_582_641_000_000_000))
        );
        for seconds in [0, -1, i64::MAX, i64::MIN] {
            assert_eq!(moment_of_seconds(seconds), None);
        }
    }
}
