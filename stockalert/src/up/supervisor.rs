use std::time::Duration;

use futures::future::BoxFuture;
use service::admin::{self, AdminArgs};
use service::{Context, Health};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// A service that ran this long has recovered: its next failure is a new one.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// A service that can be started any number of times.
pub(super) struct Service {
    pub name: &'static str,
    pub start: Box<dyn Fn(Context) -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>,
}

/// Keeps services running until shutdown: one that ends before is started again.
pub(super) struct Supervisor {
    shutdown: CancellationToken,
    /// Ready when every service is.
    health: Health,
    tasks: JoinSet<&'static str>,
    running: Vec<(&'static str, AbortHandle)>,
}

impl Supervisor {
    pub(super) fn new(shutdown: CancellationToken) -> Self {
        Self {
            shutdown,
            health: Health::default(),
            tasks: JoinSet::new(),
            running: Vec::new(),
        }
    }

    pub(super) fn start(&mut self, service: Service) {
        let name = service.name;
        let (health, shutdown) = (self.health.clone(), self.shutdown.clone());
        let task = async move {
            keep_running(&service, &health, &shutdown).await;
            name
        };
        let handle = self.tasks.spawn(task);
        self.running.push((name, handle));
    }

    /// Health and metrics of all services together, where asked for.
    pub(super) fn serve_admin(&mut self, args: &AdminArgs) {
        let Some(listen) = args.admin_listen else { return };
        let health = self.health.clone();
        self.start(Service {
            name: "admin",
            start: Box::new(move |context| Box::pin(admin::serve(listen, health.clone(), context.shutdown))),
        });
    }

    /// Waits for all services to end after shutdown. False if some had to be cut off.
    pub(super) async fn drain(mut self, grace: Duration) -> bool {
        let deadline = Instant::now() + grace;
        loop {
            match timeout_at(deadline, self.tasks.join_next()).await {
                Ok(Some(Ok(name))) => tracing::debug!("{name} ended"),
                Ok(Some(Err(error))) => tracing::error!("a supervisor failed: {error}"),
                Ok(None) => return true,
                Err(_) => break,
            }
        }
        let unfinished = self.running.iter().filter(|(_, handle)| !handle.is_finished());
        let unfinished: Vec<&str> = unfinished.map(|(name, _)| *name).collect();
        let seconds = grace.as_secs();
        tracing::error!(
            seconds,
            "did not end in time and are cut off: {}",
            unfinished.join(", ")
        );
        false
    }
}

async fn keep_running(service: &Service, health: &Health, shutdown: &CancellationToken) {
    let overall = health.component(service.name);
    let mut pause = FIRST_PAUSE;
    loop {
        let started = Instant::now();
        // Health of its own: services use the same names for what they need.
        let context = Context {
            shutdown: shutdown.child_token(),
            health: Health::default(),
        };
        let own_health = context.health.clone();
        // A task of its own, so that a panic ends the service and not its supervisor.
        let mut task = tokio::spawn((service.start)(context));
        let ended = loop {
            tokio::select! {
                ended = &mut task => break ended,
                () = tokio::time::sleep(HEALTH_INTERVAL) => match own_health.readiness() {
                    Ok(()) => overall.ready(),
                    Err(missing) => overall.not_ready(missing.trim_end().replace('\n', "; ")),
                },
            }
        };
        let reason = match ended {
            Ok(Ok(())) if shutdown.is_cancelled() => return,
            Ok(Ok(())) => "it ended without being asked to".to_owned(),
            Ok(Err(error)) => format!("{error:#}"),
            Err(error) => error.to_string(),
        };
        overall.not_ready(reason.as_str());
        if shutdown.is_cancelled() {
            tracing::error!("{} failed while ending: {reason}", service.name);
            return;
        }
        if started.elapsed() >= HEALTHY_AFTER {
            pause = FIRST_PAUSE;
        }
        tracing::error!(
            seconds = pause.as_secs(),
            "{} failed and is started again: {reason}",
            service.name
        );
        if shutdown
            .run_until_cancelled(tokio::time::sleep(pause))
            .await
            .is_none()
        {
            return;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Fails, panics and ends by itself, then runs until shutdown.
    fn troubled(starts: Arc<AtomicU32>) -> Service {
        let start = move |context: Context| -> BoxFuture<'static, anyhow::Result<()>> {
            let starts = Arc::clone(&starts);
            Box::pin(async move {
                match starts.fetch_add(1, Ordering::SeqCst) {
                    0 => anyhow::bail!("no broker"),
                    1 => panic!("a bug"),
                    2 => Ok(()),
                    _ => {
                        context.shutdown.cancelled().await;
                        Ok(())
                    }
                }
            })
        };
        Service {
            name: "troubled",
            start: Box::new(start),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_is_started_again_however_it_ends_with_growing_pauses() {
        let shutdown = CancellationToken::new();
        let mut supervisor = Supervisor::new(shutdown.clone());
        let starts = Arc::new(AtomicU32::new(0));
        let begin = Instant::now();
        supervisor.start(troubled(Arc::clone(&starts)));
        while starts.load(Ordering::SeqCst) < 4 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let seconds = begin.elapsed().as_secs();
        assert_eq!(seconds, 1 + 2 + 4);
        shutdown.cancel();
        assert!(supervisor.drain(GRACE).await);
        assert_eq!(starts.load(Ordering::SeqCst), 4);
    }

    const GRACE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_in_time_is_cut_off() {
        let shutdown = CancellationToken::new();
        let mut supervisor = Supervisor::new(shutdown.clone());
        let start = |_| -> BoxFuture<'static, anyhow::Result<()>> { Box::pin(std::future::pending()) };
        supervisor.start(Service {
            name: "stuck",
            start: Box::new(start),
        });
        shutdown.cancel();
        let begin = Instant::now();
        assert!(!supervisor.drain(GRACE).await);
        assert_eq!(begin.elapsed(), GRACE);
    }
}
