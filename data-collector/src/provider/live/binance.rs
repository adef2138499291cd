//! Binance's small tickers: `wss://data-stream.binance.vision/ws`, one message for many symbols.
//!
//! `@miniTicker` comes once a second while there are trades, with the last price; `@trade` would come for each of them, a
//! hundred times as often. Symbols are written small in what is sent and large in what comes. One that is not known is not
//! answered at all.

use cqrs::domain::Ticker;
use reqwest::Url;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::wire::{Frame, Trade, Wire, moment_of_millis};
use crate::provider::ProviderError;
use crate::provider::binance::{Binance, currency_of, spell};
use crate::provider::error::{bad, cut};
use crate::provider::symbol::{Instrument, price_of_text};

/// Streams of one connection.
const CAPACITY: usize = 1_024;
/// Symbols of one message: of five messages a second and a connection, four are used.
const PER_MESSAGE: usize = 100;

/// How Binance speaks.
#[derive(Debug)]
pub struct BinanceWire {
    url: Url,
}

impl BinanceWire {
    /// Where Binance gives prices, and nothing else.
    pub const DEFAULT_URL: &'static str = "wss://data-stream.binance.vision/ws";

    /// At `url`.
    #[must_use]
    pub const fn new(url: Url) -> Self {
        Self { url }
    }
}

impl Wire for BinanceWire {
    fn name(&self) -> &'static str {
        Binance::NAME
    }

    fn url(&self) -> &Url {
        &self.url
    }

    fn secret(&self) -> Option<(&'static str, &SecretString)> {
        None
    }

    fn spell(&self, ticker: &Ticker) -> Option<String> {
        spell(ticker)
    }

    fn currency<'a>(&self, ticker: &'a Ticker) -> &'a str {
        match Instrument::of(ticker) {
            Instrument::Crypto { quote, .. } => currency_of(quote),
            Instrument::Share { .. } | Instrument::Fx { .. } | Instrument::Other => "",
        }
    }

    fn is_always_open(&self, _ticker: &Ticker) -> bool {
        true
    }

    fn capacity(&self) -> usize {
        CAPACITY
    }

    fn subscribe(&self, symbols: &[String]) -> Vec<String> {
        messages("SUBSCRIBE", symbols)
    }

    fn unsubscribe(&self, symbols: &[String]) -> Vec<String> {
        messages("UNSUBSCRIBE", symbols)
    }

    fn read(&self, text: &str) -> Result<Frame, ProviderError> {
        let message: Value =
            serde_json::from_str(text).map_err(|error| bad(format!("not a message in JSON: {error}")))?;
        let (price, time) = match message["e"].as_str() {
            Some("24hrMiniTicker") => (&message["c"], &message["E"]),
            Some("trade") => (&message["p"], &message["T"]),
            Some(_) => return Ok(Frame::Nothing),
            None => return answer(&message),
        };
        let trade = || {
            Some(Trade {
                symbol: message["s"].as_str()?.to_owned(),
                price: price_of_text(price.as_str()?).ok()?,
                at: moment_of_millis(time.as_i64()?)?,
                volume: None,
                side: None,
            })
        };
        // A pair that has never been traded has the price 0.
        Ok(trade().map_or(Frame::Nothing, |trade| Frame::Trades(vec![trade])))
    }
}

/// To what was sent: `{"result":null,"id":1}`, or an error.
fn answer(message: &Value) -> Result<Frame, ProviderError> {
    let error = message.get("error").unwrap_or(message);
    match (error["msg"].as_str(), message.get("id")) {
        (Some(text), _) => Err(bad(cut(text))),
        (None, Some(_)) => Ok(Frame::Nothing),
        (None, None) => Err(bad("neither a price nor an answer")),
    }
}

fn messages(method: &str, symbols: &[String]) -> Vec<String> {
    let message = |symbols: &[String]| {
        let streams = symbols
            .iter()
            .map(|symbol| format!("{}@miniTicker", symbol.to_ascii_lowercase()));
        json!({"method": method, "params": streams.collect::<Vec<_>>(), "id": 1}).to_string()
    };
    symbols.chunks(PER_MESSAGE).map(message).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire() -> BinanceWire {
        BinanceWire::new(BinanceWire::DEFAULT_URL.parse().unwrap())
    }

    #[test]
    fn a_small_ticker_and_a_trade_have_a_price_and_a_time() {
        for (text, price) in [
            (
                r#"{"e":"24hrMiniTicker","E":1672515782136,"s":"BNBBTC","c":"0.0025","o":"0.0010","h":"0.0025","l":"0.0010","v":"10000","q":"18"}"#,
                "0.0025",
            ),
            (
                r#"{"e":"trade","E":1672515782999,"s":"BNBBTC","t":12345,"p":"0.001","q":"100","T":1672515782136,"m":true,"M":true}"#,
                "0.001",
            ),
        ] {
            let Ok(Frame::Trades(trades)) = wire().read(text) else {
                panic!("{text}")
            };
            assert_eq!(trades.len(), 1);
            assert_eq!(trades[0].symbol, "BNBBTC");
            assert_eq!(trades[0].price.to_string(), price);
            assert_eq!(trades[0].at.as_micros(), 1_672_515_782_136_000);
        }
    }

    #[test]
    fn what_is_no_price_is_nothing_and_an_error_is_one() {
        for text in [
            r#"{"result":null,"id":1}"#,
            r#"{"e":"24hrMiniTicker","E":1672515782136,"s":"BNBBTC","c":"0.00000000"}"#,
            r#"{"e":"24hrMiniTicker","E":0,"s":"BNBBTC","c":"1"}"#,
            r#"{"e":"24hrMiniTicker","s":"BNBBTC"}"#,
            r#"{"e":"kline"}"#,
        ] {
            assert_eq!(wire().read(text), Ok(Frame::Nothing), "{text}");
        }
        for text in [
            r#"{"code":2,"msg":"Invalid request: too many parameters","id":1}"#,
            r#"{"error":{"code":2,"msg":"Invalid request"},"id":1}"#,
            "",
            "<html>",
            "{}",
            "[]",
            "null",
        ] {
            assert!(wire().read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn many_symbols_go_into_one_message() {
        assert_eq!(
            wire().subscribe(&["BTCUSDT".into(), "ETHBTC".into()]),
            [r#"{"id":1,"method":"SUBSCRIBE","params":["btcusdt@miniTicker","ethbtc@miniTicker"]}"#]
        );
        let many: Vec<String> = (0..250).map(|number| format!("S{number}")).collect();
        assert_eq!(wire().subscribe(&many).len(), 3);
        assert!(wire().unsubscribe(&many)[0].contains("UNSUBSCRIBE"));
    }
}
