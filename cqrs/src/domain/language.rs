use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A language that messages are written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English.
    #[default]
    En,
    /// Italian.
    It,
}

/// The text is not a language that is known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{value}\" is not a language that is known here; give en or it")]
pub struct ParseLanguageError {
    /// What was given, cut to 64 characters.
    pub value: String,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::En, Self::It];

    /// The two-letter code of ISO 639-1.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::It => "it",
        }
    }

    /// Its name in itself.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::En => "English",
            Self::It => "Italiano",
        }
    }

    /// Of an IETF language tag such as `it-CH`, as Telegram's `language_code` is. None: not known here.
    #[must_use]
    pub fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', '_']).next().unwrap_or_default();
        Self::ALL
            .into_iter()
            .find(|language| language.code().eq_ignore_ascii_case(primary))
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Language {
    type Err = ParseLanguageError;

    /// A code or a name: `it`, `Italiano`, `Italian`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim().to_lowercase().as_str() {
            "en" | "english" | "inglese" => Ok(Self::En),
            "it" | "italian" | "italiano" => Ok(Self::It),
            _ => Err(ParseLanguageError {
                value: text.chars().take(64).collect(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_counts_by_its_language_alone() {
        for (tag, language) in [
            ("it", Some(Language::It)),
            ("it-CH", Some(Language::It)),
            ("EN_us", Some(Language::En)),
            ("de", None),
            ("ita", None),
            ("", None),
        ] {
            assert_eq!(Language::of_tag(tag), language, "{tag}");
        }
    }

    #[test]
    fn what_is_printed_is_read() {
        for language in Language::ALL {
            assert_eq!(language.code().parse(), Ok(language));
            assert_eq!(language.name().parse(), Ok(language));
        }
        assert!("klingon".parse::<Language>().is_err());
    }
}
