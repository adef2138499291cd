//! Everything in one process: the services as supervised tasks, by default on an embedded log and an SQLite file.

mod banner;
mod data_folder;
mod demo;
mod refill;
mod services;
mod settings;
mod supervisor;

use std::net::TcpListener;
use std::process::ExitCode;
use std::time::Duration;

use cqrs::Store;
use service::kafka::EmbeddedBroker;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub(crate) use settings::UpArgs;

use self::data_folder::DataFolder;
use self::settings::Settings;
use self::supervisor::Supervisor;
use crate::failure::{Exit, Failure};

/// How long the services may take together to finish what they have in hand: less than people wait before they kill.
const GRACE: Duration = Duration::from_secs(12);

/// Runs until Ctrl-C or SIGTERM, then finishes what is in hand.
pub(crate) fn run(args: UpArgs) -> Result<ExitCode, Failure> {
    service::init_telemetry(&args.log);
    service::install_metrics();
    if !args.demo {
        let checked = args.security.check();
        checked.map_err(|error| Failure::new(Exit::Misuse, error.to_string()))?;
    }
    let listener = listen(&args)?;
    let folder = if args.demo {
        DataFolder::temporary()?
    } else {
        DataFolder::open(args.data_dir.clone())?
    };
    let broker = if args.uses_embedded_log() {
        Some(start_broker()?)
    } else {
        None
    };
    let settings = Settings::new(args, folder.database_url()?, broker.as_ref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| Failure::new(Exit::Internal, format!("the runtime did not start: {error}")))?;
    let result = runtime.block_on(serve(&settings, &folder, listener));
    runtime.shutdown_timeout(Duration::from_secs(1));
    // Now that its clients are gone: it would wait for them.
    drop(broker);
    result
}

async fn serve(settings: &Settings, folder: &DataFolder, listener: TcpListener) -> Result<ExitCode, Failure> {
    let shutdown = CancellationToken::new();
    tokio::spawn(cancel_on_signal(shutdown.clone()));
    prepare_store(settings).await?;
    let address = listener
        .local_addr()
        .map_err(|error| cannot_listen(&error.to_string()))?;
    let mut supervisor = Supervisor::new(shutdown.clone());
    for service in services::all(settings, listener) {
        supervisor.start(service);
    }
    supervisor.serve_admin(&settings.admin);
    let banner = banner::Facts {
        settings,
        folder,
        server: format!("{}://{address}", settings.scheme()),
    };
    let started = if settings.demo {
        let user = shutdown.run_until_cancelled(demo::register(&banner.server)).await;
        user.transpose()
            .and_then(|user| user.map_or(Ok(()), |user| banner.print_demo(&user)))
    } else {
        banner.print()
    };
    if started.is_ok() {
        shutdown.cancelled().await;
    }
    shutdown.cancel();
    let drained = supervisor.drain(GRACE).await;
    started?;
    Ok(if drained {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Brings the schema up to date, and refills a log that starts empty.
async fn prepare_store(settings: &Settings) -> Result<(), Failure> {
    let failed = |error: cqrs::StoreError| Failure::new(Exit::Unavailable, error.to_string());
    let store = Store::open(&settings.database.store_settings())
        .await
        .map_err(failed)?;
    if settings.log_is_embedded {
        refill::refill(&store, settings).await?;
    }
    store.close().await;
    Ok(())
}

fn start_broker() -> Result<EmbeddedBroker, Failure> {
    EmbeddedBroker::start(settings::EMBEDDED_PARTITIONS)
        .map_err(|error| Failure::new(Exit::Internal, format!("the embedded log did not start: {error}")))
}

/// Binds the API's port before anything else happens, and keeps it while the server is restarted.
fn listen(args: &UpArgs) -> Result<TcpListener, Failure> {
    let bound = TcpListener::bind(args.grpc_listen).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|error| {
        cannot_listen(&format!(
            "GRPC_LISTEN={} can't be bound: {error}",
            args.grpc_listen
        ))
    })
}

fn cannot_listen(reason: &str) -> Failure {
    Failure::new(Exit::Unavailable, reason).remedy(
        "is `stockalert up` running already? Stop it, or choose another port, such as --grpc-listen 127.0.0.1:50052",
    )
}

/// The first signal asks the services to end; the second ends the process at once.
async fn cancel_on_signal(shutdown: CancellationToken) {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::error!("can't listen for signals; end this process by SIGKILL");
        return;
    };
    for first in [true, false] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if first {
            tracing::info!("ending; once more to end at once");
            shutdown.cancel();
        }
    }
    std::process::exit(1);
}
