use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;

use super::{KafkaError, KafkaSettings, base_config};
use crate::topics::{ALL, Cleanup, QUOTES, Topic};

/// Creates what is missing; returns the partition count of the ticker-partitioned topics.
pub(super) async fn ensure_topics(settings: &KafkaSettings, timeout: Duration) -> Result<i32, KafkaError> {
    let admin: Arc<AdminClient<DefaultClientContext>> = Arc::new(base_config(settings).create()?);
    let mut existing = partition_counts(&admin, settings, timeout).await?;
    let missing: Vec<Topic> = ALL
        .into_iter()
        .filter(|topic| !existing.contains_key(topic.name))
        .collect();
    if !missing.is_empty() {
        // Topics created beside existing ones get as many partitions as those have.
        let partitions = agreed_count(&existing)?.unwrap_or(settings.partitions);
        create(&admin, &missing, partitions).await?;
        existing = wait_until_all_exist(&admin, settings, timeout).await?;
    }
    let partitions =
        agreed_count(&existing)?.ok_or_else(|| KafkaError::Topics("the topics did not appear".into()))?;
    if partitions != settings.partitions {
        tracing::warn!(
            partitions,
            setting = settings.partitions,
            "the topics exist with another partition count, which is used"
        );
    }
    Ok(partitions)
}

/// Partition counts of all topics that exist; creates none.
pub(super) async fn existing_topics(
    settings: &KafkaSettings,
    timeout: Duration,
) -> Result<BTreeMap<String, i32>, KafkaError> {
    partition_counts(&Arc::new(base_config(settings).create()?), settings, timeout).await
}

/// The partition count of the ticker-partitioned topics where they exist already; creates none.
pub(super) async fn agreed_partitions(
    settings: &KafkaSettings,
    timeout: Duration,
) -> Result<i32, KafkaError> {
    let existing = existing_topics(settings, timeout).await?;
    if !existing.contains_key(QUOTES.name) {
        return Err(KafkaError::Topics(format!(
            "there is no topic {} at {}; the services make their topics when they first start with a broker",
            QUOTES.name, settings.bootstrap_servers
        )));
    }
    agreed_count(&existing)?.ok_or_else(|| KafkaError::Topics("the topics are gone".into()))
}

async fn wait_until_all_exist(
    admin: &Arc<AdminClient<DefaultClientContext>>,
    settings: &KafkaSettings,
    timeout: Duration,
) -> Result<BTreeMap<String, i32>, KafkaError> {
    let start = Instant::now();
    loop {
        let existing = partition_counts(admin, settings, timeout).await?;
        if ALL.iter().all(|topic| existing.contains_key(topic.name)) {
            return Ok(existing);
        }
        if start.elapsed() > timeout {
            return Err(KafkaError::Topics(
                "the topics were created but did not appear within a minute".into(),
            ));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn partition_counts(
    admin: &Arc<AdminClient<DefaultClientContext>>,
    settings: &KafkaSettings,
    timeout: Duration,
) -> Result<BTreeMap<String, i32>, KafkaError> {
    let start = Instant::now();
    loop {
        let client = Arc::clone(admin);
        let metadata =
            tokio::task::spawn_blocking(move || client.inner().fetch_metadata(None, Duration::from_secs(2)))
                .await
                .map_err(|_| KafkaError::Ended)?;
        match metadata {
            Ok(metadata) => {
                return Ok(metadata
                    .topics()
                    .iter()
                    .filter(|topic| topic.error().is_none())
                    .map(|topic| {
                        (
                            topic.name().to_owned(),
                            i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX),
                        )
                    })
                    .collect());
            }
            Err(error) if start.elapsed() > timeout => {
                return Err(KafkaError::Unreachable {
                    bootstrap_servers: settings.bootstrap_servers.clone(),
                    seconds: timeout.as_secs(),
                    reason: error.to_string(),
                });
            }
            Err(error) => {
                tracing::warn!(%error, bootstrap_servers = settings.bootstrap_servers, "no Kafka broker yet, trying again");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

/// The one partition count of all ticker-partitioned topics that exist.
fn agreed_count(existing: &BTreeMap<String, i32>) -> Result<Option<i32>, KafkaError> {
    let counts: Vec<(&str, i32)> = ALL
        .iter()
        .filter(|topic| topic.by_ticker)
        .filter_map(|topic| existing.get(topic.name).map(|count| (topic.name, *count)))
        .collect();
    if counts.windows(2).any(|pair| pair[0].1 != pair[1].1) {
        let list: Vec<String> = counts
            .iter()
            .map(|(name, count)| format!("{name}: {count}"))
            .collect();
        return Err(KafkaError::Topics(format!(
            "the topics need equally many partitions, but have {}; give them equal counts (kafka-topics --alter)",
            list.join(", ")
        )));
    }
    Ok(counts.first().map(|(_, count)| *count))
}

async fn create(
    admin: &AdminClient<DefaultClientContext>,
    topics: &[Topic],
    partitions: i32,
) -> Result<(), KafkaError> {
    let settings: Vec<Vec<(&str, String)>> = topics.iter().map(|topic| settings_of(*topic)).collect();
    let new: Vec<NewTopic<'_>> = topics
        .iter()
        .zip(&settings)
        .map(|(topic, settings)| {
            let count = if topic.by_ticker { partitions } else { 1 };
            // -1: the broker's default.replication.factor.
            let new = NewTopic::new(topic.name, count, TopicReplication::Fixed(-1));
            settings
                .iter()
                .fold(new, |new, (name, value)| new.set(name, value))
        })
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    for result in admin.create_topics(&new, &options).await? {
        match result {
            Ok(name) => tracing::info!(topic = name, partitions, "topic created"),
            // Another service was quicker.
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => {
                return Err(KafkaError::Topics(format!(
                    "the topic {name} could not be created: {code}"
                )));
            }
        }
    }
    Ok(())
}

fn settings_of(topic: Topic) -> Vec<(&'static str, String)> {
    match topic.cleanup {
        Cleanup::Compact(lag) => vec![
            ("cleanup.policy", "compact".into()),
            ("min.compaction.lag.ms", lag.as_millis().to_string()),
        ],
        Cleanup::Delete(retention) => vec![
            ("cleanup.policy", "delete".into()),
            ("retention.ms", retention.as_millis().to_string()),
        ],
    }
}
