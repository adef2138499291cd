//! What stands after a command. Pure: text in, values out, or what is wrong with it.

mod code;
mod quiet;
mod span;
mod table;
mod thresholds;
mod tickers;
mod watch;

use cqrs::domain::{
    Language, ParseLanguageError, ParseNoteError, ParsePriceError, ParseQuietHoursError,
    ParseReminderIntervalError, ParseTickerError, ParseTimeZoneError, ParseTimestampError, Price, RangeError,
};

pub(super) use code::{code_in, code_of};
pub(super) use quiet::{Quiet, quiet};
pub(super) use span::{Hold, chart, snooze};
pub(super) use table::{export, import};
pub(super) use thresholds::Thresholds;
pub(super) use tickers::{Which, ticker, tickers, which};
pub(super) use watch::{Watch, is_of_many, watch};

use crate::text::words::read_price;

/// Most characters of what was written that an answer repeats.
const SHOWN: usize = 64;

/// What is wrong with what a user wrote. The texts are in [`super::text`], in the user's language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Something is needed after the command.
    Missing,
    /// More or less words than a rule takes.
    Shape {
        /// The part of the message that is meant to be a rule.
        entry: String,
    },
    Ticker(ParseTickerError),
    Price(ParsePriceError),
    /// A number whose points stand between thousands, or may do so.
    Thousands {
        value: String,
    },
    /// A percentage without a sign, or that is none.
    Percent {
        value: String,
        fault: PercentFault,
    },
    /// Two percentages of one sign, or the same side twice.
    SameSide,
    Range(RangeError),
    Interval(ParseReminderIntervalError),
    /// No length of time, or not one that is taken here.
    Span {
        value: String,
        fault: SpanFault,
    },
    QuietHours(ParseQuietHoursError),
    TimeZone(ParseTimeZoneError),
    Language(ParseLanguageError),
    Note(ParseNoteError),
    Time(ParseTimestampError),
    /// More of something than is done at once.
    TooMany {
        most: usize,
    },
    /// A line of a table or of several rules, counted from 1.
    Line {
        line: u64,
        wrong: Box<Wrong>,
    },
    Table(TableFault),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PercentFault {
    /// Digits, a decimal point, `%`.
    NotANumber,
    /// Nobody knows whether above or below is meant.
    NoSign,
    /// A signed number without `%`.
    NoPercentSign,
    /// The latest price itself.
    Zero,
    /// At most four decimals.
    TooFine,
    /// All of the price, or more.
    WholePrice,
    TooLarge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SpanFault {
    NotALength,
    TooShort,
    TooLong,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TableFault {
    /// Not UTF-8, or quotes that don't match.
    Unreadable,
    /// A column is missing.
    NoColumn(&'static str),
    /// Neither true nor false.
    NotYesOrNo,
    /// No line but the first.
    Empty,
}

impl Wrong {
    pub(super) fn at_line(self, line: u64) -> Self {
        Self::Line {
            line,
            wrong: Box::new(self),
        }
    }

    /// With its line, where it has one.
    pub(super) fn in_line(self, line: Option<u64>) -> Self {
        match line {
            Some(line) => self.at_line(line),
            None => self,
        }
    }
}

macro_rules! wrong_from {
    ($($error:ident => $variant:ident),* $(,)?) => {
        $(impl From<$error> for Wrong {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        })*
    };
}

wrong_from! {
    ParseTickerError => Ticker,
    ParsePriceError => Price,
    RangeError => Range,
    ParseReminderIntervalError => Interval,
    ParseQuietHoursError => QuietHours,
    ParseTimeZoneError => TimeZone,
    ParseLanguageError => Language,
    ParseNoteError => Note,
    ParseTimestampError => Time,
}

/// A number as it is written in this language.
fn price(word: &str, language: Language) -> Result<Price, Wrong> {
    if language == Language::It && may_have_thousands(word) {
        return Err(Wrong::Thousands { value: shown(word) });
    }
    Ok(read_price(word, language).parse()?)
}

/// `1.500`, `1.234.567`; not `0.500`: no thousands begin with nothing.
fn may_have_thousands(word: &str) -> bool {
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    word.split_once('.').is_some_and(|(first, rest)| {
        (1..=3).contains(&first.len())
            && digits(first)
            && !first.starts_with('0')
            && rest.split('.').all(|part| part.len() == 3 && digits(part))
    })
}

/// The first characters, to be repeated in an answer.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}
