//! Clients of the broker, with the settings that the promises need.

mod admin;
mod consumer;
pub mod dead_letters;
mod embedded;
mod ends;
mod producer;
mod reader;
mod record;

pub use consumer::{Batch, BatchConsumer, BatchLimits, ConsumerEvent, StartFrom};
pub use dead_letters::DeadLetters;
pub use embedded::EmbeddedBroker;
pub use producer::{Acknowledgement, Outgoing, Producer};
pub use reader::{ReaderEvent, TopicReader};
pub use record::Record;

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError as ClientError;

use crate::topics::Topic;

/// Where the broker is.
#[derive(Clone)]
pub struct KafkaSettings {
    /// HOST:PORT, several separated by commas.
    pub bootstrap_servers: String,
    /// Partitions of topics that have to be created.
    pub partitions: i32,
    /// More librdkafka settings; may hold passwords.
    pub properties: Vec<(String, String)>,
}

impl std::fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSettings")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

/// `NAME=VALUE,NAME=VALUE` as pairs. The settings that the promises rest on can't be changed.
///
/// # Errors
/// What is wrong with the text, without its values.
pub fn parse_properties(text: &str) -> Result<Vec<(String, String)>, String> {
    const OURS: [&str; 6] = [
        "acks",
        "request.required.acks",
        "enable.idempotence",
        "enable.auto.commit",
        "auto.offset.reset",
        "group.id",
    ];
    text.split(',')
        .filter(|pair| !pair.trim().is_empty())
        .map(|pair| {
            let (name, value) = pair
                .split_once('=')
                .ok_or("give NAME=VALUE pairs of librdkafka, separated by commas")?;
            let name = name.trim();
            if OURS.contains(&name) {
                return Err(format!("{name} is set by this system and can't be changed"));
            }
            Ok((name.to_owned(), value.trim().to_owned()))
        })
        .collect()
}

/// The broker could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// No broker answered in time.
    #[error(
        "no Kafka broker answered at {bootstrap_servers} for {seconds} s ({reason}); check KAFKA_BOOTSTRAP_SERVERS and that the broker runs"
    )]
    Unreachable {
        /// Where it was looked for.
        bootstrap_servers: String,
        /// How long.
        seconds: u64,
        /// What the client said last.
        reason: String,
    },
    /// The topics are not as this system needs them.
    #[error("{0}")]
    Topics(String),
    /// The client refused or failed.
    #[error("the Kafka client failed: {0}")]
    Client(#[from] ClientError),
    /// A record was not acknowledged.
    #[error("a record for {topic} was not acknowledged: {reason}")]
    NotAcknowledged {
        /// Its topic.
        topic: &'static str,
        /// What the client said.
        reason: String,
    },
    /// The client's thread ended.
    #[error("the Kafka client's thread ended")]
    Ended,
}

/// A broker that was reached and whose topics are in place. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Kafka {
    settings: KafkaSettings,
    partitions: i32,
}

impl Kafka {
    /// How long `connect` looks for a broker.
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

    /// Waits for a broker, creates the topics that are missing and checks the others.
    ///
    /// # Errors
    /// If no broker answers within a minute, or the topics' partition counts differ.
    pub async fn connect(settings: &KafkaSettings) -> Result<Self, KafkaError> {
        let partitions = admin::ensure_topics(settings, Self::CONNECT_TIMEOUT).await?;
        Ok(Self {
            settings: settings.clone(),
            partitions,
        })
    }

    /// Looks for a broker that has the topics already; creates none. For programs that are no part of the system.
    ///
    /// # Errors
    /// If no broker answers within `patience`, the quotes topic is missing, or the topics' partition counts differ.
    pub async fn connect_to_existing(
        settings: &KafkaSettings,
        patience: Duration,
    ) -> Result<Self, KafkaError> {
        let partitions = admin::agreed_partitions(settings, patience).await?;
        Ok(Self {
            settings: settings.clone(),
            partitions,
        })
    }

