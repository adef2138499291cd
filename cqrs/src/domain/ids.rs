use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid};

use super::{Ticker, Timestamp};

/// The text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{value}\" is not an id; give a UUID as this system printed it, such as 0197a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"
)]
pub struct ParseIdError {
    /// What was given, cut to 64 characters.
    pub value: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id (UUIDv7: ids made later sort later, within a millisecond and one process).
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                // Only the hyphenated form: an id has one spelling, so that it can be a key.
                match Uuid::try_parse(text) {
                    Ok(uuid) if text.len() == 36 => Ok(Self(uuid)),
                    _ => Err(ParseIdError { value: text.chars().take(64).collect() }),
                }
            }
        }
    };
}

id!(
    /// Names a user.
    UserId
);
id!(
    /// Names a rule.
    RuleId
);
id!(
    /// Names one message to one user.
    DeliveryId
);

impl DeliveryId {
    /// The name of the one message of a test, whose rule there is none of.
    #[must_use]
    pub const fn of_test(rule: RuleId) -> Self {
        Self(rule.0)
    }

    /// The name of the one message to a user about their rules that a restatement put on hold, for each look at them.
    #[must_use]
    pub fn of_restatement(ticker: &Ticker, restated_at: Timestamp, user: UserId, look: i64) -> Self {
        let name = format!("{ticker}/{}/{user}/{look}", restated_at.as_micros());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&Sha256::digest(name)[..16]);
        Self(Builder::from_custom_bytes(bytes).into_uuid())
    }
}

impl RuleId {
    /// For a message that is of no rule alone: names none.
    #[must_use]
    pub(crate) const fn of_none(delivery: DeliveryId) -> Self {
        Self(delivery.0)
    }
}
