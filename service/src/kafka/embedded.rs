use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::mocking::MockCluster;

use super::{KafkaError, KafkaSettings};
use crate::topics::ALL;

/// Marks settings that lead to the embedded broker; not a property of librdkafka.
pub(super) const MARK: &str = "stockalert.embedded";

/// A broker inside this process: librdkafka's own. Keeps nothing over a restart, and at most 5 MiB (100,000 records)
/// per partition, then silently drops the oldest. Ends when dropped: drop its clients first, or they wait for it.
#[derive(Debug)]
pub struct EmbeddedBroker {
    settings: KafkaSettings,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl EmbeddedBroker {
    /// Rules that fit: at about 200 bytes a record, with room for changes.
    pub const MAX_RULES: u32 = 100_000;

    /// Starts it on a free port of this machine, with the topics in place.
    ///
    /// # Errors
    /// If librdkafka can't.
    pub fn start(partitions: i32) -> Result<Self, KafkaError> {
        let (stop, stopped) = mpsc::channel();
        let (started, start) = mpsc::channel();
        // The cluster is not `Send`: it lives and dies on one thread.
        let thread = std::thread::Builder::new()
            .name("embedded-broker".into())
            .spawn(move || run(partitions, &started, &stopped))
            .map_err(|_| KafkaError::Ended)?;
        let bootstrap_servers = start.recv().map_err(|_| KafkaError::Ended)??;
        let settings = KafkaSettings {
            bootstrap_servers,
            partitions,
            properties: vec![(MARK.to_owned(), "true".to_owned())],
        };
        Ok(Self {
            settings,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// For `Kafka::connect`.
    #[must_use]
    pub const fn settings(&self) -> &KafkaSettings {
        &self.settings
    }
}

fn run(partitions: i32, started: &mpsc::Sender<Result<String, KafkaError>>, stopped: &mpsc::Receiver<()>) {
    let cluster = MockCluster::new(1).and_then(|cluster| {
        for topic in ALL {
            cluster.create_topic(topic.name, if topic.by_ticker { partitions } else { 1 }, 1)?;
        }
        Ok(cluster)
    });
    match cluster {
        Ok(cluster) => {
            let _ = started.send(Ok(cluster.bootstrap_servers()));
            // Until told to stop, or until the owner is gone.
            let _ = stopped.recv();
        }
        Err(error) => {
            let _ = started.send(Err(error.into()));
        }
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        drop(self.stop.take());
        let Some(thread) = self.thread.take() else { return };
        // Clients that still hold connections delay its end; the process does not wait for them for ever.
        for _ in 0..50 {
            if thread.is_finished() {
                let _ = thread.join();
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        tracing::warn!("the embedded broker did not end in time");
    }
}