    /// How many partitions each ticker-partitioned topic has.
    #[must_use]
    pub const fn partitions(&self) -> i32 {
        self.partitions
    }

    /// A producer; `message_timeout` bounds how long a record is tried, `linger` how long it waits for company.
    ///
    /// # Errors
    /// If the client refuses a setting.
    pub fn producer(&self, message_timeout: Duration, linger: Duration) -> Result<Producer, KafkaError> {
        Producer::create(&self.producer_config(message_timeout, linger), self.partitions)
    }

    /// A consumer of one topic on a thread of its own.
    ///
    /// # Errors
    /// If the client refuses a setting.
    pub fn consumer(
        &self,
        group: &str,
        topic: Topic,
        start: StartFrom,
        limits: BatchLimits,
    ) -> Result<BatchConsumer, KafkaError> {
        let mut config = self.consumer_config(group);
        if start == StartFrom::Beginning {
            config.set("partition.assignment.strategy", "cooperative-sticky");
        }
        BatchConsumer::start(&config, topic, start, limits)
    }

    /// A reader of all of one topic, without a group, on a thread of its own. `name` is what the broker sees of it.
    ///
    /// # Errors
    /// If the client refuses a setting.
    pub fn reader(&self, name: &str, topic: Topic, limits: BatchLimits) -> Result<TopicReader, KafkaError> {
        let partitions = if topic.by_ticker { self.partitions } else { 1 };
        TopicReader::start(self.consumer_config(name), topic, partitions, limits)
    }

    /// Settings of a producer, for services that drive the client themselves.
    #[must_use]
    pub fn producer_config(&self, message_timeout: Duration, linger: Duration) -> ClientConfig {
        let mut config = base_config(&self.settings);
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", message_timeout.as_millis().to_string())
            .set("linger.ms", linger.as_millis().to_string())
            // A queue of 100,000 messages is the default; the bytes bound memory.
            .set("queue.buffering.max.kbytes", "131072");
        config
    }

    /// Settings of a consumer, for services that drive the client themselves.
    #[must_use]
    pub fn consumer_config(&self, group: &str) -> ClientConfig {
        let mut config = base_config(&self.settings);
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("allow.auto.create.topics", "false")
            .set("partition.assignment.strategy", "range")
            // A killed member's partitions are given to others within 15 s in all.
            .set("session.timeout.ms", "8000")
            .set("heartbeat.interval.ms", "2000")
            // The broker answers a fetch as soon as there is a record. (The embedded one only after this time.)
            .set("fetch.wait.max.ms", if self.is_embedded() { "10" } else { "500" })
            .set("queued.max.messages.kbytes", "65536")
            // How long a partition is left alone after the queue was found full. The default, a second, makes reading what
            // has piled up stop and go.
            .set("fetch.queue.backoff.ms", "10");
        config
    }

    fn is_embedded(&self) -> bool {
        self.settings
            .properties
            .iter()
            .any(|(name, _)| name == embedded::MARK)
    }
}

fn base_config(settings: &KafkaSettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.bootstrap_servers)
        .set("client.id", "stockalert")
        .set("socket.nagle.disable", "true")
        // Back within a second once a broker is back; the default waits up to 10 s.
        .set("reconnect.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "1000");
    for (name, value) in &settings.properties {
        if name != embedded::MARK {
            config.set(name, value);
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_properties_are_pairs() {
        assert_eq!(
            parse_properties("security.protocol=SASL_SSL, sasl.password=a=b"),
            Ok(vec![
                ("security.protocol".into(), "SASL_SSL".into()),
                ("sasl.password".into(), "a=b".into())
            ])
        );
        assert_eq!(parse_properties(""), Ok(vec![]));
        assert!(parse_properties("x").is_err());
    }

    #[test]
    fn what_the_promises_rest_on_cant_be_changed() {
        assert!(parse_properties("acks=1").unwrap_err().contains("acks"));
        assert!(parse_properties("enable.auto.commit=true").is_err());
    }
}
