use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How long between two reminders: 10 seconds to 7 days, 15 minutes unless the user says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReminderInterval(Duration);

/// The text is not an interval between reminders.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{value}\" is not an interval: {reason}; give 10s to 7d, such as 90s, 5m or 2h (a bare number is seconds)"
)]
pub struct ParseReminderIntervalError {
    /// What was given, cut to 64 characters.
    pub value: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl ReminderInterval {
    /// What a user has who never chose.
    pub const DEFAULT: Self = Self(Duration::from_secs(15 * 60));
    const SHORTEST: u64 = 10;
    const LONGEST: u64 = 7 * 24 * 60 * 60;

    /// From whole seconds.
    ///
    /// # Errors
    /// If it is below 10 seconds or above 7 days.
    pub fn from_secs(seconds: i64) -> Result<Self, ParseReminderIntervalError> {
        Self::checked(u64::try_from(seconds).unwrap_or(0), &seconds.to_string())
    }

    /// In whole seconds.
    #[must_use]
    pub fn as_secs(self) -> i64 {
        i64::try_from(self.0.as_secs()).unwrap_or(i64::MAX)
    }

    /// As a duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }

    fn checked(seconds: u64, text: &str) -> Result<Self, ParseReminderIntervalError> {
        let fail = |reason| {
            Err(ParseReminderIntervalError {
                value: text.chars().take(64).collect(),
                reason,
            })
        };
        match seconds {
            ..Self::SHORTEST => fail("it is shorter than 10 seconds"),
            Self::SHORTEST..=Self::LONGEST => Ok(Self(Duration::from_secs(seconds))),
            _ => fail("it is longer than 7 days"),
        }
    }
}

impl FromStr for ReminderInterval {
    type Err = ParseReminderIntervalError;

    /// `90`, `90s`, `5m`, `2h`, `1d`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |reason| ParseReminderIntervalError {
            value: text.chars().take(64).collect(),
            reason,
        };
        let (number, unit) = match text.trim().to_ascii_lowercase() {
            lower if lower.ends_with('s') => (lower[..lower.len() - 1].to_owned(), 1),
            lower if lower.ends_with('m') => (lower[..lower.len() - 1].to_owned(), 60),
            lower if lower.ends_with('h') => (lower[..lower.len() - 1].to_owned(), 60 * 60),
            lower if lower.ends_with('d') => (lower[..lower.len() - 1].to_owned(), 24 * 60 * 60),
            lower => (lower, 1),
        };
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(fail("it is not a whole number with a unit"));
        }
        let seconds = number.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(unit);
        Self::checked(seconds, text)
    }
}

impl fmt::Display for ReminderInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            s if s % 86_400 == 0 => write!(f, "{}d", s / 86_400),
            s if s % 3_600 == 0 => write!(f, "{}h", s / 3_600),
            s if s % 60 == 0 => write!(f, "{}m", s / 60),
            s => write!(f, "{s}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_read_in_every_unit() {
        for (text, shown) in [
            ("90", "90s"),
            ("10s", "10s"),
            ("5m", "5m"),
            ("2H", "2h"),
            ("7d", "7d"),
            ("120s", "2m"),
        ] {
            assert_eq!(
                text.parse::<ReminderInterval>().unwrap().to_string(),
                shown,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_interval_is_refused() {
        for text in [
            "",
            "9",
            "9s",
            "8d",
            "-5m",
            "1.5h",
            "5 m",
            "٣",
            "m",
            "99999999999999999999h",
            "5x",
        ] {
            assert!(text.parse::<ReminderInterval>().is_err(), "{text:?}");
        }
    }
}
