use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A user's own words on a rule: at most 500 characters, one line, no control characters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Note(String);

/// The text is not a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseNoteError {
    /// Too many characters.
    #[error("a note of {length} characters is too long; give at most 500")]
    TooLong {
        /// How many it has.
        length: usize,
    },
    /// Line breaks or the like.
    #[error("a note has no line breaks or control characters; give one line of text")]
    ControlCharacter,
}

impl Note {
    /// Most characters a note can have.
    pub const MAX_CHARS: usize = 500;

    /// The note's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Note {
    type Err = ParseNoteError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let length = text.chars().count();
        if length > Self::MAX_CHARS {
            return Err(ParseNoteError::TooLong { length });
        }
        if text.chars().any(char::is_control) {
            return Err(ParseNoteError::ControlCharacter);
        }
        Ok(Self(text.to_owned()))
    }
}
