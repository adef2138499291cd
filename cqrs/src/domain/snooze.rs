use serde::{Deserialize, Serialize};

use super::Timestamp;

/// How long messages of a rule are held back. The rule is evaluated all the while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Snooze {
    /// Until this moment.
    Until(Timestamp),
    /// Until the price is back in range.
    UntilBack,
}

impl Snooze {
    /// Whether it still holds messages back.
    #[must_use]
    pub fn holds(self, now: Timestamp) -> bool {
        match self {
            Self::Until(end) => now < end,
            Self::UntilBack => true,
        }
    }
}
