use cqrs::domain::{NewRule, Note, Price, Range, Ticker};
use teloxide::utils::command::BotCommands;

/// What users can write. The texts are the help.
#[derive(Debug, Clone, PartialEq, Eq, BotCommands)]
#[command(
    rename_rule = "lowercase",
    description = "I tell you when prices leave the ranges that you set.\n"
)]
pub(super) enum Command {
    /// link this chat to your account: /start TOKEN
    Start(String),
    /// show your rules
    List,
    /// watch a price: /watch AAPL 180 200.50, with - for no threshold
    Watch(String),
    /// how often to remind you while a price stays out of range: /set 15m
    Set(String),
    /// no reminders
    Unset,
    /// this text
    Help,
}

const WATCH_USAGE: &str = "write /watch TICKER LOW HIGH, such as /watch AAPL 180 200.50, with - in place of a threshold that you do not want";

/// `TICKER LOW HIGH`, `-` for no threshold.
pub(super) fn parse_watch(text: &str) -> Result<NewRule, String> {
    let mut words = text.split_whitespace();
    let (Some(ticker), Some(low), Some(high), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        let count = text.split_whitespace().count();
        return Err(format!(
            "/watch takes a ticker and two thresholds, not {count} words; {WATCH_USAGE}"
        ));
    };
    let ticker: Ticker = ticker
        .to_ascii_uppercase()
        .parse()
        .map_err(|error| sentence(&error))?;
    let threshold = |text: &str| match text {
        "-" => Ok(None),
        text => text.parse::<Price>().map(Some).map_err(|error| sentence(&error)),
    };
    let range = Range::new(threshold(low)?, threshold(high)?).map_err(|error| sentence(&error))?;
    Ok(NewRule {
        ticker,
        range,
        note: Note::default(),
        paused: false,
        expires_at: None,
    })
}

/// An error's text as a sentence of its own.
pub(super) fn sentence(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let mut characters = text.chars();
    let first = characters.next().map(char::to_uppercase);
    first
        .into_iter()
        .flatten()
        .chain(characters)
        .chain((!text.ends_with('.')).then_some('.'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_with_and_without_the_bots_name() {
        for (text, command) in [
            ("/start", Command::Start(String::new())),
            ("/start AbC-1_2", Command::Start("AbC-1_2".into())),
            ("/set 5m", Command::Set("5m".into())),
            ("/unset", Command::Unset),
            ("/list@alerts_bot", Command::List),
            ("/watch  aapl 1 2", Command::Watch(" aapl 1 2".into())),
            ("/help", Command::Help),
        ] {
            assert_eq!(Command::parse(text, "alerts_bot").unwrap(), command, "{text}");
        }
        assert!(Command::parse("/list@other_bot", "alerts_bot").is_err());
        assert!(Command::parse("/nonsense", "alerts_bot").is_err());
    }

    #[test]
    fn a_watch_has_one_or_two_thresholds() {
        let both = parse_watch("aapl 180 200.50").unwrap();
        assert_eq!(
            (both.ticker.as_str(), both.range.low(), both.range.high()),
            (
                "AAPL",
                Some("180".parse().unwrap()),
                Some("200.5".parse().unwrap())
            )
        );
        assert_eq!(parse_watch("  BRK-B   -  500 ").unwrap().range.low(), None);
        assert_eq!(parse_watch("EURUSD=X 1.05 -").unwrap().range.high(), None);
    }

    #[test]
    fn a_wrong_watch_says_what_is_wrong_and_what_to_write() {
        for (text, reason) in [
            ("", "not 0 words; write /watch TICKER LOW HIGH"),
            ("AAPL 1", "not 2 words; write"),
            ("AAPL 1 2 3", "not 4 words; write"),
            (
                "AAPL - -",
                "A rule needs a low threshold, a high threshold or both",
            ),
            (
                "AAPL 2 1",
                "The low threshold 2 is not below the high threshold 1",
            ),
            ("AAPL 1 1", "is not below"),
            ("AAPL x 1", "\"x\" is not a price"),
            ("AAPL -5 1", "it is negative"),
            ("ÄPFEL 1 2", "is not a ticker"),
            ("$AAPL 1 2", "is not a ticker"),
        ] {
            let error = parse_watch(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
