use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use cqrs::domain::RearmMargin;
use cqrs::{Limits, Store};
use proto::v1::admin_service_server::AdminServiceServer;
use proto::v1::alert_service_server::AlertServiceServer;
use proto::v1::quote_service_server::QuoteServiceServer;
use proto::v1::rule_service_server::RuleServiceServer;
use proto::v1::system_service_server::SystemServiceServer;
use proto::v1::user_service_server::UserServiceServer;
use service::Context;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::admin::Admin;
use crate::api::Api;
use crate::connections::Connections;
use crate::guard::GuardLayer;
use crate::streams::Streams;
use crate::trials::Trials;
use crate::turns::Turns;
use crate::{Config, MAX_REQUEST_BYTES, health, relay, tls};

/// Most streams of one connection; more wait on the client's side.
const MAX_STREAMS: u32 = 200;

/// A connection whose other end is gone without a word is noticed after the two together.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Most bytes of a request's headers: a token and what proxies add.
const MAX_HEADER_BYTES: u32 = 16 * 1024;

/// Most streams that were reset before they were looked at, and that the server reset for what is wrong with them: who has
/// more of them is told to go away (CVE-2023-44487, CVE-2025-8671).
const MAX_RESETS: usize = 20;
const MAX_RESETS_OF_OURS: usize = 64;

/// How much of the requests a connection may send before it is read: what one client can make the server hold.
const WINDOW_OF_STREAM: u32 = 256 * 1024;
const WINDOW_OF_CONNECTION: u32 = 512 * 1024;

/// How long requests in hand may take to finish when the process ends; streams are cut then.
const DRAIN: Duration = Duration::from_secs(10);

/// As `run`, on a listener that is already bound: for `stockalert up` and tests.
///
/// # Errors
/// As `run`.
pub async fn serve(listener: TcpListener, config: Config, context: Context) -> anyhow::Result<()> {
    let tls = tls::of(&config.security)?;
    let database = context.health.component("database");
    let relay_health = context.health.component("outbox relay");
    let store = Store::open(&config.database.store_settings()).await?;
    let limits = Limits {
        rules_per_user: config.max_rules_per_user,
        rules_in_all: config.rules_in_all,
    };
    let commands = store.commands(limits);
    let queries = store
        .queries()
        .with_api_token_lifetime(config.security.api_token_lifetime);
    let outbox_filled = Arc::new(Notify::new());

    // Ends after the last request, so that what it put into the outbox goes out.
    let end_relay = CancellationToken::new();
    let relay = relay::run(
        store.clone(),
        commands.clone(),
        config.kafka.settings(),
        Arc::clone(&outbox_filled),
        relay_health,
        end_relay.clone(),
    );

    let (reporter, health_service) = tonic_health::server::health_reporter();
    let end_health = context.shutdown.child_token();
    let health_watch = health::watch(store.clone(), &SERVICES, reporter, database, end_health.clone());
    let admin = Admin {
        operators: store.operators(),
        outbox: store.outbox(),
        kafka: config.kafka.settings(),
        outbox_filled: Arc::clone(&outbox_filled),
    };
    let api = Api {
        commands,
        queries: queries.clone(),
        outbox_filled,
        streams: Streams::start(&store, queries.clone(), context.shutdown.child_token()),
        trials: Trials::new(config.kafka.settings()),
        turns: Turns::new(),
        margin: RearmMargin::from_permille(config.rearm_margin_permille),
    };
    let routes = routes(&api, admin)?.add_service(health_service);
    let address = listener.local_addr().context("the listener has no address")?;
    tracing::info!(listen = %address, tls = tls.is_some(), "serving gRPC");
    let guard = GuardLayer::new(queries, config.security.clone(), context.shutdown.child_token())?;
    let mut builder = Server::builder();
    if let Some(tls) = tls {
        builder = builder.tls_config(tls).context("TLS can't be set up")?;
    }
    let server = builder
        .max_concurrent_streams(MAX_STREAMS)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http2_max_pending_accept_reset_streams(Some(MAX_RESETS))
        .http2_max_local_error_reset_streams(Some(MAX_RESETS_OF_OURS))
        .initial_stream_window_size(WINDOW_OF_STREAM)
        .initial_connection_window_size(WINDOW_OF_CONNECTION)
        .layer(guard)
        .add_routes(routes)
        .serve_with_incoming_shutdown(
            Box::pin(Connections::new(listener, &config.security)),
            context.shutdown.clone().cancelled_owned(),
        );
    let serving = async {
        let served = drain(server, context.shutdown.clone()).await;
        end_health.cancel();
        end_relay.cancel();
        served
    };
    // Whichever fails ends the others.
    let watching = async {
        health_watch.await;
        Ok(())
    };
    let result = tokio::try_join!(serving, relay, watching).map(|_| ());
    store.close().await;
    result
}

/// Serves until shutdown, then until all requests in hand are answered or the time for that is up.
async fn drain<F>(server: F, shutdown: CancellationToken) -> anyhow::Result<()>
where
    F: Future<Output = Result<(), tonic::transport::Error>>,
{
    let out_of_time = async {
        shutdown.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = server => served.context("the gRPC server failed"),
        () = out_of_time => {
            tracing::warn!(seconds = DRAIN.as_secs(), "connections were cut that did not end in time");
            Ok(())
        }
    }
}

const SERVICES: [&str; 6] = [
    <AdminServiceServer<Admin> as NamedService>::NAME,
    <UserServiceServer<Api> as NamedService>::NAME,
    <RuleServiceServer<Api> as NamedService>::NAME,
    <QuoteServiceServer<Api> as NamedService>::NAME,
    <AlertServiceServer<Api> as NamedService>::NAME,
    <SystemServiceServer<Api> as NamedService>::NAME,
];

fn routes(api: &Api, admin: Admin) -> anyhow::Result<Routes> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
            // The errors' details, so that clients can show them.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
    };
    Ok(
        Routes::new(UserServiceServer::new(api.clone()).max_decoding_message_size(MAX_REQUEST_BYTES))
            .add_service(RuleServiceServer::new(api.clone()).max_decoding_message_size(MAX_REQUEST_BYTES))
            .add_service(QuoteServiceServer::new(api.clone()).max_decoding_message_size(MAX_REQUEST_BYTES))
            .add_service(AlertServiceServer::new(api.clone()).max_decoding_message_size(MAX_REQUEST_BYTES))
            .add_service(AdminServiceServer::new(admin).max_decoding_message_size(MAX_REQUEST_BYTES))
            .add_service(SystemServiceServer::new(api.clone()).max_decoding_message_size(MAX_REQUEST_BYTES))
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?),
    )
}
