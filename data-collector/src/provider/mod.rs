//! Where prices come from.

pub mod synthetic;
pub mod yahoo;

use std::time::Duration;

use cqrs::domain::{Quote, Ticker};
use futures::future::BoxFuture;

use crate::staleness::Trading;

/// A source that answers a ticker with its latest price.
pub trait Provider: std::fmt::Debug + Send + Sync {
    /// What the quotes name as their source, at most 32 characters.
    fn name(&self) -> &'static str;

    /// The latest price of `ticker`, as the source has it: it may be old, or the same as the last time.
    ///
    /// # Errors
    /// [`ProviderError`], by what is to be done about it.
    fn fetch<'a>(&'a self, ticker: &'a Ticker) -> BoxFuture<'a, Result<Fetched, ProviderError>>;
}

/// A provider's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The price.
    pub quote: Quote,
    /// When the ticker is traded, as far as the answer says it.
    pub trading: Trading,
}

/// Why a provider gave no price.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The provider does not know the symbol.
    #[error(
        "the provider knows no symbol of this name; correct the rule's ticker, or QUOTE_PROVIDER_URL if every ticker is unknown"
    )]
    UnknownSymbol,
    /// The symbol is known, or seems to be, but has no price that can be used.
    #[error("no usable price: {reason}; the market may be closed or the symbol dead")]
    NoPrice {
        /// What was wrong or missing.
        reason: String,
    },
    /// The provider wants fewer requests.
    #[error(
        "the provider limits requests (retry after: {retry_after:?}); raise QUOTE_POLL_INTERVAL if it goes on"
    )]
    RateLimited {
        /// How long it wants to be left alone, where it says so.
        retry_after: Option<Duration>,
    },
    /// The provider refuses this client.
    #[error(
        "the provider refuses access with HTTP {status}; check that it may be used from here, and with what key"
    )]
    Unauthorized {
        /// HTTP status.
        status: u16,
    },
    /// No answer, or one that says that the provider is in trouble.
    #[error("the provider is not available: {reason}; it is tried again")]
    Unavailable {
        /// What happened.
        reason: String,
    },
    /// An answer that is not what the provider's answers look like.
    #[error("the provider's answer is not understood: {reason}; check QUOTE_PROVIDER_URL")]
    BadResponse {
        /// What was wrong with it.
        reason: String,
    },
}

/// What an error is about, and so what is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The one symbol: the provider works.
    Symbol,
    /// The provider: enough of these in a row and it is left alone for a while.
    Provider,
    /// The provider is to be left alone at once.
    LeaveAlone,
}

impl ProviderError {
    /// What the error is about.
    #[must_use]
    pub const fn disposition(&self) -> Disposition {
        match self {
            Self::UnknownSymbol | Self::NoPrice { .. } => Disposition::Symbol,
            Self::Unauthorized { .. } | Self::Unavailable { .. } | Self::BadResponse { .. } => {
                Disposition::Provider
            }
            Self::RateLimited { .. } => Disposition::LeaveAlone,
        }
    }

    /// For the metric `stockalert_collector_fetches_total`.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::UnknownSymbol => "unknown_symbol",
            Self::NoPrice { .. } => "no_price",
            Self::RateLimited { .. } => "rate_limited",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Unavailable { .. } => "unavailable",
            Self::BadResponse { .. } => "bad_response",
        }
    }
}
