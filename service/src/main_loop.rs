use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, AdminArgs, Health};
use crate::config;
use crate::telemetry::{LogArgs, init_telemetry, install_metrics};

/// What surrounds a running service.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// Cancelled when the process shall end: stop intake, finish what is in hand, commit, flush, return.
    pub shutdown: CancellationToken,
    /// What the service says of itself.
    pub health: Health,
}

/// How long a service may take to finish what is in hand before the process ends all the same: clients of the broker
/// have been seen to hang when dropped.
const GRACE: Duration = Duration::from_secs(20);

#[derive(Debug, Parser)]
#[command(version)]
struct Arguments<C: clap::Args> {
    #[command(flatten)]
    config: C,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    log: LogArgs,
}

/// The whole `main` of a service: settings, logging, health, signals, exit code.
///
/// Exit codes: 0 after a clean shutdown, 64 for a bad setting (before anything connects), 1 for any other failure.
pub fn main<C, F, R>(name: &'static str, run: F) -> ExitCode
where
    C: clap::Args + std::fmt::Debug,
    F: FnOnce(C, Context) -> R,
    R: Future<Output = anyhow::Result<()>>,
{
    let arguments: Arguments<C> = match config::parse(name) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    init_telemetry(&arguments.log);
    install_metrics();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the async runtime could not start");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(supervise(name, arguments.admin, |context| {
        run(arguments.config, context)
    }));
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

async fn supervise<R>(name: &'static str, admin: AdminArgs, run: impl FnOnce(Context) -> R) -> ExitCode
where
    R: Future<Output = anyhow::Result<()>>,
{
    let context = Context::default();
    tokio::spawn(cancel_on_signal(context.shutdown.clone()));
    if let Some(listen) = admin.admin_listen {
        let (health, shutdown) = (context.health.clone(), context.shutdown.clone());
        tokio::spawn(async move {
            if let Err(error) = admin::serve(listen, health, shutdown.clone()).await {
                tracing::error!("{error:#}");
                shutdown.cancel();
            }
        });
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "{name} starts");
    let shutdown = context.shutdown.clone();
    let out_of_time = async {
        shutdown.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = run(context) => match result {
            Ok(()) => {
                tracing::info!("{name} ended");
                ExitCode::SUCCESS
            }
            Err(error) => {
                tracing::error!("{name} failed: {error:#}");
                exit_code(&error)
            }
        },
        () = out_of_time => {
            tracing::error!(seconds = GRACE.as_secs(), "{name} did not end in time and is ended");
            ExitCode::FAILURE
        }
    }
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<config::BadSetting>() {
        ExitCode::from(config::EXIT_USAGE)
    } else {
        ExitCode::FAILURE
    }
}

async fn cancel_on_signal(shutdown: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        tracing::error!("can't listen for SIGTERM");
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => tracing::info!("interrupted, ending"),
        _ = terminate.recv() => tracing::info!("told to end"),
    }
    shutdown.cancel();
}
