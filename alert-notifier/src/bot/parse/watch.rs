//! `AAPL 170 200`, many in a message.

use cqrs::domain::{Language, Ticker};

use super::{Thresholds, Wrong, shown, ticker};

/// Most rules in one message.
const MOST: usize = 50;

/// A rule that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::bot) struct Watch {
    /// Where it stands in a message of several lines, from 1.
    pub(in crate::bot) line: Option<u64>,
    pub(in crate::bot) ticker: Ticker,
    pub(in crate::bot) thresholds: Thresholds,
}

/// `TICKER LOW HIGH`, many of them one after the other, or one a line, or between commas or semicolons.
pub(in crate::bot) fn watch(text: &str, language: Language) -> Result<Vec<Watch>, Wrong> {
    let mut found = Vec::new();
    for Entry { line, words } in entries(text) {
        let (ticker, thresholds) = rule(&words, language).map_err(|wrong| wrong.in_line(line))?;
        found.push(Watch {
            line,
            ticker,
            thresholds,
        });
        if found.len() > MOST {
            return Err(Wrong::TooMany { most: MOST });
        }
    }
    if found.is_empty() {
        return Err(Wrong::Missing);
    }
    Ok(found)
}

/// Whether several rules are asked for: all of them are made, or none.
pub(in crate::bot) fn is_of_many(text: &str) -> bool {
    entries(text).len() > 1
}

fn rule(words: &[&str], language: Language) -> Result<(Ticker, Thresholds), Wrong> {
    let shape = || Wrong::Shape {
        entry: shown(&words.join(" ")),
    };
    let (first, thresholds) = words.split_first().ok_or_else(shape)?;
    if thresholds.is_empty() || thresholds.len() > 2 {
        return Err(shape());
    }
    let ticker = ticker(first)?;
    match Thresholds::parse(thresholds, language) {
        Err(Wrong::Shape { .. }) => Err(shape()),
        thresholds => Ok((ticker, thresholds?)),
    }
}

/// A part of a message that is meant to be a rule.
struct Entry<'a> {
    /// Where it stands in a message of several lines, from 1.
    line: Option<u64>,
    /// At least one.
    words: Vec<&'a str>,
}

/// A comma ends an entry only where it ends a word: it may be a decimal comma.
fn entries(text: &str) -> Vec<Entry<'_>> {
    let text = text.trim();
    let mut entries = Vec::new();
    for (content, number) in text.lines().zip(1..) {
        let line = text.contains('\n').then_some(number);
        for part in content.split(';') {
            for words in part
                .split_whitespace()
                .collect::<Vec<_>>()
                .split_inclusive(|word| word.ends_with(','))
            {
                let words: Vec<&str> = words
                    .iter()
                    .map(|word| word.trim_end_matches(','))
                    .filter(|word| !word.is_empty())
                    .collect();
                // Several without anything between them: each has three words then.
                let of_one = if words.len().is_multiple_of(3) {
                    3
                } else {
                    words.len()
                };
                entries.extend(words.chunks(of_one.max(1)).map(|words| Entry {
                    line,
                    words: words.to_vec(),
                }));
            }
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_rules(text: &str) -> Result<Vec<String>, Wrong> {
        let price = |price: Option<cqrs::domain::Price>| price.map_or("-".to_owned(), |it| it.to_string());
        watch(text, Language::It)?
            .into_iter()
            .map(|rule| {
                let range = rule.thresholds.range("100".parse().ok())?;
                Ok(format!(
                    "{} {} {}",
                    rule.ticker,
                    price(range.low()),
                    price(range.high())
                ))
            })
            .collect()
    }

    #[test]
    fn a_message_holds_one_rule_or_many() {
        for (text, rules) in [
            ("aapl 180 200.50", &["AAPL 180 200.5"][..]),
            ("  BRK-B   -  500 ", &["BRK-B - 500"]),
            ("$EURUSD=X 1,05 -", &["EURUSD=X 1.05 -"]),
            ("AAPL +5%", &["AAPL - 105"]),
            ("AAPL 1 2 MSFT 3 4", &["AAPL 1 2", "MSFT 3 4"]),
            ("AAPL 1 2\nMSFT +5%\n\n", &["AAPL 1 2", "MSFT - 105"]),
            (
                "AAPL 1 2, MSFT -3%; 7203.T - 4",
                &["AAPL 1 2", "MSFT 97 -", "7203.T - 4"],
            ),
        ] {
            assert_eq!(
                shown_rules(text).as_deref(),
                Ok(&rules.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()[..]),
                "{text}"
            );
        }
    }

    #[test]
    fn a_wrong_rule_is_named_by_its_line_where_there_are_several() {
        for (text, line) in [
            ("AAPL 1 2\nMSFT 2 x", Some(2)),
            ("AAPL 1 2\nMSFT 200 100", Some(2)),
            ("AAPL 1 2\r\n\r\nMSFT 2 x\r\n", Some(3)),
            ("AAPL 1 2\nA 1 2, MSFT\nB 1 2", Some(2)),
            ("AAPL 1 2, MSFT 2 x", None),
            ("AAPL 1 x\n", None),
        ] {
            let wrong = watch(text, Language::It).unwrap_err();
            let found = if let Wrong::Line { line, .. } = wrong {
                Some(line)
            } else {
                None
            };
            assert_eq!(found, line, "{text}: {wrong:?}");
        }
        let lines = watch("AAPL 1 2\nMSFT -3% 200", Language::It).map(|found| found[1].line);
        assert_eq!(lines, Ok(Some(2)), "whose thresholds are compared later");
    }

    #[test]
    fn several_rules_are_known_before_they_are_read() {
        for (text, many) in [
            ("", false),
            ("AAPL 1 2", false),
            ("AAPL 1 2 3", false),
            ("AAPL 1 2,", false),
            ("AAPL 1 2 MSFT 3 x", true),
            ("AAPL, MSFT 3 4", true),
            ("AAPL 1\nMSFT", true),
        ] {
            assert_eq!(is_of_many(text), many, "{text}");
        }
    }

    #[test]
    fn one_wrong_rule_is_told_and_nothing_is_watched() {
        assert_eq!(watch("  ", Language::It), Err(Wrong::Missing));
        for (text, entry) in [
            ("AAPL", "AAPL"),
            ("AAPL 1", "AAPL 1"),
            ("AAPL 1 2 3", "AAPL 1 2 3"),
            ("MSFT 1 2, AAPL 1 2 3 4", "AAPL 1 2 3 4"),
        ] {
            assert_eq!(
                watch(text, Language::It),
                Err(Wrong::Shape { entry: entry.into() }),
                "{text}"
            );
        }
        assert!(matches!(watch("AAPL 2 1", Language::It), Err(Wrong::Range(_))));
        assert!(matches!(watch("ÄPFEL 1 2", Language::It), Err(Wrong::Ticker(_))));
        assert!(matches!(watch("AAPL ٣ 4", Language::It), Err(Wrong::Price(_))));
        assert_eq!(
            watch(&"A 1 2;".repeat(51), Language::It),
            Err(Wrong::TooMany { most: 50 })
        );
        assert_eq!(
            watch(&"A 1 2 ".repeat(51), Language::It),
            Err(Wrong::TooMany { most: 50 })
        );
        let long = "x".repeat(10_000);
        assert_eq!(
            watch(&long, Language::It),
            Err(Wrong::Shape {
                entry: "x".repeat(64)
            })
        );
    }
}
