use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Note, Range, RuleId, Snooze, Ticker, Timestamp, UserId};

/// Counts a rule's changes, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RuleVersion(i64);

impl RuleVersion {
    /// A new rule's version.
    pub const FIRST: Self = Self(1);

    /// The version after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// As a number.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for RuleVersion {
    type Error = i64;

    /// # Errors
    /// Gives the number back if it is below 1.
    fn try_from(version: i64) -> Result<Self, i64> {
        if version >= 1 {
            Ok(Self(version))
        } else {
            Err(version)
        }
    }
}

impl fmt::Display for RuleVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a user says of a rule to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRule {
    /// What to watch.
    pub ticker: Ticker,
    /// When to stay silent.
    pub range: Range,
    /// Shown with each alert.
    pub note: Note,
    /// Whether it starts paused.
    pub paused: bool,
    /// When it stops by itself.
    pub expires_at: Option<Timestamp>,
}

/// A rule as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its name.
    pub id: RuleId,
    /// Its owner.
    pub user_id: UserId,
    /// What it watches; never changes.
    pub ticker: Ticker,
    /// When it stays silent.
    pub range: Range,
    /// Shown with each alert.
    pub note: Note,
    /// Set by the user: not evaluated.
    pub paused: bool,
    /// Set by the system once `expires_at` has passed: not evaluated.
    pub expired: bool,
    /// When it stops by itself.
    pub expires_at: Option<Timestamp>,
    /// Holds its messages back, as the store has it: it may be over. Not part of what the version counts.
    #[serde(default)]
    pub snooze: Option<Snooze>,
    /// Its ticker's prices were counted anew then, and its owner has not said yet what becomes of it: not evaluated.
    #[serde(default)]
    pub on_hold_since: Option<Timestamp>,
    /// Counts its changes.
    pub version: RuleVersion,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed; strictly grows with the version.
    pub updated_at: Timestamp,
}

/// Whether a rule is evaluated, and why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuleState {
    /// It is.
    Active,
    /// Its owner paused it.
    Paused,
    /// Its ticker's prices were counted anew.
    OnHold,
    /// Its time is up.
    Expired,
}

impl Rule {
    /// Of several that hold, the last.
    #[must_use]
    pub const fn state(&self) -> RuleState {
        match (self.expired, self.on_hold_since, self.paused) {
            (true, _, _) => RuleState::Expired,
            (false, Some(_), _) => RuleState::OnHold,
            (false, None, true) => RuleState::Paused,
            (false, None, false) => RuleState::Active,
        }
    }

    /// Whether it is evaluated: neither paused nor expired nor on hold.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        !self.paused && !self.expired && self.on_hold_since.is_none()
    }

    /// The time of a change made now: after the last change, even if that was made by a clock that is ahead.
    #[must_use]
    pub fn next_update(&self, now: Timestamp) -> Timestamp {
        now.max(Timestamp::from_micros(self.updated_at.as_micros() + 1))
    }
}

/// All that evaluation needs of one version of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSnapshot {
    /// The rule.
    pub rule_id: RuleId,
    /// Its owner.
    pub user_id: UserId,
    /// What it watches.
    pub ticker: Ticker,
    /// When it stays silent.
    pub range: Range,
    /// Counts its changes.
    pub version: RuleVersion,
    /// Neither paused nor expired nor on hold.
    pub active: bool,
    /// A quote that was ingested at or after this time is not for this rule.
    pub expires_at: Option<Timestamp>,
    /// A quote that was ingested before this time is not for this version.
    pub updated_at: Timestamp,
    /// Which log this snapshot was published into.
    pub generation: i64,
}

/// One record of the `rules` topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleChange {
    /// The rule is now like this.
    Changed(RuleSnapshot),
    /// The rule is gone for good; its id is never used again. The ticker only says which partition.
    Deleted {
        /// The rule.
        rule_id: RuleId,
        /// What it watched.
        ticker: Ticker,
    },
}
