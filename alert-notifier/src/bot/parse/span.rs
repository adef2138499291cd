//! Lengths of time: `1h`, `90m`, `2d`; and what is written with them.

use std::time::Duration;

use cqrs::domain::Ticker;

use super::{SpanFault, Which, Wrong, shown, ticker, which};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest snooze.
const LONGEST_SNOOZE: Duration = DAY.saturating_mul(30);
/// Shortest chart: shorter ones show hardly a price.
const SHORTEST_CHART: Duration = MINUTE.saturating_mul(10);
/// Longest chart.
const LONGEST_CHART: Duration = DAY.saturating_mul(30);

/// How long messages are held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bot) enum Hold {
    For(Duration),
    UntilBack,
}

/// `AAPL 1h`, `all 30m`, `AAPL until-back`.
pub(in crate::bot) fn snooze(text: &str) -> Result<(Which, Hold), Wrong> {
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    if first.is_empty() || rest.trim().is_empty() {
        return Err(Wrong::Missing);
    }
    let which = which(first)?;
    let spelled: Vec<String> = rest
        .split(|it: char| it.is_whitespace() || it == '-')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    let hold = match spelled.join(" ").as_str() {
        "until back" | "back" | "untilback" | "fino al rientro" | "rientro" => Hold::UntilBack,
        _ => Hold::For(span(rest.trim(), MINUTE, LONGEST_SNOOZE)?),
    };
    Ok((which, hold))
}

/// `AAPL`, `AAPL 1d`: a day unless said otherwise.
pub(in crate::bot) fn chart(text: &str) -> Result<(Ticker, Duration), Wrong> {
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    if first.is_empty() {
        return Err(Wrong::Missing);
    }
    let length = match rest.trim() {
        "" => DAY,
        length => span(length, SHORTEST_CHART, LONGEST_CHART)?,
    };
    Ok((ticker(first)?, length))
}

/// A whole number with a unit: `m`, `h`, `d`, `w`.
fn span(text: &str, shortest: Duration, longest: Duration) -> Result<Duration, Wrong> {
    let fail = |fault| Wrong::Span {
        value: shown(text),
        fault,
    };
    let end = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = match unit.trim().to_lowercase().as_str() {
        "m" | "min" => MINUTE,
        "h" => HOUR,
        "d" | "g" => DAY,
        "w" => DAY * 7,
        _ => return Err(fail(SpanFault::NotALength)),
    };
    if number.is_empty() {
        return Err(fail(SpanFault::NotALength));
    }
    let span = number
        .parse::<u32>()
        .ok()
        .and_then(|number| unit.checked_mul(number))
        .unwrap_or(Duration::MAX);
    if span < shortest {
        Err(fail(SpanFault::TooShort))
    } else if span > longest {
        Err(fail(SpanFault::TooLong))
    } else {
        Ok(span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snooze_is_for_a_time_or_until_the_price_is_back() {
        let aapl = Which::On("AAPL".parse().unwrap());
        for (text, read) in [
            ("aapl 1h", (aapl.clone(), Hold::For(HOUR))),
            ("AAPL 90 min", (aapl.clone(), Hold::For(HOUR + HOUR / 2))),
            ("AAPL until-back", (aapl.clone(), Hold::UntilBack)),
            ("AAPL Until Back", (aapl.clone(), Hold::UntilBack)),
            ("AAPL fino al rientro", (aapl, Hold::UntilBack)),
            ("all 2w", (Which::All, Hold::For(DAY * 14))),
            ("tutti 3g", (Which::All, Hold::For(DAY * 3))),
        ] {
            assert_eq!(snooze(text), Ok(read), "{text}");
        }
        for text in ["", "AAPL", "1h"] {
            assert_eq!(snooze(text), Err(Wrong::Missing), "{text}");
        }
        for (text, fault) in [
            ("AAPL soon", SpanFault::NotALength),
            ("AAPL 5", SpanFault::NotALength),
            ("AAPL h", SpanFault::NotALength),
            ("AAPL -1h", SpanFault::NotALength),
            ("AAPL ٣h", SpanFault::NotALength),
            ("AAPL 1.5h", SpanFault::NotALength),
            ("AAPL 0h", SpanFault::TooShort),
            ("AAPL 31d", SpanFault::TooLong),
            ("AAPL 99999999999999999999d", SpanFault::TooLong),
        ] {
            let wrong = snooze(text).unwrap_err();
            assert!(
                matches!(wrong, Wrong::Span { fault: found, .. } if found == fault),
                "{text}: {wrong:?}"
            );
        }
        assert!(matches!(snooze("ÄPFEL 1h"), Err(Wrong::Ticker(_))));
    }

    #[test]
    fn a_chart_is_of_a_day_unless_told_otherwise() {
        let aapl: Ticker = "AAPL".parse().unwrap();
        assert_eq!(chart("aapl"), Ok((aapl.clone(), DAY)));
        assert_eq!(chart("$AAPL  4h"), Ok((aapl, HOUR * 4)));
        assert_eq!(chart(""), Err(Wrong::Missing));
        for text in ["AAPL 9m", "AAPL 31d", "AAPL 1y", "AAPL MSFT", "AAPL 1d 2d"] {
            assert!(matches!(chart(text), Err(Wrong::Span { .. })), "{text}");
        }
    }
}
