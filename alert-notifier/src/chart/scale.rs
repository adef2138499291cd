//! Which prices and moments the axes name.

use std::time::Duration;

use cqrs::domain::{Language, TimeZone, Timestamp};
use jiff::Zoned;
use jiff::civil::{Date, Time};

use crate::text::words::month;

/// Most names on an axis, so that each can be read.
const MAX_PRICES: f64 = 6.0;
const MAX_MOMENTS: i64 = 6;

/// A price axis: from where to where, and the steps between.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Prices {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) step: f64,
}

impl Prices {
    /// Holds all of `low..=high`, with a little room.
    pub(super) fn around(low: f64, high: f64) -> Self {
        // A price that did not move lies in the middle.
        let span = (high - low).max(high * 0.002);
        let room = span * 0.08;
        let (low, high) = if high - low < span {
            let middle = f64::midpoint(low, high);
            (middle - span, middle + span)
        } else {
            (low - room, high + room)
        };
        let rough = (high - low) / MAX_PRICES;
        let magnitude = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|factor| factor * magnitude)
            .into_iter()
            .find(|step| *step >= rough * 0.999_999)
            .unwrap_or(rough);
        Self { low, high, step }
    }

    /// The prices to name, in order.
    pub(super) fn ticks(self) -> Vec<f64> {
        let first = (self.low / self.step).ceil();
        // Bounded, whatever the numbers are.
        (0..12)
            .map(|n| (first + f64::from(n)) * self.step)
            .take_while(|price| *price <= self.high)
            .collect()
    }

    /// As on the axis: with as many decimals as the step has.
    pub(super) fn name(self, price: f64, language: Language) -> String {
        let decimals = (0..=8_u8).find(|decimals| {
            let scaled = self.step * 10_f64.powi(i32::from(*decimals));
            scaled > 0.5 && (scaled - scaled.round()).abs() < 1e-6
        });
        let text = format!("{price:.*}", usize::from(decimals.unwrap_or(8)));
        match language {
            Language::En => text,
            Language::It => text.replace('.', ","),
        }
    }
}

/// Moments to name between two, each with its name: hours by the reader's clock, days, or months.
pub(super) fn moments(
    from: Timestamp,
    to: Timestamp,
    zone: &TimeZone,
    language: Language,
) -> Vec<(Timestamp, String)> {
    let (Some(first), Some(last)) = (zoned(from, zone), zoned(to, zone)) else {
        return Vec::new();
    };
    let minutes = i64::try_from(to.since(from).as_secs() / 60).unwrap_or(i64::MAX);
    const STEPS: [i64; 11] = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720];
    let step = STEPS.into_iter().find(|step| minutes / step <= MAX_MOMENTS);
    let found: Vec<(Zoned, String)> = match step {
        Some(step) => clock_times(&first, &last, step, language),
        None => days(&first, &last, minutes / 1_440, language),
    };
    found
        .into_iter()
        .map(|(at, name)| (Timestamp::from_micros(at.timestamp().as_microsecond()), name))
        .filter(|(at, _)| (from..=to).contains(at))
        .collect()
}

/// Every `step` minutes of the clock, counted from midnight: right on days with 23 or 25 hours too.
fn clock_times(first: &Zoned, last: &Zoned, step: i64, language: Language) -> Vec<(Zoned, String)> {
    let mut found = Vec::new();
    let mut day = Some(first.date());
    while let Some(date) = day.filter(|date| *date <= last.date()) {
        for minute in (0..1_440).step_by(usize::try_from(step).unwrap_or(1_440)) {
            let time = i8::try_from(minute / 60)
                .ok()
                .zip(i8::try_from(minute % 60).ok())
                .and_then(|(hour, minute)| Time::new(hour, minute, 0, 0).ok());
            // An hour that the clock skips in spring becomes the next one, which has its own turn.
            let at = time.and_then(|time| {
                let at = date.to_datetime(time).to_zoned(first.time_zone().clone()).ok()?;
                (at.time() == time && (first..=last).contains(&&at)).then_some(at)
            });
            let Some(at) = at else { continue };
            let name = if minute == 0 {
                day_name(date, language)
            } else {
                at.strftime("%H:%M").to_string()
            };
            found.push((at, name));
        }
        day = date.tomorrow().ok();
    }
    found
}

