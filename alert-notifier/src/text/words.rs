//! Durations, distances, moments and prices in the reader's language.

use std::time::Duration;

use cqrs::domain::{Language, Price, Range, TimeZone, Timestamp};

/// A duration by its two largest units: `45 s`, `12 min 5 s`, `2 h 10 min`, `3 d 4 h`.
#[must_use]
pub fn duration(duration: Duration, language: Language) -> String {
    let day = match language {
        Language::En => "d",
        Language::It => "g",
    };
    let seconds = duration.as_secs();
    let (large, large_unit, small, small_unit) = match seconds {
        0 => {
            return match language {
                Language::En => "less than a second",
                Language::It => "meno di un secondo",
            }
            .to_owned();
        }
        1..60 => return format!("{seconds} s"),
        60..3_600 => (seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => (seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => (seconds / 86_400, day, seconds % 86_400 / 3_600, "h"),
    };
    if small == 0 {
        format!("{large} {large_unit}")
    } else {
        format!("{large} {large_unit} {small} {small_unit}")
    }
}

/// A short duration that was measured: `34 ms`, `1.2 s`; from 10 s on as [`duration`] gives it.
#[must_use]
pub fn latency(latency: Duration, language: Language) -> String {
    let milliseconds = latency.as_millis();
    match milliseconds {
        0 => "< 1 ms".to_owned(),
        1..1_000 => format!("{milliseconds} ms"),
        1_000..10_000 => localized(&format!("{:.1} s", latency.as_secs_f64()), language),
        _ => duration(latency, language),
    }
}

/// A price, with two decimals if it has fewer but some: `200`, `200.50`, `1.05342`; `200,50` in Italian. No separators of
/// thousands, so that what is shown can be written back with [`read_price`].
#[must_use]
pub fn price(price: Price, language: Language) -> String {
    let mut text = price.to_string();
    if text
        .split_once('.')
        .is_some_and(|(_, fraction)| fraction.len() == 1)
    {
        text.push('0');
    }
    localized(&text, language)
}

/// As [`price`], but rounded to two decimals from 1 on: of prices that somebody computed.
#[must_use]
pub fn rounded(value: Price, language: Language) -> String {
    const UNIT: i64 = 100_000_000;
    const CENT: i64 = UNIT / 100;
    let units = value.units();
    let rounded = match units {
        UNIT.. => (units / CENT + i64::from(units % CENT * 2 >= CENT)).checked_mul(CENT),
        _ => Some(units),
    };
    let rounded = rounded.and_then(|units| Price::from_units(units).ok());
    price(rounded.unwrap_or(value), language)
}

/// The thresholds of a range: `low 170, high 200.50`.
#[must_use]
pub fn thresholds(range: Range, language: Language, show: impl Fn(Price, Language) -> String) -> String {
    let (low, high) = match language {
        Language::En => ("low", "high"),
        Language::It => ("bassa", "alta"),
    };
    let side =
        |name: &str, price: Option<Price>| price.map(|price| format!("{name} {}", show(price, language)));
    let sides = [side(low, range.low()), side(high, range.high())];
    sides.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A price and its currency, if that is known: `200.50 USD`.
#[must_use]
pub fn amount(value: Price, currency: &str, language: Language) -> String {
    let price = price(value, language);
    if currency.is_empty() {
        price
    } else {
        format!("{price} {currency}")
    }
}

/// A price as [`price`] shows it to this reader, as text that [`Price`] reads: in Italian a comma stands for the point,
/// unless there is a point too. What is no price stays what it is, so that its error shows it.
#[must_use]
pub fn read_price(text: &str, language: Language) -> String {
    if language == Language::It && text.matches(',').count() == 1 && !text.contains('.') {
        text.replace(',', ".")
    } else {
        text.to_owned()
    }
}

/// How far a price is from a threshold, in percent of the threshold and without a sign: `0.40%`, `0,40%`.
#[must_use]
pub fn distance(price: Price, threshold: Price, language: Language) -> String {
    let percent = percent(price, threshold).abs();
    if percent < 0.005 {
        let little = match language {
            Language::En => "less than 0.01%",
            Language::It => "meno dello 0,01%",
        };
        return little.to_owned();
    }
    localized(&format!("{percent:.2}%"), language)
}

/// The change from one price to another in percent of the first, with its sign: `+0.40%`, `-5.26%`, `0.00%`.
#[must_use]
pub fn change(from: Price, to: Price, language: Language) -> String {
    let percent = percent(to, from);
    // No "-0.00%".
    let text = if percent.abs() < 0.005 {
        "0.00%".to_owned()
    } else {
        format!("{percent:+.2}%")
    };
    localized(&text, language)
}

fn percent(price: Price, threshold: Price) -> f64 {
    (price.to_f64() / threshold.to_f64() - 1.0) * 100.0
}

/// A moment by the reader's clock: `14:30:05 CET` on the day of `now`, otherwise `30 Jan, 14:30 CET`, with the year if it is
/// another.
#[must_use]
pub fn moment(at: Timestamp, now: Timestamp, zone: &TimeZone, language: Language) -> String {
    let (Some(at), Some(now)) = (zoned(at, zone), zoned(now, zone)) else {
        return at.to_string();
    };
    let clock = at.strftime("%H:%M");
    let zone = at.strftime("%Z");
    if at.date() == now.date() {
        return format!("{} {zone}", at.strftime("%H:%M:%S"));
    }
    let day = at.day();
    let month = month(at.month(), language);
    if at.year() == now.year() {
        format!("{day} {month}, {clock} {zone}")
    } else {
        format!("{day} {month} {}, {clock} {zone}", at.year())
    }
}

fn zoned(at: Timestamp, zone: &TimeZone) -> Option<jiff::Zoned> {
    let at = jiff::Timestamp::from_microsecond(at.as_micros()).ok()?;
    Some(at.to_zoned(zone.rules().clone()))
}

pub(crate) fn month(month: i8, language: Language) -> &'static str {
    const ENGLISH: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    const ITALIAN: [&str; 12] = [
        "gen", "feb", "mar", "apr", "mag", "giu", "lug", "ago", "set", "ott", "nov", "dic",
    ];
    let names = match language {
        Language::En => ENGLISH,
        Language::It => ITALIAN,
    };
    usize::try_from(month - 1)
        .ok()
        .and_then(|at| names.get(at))
        .copied()
        .unwrap_or("?")
}

/// `1 alert`, `2 alerts`: the number and the word that goes with it.
#[must_use]
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// With the language's decimal sign.
fn localized(number: &str, language: Language) -> String {
    match language {
        Language::En => number.to_owned(),
        Language::It => number.replace('.', ","),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EN: Language = Language::En;
    const IT: Language = Language::It;

    fn of(text: &str) -> Price {
        text.parse().unwrap()
    }

    #[test]
    fn durations_show_their_two_largest_units() {
        for (seconds, english, italian) in [
            (0, "less than a second", "meno di un secondo"),
            (59, "59 s", "59 s"),
            (60, "1 min", "1 min"),
            (3_599, "59 min 59 s", "59 min 59 s"),
            (3_600, "1 h", "1 h"),
            (7_830, "2 h 10 min", "2 h 10 min"),
            (273_600, "3 d 4 h", "3 g 4 h"),
        ] {
            let given = Duration::from_secs(seconds);
            assert_eq!(
                [duration(given, EN), duration(given, IT)],
                [english, italian],
                "{seconds}"
            );
        }
    }

    #[test]
    fn latencies_are_shown_as_exactly_as_they_matter() {
        for (milliseconds, english, italian) in [
            (0, "< 1 ms", "< 1 ms"),
            (34, "34 ms", "34 ms"),
            (1_240, "1.2 s", "1,2 s"),
            (9_999, "10.0 s", "10,0 s"),
            (62_000, "1 min 2 s", "1 min 2 s"),
        ] {
            let given = Duration::from_millis(milliseconds);
            assert_eq!([latency(given, EN), latency(given, IT)], [english, italian]);
        }
    }

    #[test]
    fn prices_are_shown_with_no_lonely_decimal_and_can_be_written_back() {
        for (text, english, italian) in [
            ("200", "200", "200"),
            ("200.5", "200.50", "200,50"),
            ("1.05342", "1.05342", "1,05342"),
            ("67250.12", "67250.12", "67250,12"),
            ("0.00000001", "0.00000001", "0,00000001"),
        ] {
            assert_eq!([price(of(text), EN), price(of(text), IT)], [english, italian]);
            for language in Language::ALL {
                let shown = price(of(text), language);
                assert_eq!(of(&read_price(&shown, language)), of(text), "{shown}");
            }
        }
        assert_eq!(amount(of("200.5"), "USD", EN), "200.50 USD");
        assert_eq!(amount(of("200.5"), "", IT), "200,50");
    }

    #[test]
    fn computed_prices_are_rounded_where_that_hides_nothing() {
        for (text, shown) in [
            ("85.71428571", "85.71"),
            ("14.28571429", "14.29"),
            ("99.995", "100"),
            ("1.005", "1.01"),
            ("0.00714286", "0.00714286"),
            ("0.99999999", "0.99999999"),
            ("92233720368.54775807", "92233720368.54775807"),
        ] {
            assert_eq!(rounded(of(text), EN), shown);
        }
        let range = |low: Option<&str>, high: Option<&str>| Range::new(low.map(of), high.map(of)).unwrap();
        let shown = |range, language| thresholds(range, language, price);
        assert_eq!(
            shown(range(Some("170"), Some("200.5")), EN),
            "low 170, high 200.50"
        );
        assert_eq!(shown(range(None, Some("200.5")), IT), "alta 200,50");
    }

    #[test]
    fn a_comma_that_may_mean_thousands_is_not_guessed_at() {
        assert_eq!(read_price("1,234", EN), "1,234");
        assert_eq!(read_price("1.234,5", IT), "1.234,5");
        assert_eq!(read_price("1,234,5", IT), "1,234,5");
        assert_eq!(read_price("180.5", IT), "180.5");
    }

    #[test]
    fn distances_and_changes_are_percents_of_where_they_start() {
        let (low, high) = (of("190"), of("200.5"));
        assert_eq!(distance(of("201.3"), high, EN), "0.40%");
        assert_eq!(distance(of("180"), low, IT), "5,26%");
        assert_eq!(distance(of("200.500001"), high, EN), "less than 0.01%");
        assert_eq!(distance(of("200.500001"), high, IT), "meno dello 0,01%");
        assert_eq!(change(low, of("180"), EN), "-5.26%");
        assert_eq!(change(high, of("201.3"), IT), "+0,40%");
        assert_eq!(change(high, of("200.4999999"), EN), "0.00%");
    }

    #[test]
    fn moments_are_told_by_the_readers_clock() {
        let now: Timestamp = "2026-01-31T14:00:00Z".parse().unwrap();
        let rome: TimeZone = "Europe/Rome".parse().unwrap();
        for (at, zone, english, italian) in [
            (
                "2026-01-31T13:30:05.9Z",
                &TimeZone::UTC,
                "13:30:05 UTC",
                "13:30:05 UTC",
            ),
            ("2026-01-31T13:30:05Z", &rome, "14:30:05 CET", "14:30:05 CET"),
            // Yesterday in London is already today in Rome.
            ("2026-01-30T23:30:00Z", &rome, "00:30:00 CET", "00:30:00 CET"),
            (
                "2026-01-29T13:30:00Z",
                &rome,
                "29 Jan, 14:30 CET",
                "29 gen, 14:30 CET",
            ),
            (
                "2025-08-29T13:30:00Z",
                &rome,
                "29 Aug 2025, 15:30 CEST",
                "29 ago 2025, 15:30 CEST",
            ),
        ] {
            let at = at.parse().unwrap();
            assert_eq!(
                [moment(at, now, zone, EN), moment(at, now, zone, IT)],
                [english, italian]
            );
        }
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(count(1, "alert", "alerts"), "1 alert");
        assert_eq!(count(0, "avviso", "avvisi"), "0 avvisi");
    }
}
