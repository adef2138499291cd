use serde::{Deserialize, Serialize};

use super::{Price, Side};

/// The prices a user calls normal: above `low` and below `high`, at least one of them set, `low < high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(
    try_from = "(Option<Price>, Option<Price>)",
    into = "(Option<Price>, Option<Price>)"
)]
pub struct Range {
    low: Option<Price>,
    high: Option<Price>,
}

/// The thresholds make no range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Neither threshold is set.
    #[error("a rule needs a low threshold, a high threshold or both; give at least one")]
    NoThreshold,
    /// The low threshold is not below the high one.
    #[error(
        "the low threshold {low} is not below the high threshold {high}; give a low one below the high one"
    )]
    Inverted {
        /// As given.
        low: Price,
        /// As given.
        high: Price,
    },
}

impl Range {
    /// A range of these thresholds.
    ///
    /// # Errors
    /// If both are absent, or `low` is not below `high`.
    pub fn new(low: Option<Price>, high: Option<Price>) -> Result<Self, RangeError> {
        match (low, high) {
            (None, None) => Err(RangeError::NoThreshold),
            (Some(low), Some(high)) if low >= high => Err(RangeError::Inverted { low, high }),
            (low, high) => Ok(Self { low, high }),
        }
    }

    /// At or below this price is out of range.
    #[must_use]
    pub const fn low(self) -> Option<Price> {
        self.low
    }

    /// At or above this price is out of range.
    #[must_use]
    pub const fn high(self) -> Option<Price> {
        self.high
    }

    /// The side `price` lies on, without memory: the boundary counts as out.
    #[must_use]
    pub fn side_of(self, price: Price) -> Side {
        if self.high.is_some_and(|high| price >= high) {
            Side::Above
        } else if self.low.is_some_and(|low| price <= low) {
            Side::Below
        } else {
            Side::In
        }
    }
}

impl TryFrom<(Option<Price>, Option<Price>)> for Range {
    type Error = RangeError;

    fn try_from((low, high): (Option<Price>, Option<Price>)) -> Result<Self, RangeError> {
        Self::new(low, high)
    }
}

impl From<Range> for (Option<Price>, Option<Price>) {
    fn from(range: Range) -> Self {
        (range.low, range.high)
    }
}
