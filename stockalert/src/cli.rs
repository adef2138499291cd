mod admin;
mod cleared;
mod help;
mod reading;
mod rule;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use cqrs::domain::ReminderInterval;
use proto::v1;

use crate::dead_letters::DeadLettersCommand;
use crate::feed::FeedCommand;
use crate::up::UpArgs;

pub(crate) use admin::{AdminArgs, AdminCommand};
pub(crate) use cleared::OrCleared;
use cleared::or_cleared;
use help::{EXIT_CODES, HELP};
pub(crate) use reading::{CandlesArgs, DeliveriesArgs, DeliveryStatus, QuotesArgs};
pub(crate) use rule::{RuleCommand, RuleEditArgs, RuleListArgs, RuleState};
pub(crate) use values::SnoozeEnd;
use values::{first_rule, server_url, ticker};

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

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of all commands")]
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
    /// Certificates of those who vouch for an https:// server, PEM [default: the profile's, else the system's]
    #[arg(long, global = true, env = "STOCKALERT_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Certificate of yours, for a server that asks for one, PEM [default: the profile's]
    #[arg(long, global = true, env = "STOCKALERT_CERT", value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// The private key of that certificate, PEM, without a passphrase
    #[arg(long, global = true, env = "STOCKALERT_KEY", value_name = "FILE")]
    pub key: Option<PathBuf>,
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
    /// List users, see what waits, publish all rules again, revoke a token
    Admin(AdminArgs),
    /// Print what makes your shell complete commands
    #[command(after_help = "\
Examples:
  stockalert completions bash > ~/.local/share/bash-completion/completions/stockalert
  stockalert completions zsh > ~/.zfunc/_stockalert
  stockalert completions fish > ~/.config/fish/completions/stockalert.fish")]
    Completions {
        /// Which shell
        shell: Shell,
    },
    #[command(flatten)]
    Client(ClientCommand),
}

/// The commands that call a server.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Register with an e-mail address
    Register(RegisterArgs),
    /// Add, import, preview, list, edit, snooze and remove rules
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
    /// List the messages that were planned and sent, newest first, and why others were not
    Deliveries(DeliveriesArgs),
    /// List recorded prices of a ticker, newest first
    Quotes(QuotesArgs),
    /// List open, high, low and close of a ticker by parts of time, oldest first
    Candles(CandlesArgs),
    /// List tickers with their latest prices
    Tickers {
        /// Only tickers that you have rules of
        #[arg(long)]
        own: bool,
    },
    /// Send a made-up alert to your Telegram chat, by the way of all alerts
    TestAlert,
    /// Watch prices, how far they are from your thresholds, open breaches and new alerts, until Ctrl-C
    #[command(long_about = "\
Watch prices, how far they are from your thresholds, open breaches and new alerts, until Ctrl-C.

On a terminal the picture is drawn anew with each change. Elsewhere, and with --lines, each alert and each price is a line; \
with --json, an object. A connection that breaks is opened again, and no alert is left out.")]
    Watch {
        /// One line for each alert and price, also on a terminal
        #[arg(long)]
        lines: bool,
    },
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
        /// Only if this is still their etag, from `settings --json`
        #[arg(long)]
        etag: Option<String>,
        /// Only say what the settings would be
        #[arg(long)]
        dry_run: bool,
    },
    /// Replace or revoke the API token
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
    /// Revoke the API token without a new one; no call can be made for you any more. Alerts and the bot go on
    Revoke {
        /// Say that you mean it
        #[arg(long, required = true)]
        yes: bool,
    },
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
            let line = format!("\n  {:<13} ", command.get_name());
            assert!(HELP.contains(&line), "{} is missing in HELP", command.get_name());
        }
    }

    #[test]
    fn every_shell_gets_completions_with_every_command() {
        for shell in [
            Shell::Bash,
            Shell::Elvish,
            Shell::Fish,
            Shell::PowerShell,
            Shell::Zsh,
        ] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "stockalert", &mut script);
            let script = String::from_utf8(script).unwrap();
            for command in Cli::command().get_subcommands() {
                assert!(
                    script.contains(command.get_name()),
                    "{shell} {}",
                    command.get_name()
                );
            }
        }
    }
}
