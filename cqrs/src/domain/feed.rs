use std::fmt;
use std::str::FromStr;

use super::{Restatement, Ticker, Timestamp};

/// Whether calls to a provider are let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// They are.
    Closed,
    /// None is: the provider failed.
    Open,
    /// A few are, to see whether it works again.
    HalfOpen,
}

/// The text is not a breaker's state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{value}\" is not a breaker's state; give closed, open or half-open")]
pub struct ParseBreakerStateError {
    /// What was given, cut to 64 characters.
    pub value: String,
}

impl BreakerState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// As stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

impl fmt::Display for BreakerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for BreakerState {
    type Err = ParseBreakerStateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| ParseBreakerStateError {
                value: text.chars().take(64).collect(),
            })
    }
}

/// How one data collector gets on with its provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedState {
    /// The provider's name, such as `yahoo`; at most [`Self::MAX_PROVIDER`] characters.
    pub provider: String,
    /// Which collector says so; at most [`Self::MAX_INSTANCE`] characters.
    pub instance: String,
    /// Whether it calls the provider.
    pub breaker: BreakerState,
    /// Why not; at most [`Self::MAX_REASON`] characters.
    pub reason: Option<String>,
    /// How many tickers it asks for.
    pub tickers: u64,
    /// When the provider last answered well.
    pub last_success_at: Option<Timestamp>,
    /// When this was so.
    pub updated_at: Timestamp,
}

impl FeedState {
    /// Most characters of a provider's name.
    pub const MAX_PROVIDER: usize = 32;
    /// Most characters of an instance's name.
    pub const MAX_INSTANCE: usize = 64;
    /// Most characters of a reason.
    pub const MAX_REASON: usize = 200;
}

/// Whether a ticker's prices come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TickerFeed {
    /// The ticker.
    pub ticker: Ticker,
    /// Since when no price came although its market is open; none: prices come.
    pub stale_since: Option<Timestamp>,
    /// When this was so.
    pub updated_at: Timestamp,
}

/// One record of the feeds topic. Of two about the same thing, the later one holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedChange {
    /// A provider is now like this.
    Provider(FeedState),
    /// A ticker's prices stopped or came back.
    Ticker(TickerFeed),
    /// A ticker's prices are counted anew.
    Restated(Restatement),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_of_a_breaker_is_read() {
        for state in BreakerState::ALL {
            assert_eq!(state.to_string().parse(), Ok(state));
        }
        assert!("ajar".parse::<BreakerState>().is_err());
    }
}
