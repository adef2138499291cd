//! What single arguments mean.

use cqrs::domain::Timestamp;
use proto::v1;

use super::OrCleared;

/// An empty variable is as good as none.
pub(super) fn server_url(text: &str) -> Result<String, String> {
    if !text.is_empty() {
        crate::connection::endpoint(text)
            .map_err(|failure| format!("{}; {}", failure.message, failure.remedy.unwrap_or_default()))?;
    }
    Ok(text.to_owned())
}

/// Tickers are upper case; nobody types them so. The server checks the rest.
#[allow(clippy::unnecessary_wraps, reason = "clap's value parsers answer a Result")]
pub(super) fn ticker(text: &str) -> Result<String, std::convert::Infallible> {
    Ok(text.to_ascii_uppercase())
}

pub(super) fn first_rule(text: &str) -> Result<v1::NewRule, String> {
    let mut parts = text.split(':');
    let ticker = parts.next().unwrap_or_default().to_ascii_uppercase();
    let mut threshold = || parts.next().filter(|part| !part.is_empty()).map(str::to_owned);
    let (low, high) = (threshold(), threshold());
    if parts.next().is_some() || ticker.is_empty() {
        return Err("give TICKER:LOW:HIGH, such as AAPL:170:200, AAPL:170 or AAPL::200".to_owned());
    }
    Ok(v1::NewRule {
        ticker,
        low,
        high,
        ..Default::default()
    })
}

pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let from_now = humantime::parse_duration(text).map_err(
        |_| "give a time with a zone, such as 2026-01-31T14:30:00Z, or a duration, such as 12h or 7d",
    )?;
    Ok(Timestamp::now().plus(from_now))
}

pub(super) fn moment_or_none(text: &str) -> Result<OrCleared<Timestamp>, String> {
    if text == "none" {
        Ok(OrCleared::Cleared)
    } else {
        moment(text).map(OrCleared::Value)
    }
}

/// A moment in the past: a time, or how long ago.
pub(super) fn past(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago = humantime::parse_duration(text).map_err(
        |_| "give a time with a zone, such as 2026-01-31T14:30:00Z, or how long ago, such as 12h or 7d",
    )?;
    Ok(Timestamp::now().minus(ago))
}

/// Until when a rule's messages are held back; `None`: no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SnoozeEnd {
    At(Timestamp),
    Back,
    Off,
}

pub(super) fn snooze_end(text: &str) -> Result<SnoozeEnd, String> {
    match text {
        "back" => Ok(SnoozeEnd::Back),
        "off" => Ok(SnoozeEnd::Off),
        _ => moment(text)
            .map(SnoozeEnd::At)
            .map_err(|error| format!("{error}, \"back\" for until the price is back in range, or \"off\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_rules_are_read_with_either_threshold_left_out() {
        let read = |text| first_rule(text).map(|rule| (rule.ticker, rule.low, rule.high));
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            read("aapl:170:200"),
            Ok(("AAPL".into(), some("170"), some("200")))
        );
        assert_eq!(read("AAPL:170"), Ok(("AAPL".into(), some("170"), None)));
        assert_eq!(read("AAPL::200"), Ok(("AAPL".into(), None, some("200"))));
        assert!(read("AAPL:1:2:3").is_err());
        assert!(read(":1:2").is_err());
    }

    #[test]
    fn an_end_is_a_time_or_a_duration() {
        assert_eq!(
            moment("1970-01-01T00:00:01Z"),
            Ok(Timestamp::from_micros(1_000_000))
        );
        let in_an_hour = moment("1h").unwrap().since(Timestamp::now());
        assert!((3_590..=3_600).contains(&in_an_hour.as_secs()), "{in_an_hour:?}");
        assert!(moment("tomorrow").is_err());
        assert_eq!(moment_or_none("none"), Ok(OrCleared::Cleared));
    }

    #[test]
    fn a_snooze_ends_at_a_time_or_when_the_price_is_back_or_at_once() {
        assert_eq!(snooze_end("back"), Ok(SnoozeEnd::Back));
        assert_eq!(snooze_end("off"), Ok(SnoozeEnd::Off));
        let time = Timestamp::from_micros(1_000_000);
        assert_eq!(snooze_end("1970-01-01T00:00:01Z"), Ok(SnoozeEnd::At(time)));
        assert!(snooze_end("never").unwrap_err().contains("\"back\""));
    }

    #[test]
    fn a_past_moment_is_a_time_or_how_long_ago() {
        let before = Timestamp::now();
        let ago = before.since(past("1h").unwrap());
        assert!((3_590..=3_600).contains(&ago.as_secs()), "{ago:?}");
        assert_eq!(
            past("1970-01-01T00:00:01Z"),
            Ok(Timestamp::from_micros(1_000_000))
        );
        assert!(past("yesterday").is_err());
    }
}
