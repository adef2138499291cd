//! `22:00-07:00 Europe/Rome`, `off`.

use cqrs::domain::{QuietHours, TimeZone};

use super::Wrong;

/// What `/quiet` is to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::bot) enum Quiet {
    /// Show what is set.
    Show,
    /// No quiet hours.
    Off,
    /// These hours, in this zone if one is given.
    Hours(QuietHours, Option<TimeZone>),
    /// The zone alone.
    Zone(TimeZone),
}

/// Hours with or without spaces in them, then a zone; or one of both.
pub(in crate::bot) fn quiet(text: &str) -> Result<Quiet, Wrong> {
    match text.to_lowercase().as_str() {
        "" => return Ok(Quiet::Show),
        "off" | "no" | "none" | "mai" | "spento" => return Ok(Quiet::Off),
        _ => {}
    }
    let is_of_hours =
        |it: char| it.is_ascii_digit() || it.is_whitespace() || ":-\u{2013}\u{2014}".contains(it);
    let end = text.find(|it| !is_of_hours(it)).unwrap_or(text.len());
    let (hours, zone) = text.split_at(end);
    if hours.trim().is_empty() {
        // Other digits and words are more likely meant as hours than as a zone, where they have a colon.
        return if zone.contains(':') {
            Err(zone
                .parse::<QuietHours>()
                .map_or_else(Wrong::QuietHours, |_| Wrong::Missing))
        } else {
            Ok(Quiet::Zone(zone.parse()?))
        };
    }
    let hours: QuietHours = hours.split_whitespace().collect::<String>().parse()?;
    let zone = if zone.is_empty() {
        None
    } else {
        Some(zone.parse()?)
    };
    Ok(Quiet::Hours(hours, zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_and_a_zone_are_read_together_or_alone() {
        let hours: QuietHours = "22:00-07:00".parse().unwrap();
        let rome: TimeZone = "Europe/Rome".parse().unwrap();
        for (text, read) in [
            ("", Quiet::Show),
            ("OFF", Quiet::Off),
            ("mai", Quiet::Off),
            ("22:00-07:00", Quiet::Hours(hours, None)),
            ("22 \u{2013} 7", Quiet::Hours(hours, None)),
            (
                "22:00 - 07:00 Europe/Rome",
                Quiet::Hours(hours, Some(rome.clone())),
            ),
            ("22:00-07:00 rome", Quiet::Hours(hours, Some(rome.clone()))),
            ("europe/rome", Quiet::Zone(rome)),
            ("New York", Quiet::Zone("America/New_York".parse().unwrap())),
        ] {
            assert_eq!(quiet(text), Ok(read), "{text}");
        }
    }

    #[test]
    fn what_is_neither_is_told_for_what_it_was_meant_as() {
        for text in [
            "22:00",
            "22-22",
            "25-7",
            "22:0-7",
            "22-7-8",
            "٢٢:٠٠-٠٧:٠٠",
            "22:00/07:00",
        ] {
            let wrong = quiet(text).unwrap_err();
            assert!(matches!(wrong, Wrong::QuietHours(_)), "{text}: {wrong:?}");
        }
        for text in [
            "22-7 Atlantis",
            "Atlantis",
            "٣",
            "../etc/passwd",
            &"x".repeat(10_000),
        ] {
            assert!(matches!(quiet(text), Err(Wrong::TimeZone(_))), "{text}");
        }
    }
}
