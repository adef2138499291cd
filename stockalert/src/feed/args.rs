use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use service::config::KafkaArgs;

/// The commands that write quotes straight into Kafka.
#[derive(Debug, Subcommand)]
pub(crate) enum FeedCommand {
    /// Publish made-up prices at a steady rate
    Synthetic(SyntheticArgs),
    /// Publish the prices of a CSV file, as far apart as they happened
    Replay(ReplayArgs),
}

// As for `dead-letters`: nothing is created here, and that no broker is named is told better than clap does it.
#[derive(Debug, Args)]
#[command(mut_arg("partitions", |arg| arg.hide(true)), mut_arg("bootstrap_servers", |arg| arg.required(false)))]
#[command(after_help = "\
Prices are made up, and whoever has a rule for one of these tickers is alerted.

Examples:
  stockalert feed synthetic --tickers 10000 --rate 100000/s
  stockalert feed synthetic --rate max --json")]
pub(crate) struct SyntheticArgs {
    /// How many tickers, T0, T1 and so on, are quoted in turn: 1 to 100000
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 10_000,
        allow_negative_numbers = true
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub tickers: u32,
    /// Quotes per second of all tickers together, such as 100000/s; "max" or 0 for as many as the broker takes
    #[arg(long, value_parser = rate, allow_hyphen_values = true)]
    pub rate: Rate,
    #[command(flatten)]
    pub kafka: Option<KafkaArgs>,
}

#[derive(Debug, Args)]
#[command(mut_arg("partitions", |arg| arg.hide(true)), mut_arg("bootstrap_servers", |arg| arg.required(false)))]
#[command(after_help = "\
The file's first line is timestamp,ticker,price,volume. Rows keep their time; rows that are no quotes are skipped.

Examples:
  stockalert feed replay day.csv --speed 60
  stockalert feed replay day.csv --speed 0")]
pub(crate) struct ReplayArgs {
    /// CSV file of timestamp,ticker,price,volume
    pub file: PathBuf,
    /// How many times faster than it happened; 0 is as fast as the broker takes it
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = speed, allow_negative_numbers = true)]
    pub speed: f64,
    #[command(flatten)]
    pub kafka: Option<KafkaArgs>,
}

/// Quotes per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rate {
    Of(NonZeroU32),
    Max,
}

/// More than any broker takes from one client; keeps the arithmetic of the schedule far from its ends.
const MAX_RATE: u32 = 10_000_000;

fn rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate::Max);
    }
    match text.strip_suffix("/s").unwrap_or(text).parse() {
        Ok(number) if number <= MAX_RATE => Ok(NonZeroU32::new(number).map_or(Rate::Max, Rate::Of)),
        _ => Err(format!(
            "give quotes per second, 1 to {MAX_RATE}, such as 100000/s; max or 0 for as many as the broker takes"
        )),
    }
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if speed.is_finite() && speed >= 0.0 => Ok(speed),
        _ => Err("give 0 (as fast as the broker takes it) or a factor above 0, such as 10".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_per_second_or_as_fast_as_possible() {
        let of = |number| Ok(Rate::Of(NonZeroU32::new(number).unwrap()));
        assert_eq!(rate("100000/s"), of(100_000));
        assert_eq!(rate("1"), of(1));
        assert_eq!(rate("10000000/s"), of(10_000_000));
        for text in ["max", "0", "0/s"] {
            assert_eq!(rate(text), Ok(Rate::Max));
        }
        for text in ["", "/s", "10000001", "-1", "1.5", "100000/m", "fast", "max/s"] {
            assert!(rate(text).unwrap_err().contains("100000/s"), "{text}");
        }
    }

    #[test]
    fn a_speed_is_a_factor() {
        assert_eq!(speed("0"), Ok(0.0));
        assert_eq!(speed("2.5"), Ok(2.5));
        for text in ["-1", "inf", "NaN", "x"] {
            assert!(speed(text).is_err(), "{text}");
        }
    }
}