/// Every so many days, or the first of every so many months.
fn days(first: &Zoned, last: &Zoned, length: i64, language: Language) -> Vec<(Zoned, String)> {
    let step = [1, 2, 4, 7, 14]
        .into_iter()
        .find(|step| length / step <= MAX_MOMENTS);
    let months = [1, 2, 3, 6, 12, 24, 60, 120]
        .into_iter()
        .find(|months| length / (30 * months) <= MAX_MOMENTS)
        .unwrap_or(240);
    let mut found = Vec::new();
    let mut day = Some(first.date());
    let mut counted = 0;
    // A chart of a few centuries at most.
    while let Some(date) = day.filter(|date| *date <= last.date() && counted < 120_000) {
        let is_named = match step {
            Some(step) => counted % step == 0,
            None => {
                let month = i64::from(date.year()) * 12 + i64::from(date.month()) - 1;
                date.day() == 1 && month % months == 0
            }
        };
        if is_named && let Ok(at) = date.to_zoned(first.time_zone().clone()) {
            let name = match step {
                Some(_) => day_name(date, language),
                None if date.month() == 1 => date.year().to_string(),
                None => month(date.month(), language).to_owned(),
            };
            found.push((at, name));
        }
        counted += 1;
        day = date.tomorrow().ok();
    }
    found
}

fn day_name(date: Date, language: Language) -> String {
    format!("{} {}", date.day(), month(date.month(), language))
}

fn zoned(at: Timestamp, zone: &TimeZone) -> Option<Zoned> {
    let at = jiff::Timestamp::from_microsecond(at.as_micros()).ok()?;
    Some(at.to_zoned(zone.rules().clone()))
}

/// Where a gap begins: more than this without a price, and the line is broken.
pub(super) fn gap(from: Timestamp, to: Timestamp) -> Duration {
    to.since(from) / 12
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(from: &str, length: Duration, zone: &str, language: Language) -> Vec<String> {
        let from: Timestamp = from.parse().unwrap();
        moments(from, from.plus(length), &zone.parse().unwrap(), language)
            .into_iter()
            .map(|(_, name)| name)
            .collect()
    }

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn moments_are_round_by_the_readers_clock() {
        for (from, length, zone, expected) in [
            (
                "2026-11-20T14:32:00Z",
                HOUR,
                "UTC",
                &["14:40", "14:50", "15:00", "15:10", "15:20", "15:30"][..],
            ),
            (
                "2026-11-20T14:32:00Z",
                24 * HOUR,
                "Europe/Rome",
                &["18:00", "21 Nov", "06:00", "12:00"],
            ),
            (
                "2026-11-20T14:32:00Z",
                6 * HOUR,
                "Asia/Kolkata",
                &["21:00", "22:00", "23:00", "21 Nov", "01:00", "02:00"],
            ),
            // The night in which two o'clock does not come, and the one in which it comes twice.
            (
                "2026-03-28T23:00:00Z",
                5 * HOUR,
                "Europe/Rome",
                &["29 Mar", "01:00", "03:00", "04:00", "05:00", "06:00"],
            ),
            (
                "2026-10-24T22:00:00Z",
                6 * HOUR,
                "Europe/Rome",
                &["25 Oct", "01:00", "02:00", "03:00", "04:00", "05:00"],
            ),
            (
                "2026-11-20T14:32:00Z",
                7 * 24 * HOUR,
                "UTC",
                &["22 Nov", "24 Nov", "26 Nov"],
            ),
            (
                "2026-11-20T14:32:00Z",
                150 * 24 * HOUR,
                "UTC",
                &["Dec", "2027", "Feb", "Mar", "Apr"],
            ),
        ] {
            assert_eq!(
                names(from, length, zone, Language::En),
                expected,
                "{from} {length:?} {zone}"
            );
        }
        assert_eq!(
            names("2026-05-01T12:30:00Z", 24 * HOUR, "UTC", Language::It),
            ["18:00", "2 mag", "06:00", "12:00"]
        );
    }

    #[test]
    fn a_price_axis_names_few_round_prices_and_holds_all() {
        for (low, high, expected) in [
            (190.0, 210.0, &["190", "195", "200", "205", "210"][..]),
            (200.0, 200.0, &["199.6", "199.8", "200.0", "200.2", "200.4"]),
            (
                0.000_012,
                0.000_018,
                &["0.000012", "0.000014", "0.000016", "0.000018"],
            ),
            (1.052, 1.056, &["1.052", "1.053", "1.054", "1.055", "1.056"]),
        ] {
            let prices = Prices::around(low, high);
            assert!(prices.low < low && prices.high > high, "{prices:?}");
            let names: Vec<_> = prices
                .ticks()
                .into_iter()
                .map(|price| prices.name(price, Language::En))
                .collect();
            assert_eq!(names, expected);
        }
        let prices = Prices::around(1.052, 1.056);
        assert_eq!(prices.name(1.052, Language::It), "1,052");
    }
}
