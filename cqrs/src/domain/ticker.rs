use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A canonical ticker, Yahoo style: `AAPL`, `BRK-B`, `EURUSD=X`, `^GSPC`, `M&M.NS`.
///
/// `^\^?[A-Z0-9]{1,21}(?:[.\-=&][A-Z0-9]{1,10}){0,3}$`, at most 32 characters. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ticker(Arc<str>);

/// The text is not a ticker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{value}\" is not a ticker: {reason}; give 1 to 32 of A-Z and 0-9 in Yahoo's spelling, such as AAPL, BRK-B, EURUSD=X or ^GSPC"
)]
pub struct ParseTickerError {
    /// What was given, cut to 64 characters.
    pub value: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Ticker {
    /// Most characters a ticker can have.
    pub const MAX_LEN: usize = 32;

    /// The ticker's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Ticker {
    type Err = ParseTickerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match fault(text) {
            None => Ok(Self(text.into())),
            Some(reason) => Err(ParseTickerError {
                value: text.chars().take(64).collect(),
                reason,
            }),
        }
    }
}

fn fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("it is empty");
    }
    if !text.is_ascii() {
        return Some("it has characters outside ASCII");
    }
    if text.len() > Ticker::MAX_LEN {
        return Some("it is longer than 32 characters");
    }
    if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Some("it has lower-case letters");
    }
    let is_part = |part: &str, most: usize| {
        (1..=most).contains(&part.len())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    };
    let mut parts = text.strip_prefix('^').unwrap_or(text).split(['.', '-', '=', '&']);
    let first_ok = parts.next().is_some_and(|part| is_part(part, 21));
    let mut suffixes = 0;
    let rest_ok = parts.all(|part| {
        suffixes += 1;
        suffixes <= 3 && is_part(part, 10)
    });
    (!first_ok || !rest_ok).then_some("it does not have the form of one")
}

impl fmt::Display for Ticker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for Ticker {
    type Error = ParseTickerError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Ticker> for String {
    fn from(ticker: Ticker) -> Self {
        ticker.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_tickers_are_accepted() {
        for text in [
            "A",
            "AAPL",
            "BRK-B",
            "EURUSD=X",
            "^GSPC",
            "M&M.NS",
            "0P000071W8.TO",
            "BTC-USD",
            "GC=F",
            "A.B.C.D",
        ] {
            assert_eq!(text.parse::<Ticker>().map(|t| t.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        let long = "A".repeat(33);
        for (text, reason) in [
            ("", "it is empty"),
            ("aapl", "it has lower-case letters"),
            ("ÄAPL", "it has characters outside ASCII"),
            (long.as_str(), "it is longer than 32 characters"),
            ("AAPL ", "it does not have the form of one"),
            ("A..B", "it does not have the form of one"),
            ("^", "it does not have the form of one"),
            ("A.B.C.D.E", "it does not have the form of one"),
            ("A\nB", "it does not have the form of one"),
            ("ABCDEFGHIJKLMNOPQRSTUV", "it does not have the form of one"),
        ] {
            assert_eq!(
                text.parse::<Ticker>().map_err(|e| e.reason),
                Err(reason),
                "{text:?}"
            );
        }
    }
}
