use std::net::TcpListener;
use std::sync::Arc;

use anyhow::Context as _;
use futures::future::BoxFuture;
use service::Context;

use super::settings::Settings;
use super::supervisor::Service;

/// All services, each with its part of the settings. `listener` is the API's port.
pub(super) fn all(settings: &Settings, listener: TcpListener) -> Vec<Service> {
    let (database, kafka) = (&settings.database, &settings.kafka);
    let grpc_server = grpc_server::Config {
        database: database.clone(),
        kafka: kafka.clone(),
        // Not used: the port is bound already.
        grpc_listen: std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
        max_rules_per_user: settings.max_rules_per_user,
        rules_in_all: settings.rules_in_all,
        rearm_margin_permille: settings.rearm_margin_permille,
        security: settings.security.clone(),
    };
    let data_collector = data_collector::Config {
        kafka: kafka.clone(),
        source: settings.source.clone(),
    };
    let alert_system = alert_system::Config {
        kafka: kafka.clone(),
        rearm_margin_permille: settings.rearm_margin_permille,
    };
    let mut alert_notifier =
        alert_notifier::Config::new(database.clone(), kafka.clone(), settings.telegram.clone());
    alert_notifier.max_rules_per_user = settings.max_rules_per_user;
    alert_notifier.rules_in_all = settings.rules_in_all;
    let quote_recorder = quote_recorder::Config {
        database: database.clone(),
        kafka: kafka.clone(),
    };

    let listener = Arc::new(listener);
    vec![
        service("grpc-server", grpc_server, move |config, context| {
            let listener = Arc::clone(&listener);
            async move {
                // A second handle to the same socket: callers wait in its queue while the server is restarted.
                let listener = listener.try_clone().context("the API's port can't be shared")?;
                grpc_server::serve(tokio::net::TcpListener::from_std(listener)?, config, context).await
            }
        }),
        service("data-collector", data_collector, data_collector::run),
        service("alert-system", alert_system, alert_system::run),
        service("alert-notifier", alert_notifier, alert_notifier::run),
        service("quote-recorder", quote_recorder, quote_recorder::run),
    ]
}

fn service<C, F>(
    name: &'static str,
    config: C,
    run: impl Fn(C, Context) -> F + Send + Sync + 'static,
) -> Service
where
    C: Clone + Send + Sync + 'static,
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let start =
        move |context| -> BoxFuture<'static, anyhow::Result<()>> { Box::pin(run(config.clone(), context)) };
    Service {
        name,
        start: Box::new(start),
    }
}
