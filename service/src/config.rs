//! Settings: command-line flags with environment variables behind them, checked before anything connects.

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches};
use cqrs::StoreSettings;

use crate::kafka::{KafkaSettings, parse_properties};

/// `EX_USAGE`: the settings are wrong.
pub const EXIT_USAGE: u8 = 64;

/// A setting that only shows to be wrong when it is used, such as a file. A service that ends with it, before it connects
/// anywhere, ends with [`EXIT_USAGE`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadSetting(pub String);

/// Reads the settings from the command line and the environment. On misuse prints what is wrong, naming the
/// environment variable too, and gives exit code 64; after `--help` and `--version`, 0.
///
/// # Errors
/// The exit code with which to end.
pub fn parse<P: CommandFactory + FromArgMatches>(name: &'static str) -> Result<P, ExitCode> {
    let mut command = P::command().name(name);
    let matches = command.try_get_matches_from_mut(std::env::args_os());
    matches
        .and_then(|mut matches| P::from_arg_matches_mut(&mut matches))
        .map_err(|error| {
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
                let _ = error.print();
                return ExitCode::SUCCESS;
            }
            print(&command, &error);
            ExitCode::from(EXIT_USAGE)
        })
}

/// clap names the flag, and people who configure a container know the variable. It also repeats the value, which must not
/// happen to a secret.
fn print(command: &clap::Command, error: &clap::Error) {
    use std::error::Error as _;
    use std::io::Write as _;
    let mut stderr = std::io::stderr();
    let invalid = command.get_arguments().find(|argument| is_about(error, argument));
    let secret = invalid.filter(|argument| argument.is_hide_env_values_set());
    if let (Some(argument), Some(reason)) = (secret, error.source()) {
        let flag = argument.get_long().unwrap_or_default();
        let _ = writeln!(stderr, "error: the value of --{flag} can't be used: {reason}");
    } else {
        let _ = error.print();
    }
    if let Some((long, variable)) = invalid.and_then(|argument| argument.get_long().zip(argument.get_env())) {
        let variable = variable.to_string_lossy();
        let _ = writeln!(
            stderr,
            "\n--{long} can also be set as the environment variable {variable}"
        );
    }
}

fn is_about(error: &clap::Error, argument: &clap::Arg) -> bool {
    let Some(flag) = argument.get_long().map(|long| format!("--{long}")) else {
        return false;
    };
    let names = |text: &String| text.split_whitespace().next() == Some(&flag);
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(text)) => names(text),
        Some(ContextValue::Strings(texts)) => texts.iter().any(names),
        _ => false,
    }
}

/// A duration such as `500ms`, `15s` or `5m`, for clap.
///
/// # Errors
/// If the text is none.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; give a duration such as 500ms, 15s or 5m"))
}

/// Settings of the database.
#[derive(Clone, clap::Args)]
#[command(next_help_heading = "Database")]
pub struct DatabaseArgs {
    /// mysql://USER:PASSWORD@HOST:PORT/DATABASE or sqlite://PATH.
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true, value_parser = database_url)]
    pub database_url: String,
    /// Another server for reads, such as a replica. Reads go to DATABASE_URL when not set.
    #[arg(long, env = "DATABASE_READ_URL", value_name = "URL", hide_env_values = true, value_parser = database_url)]
    pub database_read_url: Option<String>,
}

impl fmt::Debug for DatabaseArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseArgs(hidden)")
    }
}

fn database_url(text: &str) -> Result<String, String> {
    // The text holds a password: the error must not repeat it.
    if text.starts_with("mysql://") || text.starts_with("sqlite:") || text.starts_with("mariadb://") {
        Ok(text.to_owned())
    } else {
        Err("the scheme is not known; give mysql://USER:PASSWORD@HOST:PORT/DATABASE or sqlite://PATH".into())
    }
}

