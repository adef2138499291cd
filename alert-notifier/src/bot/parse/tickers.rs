//! `AAPL`, `aapl msft`, `all`.

use cqrs::domain::Ticker;

use super::Wrong;

/// Which of a user's rules a command is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::bot) enum Which {
    All,
    /// Those on this ticker.
    On(Ticker),
}

/// One ticker, in any case, with or without the `$` that chats put before it.
pub(in crate::bot) fn ticker(word: &str) -> Result<Ticker, Wrong> {
    let word = word.strip_prefix('$').unwrap_or(word);
    Ok(word.to_ascii_uppercase().parse()?)
}

/// One to `most` tickers, each once.
pub(in crate::bot) fn tickers(text: &str, most: usize) -> Result<Vec<Ticker>, Wrong> {
    let mut found = Vec::new();
    for word in words(text) {
        let ticker = ticker(word)?;
        if !found.contains(&ticker) {
            found.push(ticker);
        }
        if found.len() > most {
            return Err(Wrong::TooMany { most });
        }
    }
    if found.is_empty() {
        return Err(Wrong::Missing);
    }
    Ok(found)
}

/// A ticker, `all`, or nothing at all for all.
pub(in crate::bot) fn which(text: &str) -> Result<Which, Wrong> {
    match text.to_lowercase().as_str() {
        "" | "all" | "tutti" | "tutte" | "tutto" => Ok(Which::All),
        _ => ticker(text).map(Which::On),
    }
}

/// Words between spaces and commas.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|it: char| it.is_whitespace() || it == ',')
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickers_come_in_any_case_and_once() {
        let found = tickers("aapl, $MSFT AAPL\n^gspc", 3).unwrap();
        assert_eq!(
            found.iter().map(Ticker::as_str).collect::<Vec<_>>(),
            ["AAPL", "MSFT", "^GSPC"]
        );
        assert_eq!(tickers(" , ", 3), Err(Wrong::Missing));
        assert_eq!(tickers("A B C D", 3), Err(Wrong::TooMany { most: 3 }));
        for text in ["ÄPFEL", "٣", "A_B", "a/b", "<b>", &"A".repeat(10_000)] {
            assert!(matches!(tickers(text, 3), Err(Wrong::Ticker(_))), "{text}");
        }
    }

    #[test]
    fn all_is_a_word_in_both_languages() {
        assert_eq!(which("Tutti"), Ok(Which::All));
        assert_eq!(which(""), Ok(Which::All));
        assert_eq!(which("brk-b"), Ok(Which::On("BRK-B".parse().unwrap())));
        assert!(which("AAPL MSFT").is_err());
    }
}
