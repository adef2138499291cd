use std::time::Duration;

use clap::{Args, ValueEnum};
use cqrs::domain::Timestamp;

use super::values::{past, ticker};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stockalert quotes AAPL --limit 5
  stockalert quotes AAPL --since 2h --json")]
pub(crate) struct QuotesArgs {
    /// Ticker, such as AAPL, BRK-B, EURUSD=X or ^GSPC
    #[arg(value_parser = ticker)]
    pub ticker: String,
    /// Only prices from this time on: a time (RFC 3339) or how long ago
    #[arg(long, value_name = "WHEN", value_parser = past)]
    pub since: Option<Timestamp>,
    /// Only prices before this time
    #[arg(long, value_name = "WHEN", value_parser = past)]
    pub until: Option<Timestamp>,
    /// At most so many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  stockalert candles AAPL --interval 15m --since 8h")]
pub(crate) struct CandlesArgs {
    /// Ticker, such as AAPL, BRK-B, EURUSD=X or ^GSPC
    #[arg(value_parser = ticker)]
    pub ticker: String,
    /// How long each part is, 1s to 1d
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    pub interval: Duration,
    /// From which time on: a time (RFC 3339) or how long ago [default: 24 parts ago]
    #[arg(long, value_name = "WHEN", value_parser = past)]
    pub since: Option<Timestamp>,
    /// Until which time [default: now]
    #[arg(long, value_name = "WHEN", value_parser = past)]
    pub until: Option<Timestamp>,
}

#[derive(Debug, Args)]
pub(crate) struct DeliveriesArgs {
    /// Only messages of this rule
    #[arg(long, value_name = "RULE_ID")]
    pub rule: Option<String>,
    /// Only messages in this state. Can be given many times
    #[arg(long = "status", value_name = "STATUS")]
    pub statuses: Vec<DeliveryStatus>,
    /// At most so many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeliveryStatus {
    Planned,
    Sending,
    Sent,
    Undeliverable,
    Superseded,
}
