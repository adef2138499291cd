use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::ArgPredicate;
use service::LogArgs;
use service::admin::AdminArgs;
use service::config::{DatabaseArgs, KafkaArgs};
use service::kafka::EmbeddedBroker;

use super::demo;
use crate::failure::{Exit, Failure};

/// As many as a new Kafka gets: the limit of the embedded log is per partition.
pub(super) const EMBEDDED_PARTITIONS: i32 = 12;

/// Settings of `up`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stockalert up --demo
  stockalert up --quote-provider yahoo
  stockalert up --quote-provider synthetic --quote-poll-interval 1s --grpc-listen 127.0.0.1:50052")]
#[command(mut_arg("quote_provider", |arg| arg
    .required(false)
    .required_unless_present("demo")
    .default_value_if("demo", ArgPredicate::Equals("true".into()), "synthetic")))]
// What is not named is embedded.
#[command(mut_arg("database_url", |arg| arg.required(false)))]
#[command(mut_arg("bootstrap_servers", |arg| arg.required(false)))]
#[command(mut_arg("log", |arg| arg.default_value_if("demo", ArgPredicate::Equals("true".into()), "warn,service::admin=error")))]
pub(crate) struct UpArgs {
    /// Show how it works: made-up prices, a demo user with rules, messages in this terminal. Uses a temporary folder
    /// and nothing else: settings of databases, brokers and Telegram are not looked at
    #[arg(long)]
    pub demo: bool,
    /// Folder of the SQLite file [default: stockalert in your data folder]
    #[arg(long, env = "STOCKALERT_DATA_DIR", value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Where the API is served
    #[arg(
        long,
        env = "GRPC_LISTEN",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:50051"
    )]
    pub grpc_listen: SocketAddr,
    /// Most rules of one user
    #[arg(long, env = "MAX_RULES_PER_USER", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_rules_per_user: u32,
    /// How far back inside its range, in thousandths of the threshold, a price must be before its episode ends
    #[arg(long, env = "REARM_MARGIN_PERMILLE", default_value_t = 2, value_parser = clap::value_parser!(u16).range(0..=100))]
    pub rearm_margin_permille: u16,
    #[command(flatten)]
    pub security: grpc_server::SecurityArgs,
    #[command(flatten)]
    pub source: data_collector::SourceArgs,
    #[command(flatten)]
    pub telegram: alert_notifier::TelegramArgs,
    /// An SQLite file in the data folder when not set.
    #[command(flatten)]
    pub database: Option<DatabaseArgs>,
    /// A log inside this process when not set.
    #[command(flatten)]
    pub kafka: Option<KafkaArgs>,
    #[command(flatten)]
    pub admin: AdminArgs,
    #[command(flatten)]
    pub log: LogArgs,
}

impl UpArgs {
    pub(super) fn uses_embedded_log(&self) -> bool {
        self.demo || self.kafka.is_none()
    }
}

/// What the services run on.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub demo: bool,
    pub database: DatabaseArgs,
    pub kafka: KafkaArgs,
    pub log_is_embedded: bool,
    pub source: data_collector::SourceArgs,
    pub telegram: alert_notifier::TelegramArgs,
    pub admin: AdminArgs,
    pub max_rules_per_user: u32,
    pub security: grpc_server::SecurityArgs,
    /// None: no limit.
    pub rules_in_all: Option<u32>,
    pub rearm_margin_permille: u16,
}

impl Settings {
    /// `database_url` is for where no other was named.
    pub(super) fn new(
        args: UpArgs,
        database_url: String,
        broker: Option<&EmbeddedBroker>,
    ) -> Result<Self, Failure> {
        let internal = |reason: String| Failure::new(Exit::Internal, reason);
        let own_database = || DatabaseArgs::single(database_url.clone());
        let kafka = match (broker, args.kafka) {
            (Some(broker), _) => embedded(broker),
            (None, Some(kafka)) => kafka,
            (None, None) => return Err(internal("there is no log".to_owned())),
        };
        let (database, source, telegram) = if args.demo {
            (
                own_database(),
                data_collector::SourceArgs::synthetic(demo::SEED, demo::POLL_INTERVAL).map_err(internal)?,
                alert_notifier::TelegramArgs::terminal().map_err(internal)?,
            )
        } else {
            (
                args.database.unwrap_or_else(own_database),
                args.source,
                args.telegram,
            )
        };
        Ok(Self {
            demo: args.demo,
            database,
            kafka,
            log_is_embedded: broker.is_some(),
            source,
            telegram,
            admin: args.admin,
            max_rules_per_user: args.max_rules_per_user,
            // The demo calls its own server as anybody can.
            security: if args.demo {
                grpc_server::SecurityArgs::default()
            } else {
                args.security
            },
            rules_in_all: broker.map(|_| EmbeddedBroker::MAX_RULES),
            rearm_margin_permille: args.rearm_margin_permille,
        })
    }

