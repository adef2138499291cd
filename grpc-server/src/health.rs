//! The gRPC health service: every service is as healthy as the database, which all of them need. The broker is not
//! needed to answer a caller; `/readyz` tells of it.

use std::time::Duration;

use cqrs::Store;
use service::ComponentHealth;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// How often the database is asked, and how long it may take.
const CHECK_EVERY: Duration = Duration::from_secs(1);
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Keeps the statuses of `services` (and of the server as a whole, the empty name) until shutdown, then says that
/// nothing is served any more.
pub(crate) async fn watch(
    store: Store,
    services: &[&'static str],
    reporter: HealthReporter,
    component: ComponentHealth,
    shutdown: CancellationToken,
) {
    loop {
        let answer = tokio::time::timeout(CHECK_TIMEOUT, store.ping()).await;
        let status = match answer {
            Ok(Ok(())) => {
                component.ready();
                ServingStatus::Serving
            }
            Ok(Err(error)) => {
                component.not_ready(error.to_string());
                ServingStatus::NotServing
            }
            Err(_) => {
                component.not_ready(format!(
                    "the database did not answer within {} s",
                    CHECK_TIMEOUT.as_secs()
                ));
                ServingStatus::NotServing
            }
        };
        set_all(&reporter, services, status).await;
        if shutdown
            .run_until_cancelled(tokio::time::sleep(CHECK_EVERY))
            .await
            .is_none()
        {
            break;
        }
    }
    set_all(&reporter, services, ServingStatus::NotServing).await;
}

async fn set_all(reporter: &HealthReporter, services: &[&'static str], status: ServingStatus) {
    for service in services.iter().chain(&[""]) {
        reporter.set_service_status(service, status).await;
    }
}
