use std::fmt;
use std::str::FromStr;

/// A time zone of the IANA database, such as `Europe/Rome`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeZone(jiff::tz::TimeZone);

/// The text is not a time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{value}\" is not a time zone; give a name such as Europe/Rome, America/New_York or UTC")]
pub struct ParseTimeZoneError {
    /// What was given, cut to 64 characters.
    pub value: String,
}

impl TimeZone {
    /// Coordinated universal time.
    pub const UTC: Self = Self(jiff::tz::TimeZone::UTC);

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// For calculations.
    #[must_use]
    pub const fn rules(&self) -> &jiff::tz::TimeZone {
        &self.0
    }
}

impl Default for TimeZone {
    fn default() -> Self {
        Self::UTC
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for TimeZone {
    type Err = ParseTimeZoneError;

    /// A name in any case, with `_` or a space between words, or its last part alone: `rome`, `new york`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseTimeZoneError {
            value: text.chars().take(64).collect(),
        };
        let wanted = text.split_whitespace().collect::<Vec<_>>().join("_");
        // What names are made of; others are paths or nonsense.
        let fits = (1..=64).contains(&wanted.len())
            && wanted
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_+-/".contains(&byte));
        if !fits {
            return Err(error());
        }
        let database = jiff::tz::db();
        let name = database
            .available()
            .map(|name| name.to_string())
            .filter(|name| {
                name.eq_ignore_ascii_case(&wanted)
                    || name
                        .rsplit_once('/')
                        .is_some_and(|(_, city)| city.eq_ignore_ascii_case(&wanted))
            })
            // The whole name before a city of the same name.
            .max_by_key(|name| name.eq_ignore_ascii_case(&wanted));
        let zone = database.get(&name.ok_or_else(error)?).map_err(|_| error())?;
        if zone.iana_name().is_some() {
            Ok(Self(zone))
        } else {
            Err(error())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_found_by_its_name_or_its_city() {
        for (text, name) in [
            ("Europe/Rome", "Europe/Rome"),
            ("europe/rome", "Europe/Rome"),
            ("rome", "Europe/Rome"),
            ("New York", "America/New_York"),
            ("utc", "UTC"),
        ] {
            assert_eq!(text.parse::<TimeZone>().unwrap().name(), name, "{text}");
        }
    }

    #[test]
    fn what_is_no_zone_is_refused() {
        for text in [
            "",
            "Rom",
            "Europe/",
            "../../etc/passwd",
            "Rome\0",
            "R\u{f6}m",
            &"x".repeat(100),
        ] {
            assert!(text.parse::<TimeZone>().is_err(), "{text:?}");
        }
    }
}
