use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use super::{ReminderInterval, Rule, Snooze, User};

/// Names one state of what a user was shown: another state has another etag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etag(String);

/// The text can't be an etag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{value}\" is not an etag; give one as it was read, or none")]
pub struct ParseEtagError {
    /// What was given, cut to 64 characters.
    pub value: String,
}

impl Etag {
    const LONGEST: usize = 64;
    /// So many bits that nobody finds two states with the same one.
    const BYTES: usize = 16;

    /// Of a rule with its snooze.
    #[must_use]
    pub fn of_rule(rule: &Rule) -> Self {
        let snooze = match rule.snooze {
            None => String::new(),
            Some(Snooze::Until(until)) => until.as_micros().to_string(),
            Some(Snooze::UntilBack) => "back".to_owned(),
        };
        // The version counts all the other changes.
        Self::of(&format!("rule/{}/{}/{snooze}", rule.id, rule.version))
    }

    /// Of what the API shows of a user.
    #[must_use]
    pub fn of_user(user: &User) -> Self {
        let reminders = user.reminder_interval.map(ReminderInterval::as_secs);
        Self::of(&format!(
            "user/{}/{}/{}/{reminders:?}",
            user.id,
            user.email.as_str(),
            user.telegram_linked
        ))
    }

    fn of(state: &str) -> Self {
        Self(hex::encode(&Sha256::digest(state)[..Self::BYTES]))
    }
}

impl FromStr for Etag {
    type Err = ParseEtagError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_one =
            (1..=Self::LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_one {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseEtagError {
                value: text.chars().take(Self::LONGEST).collect(),
            })
        }
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
