//! Health and metrics over HTTP, for supervisors and Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::install_metrics;

/// What a process needs to do its work, and whether it has it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Health {
    components: Arc<Mutex<BTreeMap<&'static str, Result<(), String>>>>,
}

/// One thing a process needs. Starts as not ready.
#[derive(Debug, Clone)]
pub struct ComponentHealth {
    health: Health,
    name: &'static str,
}

impl Health {
    /// Registers a component, not ready until it says so.
    #[must_use]
    pub fn component(&self, name: &'static str) -> ComponentHealth {
        let component = ComponentHealth {
            health: self.clone(),
            name,
        };
        component.not_ready("starting");
        component
    }

    /// Ready when every component is; otherwise what is missing. A process that named no component yet is starting.
    ///
    /// # Errors
    /// The components that are not ready, with reasons, one per line.
    pub fn readiness(&self) -> Result<(), String> {
        let components = self.components.lock().unwrap_or_else(PoisonError::into_inner);
        if components.is_empty() {
            return Err("starting\n".into());
        }
        let mut missing = String::new();
        for (name, state) in components.iter() {
            if let Err(reason) = state {
                let _ = writeln!(missing, "{name}: {reason}");
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(missing) }
    }

    fn set(&self, name: &'static str, state: Result<(), String>) {
        let mut components = self.components.lock().unwrap_or_else(PoisonError::into_inner);
        let before = components.insert(name, state.clone());
        if before.as_ref() == Some(&state) {
            return;
        }
        match &state {
            Ok(()) => tracing::info!(component = name, "ready"),
            Err(reason) if before.is_some_and(|before| before.is_ok()) => {
                tracing::warn!(component = name, reason, "no longer ready");
            }
            Err(_) => {}
        }
    }
}

impl ComponentHealth {
    /// It works.
    pub fn ready(&self) {
        self.health.set(self.name, Ok(()));
    }

    /// It does not, and why.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.health.set(self.name, Err(reason.into()));
    }
}

/// Settings of the admin server.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Health and metrics")]
pub struct AdminArgs {
    /// Where /healthz, /readyz and /metrics are served, such as 127.0.0.1:9090. Off when not set.
    #[arg(long, env = "ADMIN_LISTEN", value_name = "HOST:PORT")]
    pub admin_listen: Option<SocketAddr>,
}

/// Serves until shutdown.
///
/// # Errors
/// If the address can't be bound.
pub async fn serve(listen: SocketAddr, health: Health, shutdown: CancellationToken) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        anyhow::anyhow!("ADMIN_LISTEN={listen} can't be bound: {error}; choose a free port")
    })?;
    tracing::info!(listen = %listener.local_addr()?, "serving /healthz, /readyz and /metrics");
    let metrics = install_metrics();
    let upkeep = shutdown.clone();
    tokio::spawn(async move {
        // Histograms are folded when read or here, so that an unread process does not grow.
        while upkeep
            .run_until_cancelled(tokio::time::sleep(Duration::from_secs(5)))
            .await
            .is_some()
        {
            metrics.run_upkeep();
        }
    });
    let app = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(async || install_metrics().render()))
        .with_state(health);
    axum::serve(listener, app)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await?;
    Ok(())
}

async fn readyz(State(health): State<Health>) -> (StatusCode, String) {
    match health.readiness() {
        Ok(()) => (StatusCode::OK, "ready\n".into()),
        Err(missing) => (StatusCode::SERVICE_UNAVAILABLE, missing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ready_when_all_its_components_are() {
        let health = Health::default();
        assert_eq!(health.readiness(), Err("starting\n".into()));
        let (kafka, database) = (health.component("kafka"), health.component("database"));
        kafka.ready();
        assert_eq!(health.readiness(), Err("database: starting\n".into()));
        database.ready();
        assert_eq!(health.readiness(), Ok(()));
        kafka.not_ready("broker away");
        assert_eq!(health.readiness(), Err("kafka: broker away\n".into()));
    }
}
