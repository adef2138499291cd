//! Prices that come by themselves, over a websocket that is kept open.
//!
//! [`Live`] is a [`Provider`] like others: asked for a ticker, it subscribes to it and answers with its last trade. So it
//! costs no calls, and where it has nothing (no trade yet, no connection) the next provider serves. A ticker that nobody has
//! asked for in a while is given up.
//!
//! `wire` has what differs between providers, without I/O: what is sent, and what comes. `connection` keeps the connection.

mod binance;
mod connection;
mod finnhub;
#[cfg(test)]
mod tests;
mod wire;

pub use binance::BinanceWire;
pub use connection::Timing;
pub use finnhub::FinnhubWire;
pub use wire::{Frame, Trade, Wire};

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cqrs::domain::{Ticker, Timestamp};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::error::no_price;
use super::symbol::quote;
use super::{Answers, Fetched, Market, Provider, ProviderError};
use crate::staleness::Trading;

/// Asking costs nothing but a look into memory.
const BATCH: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

/// The last trades of those tickers that it is asked for.
#[derive(Debug)]
pub struct Live {
    wire: Arc<dyn Wire>,
    shared: Arc<Shared>,
    /// The connection ends with it.
    _connection: AbortOnDropHandle<()>,
}

/// What the connection and those who ask share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// There is a symbol to subscribe to.
    wanted: Notify,
}

#[derive(Debug)]
struct State {
    /// Why there is no connection; none: there is one.
    down: Option<String>,
    /// By the provider's spelling.
    symbols: BTreeMap<String, Symbol>,
}

#[derive(Debug)]
struct Symbol {
    asked_at: Instant,
    /// Of this connection: between two of them others were missed.
    last: Option<Trade>,
}

impl Live {
    /// Connects, and does so again whenever the connection ends. To be called in a runtime.
    #[must_use]
    pub fn start(wire: Arc<dyn Wire>, timing: Timing) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                down: Some("not connected yet".into()),
                symbols: BTreeMap::new(),
            }),
            wanted: Notify::new(),
        });
        let connection = connection::keep(Arc::clone(&wire), Arc::clone(&shared), timing);
        Self {
            wire,
            shared,
            _connection: AbortOnDropHandle::new(tokio::spawn(connection)),
        }
    }

    fn answer(&self, tickers: &[Ticker], now: Timestamp) -> Result<Answers, ProviderError> {
        let mut state = self.shared.lock();
        let mut is_new = false;
        let mut answers = Answers::default();
        for ticker in tickers {
            let Some(name) = self.wire.spell(ticker) else {
                continue;
            };
            let symbol = state.symbols.entry(name).or_insert_with(|| {
                is_new = true;
                Symbol {
                    asked_at: Instant::now(),
                    last: None,
                }
            });
            symbol.asked_at = Instant::now();
            let last = symbol.last.as_ref();
            let fetched = last.map(|trade| self.fetched(ticker, trade, now));
            answers.extend([(
                ticker.clone(),
                fetched.ok_or_else(|| no_price("no trade has come yet")),
            )]);
        }
        if is_new {
            self.shared.wanted.notify_one();
        }
        match &state.down {
            Some(reason) => Err(ProviderError::Unavailable {
                reason: reason.clone(),
            }),
            None => Ok(answers),
        }
    }

    fn fetched(&self, ticker: &Ticker, trade: &Trade, now: Timestamp) -> Fetched {
        let mut quote = quote(
            self.wire.name(),
            ticker,
            trade.price,
            self.wire.currency(ticker),
            trade.at,
            now,
        );
        quote.volume = trade.volume;
        quote.trade_side = trade.side;
        let (trading, market) = if self.wire.is_always_open(ticker) {
            (Trading::Always, Market::Open)
        } else {
            (Trading::Unknown, Market::Unknown)
        };
        Fetched {
            quote,
            trading,
            market,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Provider for Live {
    fn name(&self) -> &'static str {
        self.wire.name()
    }

    fn endpoint(&self) -> &'static str {
        "live"
    }

    fn covers(&self, ticker: &Ticker) -> bool {
        self.wire.spell(ticker).is_some()
    }

    fn batch_size(&self) -> NonZeroUsize {
        BATCH
    }

    fn fetch_batch<'a>(&'a self, tickers: &'a [Ticker]) -> BoxFuture<'a, Result<Answers, ProviderError>> {
        std::future::ready(self.answer(tickers, Timestamp::now())).boxed()
    }
}
