use std::fmt;
use std::str::FromStr;

use jiff::civil::Time;

use super::{TimeZone, Timestamp};

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// Hours of each day when a user is to be left in peace, such as `22:00-07:00`, in the user's time zone. The end is no
/// longer quiet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietHours {
    from: u16,
    to: u16,
}

/// The text is not a pair of times.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{value}\" are not quiet hours: {reason}; give two times of day such as 22:00-07:00")]
pub struct ParseQuietHoursError {
    /// What was given, cut to 64 characters.
    pub value: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl QuietHours {
    /// From and to, in minutes since midnight. None: not two different times of a day.
    #[must_use]
    pub const fn from_minutes(from: u16, to: u16) -> Option<Self> {
        if from < DAY && to < DAY && from != to {
            Some(Self { from, to })
        } else {
            None
        }
    }

    /// When they begin, in minutes since midnight.
    #[must_use]
    pub const fn from(self) -> u16 {
        self.from
    }

    /// When they end, in minutes since midnight.
    #[must_use]
    pub const fn to(self) -> u16 {
        self.to
    }

    /// When the quiet that `now` falls in ends. None: it is not quiet now.
    #[must_use]
    pub fn end_after(self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let local = jiff::Timestamp::from_microsecond(now.as_micros())
            .ok()?
            .to_zoned(zone.rules().clone());
        let minute = u16::try_from(local.hour()).ok()? * 60 + u16::try_from(local.minute()).ok()?;
        let (quiet, ends_tomorrow) = if self.from < self.to {
            ((self.from..self.to).contains(&minute), false)
        } else {
            (minute >= self.from || minute < self.to, minute >= self.from)
        };
        if !quiet {
            return None;
        }
        let day = if ends_tomorrow {
            local.date().tomorrow().ok()?
        } else {
            local.date()
        };
        let end = day
            .to_datetime(time_of(self.to)?)
            .to_zoned(zone.rules().clone())
            .ok()?;
        let end = Timestamp::from_micros(end.timestamp().as_microsecond());
        // In the hour that a change of the clocks repeats or skips, the end may lie behind: then it has come.
        (end > now).then_some(end)
    }
}

fn time_of(minutes: u16) -> Option<Time> {
    let (hour, minute) = (i8::try_from(minutes / 60).ok()?, i8::try_from(minutes % 60).ok()?);
    Time::new(hour, minute, 0, 0).ok()
}

impl fmt::Display for QuietHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(
            f,
            "{:02}:{:02}-{:02}:{:02}",
            from / 60,
            from % 60,
            to / 60,
            to % 60
        )
    }
}

impl FromStr for QuietHours {
    type Err = ParseQuietHoursError;

    /// `22:00-07:00`, `22-7`, with any of the dashes that keyboards make.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |reason| ParseQuietHoursError {
            value: text.chars().take(64).collect(),
            reason,
        };
        let (from, to) = text
            .trim()
            .split_once(['-', '\u{2013}', '\u{2014}'])
            .ok_or_else(|| fail("there is no dash between them"))?;
        let minutes = |text| minutes(text).ok_or_else(|| fail("one of them is no time of day"));
        let (from, to) = (minutes(from)?, minutes(to)?);
        Self::from_minutes(from, to).ok_or_else(|| fail("they begin when they end"))
    }
}

/// `22:00` or `22`.
fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.trim().split_once(':').unwrap_or((text.trim(), "00"));
    let number = |text: &str, digits: std::ops::RangeInclusive<usize>| {
        (digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.parse::<u16>().ok())
            .flatten()
    };
    let (hours, minutes) = (number(hours, 1..=2)?, number(minutes, 2..=2)?);
    (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(quiet: &str, now: &str, zone: &str) -> Option<String> {
        let (quiet, zone): (QuietHours, TimeZone) = (quiet.parse().unwrap(), zone.parse().unwrap());
        quiet
            .end_after(now.parse().unwrap(), &zone)
            .map(|end| end.to_string())
    }

    #[test]
    fn they_are_read_and_printed() {
        for (text, shown) in [
            ("22:00-07:00", "22:00-07:00"),
            ("22-7", "22:00-07:00"),
            (" 9:30 \u{2013} 17:05 ", "09:30-17:05"),
        ] {
            assert_eq!(text.parse::<QuietHours>().unwrap().to_string(), shown, "{text}");
        }
        for text in [
            "",
            "22:00",
            "22:00-22:00",
            "24:00-7:00",
            "22:60-7",
            "-",
            "٢٢-7",
            "22:0-7",
            "22-7-8",
        ] {
            assert!(text.parse::<QuietHours>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_end_is_the_next_morning_in_the_users_own_zone() {
        let night = "22:00-07:00";
        // 23:30 in Rome in winter.
        let end_in_rome = end(night, "2026-01-10T22:30:00Z", "Europe/Rome");
        assert_eq!(end_in_rome.as_deref(), Some("2026-01-11T06:00:00Z"));
        // 06:59 and 07:00 there.
        let just_before = end(night, "2026-01-11T05:59:59Z", "Europe/Rome");
        assert_eq!(just_before.as_deref(), Some("2026-01-11T06:00:00Z"));
        assert_eq!(end(night, "2026-01-11T06:00:00Z", "Europe/Rome"), None);
        assert_eq!(end("9-17", "2026-01-11T08:00:00Z", "UTC"), None);
        assert_eq!(
            end("9-17", "2026-01-11T09:00:00Z", "UTC").as_deref(),
            Some("2026-01-11T17:00:00Z")
        );
    }

    #[test]
    fn a_night_in_which_the_clocks_change_ends_by_the_clock() {
        // 2026-03-29 02:00 becomes 03:00 in Rome: 07:00 is then 05:00Z, the evening before 22:00 was 21:00Z.
        let spring = end("22-7", "2026-03-28T21:30:00Z", "Europe/Rome");
        assert_eq!(spring.as_deref(), Some("2026-03-29T05:00:00Z"));
        // 02:30 does not exist that night: the end is 03:30.
        let gap = end("22:00-02:30", "2026-03-28T23:00:00Z", "Europe/Rome");
        assert_eq!(gap.as_deref(), Some("2026-03-29T01:30:00Z"));
    }
}
