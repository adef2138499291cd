//! What the bot says, in each language: pure functions from facts to text.

pub(super) mod account;
pub(super) mod help;
pub(super) mod holds;
pub(super) mod on_hold;
pub(super) mod prices;
pub(super) mod refusals;
pub(super) mod rules;
pub(super) mod state;
pub(super) mod transfer;

use cqrs::domain::{Language, TimeZone, Timestamp};

use crate::text::words;

/// For whom a text is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reader {
    pub(super) language: Language,
    pub(super) time_zone: TimeZone,
    pub(super) now: Timestamp,
}

impl Reader {
    /// A moment by the reader's clock.
    fn moment(&self, at: Timestamp) -> String {
        words::moment(at, self.now, &self.time_zone, self.language)
    }

    /// From when: `since 14:30:05 CET`.
    fn since(&self, at: Timestamp) -> String {
        self.preposition(at, "since", "dalle", "dal")
    }

    /// To when: `until 14:30:05 CET`.
    fn until(&self, at: Timestamp) -> String {
        self.preposition(at, "until", "fino alle", "fino al")
    }

    /// Italian has one word for hours and one for days.
    fn preposition(&self, at: Timestamp, english: &str, hour: &str, day: &str) -> String {
        let moment = self.moment(at);
        let names_day = moment.contains(',');
        let word = match self.language {
            Language::En => english,
            Language::It if names_day => day,
            Language::It => hour,
        };
        format!("{word} {moment}")
    }

    /// How long ago it was.
    fn age(&self, at: Timestamp) -> String {
        let age = words::duration(self.now.since(at), self.language);
        match self.language {
            Language::En => format!("{age} ago"),
            Language::It => format!("{age} fa"),
        }
    }
}

/// The one of the reader's language.
const fn either<'a>(language: Language, english: &'a str, italian: &'a str) -> &'a str {
    match language {
        Language::En => english,
        Language::It => italian,
    }
}

#[cfg(test)]
mod tests;
