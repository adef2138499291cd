//! Keeps the watchlist in step with the rules topic.

use std::time::Duration;

use cqrs::domain::Timestamp;
use service::ComponentHealth;
use service::codec::{DecodeError, decode_rule, decode_rule_key};
use service::kafka::{BatchConsumer, ConsumerEvent, KafkaError, Record};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::metrics::RULES_UNREADABLE;
use crate::watchlist::{WatchChange, Watchlist};

/// How late the expiry of a rule may be noticed.
const EXPIRY_CHECK: Duration = Duration::from_secs(1);

/// Reads rules until `shutdown` and tells `changes` which tickers to poll, and `share` how many of how many partitions are this
/// process's. `consumer` reads the rules topic from the
/// beginning at each assignment; nothing is committed, because nothing is kept. Ready from the first assignment on.
///
/// # Errors
/// If the consumer fails for good.
pub async fn follow(
    mut consumer: BatchConsumer,
    mut list: Watchlist,
    changes: mpsc::Sender<WatchChange>,
    share: impl Fn(u32, u32),
    health: ComponentHealth,
    shutdown: CancellationToken,
) -> Result<(), KafkaError> {
    let mut expiry = tokio::time::interval(EXPIRY_CHECK);
    loop {
        let found: Vec<WatchChange> = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            _ = expiry.tick() => list.expire(Timestamp::now()),
            event = consumer.next() => match event? {
                ConsumerEvent::Assigned(partitions) => {
                    health.ready();
                    let found = partitions.into_iter().flat_map(|partition| list.assign(partition)).collect();
                    let (held, all) = list.share();
                    share(held, all);
                    found
                }
                ConsumerEvent::Revoked(partitions) => {
                    let found = partitions.into_iter().flat_map(|partition| list.revoke(partition)).collect();
                    let (held, all) = list.share();
                    share(held, all);
                    found
                }
                ConsumerEvent::Batch(batch) => {
                    batch.records.iter().flat_map(|record| apply(&mut list, record)).collect()
                }
            },
        };
        for change in found {
            if changes.send(change).await.is_err() {
                return Ok(());
            }
        }
    }
}

fn apply(list: &mut Watchlist, record: &Record) -> Vec<WatchChange> {
    let applied = match &record.payload {
        Some(value) => decode_rule(value).map(|rule| list.change(record.partition, &rule, Timestamp::now())),
        None => decode_rule_key(record.key.as_deref()).map(|rule_id| list.delete(record.partition, rule_id)),
    };
    applied.unwrap_or_else(|error: DecodeError| {
        // Its dead letter is written by alert-system.
        metrics::counter!(RULES_UNREADABLE).increment(1);
        tracing::warn!(
            kafka.partition = record.partition,
            kafka.offset = record.offset,
            "a rule is skipped: {error}"
        );
        Vec::new()
    })
}
