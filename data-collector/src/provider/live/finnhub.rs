//! Finnhub's trades: `wss://ws.finnhub.io?token=...`, one message for each symbol.
//!
//! Several trades of several symbols come in one message, also with the same time; the last one written is the newest. Its
//! pings are messages, and want no answer.

use cqrs::domain::{Price, Ticker};
use reqwest::Url;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use super::wire::{Frame, Trade, Wire, moment_of_millis};
use crate::provider::error::{bad, cut};
use crate::provider::finnhub::{Finnhub, spell};
use crate::provider::symbol::Instrument;
use crate::provider::{ApiKey, ProviderError};

/// Of the free plan.
const CAPACITY: usize = 50;

/// How Finnhub speaks.
#[derive(Debug)]
pub struct FinnhubWire {
    url: Url,
    token: SecretString,
}

impl FinnhubWire {
    /// Where Finnhub listens.
    pub const DEFAULT_URL: &'static str = "wss://ws.finnhub.io";

    /// At `url`.
    #[must_use]
    pub fn new(url: Url, key: &ApiKey) -> Self {
        Self {
            url,
            token: key.secret(),
        }
    }
}

impl Wire for FinnhubWire {
    fn name(&self) -> &'static str {
        Finnhub::NAME
    }

    fn url(&self) -> &Url {
        &self.url
    }

    fn secret(&self) -> Option<(&'static str, &SecretString)> {
        Some(("token", &self.token))
    }

    fn spell(&self, ticker: &Ticker) -> Option<String> {
        spell(ticker)
    }

    fn currency<'a>(&self, ticker: &'a Ticker) -> &'a str {
        match Instrument::of(ticker) {
            Instrument::Crypto { quote, .. } => quote,
            Instrument::Share { .. } | Instrument::Fx { .. } | Instrument::Other => "USD",
        }
    }

    fn is_always_open(&self, ticker: &Ticker) -> bool {
        matches!(Instrument::of(ticker), Instrument::Crypto { .. })
    }

    fn capacity(&self) -> usize {
        CAPACITY
    }

    fn subscribe(&self, symbols: &[String]) -> Vec<String> {
        messages("subscribe", symbols)
    }

    fn unsubscribe(&self, symbols: &[String]) -> Vec<String> {
        messages("unsubscribe", symbols)
    }

    fn read(&self, text: &str) -> Result<Frame, ProviderError> {
        let message: Message =
            serde_json::from_str(text).map_err(|error| bad(format!("not a message in JSON: {error}")))?;
        match message {
            Message::Trade { data } => Ok(Frame::Trades(data.into_iter().filter_map(Item::trade).collect())),
            Message::Ping => Ok(Frame::Nothing),
            Message::Error { msg } => Err(bad(cut(&msg))),
            Message::Other => Ok(Frame::Nothing),
        }
    }
}

fn messages(kind: &str, symbols: &[String]) -> Vec<String> {
    let message = |symbol: &String| json!({"type": kind, "symbol": symbol}).to_string();
    symbols.iter().map(message).collect()
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Message {
    Trade {
        #[serde(default)]
        data: Vec<Item>,
    },
    Ping,
    Error {
        #[serde(default)]
        msg: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct Item {
    s: String,
    p: f64,
    /// Milliseconds since the epoch.
    t: i64,
    v: Option<f64>,
}

impl Item {
    /// None: it has no price or no time that can be used.
    fn trade(self) -> Option<Trade> {
        Some(Trade {
            price: Price::from_f64(self.p, u8::MAX).ok()?,
            at: moment_of_millis(self.t)?,
            // A size is a price in its form: a decimal above zero.
            volume: self
                .v
                .and_then(|size| Price::from_f64(size, u8::MAX).ok())
                .map(Price::units),
            side: None,
            symbol: self.s,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire() -> FinnhubWire {
        FinnhubWire::new(
            FinnhubWire::DEFAULT_URL.parse().unwrap(),
            &"SECRET-key".parse().unwrap(),
        )
    }

    #[test]
    fn several_trades_of_several_symbols_come_in_their_order() {
        let text = r#"{"data":[{"c":["1","12"],"p":122.1,"s":"TSLA","t":1672348887195,"v":1},{"c":null,"p":122.09,"s":"TSLA","t":1672348887195,"v":0.5},{"p":129.575,"s":"AAPL","t":1672348887785}],"type":"trade"}"#;
        let Ok(Frame::Trades(trades)) = wire().read(text) else {
            panic!("trades")
        };
        let told: Vec<_> = trades
            .iter()
            .map(|trade| (trade.symbol.as_str(), trade.price.to_string(), trade.volume))
            .collect();
        assert_eq!(
            told,
            [
                ("TSLA", "122.1".to_owned(), Some(100_000_000)),
                ("TSLA", "122.09".to_owned(), Some(50_000_000)),
                ("AAPL", "129.575".to_owned(), None)
            ]
        );
        assert_eq!(trades[0].at.as_micros(), 1_672_348_887_195_000);
    }

    #[test]
    fn what_has_no_price_is_left_out_and_a_ping_is_nothing() {
        let text = r#"{"data":[{"p":0,"s":"A","t":1672348887195,"v":1},{"p":-1,"s":"A","t":1672348887195},{"p":1,"s":"A","t":0},{"p":7,"s":"B","t":1672348887195,"v":0}],"type":"trade"}"#;
        let Ok(Frame::Trades(trades)) = wire().read(text) else {
            panic!("trades")
        };
        assert_eq!(trades.len(), 1);
        assert_eq!((trades[0].symbol.as_str(), trades[0].volume), ("B", None));
        assert_eq!(wire().read(r#"{"type":"ping"}"#), Ok(Frame::Nothing));
        assert_eq!(wire().read(r#"{"type":"news","data":[]}"#), Ok(Frame::Nothing));
        assert!(wire().read(r#"{"type":"error","msg":"Invalid symbol"}"#).is_err());
        for text in ["", "<html>", "[]", "{}", r#"{"type":"trade","data":[{"s":"A"}]}"#] {
            assert!(wire().read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn each_symbol_has_a_message_and_the_token_is_not_shown() {
        assert_eq!(
            wire().subscribe(&["AAPL".into(), "BRK.B".into()]),
            [
                r#"{"symbol":"AAPL","type":"subscribe"}"#,
                r#"{"symbol":"BRK.B","type":"subscribe"}"#
            ]
        );
        assert_eq!(
            wire().unsubscribe(&["AAPL".into()]),
            [r#"{"symbol":"AAPL","type":"unsubscribe"}"#]
        );
        assert!(!format!("{:?}", wire()).contains("SECRET"));
    }
}
