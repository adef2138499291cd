//! `AAPL 170 200`, many in a message.

use cqrs::domain::{Language, Ticker};

use super::{Thresholds, Wrong, shown, ticker};

/// Most rules in one message.
const MOST: usize = 50;

/// A rule that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::bot) struct Watch {
    pub(in crate::bot) ticker: Ticker,
    pub(in crate::bot) thresholds: Thresholds,
}

/// `TICKER LOW HIGH`, many of them one after the other, or one a line, or between commas or semicolons.
pub(in crate::bot) fn watch(text: &str, language: Language) -> Result<Vec<Watch>, Wrong> {
    let mut found = Vec::new();
    for entry in entries(text) {
        let words: Vec<_> = entry.split_whitespace().collect();
        // Several without anything between them: each has three words then.
        let of_one = if words.len() > 3 && words.len() % 3 == 0 {
            3
        } else {
            words.len()
        };
        for words in words.chunks(of_one.max(1)) {
            let [first, thresholds @ ..] = words else { continue };
            if thresholds.is_empty() || thresholds.len() > 2 {
                return Err(Wrong::Shape {
                    entry: shown(&words.join(" ")),
                });
            }
            let ticker = ticker(first)?;
            let thresholds = Thresholds::parse(thresholds, language).map_err(|wrong| {
                if matches!(wrong, Wrong::Shape { .. }) {
                    Wrong::Shape {
                        entry: shown(&words.join(" ")),
                    }
                } else {
                    wrong
                }
            })?;
            found.push(Watch { ticker, thresholds });
        }
        if found.len() > MOST {
            return Err(Wrong::TooMany { most: MOST });
        }
    }
    if found.is_empty() {
        return Err(Wrong::Missing);
    }
    Ok(found)
}

/// A comma ends an entry only where it ends a word: it may be a decimal comma.
fn entries(text: &str) -> Vec<String> {
    let mut entries = Vec::new();
    for line in text.split(['\n', ';']) {
        let mut entry = Vec::new();
        for word in line.split_whitespace() {
            entry.push(word.trim_end_matches(','));
            if word.ends_with(',') {
                entries.push(entry.join(" "));
                entry.clear();
            }
        }
        entries.push(entry.join(" "));
    }
    entries.retain(|entry| !entry.trim().is_empty());
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
