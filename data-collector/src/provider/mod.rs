//! Where prices come from.
//!
//! A [`Provider`] is one endpoint of one source: it is asked for some tickers, and answers each with a price or with the
//! reason why there is none. Every provider's module has the answer's form as pure functions from the body to the answers,
//! and around them the few lines that make the call. What they share: `http` (one client, its limits, what a status means),
//! `limit` (the provider's own limit), `symbol` (what a ticker stands for).

mod answer;
pub mod binance;
mod error;
pub mod finnhub;
mod http;
pub mod limit;
pub mod live;
pub(crate) mod open;
mod sighting;
pub mod source;
mod symbol;
pub mod synthetic;
pub mod twelvedata;
pub mod yahoo;

pub use answer::{Answers, Fetched, Market};
pub use error::{Disposition, ProviderError};
pub use http::{ApiKey, ParseApiKeyError};
pub use symbol::Instrument;

use std::num::NonZeroUsize;

use cqrs::domain::Ticker;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use limit::Limiter;

/// How requests name their sender to providers that ask for that and for nothing else.
const USER_AGENT: &str = concat!("stockalert/", env!("CARGO_PKG_VERSION"));

/// One endpoint of a source that answers tickers with their latest prices.
pub trait Provider: std::fmt::Debug + Send + Sync {
    /// What the quotes name as their source, at most 32 characters.
    fn name(&self) -> &'static str;

    /// Which of the source's endpoints it is. Each has a breaker of its own.
    fn endpoint(&self) -> &'static str;

    /// Whether it has such tickers at all, by their form. Others need not be asked for; they are unknown.
    fn covers(&self, _ticker: &Ticker) -> bool {
        true
    }

    /// Most tickers that one call may ask for.
    fn batch_size(&self) -> NonZeroUsize {
        NonZeroUsize::MIN
    }

    /// The provider's own limit: [`Limiter::acquire`] what a call costs, then make it. None: there is none.
    fn limiter(&self) -> Option<&Limiter> {
        None
    }

    /// What a call for so many tickers costs, in the limit's units.
    fn cost(&self, _tickers: usize) -> u32 {
        1
    }

    /// The latest prices of `tickers` (at most [`Self::batch_size`]), as the source has them: they may be old, or the same
    /// as the last time.
    ///
    /// # Errors
    /// If the call as a whole failed, and so nothing is known of any ticker: never with an error about one symbol. What
    /// concerns some of them only is among the answers.
    fn fetch_batch<'a>(&'a self, tickers: &'a [Ticker]) -> BoxFuture<'a, Result<Answers, ProviderError>>;

    /// The latest price of one ticker.
    ///
    /// # Errors
    /// [`ProviderError`], by what is to be done about it.
    fn fetch<'a>(&'a self, ticker: &'a Ticker) -> BoxFuture<'a, Result<Fetched, ProviderError>> {
        async move {
            let mut answers = self.fetch_batch(std::slice::from_ref(ticker)).await?;
            answers.take(ticker)
        }
        .boxed()
    }
}
