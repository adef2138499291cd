#![doc = include_str!("../README.md")]

mod access;
mod addresses;
mod admin;
mod alerts;
mod api;
mod batch;
mod connections;
mod guard;
mod health;
mod held;
mod history;
mod operator;
mod proxies;
mod quotes;
mod rates;
mod relay;
mod rules;
mod security;
mod server;
mod slots;
mod status;
mod streams;
mod system;
mod timely;
mod tls;
mod trials;
mod turns;
mod users;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use service::Context;
use service::config::{DatabaseArgs, KafkaArgs};
use tokio::net::TcpListener;

pub use operator::OperatorToken;
pub use proxies::TrustedProxies;
pub use relay::LEASE;
pub use security::SecurityArgs;
pub use server::serve;
pub use status::ERROR_DOMAIN;

/// Most bytes of a request. The largest that makes sense, a batch of 1,000 rules with the longest notes in the longest letters,
/// has 2.1 MB; up to this size a caller learns which field is too long, beyond it only that the request is.
pub const MAX_REQUEST_BYTES: usize = 4 * 1024 * 1024;

/// Most requests of users in hand over all connections; more are refused at once, because waiting behind so many would take
/// longer than a caller waits.
pub const MAX_REQUESTS_IN_HAND: usize = 512;

/// Most requests of one user in hand, and from one address whose tokens are being looked for. One can't take all places.
pub const MAX_REQUESTS_OF_ONE: usize = 128;

/// How long a request may take: longer than a database's failover pause, shorter than people's patience.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Settings of the gRPC server.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    #[command(flatten)]
    pub database: DatabaseArgs,
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// Where the API is served.
    #[arg(
        long,
        env = "GRPC_LISTEN",
        value_name = "IP:PORT",
        default_value = "127.0.0.1:50051",
        value_parser = listen_address
    )]
    pub grpc_listen: SocketAddr,
    /// Most rules of one user, 1 to 10000.
    #[arg(long, env = "MAX_RULES_PER_USER", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_rules_per_user: u32,
    /// How far back inside its range, in thousandths of the threshold, a price must be before its episode ends: what
    /// previews go by, so the same as alert-system's.
    #[arg(long, env = "REARM_MARGIN_PERMILLE", default_value_t = 2, value_parser = clap::value_parser!(u16).range(0..=100))]
    pub rearm_margin_permille: u16,
    /// Most rules in all; none: no limit. Set by `stockalert up`, whose log holds no more.
    #[arg(skip)]
    pub rules_in_all: Option<u32>,
    #[command(flatten)]
    pub security: SecurityArgs,
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "give IP:PORT, such as 127.0.0.1:50051 or 0.0.0.0:50051".to_owned())
}

/// Serves the API and runs an outbox relay until shutdown.
///
/// # Errors
/// If the address can't be bound, the database can't be reached at start, the topics are not as they must be, or the
/// server or the relay fails for good.
pub async fn run(config: Config, context: Context) -> anyhow::Result<()> {
    // A file that can't be used ends the start before the port is taken.
    tls::of(&config.security)?;
    let listen = config.grpc_listen;
    let listener = TcpListener::bind(listen).await.with_context(|| {
        format!("GRPC_LISTEN={listen} can't be bound; choose a free port of this machine")
    })?;
    serve(listener, config, context).await
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Arguments {
        #[command(flatten)]
        config: Config,
    }

    fn parse(extra: &[&str]) -> Result<Config, String> {
        let good = [
            "x",
            "--database-url",
            "sqlite://x.db",
            "--kafka-bootstrap-servers",
            "a:9092",
        ];
        Arguments::try_parse_from([&good, extra].concat())
            .map(|arguments| arguments.config)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn bad_settings_are_refused_with_the_flag_and_the_values_allowed() {
        let config = parse(&[]).unwrap();
        assert_eq!((config.max_rules_per_user, config.rules_in_all), (200, None));
        assert_eq!(config.rearm_margin_permille, 2);
        for (flag, value, allowed) in [
            ("--grpc-listen", "nowhere", "127.0.0.1:50051"),
            ("--grpc-listen", "127.0.0.1", "127.0.0.1:50051"),
            ("--max-rules-per-user", "0", "1..=10000"),
            ("--max-rules-per-user", "many", "invalid digit"),
            ("--rearm-margin-permille", "101", "0..=100"),
            ("--rearm-margin-permille", "0.2", "invalid digit"),
        ] {
            let error = parse(&[flag, value]).unwrap_err();
            assert!(error.contains(flag) && error.contains(allowed), "{error}");
        }
    }
}
