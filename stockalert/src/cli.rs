mod cleared;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use cqrs::domain::{ReminderInterval, Timestamp};
use proto::v1;

use crate::dead_letters::DeadLettersCommand;
use crate::feed::FeedCommand;
use crate::up::UpArgs;

pub(crate) use cleared::OrCleared;
use cleared::or_cleared;

/// Price alerts in Telegram: say which prices are normal for a stock, and hear of it when they are not.
#[derive(Debug, Parser)]
#[command(
    name = "stockalert",
    version,
    about,
    max_term_width = 110,
    disable_help_subcommand = true,
    help_template = HELP,
    after_help = EXIT_CODES,
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// clap knows no groups of commands; a test keeps this list complete.
const HELP: &str = "\
{about}

{usage-heading} {usage}

Start here:
  up            Run everything in this process: no server, no account; `up --demo` shows it
  register      Register with an e-mail address

Rules and prices:
  rule          Add, list, edit and remove rules
  price         Show the latest price of a ticker
  average       Show the mean price of a ticker
  alerts        List past alerts
  watch         Follow new alerts and prices until Ctrl-C
  status        Show how prices come in, and which were counted anew lately

Your account:
  settings      Show or change the time between reminders and the e-mail address
  link          Get a new link that connects a Telegram chat
  token         Replace the API token
  user          Delete your account

For operators (needs Kafka, not the server):
  dead-letters  List, show and replay records that the services could not handle
  feed          Publish quotes for a load test, made up or from a file

Options:
{options}

Examples:
  stockalert up --demo
  stockalert register ada@example.org --rule AAPL:170:200
  stockalert rule add MSFT --high 450 --note \"sell half\"
  stockalert rule list
  stockalert average AAPL --window 1h
  stockalert alerts --limit 5 --json
{after-help}";

const EXIT_CODES: &str = "\
Exit codes:
   0  done
  64  the command line makes no sense
  65  the server refused what was given
  66  there is no such thing, or it is not yours
  69  the server does not answer
  70  the server or this program failed
  74  a file or the output could not be read or written
  77  no token, or not a valid one";

#[derive(Debug, Args)]
pub(crate) struct GlobalArgs {
    /// URL of the server [default: that of the profile, else http://127.0.0.1:50051]
    #[arg(long, global = true, env = "STOCKALERT_SERVER", value_name = "URL", value_parser = server_url)]
    pub server: Option<String>,
    /// API token [default: that of the profile, for the profile's server]
    #[arg(
        long,
        global = true,
        env = "STOCKALERT_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub token: Option<String>,
    /// File that keeps server and token [default: stockalert/profile.json in your configuration folder]
    #[arg(long, global = true, env = "STOCKALERT_PROFILE", value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// Print JSON: one object or array; `watch` prints one object per line
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in this process
    Up(Box<UpArgs>),
    /// List, show and replay records that the services could not handle
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Publish quotes for a load test, made up or from a file
    #[command(subcommand)]
    Feed(FeedCommand),
    #[command(flatten)]
    Client(ClientCommand),
}

/// The commands that call a server.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Register with an e-mail address
    Register(RegisterArgs),
    /// Add, list, edit and remove rules
    #[command(subcommand)]
    Rule(RuleCommand),
    /// Show the latest price of a ticker
    Price {
        /// Ticker, such as AAPL, BRK-B, EURUSD=X or ^GSPC
        #[arg(value_parser = ticker)]
        ticker: String,
    },
    /// Show the mean price of a ticker
    Average(AverageArgs),
    /// List past alerts, newest first
    Alerts {
        /// Only alerts of this rule
        #[arg(long, value_name = "RULE_ID")]
        rule: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Follow new alerts as they are recorded and the prices of your rules' tickers, until Ctrl-C
    Watch,
    /// Show how prices come in: the data collectors, tickers without fresh prices, splits of the last 30 days
    Status,
    /// Get a new link that connects a Telegram chat; earlier links stop working
    Link,
    /// Show your settings, or change those that are given
    Settings {
        /// Time between reminders while a price stays out of range: 10s to 7d, or "off"
        #[arg(long, value_name = "INTERVAL", value_parser = or_cleared::<ReminderInterval>("off"))]
        reminders: Option<OrCleared<ReminderInterval>>,
        /// New e-mail address
        #[arg(long)]
        email: Option<String>,
    },
    /// Replace the API token
    #[command(subcommand)]
    Token(TokenCommand),
    /// Delete your account
    #[command(subcommand)]
    User(UserCommand),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stockalert register ada@example.org
  stockalert register ada@example.org --rule AAPL:170:200 --rule BRK-B::450 --rule MSFT:380")]
pub(crate) struct RegisterArgs {
    /// Your e-mail address
    pub email: String,
    /// A first rule; leave LOW or HIGH out to have no such threshold. Can be given many times
    #[arg(long = "rule", value_name = "TICKER:LOW:HIGH", value_parser = first_rule)]
    pub rules: Vec<v1::NewRule>,
    /// Don't keep the token in the profile
    #[arg(long)]
    pub no_save: bool,
    /// Replace the profile, although it keeps another registration's only token
    #[arg(long, conflicts_with = "no_save")]
    pub replace: bool,
}

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
    },
    /// List your rules, oldest first
    List,
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
    },
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
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stockalert average AAPL --last 100
  stockalert average AAPL --window 90m")]
pub(crate) struct AverageArgs {
    /// Ticker, such as AAPL, BRK-B, EURUSD=X or ^GSPC
    #[arg(value_parser = ticker)]
    pub ticker: String,
    #[command(flatten)]
    pub range: AverageRange,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct AverageRange {
    /// Over the newest so many quotes, 1 to 10000
    #[arg(long, value_name = "COUNT")]
    pub last: Option<i32>,
    /// Over the quotes of this long until now, 1s to 30d
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub window: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Get a new API token; the old one stops working at once
    Rotate,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Delete your account with all rules, alerts and the Telegram link
    Rm {
        /// Say that you mean it
        #[arg(long, required = true)]
        yes: bool,
    },
}

/// An empty variable is as good as none.
fn server_url(text: &str) -> Result<String, String> {
    if !text.is_empty() {
        crate::connection::endpoint(text)
            .map_err(|failure| format!("{}; {}", failure.message, failure.remedy.unwrap_or_default()))?;
    }
    Ok(text.to_owned())
}

/// Tickers are upper case; nobody types them so. The server checks the rest.
#[allow(clippy::unnecessary_wraps, reason = "clap's value parsers answer a Result")]
fn ticker(text: &str) -> Result<String, std::convert::Infallible> {
    Ok(text.to_ascii_uppercase())
}

fn first_rule(text: &str) -> Result<v1::NewRule, String> {
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

fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let from_now = humantime::parse_duration(text).map_err(
        |_| "give a time with a zone, such as 2026-01-31T14:30:00Z, or a duration, such as 12h or 7d",
    )?;
    Ok(Timestamp::now().plus(from_now))
}

fn moment_or_none(text: &str) -> Result<OrCleared<Timestamp>, String> {
    if text == "none" {
        Ok(OrCleared::Cleared)
    } else {
        moment(text).map(OrCleared::Value)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_lists_every_command() {
        for command in Cli::command().get_subcommands() {
            let line = format!("\n  {:<9} ", command.get_name());
            assert!(HELP.contains(&line), "{} is missing in HELP", command.get_name());
        }
    }

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
}
