//! What differs between websockets, without I/O.

use cqrs::domain::{Price, Ticker, Timestamp, TradeSide};
use reqwest::Url;
use secrecy::SecretString;

use crate::provider::ProviderError;

/// How a provider speaks over a websocket.
pub trait Wire: std::fmt::Debug + Send + Sync {
    /// What quotes name as their source.
    fn name(&self) -> &'static str;

    /// Where to connect, without what is secret.
    fn url(&self) -> &Url;

    /// What is secret in the address: a pair for its query.
    fn secret(&self) -> Option<(&'static str, &SecretString)>;

    /// How the ticker is spelled. None: it does not have such tickers.
    fn spell(&self, ticker: &Ticker) -> Option<String>;

    /// In what the ticker is priced.
    fn currency<'a>(&self, ticker: &'a Ticker) -> &'a str;

    /// Whether the ticker is traded at all times.
    fn is_always_open(&self, ticker: &Ticker) -> bool;

    /// Most symbols of one connection.
    fn capacity(&self) -> usize;

    /// The messages that subscribe to `symbols`.
    fn subscribe(&self, symbols: &[String]) -> Vec<String>;

    /// The messages that end it.
    fn unsubscribe(&self, symbols: &[String]) -> Vec<String>;

    /// What a message says.
    ///
    /// # Errors
    /// If it is not understood, or an error.
    fn read(&self, text: &str) -> Result<Frame, ProviderError>;
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Trades, in the order in which they are written.
    Trades(Vec<Trade>),
    /// That the other side is there, or has understood.
    Nothing,
}

/// A trade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trade {
    /// In the provider's spelling.
    pub symbol: String,
    /// Above zero.
    pub price: Price,
    /// When it was made.
    pub at: Timestamp,
    /// In units of 1e-8.
    pub volume: Option<i64>,
    /// Who initiated it.
    pub side: Option<TradeSide>,
}

/// A moment in milliseconds since the epoch.
pub(super) fn moment_of_millis(millis: i64) -> Option<Timestamp> {
    let micros = millis.checked_mul(1_000)?;
    (micros > 0).then(|| Timestamp::from_micros(micros))
}
