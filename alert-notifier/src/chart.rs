//! Charts as PNG pictures, readable on a phone: the price over time, a rule's thresholds, and where it was breached.
//!
//! | module | what it is |
//! |---|---|
//! | `scale` | which prices and moments the axes name |
//! | `canvas` | lines, texts and marks on pixels |
//! | `parts` | what the picture consists of |
//!
//! Pure, and work for the processor: tens of milliseconds, to be run off the async threads.

mod canvas;
mod parts;
mod scale;

use cqrs::domain::{Language, Price, Side, Ticker, TimeZone, Timestamp};

use canvas::Canvas;
use parts::Frame;

/// Most thresholds that are shown; of more, those nearest to the last price.
const MAX_THRESHOLDS: usize = 8;

/// What a chart shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChartSpec {
    /// Whose price.
    pub ticker: Ticker,
    /// The time that is shown, in words: `1 day`.
    pub period: String,
    /// The price's currency; may be empty.
    pub currency: String,
    /// Prices by time. Must not be empty; those out of order are sorted.
    pub points: Vec<(Timestamp, Price)>,
    /// Each with the side that lies beyond it.
    pub thresholds: Vec<(Side, Price)>,
    /// Where the price left the range, and to which side. Those outside the time of the points are left out.
    pub breaches: Vec<(Timestamp, Price, Side)>,
    /// Of the reader's clock.
    pub time_zone: TimeZone,
    /// For numbers and months.
    pub language: Language,
}

/// Why there is no chart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChartError {
    /// Nothing to draw.
    #[error("there are no prices of {ticker} to draw")]
    NoPoints {
        /// Whose.
        ticker: Ticker,
    },
    /// The built-in font can't be read.
    #[error("the chart's font can't be read")]
    Font,
    /// The picture can't be made or written.
    #[error("the chart's picture can't be written: {0}")]
    Picture(String),
}

