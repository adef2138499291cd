use std::time::Duration;

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

    pub(super) fn is_about_symbol(&self) -> bool {
        self.disposition() == Disposition::Symbol
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

/// An answer that is not understood.
pub(super) fn bad(reason: impl Into<String>) -> ProviderError {
    ProviderError::BadResponse {
        reason: reason.into(),
    }
}

/// A symbol without a price that can be used.
pub(super) fn no_price(reason: impl Into<String>) -> ProviderError {
    ProviderError::NoPrice {
        reason: reason.into(),
    }
}

/// Others' text, short enough for a log line.
pub(super) fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}