    /// Of the API's address.
    pub(super) const fn scheme(&self) -> &'static str {
        if self.security.grpc_tls_cert.is_some() {
            "https"
        } else {
            "http"
        }
    }

    pub(super) const fn poll_interval(&self) -> Duration {
        self.source.quote_poll_interval
    }
}

fn embedded(broker: &EmbeddedBroker) -> KafkaArgs {
    let settings = broker.settings();
    let properties: Vec<String> = settings
        .properties
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    KafkaArgs {
        bootstrap_servers: settings.bootstrap_servers.clone(),
        partitions: settings.partitions,
        properties: properties.join(","),
    }
}

#[cfg(test)]
mod tests {
    use clap::builder::Resettable;
    use clap::{CommandFactory as _, FromArgMatches as _, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Arguments {
        #[command(flatten)]
        up: UpArgs,
    }

    fn parse(arguments: &[&str]) -> Result<UpArgs, String> {
        // Whatever the environment of the tests sets.
        let command = Arguments::command().mut_args(|argument| argument.env(Resettable::Reset));
        command
            .try_get_matches_from([&["up"], arguments].concat())
            .and_then(|matches| Arguments::from_arg_matches(&matches))
            .map(|arguments| arguments.up)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_demo_needs_no_settings_and_is_quiet() {
        let args = parse(&["--demo"]).unwrap();
        assert_eq!(args.log.log, "warn,service::admin=error");
        assert!(args.uses_embedded_log() && args.database.is_none());
        assert_eq!(parse(&["--demo", "--log", "debug"]).unwrap().log.log, "debug");
    }

    #[test]
    fn prices_are_somebodys_choice() {
        assert!(parse(&[]).unwrap_err().contains("--quote-provider"));
        let args = parse(&["--quote-provider", "yahoo"]).unwrap();
        assert_eq!(args.log.log, "info");
        assert!(args.uses_embedded_log() && args.database.is_none());
    }

    #[test]
    fn real_servers_are_used_where_they_are_named() {
        let yahoo = ["--quote-provider", "yahoo"];
        let args = parse(&[&yahoo[..], &["--kafka-bootstrap-servers", "k:9092"]].concat()).unwrap();
        assert!(!args.uses_embedded_log() && args.database.is_none());
        let args = parse(&[&yahoo[..], &["--database-url", "mysql://u:p@h/d"]].concat()).unwrap();
        assert_eq!(
            args.database.map(|database| database.database_url).as_deref(),
            Some("mysql://u:p@h/d")
        );
    }

    #[test]
    fn a_demo_touches_no_real_server() {
        let args = parse(&[
            "--demo",
            "--kafka-bootstrap-servers",
            "k:9092",
            "--database-url",
            "mysql://u:p@h/d",
            "--telegram-bot-token",
            "1:a",
            "--quote-provider",
            "yahoo",
        ])
        .unwrap();
        let broker = EmbeddedBroker::start(1).unwrap();
        let settings = Settings::new(args, "sqlite://demo.db".into(), Some(&broker)).unwrap();
        assert_eq!(settings.database.database_url, "sqlite://demo.db");
        assert_eq!(
            settings.kafka.bootstrap_servers,
            broker.settings().bootstrap_servers
        );
        assert!(settings.telegram.bot_token.is_none());
        assert_eq!(
            settings.source.quote_provider,
            data_collector::ProviderKind::Synthetic
        );
        assert_eq!(settings.rules_in_all, Some(EmbeddedBroker::MAX_RULES));
    }
}