/// Draws it.
///
/// # Errors
/// If there are no points.
pub fn render(spec: &ChartSpec) -> Result<Vec<u8>, ChartError> {
    let mut points = spec.points.clone();
    points.sort_by_key(|(at, _)| *at);
    let (Some(first), Some(last)) = (points.first().copied(), points.last().copied()) else {
        return Err(ChartError::NoPoints {
            ticker: spec.ticker.clone(),
        });
    };
    let mut thresholds = spec.thresholds.clone();
    thresholds.sort_by_key(|(_, price)| price.units().abs_diff(last.1.units()));
    thresholds.truncate(MAX_THRESHOLDS);

    let mut canvas = Canvas::new()?;
    let frame = Frame::new(&points, &thresholds, spec);
    frame.heading(&mut canvas, first.1, last.1);
    frame.grid(&mut canvas);
    frame.price_line(&mut canvas, &points);
    frame.thresholds(&mut canvas, &thresholds);
    frame.breaches(&mut canvas, &spec.breaches);
    frame.last_price(&mut canvas, last);
    canvas.png()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn price(value: f64) -> Price {
        Price::from_f64(value, 2).unwrap()
    }

    fn spec(points: Vec<(Timestamp, Price)>) -> ChartSpec {
        ChartSpec {
            ticker: "AAPL".parse().unwrap(),
            period: "1 day".to_owned(),
            currency: "USD".to_owned(),
            points,
            thresholds: Vec::new(),
            breaches: Vec::new(),
            time_zone: "Europe/Rome".parse().unwrap(),
            language: Language::En,
        }
    }

    /// A day of minutes, up and down between 190 and 210.
    fn day() -> ChartSpec {
        let start: Timestamp = "2026-11-20T14:30:00Z".parse().unwrap();
        let points: Vec<_> = (0..390_u32)
            .map(|minute| {
                let wave = f64::from(minute) / 60.0;
                let value = 200.0 + 6.0 * wave.sin() + 1.2 * (wave * 7.3).sin() + 0.5 * (wave * 31.0).cos();
                (
                    start.plus(Duration::from_secs(60 * u64::from(minute))),
                    price(value),
                )
            })
            .collect();
        let breaches = [(75, Side::Above), (265, Side::Below)]
            .map(|(at, side)| (points[at].0, points[at].1, side))
            .to_vec();
        ChartSpec {
            thresholds: vec![
                (Side::Below, price(195.0)),
                (Side::Above, price(205.0)),
                (Side::Above, price(260.0)),
            ],
            breaches,
            ..spec(points)
        }
    }

    fn dimensions(png: &[u8]) -> (u32, u32) {
        let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
        (number(16), number(20))
    }

    /// For looking at: the pictures are kept where `CHART_FOLDER` says.
    fn keep(name: &str, png: &[u8]) {
        if let Ok(folder) = std::env::var("CHART_FOLDER") {
            std::fs::write(std::path::Path::new(&folder).join(name), png).unwrap();
        }
    }

    #[test]
    fn a_chart_is_a_picture_of_the_size_of_a_phone() {
        for language in Language::ALL {
            let png = render(&ChartSpec { language, ..day() }).unwrap();
            keep(&format!("day-{language:?}.png"), &png);
            assert!(png.starts_with(b"\x89PNG"));
            assert_eq!(dimensions(&png), (1_080, 810));
            assert!(png.len() < 500_000, "{}", png.len());
        }
    }

    #[test]
    fn all_that_is_asked_for_is_drawn() {
        let whole = day();
        let drawn = render(&whole).unwrap();
        let without_thresholds = ChartSpec {
            thresholds: Vec::new(),
            ..whole.clone()
        };
        let without_breaches = ChartSpec {
            breaches: Vec::new(),
            ..whole.clone()
        };
        let in_new_york = ChartSpec {
            time_zone: "America/New_York".parse().unwrap(),
            ..whole.clone()
        };
        let in_euro = ChartSpec {
            currency: "EUR".to_owned(),
            ..whole.clone()
        };
        for other in [without_thresholds, without_breaches, in_new_york, in_euro] {
            assert!(render(&other).unwrap() != drawn, "{other:?}");
        }
        let mut shuffled = whole;
        shuffled.points.reverse();
        assert!(render(&shuffled).unwrap() == drawn);
    }

    #[test]
    fn without_prices_there_is_no_chart() {
        let error = render(&spec(Vec::new())).unwrap_err();
        assert_eq!(error.to_string(), "there are no prices of AAPL to draw");
    }

    #[test]
    fn extreme_prices_and_times_are_drawn_too() {
        let at: Timestamp = "2026-03-29T00:59:59Z".parse().unwrap();
        let smallest = Price::from_units(1).unwrap();
        let largest = Price::from_units(i64::MAX).unwrap();
        let later = |days: u64| at.plus(Duration::from_secs(86_400 * days));
        let weeks = (0..1_400_u32)
            .filter(|hour| hour % 24 > 8 && hour % 168 < 120)
            .map(|hour| {
                let value = 150.0 + f64::from(hour) / 20.0 + 9.0 * (f64::from(hour) / 90.0).sin();
                (
                    at.plus(Duration::from_secs(3_600 * u64::from(hour))),
                    price(value),
                )
            });
        for (name, points, thresholds) in [
            (
                "one.png",
                vec![(at, price(200.0))],
                vec![(Side::Above, price(200.5))],
            ),
            (
                "flat.png",
                vec![(at, price(200.0)), (later(1), price(200.0))],
                Vec::new(),
            ),
            (
                "smallest.png",
                vec![(at, smallest), (later(400), Price::from_units(9).unwrap())],
                Vec::new(),
            ),
            (
                "largest.png",
                vec![(at, smallest), (later(3_650), largest)],
                vec![(Side::Above, largest)],
            ),
            (
                "same-time.png",
                vec![(at, price(1.0)), (at, price(2.0))],
                Vec::new(),
            ),
            (
                "weeks.png",
                weeks.collect(),
                vec![
                    (Side::Above, price(210.0)),
                    (Side::Above, price(210.5)),
                    (Side::Below, price(160.0)),
                ],
            ),
            (
                "many.png",
                vec![(at, price(1_234.5)), (later(7), price(1_240.25))],
                (0..40_u32)
                    .map(|n| (Side::Above, price(1_235.0 + f64::from(n) / 10.0)))
                    .collect(),
            ),
        ] {
            let period = "a period with a long name, longer than there is room for on a phone".to_owned();
            let period = if name == "many.png" {
                period
            } else {
                "1 day".to_owned()
            };
            let png = render(&ChartSpec {
                thresholds,
                period,
                ..spec(points)
            })
            .unwrap();
            keep(name, &png);
            assert_eq!(dimensions(&png), (1_080, 810), "{name}");
        }
    }
}
