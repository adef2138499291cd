use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use cqrs::domain::Timestamp;

use super::OrCleared;
use super::cleared::or_cleared;
use super::values::{SnoozeEnd, moment, moment_or_none, snooze_end, ticker};

#[derive(Debug, Subcommand)]
pub(crate) enum RuleCommand {
    /// Add a rule: an alert when the price reaches a threshold
    #[command(after_help = "\
Examples:
  stockalert rule add AAPL --low 170 --high 200.50
  stockalert rule add BTC-USD --high 150000 --expires 7d --note \"take profit\"")]
    Add {
        /// Ticker, such as AAPL, BRK-B, EURUSD=X or ^GSPC
        #[arg(value_parser = ticker)]
        ticker: String,
        /// Alert when the price is at or below this
        #[arg(long, value_name = "PRICE", allow_negative_numbers = true)]
        low: Option<String>,
        /// Alert when the price is at or above this
        #[arg(long, value_name = "PRICE", allow_negative_numbers = true)]
        high: Option<String>,
        /// Shown with each alert
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        note: String,
        /// Start paused
        #[arg(long)]
        paused: bool,
        /// When the rule stops by itself: a time (RFC 3339) or a duration from now, such as 12h or 7d
        #[arg(long, value_name = "WHEN", value_parser = moment)]
        expires: Option<Timestamp>,
        /// Only say what the rule would be
        #[arg(long)]
        dry_run: bool,
    },
    /// Add many rules from a file: lines TICKER,LOW,HIGH,NOTE, of which all but the ticker may be empty
    #[command(after_help = "\
Each line is added or refused on its own; the exit code is 65 where one was refused.

Example:
  printf 'AAPL,170,200.50,sell half\\nMSFT,,450\\n' | stockalert rule import -")]
    Import {
        /// The file, or - for standard input; at most 1000 lines
        file: PathBuf,
        /// Only say what would become of each line
        #[arg(long)]
        dry_run: bool,
    },
    /// Show what a rule would have done with the recorded prices, and how far the price is from it
    Preview {
        /// Ticker, such as AAPL, BRK-B, EURUSD=X or ^GSPC
        #[arg(value_parser = ticker)]
        ticker: String,
        /// Low threshold
        #[arg(long, value_name = "PRICE", allow_negative_numbers = true)]
        low: Option<String>,
        /// High threshold
        #[arg(long, value_name = "PRICE", allow_negative_numbers = true)]
        high: Option<String>,
        /// How long until now to look at, 1m to 30d [default: 30d]
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        window: Option<Duration>,
    },
    /// Hold a rule's messages back; it is evaluated all the while
    #[command(after_help = "\
Examples:
  stockalert rule snooze 0198c1de-7d1c-7c3a-9d57-5d0a3c1f2b11 2h
  stockalert rule snooze 0198c1de-7d1c-7c3a-9d57-5d0a3c1f2b11 back
  stockalert rule snooze 0198c1de-7d1c-7c3a-9d57-5d0a3c1f2b11 off")]
    Snooze {
        /// Id of the rule, from `rule list`
        id: String,
        /// How long, until which time (RFC 3339), "back" for until the price is back in range, or "off"
        #[arg(value_name = "UNTIL", value_parser = snooze_end)]
        until: SnoozeEnd,
    },
    /// List your rules, oldest first
    List(RuleListArgs),
    /// Show one rule
    Show {
        /// Id of the rule, from `rule list`
        id: String,
    },
    /// Change a rule; it starts anew, as if its price had never been out of range. New thresholds, and `--paused false`,
    /// end that it is on hold
    #[command(after_help = "\
Examples:
  stockalert rule edit 0198c1de-7d1c-7c3a-9d57-5d0a3c1f2b11 --high 210 --low none
  stockalert rule edit 0198c1de-7d1c-7c3a-9d57-5d0a3c1f2b11 --paused true")]
    Edit(Box<RuleEditArgs>),
    /// Remove a rule
    Rm {
        /// Id of the rule, from `rule list`
        id: String,
        /// Only if this is still its etag, from `rule show --json`
        #[arg(long)]
        etag: Option<String>,
    },
}

/// Which rules; all that is given must hold.
#[derive(Debug, Args)]
pub(crate) struct RuleListArgs {
    /// Only rules of this ticker
    #[arg(long, value_parser = ticker)]
    pub ticker: Option<String>,
    /// Only rules in this state. Can be given many times
    #[arg(long = "state", value_name = "STATE")]
    pub states: Vec<RuleState>,
    /// Only rules whose price is out of range
    #[arg(long)]
    pub out_of_range: bool,
}

/// Whether a rule is evaluated, and why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RuleState {
    Active,
    Paused,
    OnHold,
    Expired,
}

#[derive(Debug, Args)]
pub(crate) struct RuleEditArgs {
    /// Id of the rule, from `rule list`
    pub id: String,
    /// New low threshold, or "none"
    #[arg(long, value_name = "PRICE", allow_negative_numbers = true, value_parser = or_cleared::<String>("none"))]
    pub low: Option<OrCleared<String>>,
    /// New high threshold, or "none"
    #[arg(long, value_name = "PRICE", allow_negative_numbers = true, value_parser = or_cleared::<String>("none"))]
    pub high: Option<OrCleared<String>>,
    /// New note; an empty one removes it
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// Pause or go on
    #[arg(long, value_name = "true|false")]
    pub paused: Option<bool>,
    /// New end: a time (RFC 3339), a duration from now, or "none"
    #[arg(long, value_name = "WHEN", value_parser = moment_or_none)]
    pub expires: Option<OrCleared<Timestamp>>,
    /// Only if this is still its etag, from `rule show --json`
    #[arg(long)]
    pub etag: Option<String>,
    /// Only say what the rule would be
    #[arg(long)]
    pub dry_run: bool,
}
