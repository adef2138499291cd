#![doc = include_str!("../README.md")]

mod alerts;
mod api;
mod guard;
mod health;
mod quotes;
mod relay;
mod rules;
mod server;
mod status;
mod users;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use service::Context;
use service::config::{DatabaseArgs, KafkaArgs};
use tokio::net::TcpListener;

pub use relay::LEASE;
pub use server::serve;
pub use status::ERROR_DOMAIN;

/// Most bytes of a request. The largest that makes sense, a registration with 200 rules and long notes, has 0.5 MB; up
/// to this size a caller learns which field is too long, beyond it only that the request is.
pub const MAX_REQUEST_BYTES: usize = 2 * 1024 * 1024;

/// Most requests in hand over all connections; more are refused at once, because waiting behind so many would take
/// longer than a caller waits.
pub const MAX_REQUESTS_IN_HAND: usize = 512;

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
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:50051"
    )]
    pub grpc_listen: SocketAddr,
    /// Most rules of one user, 1 to 10000.
    #[arg(long, env = "MAX_RULES_PER_USER", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_rules_per_user: u32,
    /// Most rules in all; none: no limit. Set by `stockalert up`, whose log holds no more.
    #[arg(skip)]
    pub rules_in_all: Option<u32>,
}

/// Serves the API and runs an outbox relay until shutdown.
///
/// # Errors
/// If the address can't be bound, the database can't be reached at start, the topics are not as they must be, or the
/// server or the relay fails for good.
pub async fn run(config: Config, context: Context) -> anyhow::Result<()> {
    let listen = config.grpc_listen;
    let listener = TcpListener::bind(listen).await.with_context(|| {
        format!("GRPC_LISTEN={listen} can't be bound; choose a free port of this machine")
    })?;
    serve(listener, config, context).await
}