impl DatabaseArgs {
    /// For one database that serves reads and writes.
    #[must_use]
    pub fn single(url: String) -> Self {
        Self {
            database_url: url,
            database_read_url: None,
        }
    }

    /// For `cqrs::Store::open`.
    #[must_use]
    pub fn store_settings(&self) -> StoreSettings {
        StoreSettings {
            url: self.database_url.clone(),
            read_url: self.database_read_url.clone(),
            max_connections: 16,
            connect_timeout: Duration::from_secs(60),
        }
    }
}

/// Settings of Kafka.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Kafka")]
pub struct KafkaArgs {
    /// HOST:PORT of one or more brokers, separated by commas.
    #[arg(
        long = "kafka-bootstrap-servers",
        env = "KAFKA_BOOTSTRAP_SERVERS",
        value_name = "HOST:PORT,...",
        value_parser = bootstrap_servers
    )]
    pub bootstrap_servers: String,
    /// Partitions of the topics, where they have to be created: 1 to 1024.
    #[arg(
        long = "kafka-partitions",
        env = "KAFKA_PARTITIONS",
        default_value_t = 12,
        value_parser = clap::value_parser!(i32).range(1..=1024)
    )]
    pub partitions: i32,
    /// More librdkafka settings, NAME=VALUE separated by commas, such as
    /// security.protocol=SASL_SSL,sasl.mechanisms=PLAIN,sasl.username=...,sasl.password=...
    #[arg(long = "kafka-properties", env = "KAFKA_PROPERTIES", default_value = "", hide_env_values = true,
          value_parser = properties)]
    pub properties: String,
}

fn bootstrap_servers(text: &str) -> Result<String, String> {
    let server_ok = |server: &str| {
        server
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0))
    };
    if text.split(',').all(|server| server_ok(server.trim())) {
        Ok(text.to_owned())
    } else {
        Err("give HOST:PORT, several separated by commas, such as localhost:9092".into())
    }
}

fn properties(text: &str) -> Result<String, String> {
    parse_properties(text).map(|_| text.to_owned())
}

impl KafkaArgs {
    /// For `kafka::Kafka::connect`.
    #[must_use]
    pub fn settings(&self) -> KafkaSettings {
        KafkaSettings {
            bootstrap_servers: self.bootstrap_servers.clone(),
            partitions: self.partitions,
            // Checked when the argument was read.
            properties: parse_properties(&self.properties).unwrap_or_default(),
        }
    }

    /// For brokers that need no more settings.
    #[must_use]
    pub fn plain(bootstrap_servers: String, partitions: i32) -> Self {
        Self {
            bootstrap_servers,
            partitions,
            properties: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct All {
        #[command(flatten)]
        database: DatabaseArgs,
        #[command(flatten)]
        kafka: KafkaArgs,
    }

    fn parse_all(arguments: &[&str]) -> Result<All, String> {
        All::try_parse_from([&["x"], arguments].concat()).map_err(|error| error.to_string())
    }

    #[test]
    fn good_settings_are_taken() {
        let all = parse_all(&[
            "--database-url",
            "sqlite://x.db",
            "--kafka-bootstrap-servers",
            "a:9092,b:9092",
        ])
        .unwrap();
        assert_eq!(all.kafka.settings().partitions, 12);
        assert!(!format!("{all:?}").contains("x.db"));
    }

    #[test]
    fn bad_settings_are_refused_with_the_values_allowed() {
        let good = [
            "--database-url",
            "sqlite://x.db",
            "--kafka-bootstrap-servers",
            "a:9092",
        ];
        for (extra, expected) in [
            (["--kafka-partitions", "0"], "1..=1024"),
            (["--kafka-properties", "nonsense"], "NAME=VALUE"),
            (["--database-read-url", "postgres://x"], "mysql://"),
        ] {
            let error = parse_all(&[&good[..], &extra[..]].concat()).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        assert!(parse_all(&["--database-url", "sqlite://x", "--kafka-bootstrap-servers", "a"]).is_err());
    }
}
