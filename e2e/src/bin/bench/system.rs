use std::path::Path;
use std::time::Duration;

use e2e::process::Service;
use service::config::KafkaArgs;

/// To read a million rules on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Starts the alert-system and waits until it has partitions and state.
pub(crate) async fn start(kafka: &KafkaArgs, logs: &Path) -> anyhow::Result<Service> {
    let settings = [("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers.clone())];
    let mut system = Service::start("alert-system", "alert-system", &settings, logs)?;
    system.ready(PATIENCE).await?;
    Ok(system)
}

/// Ends it so that it leaves its group: the next one gets the partitions at once.
pub(crate) async fn stop(mut system: Service) -> anyhow::Result<()> {
    system.terminate()?;
    while !system.has_ended()? {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
