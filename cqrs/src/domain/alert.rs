use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Price, RuleId, RuleVersion, Ticker, Timestamp, UserId};

/// Where a price lies, seen from a rule's range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Inside.
    In,
    /// At or above the high threshold.
    Above,
    /// At or below the low threshold.
    Below,
}

impl Side {
    /// Whether the price is outside the range.
    #[must_use]
    pub const fn is_out(self) -> bool {
        !matches!(self, Self::In)
    }
}

/// Which of two states of one rule is newer: a newer version of the rule first, then a newer log, then a later quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AlertPosition {
    /// The rule's version.
    pub version: RuleVersion,
    /// Grows when the log is lost and built anew, where offsets start again from 0.
    pub generation: i64,
    /// Offset in the quotes topic of the quote that caused the alert.
    pub offset: i64,
}

/// The text is not a position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{value}\" is not an alert's position; give VERSION.GENERATION.OFFSET as this system printed it")]
pub struct ParseAlertPositionError {
    /// What was given, cut to 64 characters.
    pub value: String,
}

impl fmt::Display for AlertPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.version, self.generation, self.offset)
    }
}

impl FromStr for AlertPosition {
    type Err = ParseAlertPositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseAlertPositionError {
            value: text.chars().take(64).collect(),
        };
        let mut parts = text.split('.').map(str::parse::<i64>);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(version)), Some(Ok(generation)), Some(Ok(offset)), None) => Ok(Self {
                version: RuleVersion::try_from(version).map_err(|_| error())?,
                generation,
                offset,
            }),
            _ => Err(error()),
        }
    }
}

/// One transition of one rule, and at once the rule's new state. (`rule_id`, `position`) is its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// The rule that fired.
    pub rule_id: RuleId,
    /// Its owner.
    pub user_id: UserId,
    /// Its ticker.
    pub ticker: Ticker,
    /// Which of the rule's states this is.
    pub position: AlertPosition,
    /// The side entered.
    pub side: Side,
    /// The price that caused it.
    pub price: Price,
    /// The threshold crossed; for a return into the range, the one it had crossed.
    pub threshold: Price,
    /// As the source spells it; empty: not known.
    pub currency: String,
    /// Event time of the quote.
    pub quote_time: Timestamp,
    /// When the quote entered the system.
    pub quote_ingest_time: Timestamp,
    /// When the alert was raised.
    pub raised_at: Timestamp,
    /// The first price seen for this version of the rule was already outside.
    pub already_outside: bool,
}
