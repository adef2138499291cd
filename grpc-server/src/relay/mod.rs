//! Publishes the outbox: rule changes that commands have made durable, in order, until the log has acknowledged them.
//!
//! Any number of relays may run; one of them leads, by a lease in the database. Nothing stops a process from being
//! paused between looking at its lease and handing a record to the client, so leadership alone can't keep an old
//! version of a rule from becoming its last record, which compaction would then keep. Hence:
//!
//! - a record is handed over only while the lease lasts longer than the record can be tried (`MESSAGE_TIMEOUT`);
//! - a leader that learns that it lost the lease publishes again what it handed over since it last knew that it had it;
//! - a new leader publishes again what the one before may have had in hand, after that one's records are delivered or
//!   given up.
//!
//! Publishing something again is harmless: readers drop versions that they have.

mod publish;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cqrs::domain::{RuleId, Ticker, Timestamp};
use cqrs::{CommandError, Commands, Lease, Leases, Outbox, Store, StoreError};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use service::ComponentHealth;
use service::kafka::{Kafka, KafkaError, KafkaSettings, Producer};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::publish::{publish, record_age};

/// Name of the lease that the leading relay holds.
pub const LEASE: &str = "outbox-relay";

/// How long a leader leads without renewing. With `STANDBY_POLL`, a killed leader is replaced within 11 s.
const LEASE_TTL: Duration = Duration::from_secs(10);

/// How often a leader renews: two renewals may fail before the lease is too short to publish under.
const RENEW_EVERY: Duration = Duration::from_secs(3);

/// How often the others ask whether the lease is free.
const STANDBY_POLL: Duration = Duration::from_secs(1);

/// How long the client tries to deliver a record. Well below `LEASE_TTL`, so that what a leader hands over is delivered
/// or given up while it leads.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(4);

/// When nothing of the leader before can arrive any more, whatever the clients' timers add.
const SETTLED_AFTER: Duration = Duration::from_secs(6);

/// How long a record waits for company. A batch is handed over at once, so it need not wait long.
const LINGER: Duration = Duration::from_millis(1);

/// Most entries in one round: a round takes milliseconds, far below `RENEW_EVERY`.
const BATCH: u16 = 500;

/// How often the outbox is read while nothing wakes the relay: commands of other instances.
const POLL: Duration = Duration::from_millis(250);

/// How long the next round waits after one that took all there was: while many commands come, their changes go out together,
/// which costs the broker much less. A change that comes alone goes at once.
const GATHER: Duration = Duration::from_millis(20);

/// How often rules are looked for whose time has passed, and how many are expired at once.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);
const EXPIRE_AT_ONCE: u32 = 500;

/// Waits after failures: doubling from the first to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Why a round failed; the next may not.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("rules could not be expired: {0}")]
    Expire(#[from] CommandError),
    #[error(transparent)]
    Kafka(#[from] KafkaError),
}

impl RelayError {
    /// The client says that it can't go on; a new process can.
    fn is_fatal(&self) -> bool {
        matches!(
            self,
            Self::Kafka(KafkaError::Client(ClientError::MessageProduction(
                RDKafkaErrorCode::Fatal
            )))
        )
    }
}

/// Runs a relay until shutdown: looks for the broker for as long as it takes, then publishes whenever it leads.
///
/// # Errors
/// If the topics are not as they must be, or the client failed for good.
pub(crate) async fn run(
    store: Store,
    commands: Commands,
    kafka: KafkaSettings,
    outbox_filled: Arc<Notify>,
    health: ComponentHealth,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let Some(kafka) = shutdown.run_until_cancelled(reach_broker(&kafka, &health)).await else {
        return Ok(());
    };
    let relay = Relay {
        outbox: store.outbox(),
        leases: store.leases(),
        commands,
        producer: kafka?.producer(MESSAGE_TIMEOUT, LINGER)?,
        outbox_filled,
        health,
        holder: Uuid::new_v4().to_string(),
        leadership: None,
        renewed_at: None,
        expired_at: None,
        unconfirmed: BTreeMap::new(),
        suspects: VecDeque::new(),
    };
    relay.run(shutdown).await
}

async fn reach_broker(settings: &KafkaSettings, health: &ComponentHealth) -> Result<Kafka, KafkaError> {
    loop {
        match Kafka::connect(settings).await {
            Err(error @ KafkaError::Unreachable { .. }) => health.not_ready(error.to_string()),
            result => return result,
        }
    }
}

/// Rules of which an old version may have become the last record, and when to publish their newest version again.
#[derive(Debug)]
struct Suspects {
    due: Instant,
    rules: Vec<(RuleId, Ticker)>,
}

/// Held, as far as is known.
#[derive(Debug, Clone, Copy)]
struct Leadership {
    term: i64,
    /// By this process's clock, from before the database was asked: never later than the database's own end.
    ends_at: Instant,
}

#[derive(Debug)]
struct Relay {
    outbox: Outbox,
    leases: Leases,
    commands: Commands,
    producer: Producer,
    outbox_filled: Arc<Notify>,
    health: ComponentHealth,
    holder: String,
    leadership: Option<Leadership>,
    renewed_at: Option<Instant>,
    expired_at: Option<Instant>,
    /// Rules handed over since the lease was last known to be held.
    unconfirmed: BTreeMap<RuleId, Ticker>,
    suspects: VecDeque<Suspects>,
}

impl Relay {
    async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut backoff = BACKOFF.0;
        while !shutdown.is_cancelled() {
            let wait = match self.round().await {
                Ok(wait) => {
                    self.health.ready();
                    backoff = BACKOFF.0;
                    wait
                }
                Err(error) if error.is_fatal() => {
                    return Err(anyhow::Error::new(error).context("the outbox relay can't go on"));
                }
                Err(error) => {
                    metrics::counter!("stockalert_outbox_relay_failures_total").increment(1);
                    if backoff == BACKOFF.0 {
                        tracing::warn!(%error, "the outbox relay failed and tries again");
                    }
                    self.health.not_ready(error.to_string());
                    backoff = (backoff * 2).min(BACKOFF.1);
                    backoff
                }
            };
            let woken = async {
                if self.leadership.is_some() && wait == POLL {
                    self.outbox_filled.notified().await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = woken => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.step_down().await;
        Ok(())
    }

    /// One round of work; returns how long to wait before the next.
    async fn round(&mut self) -> Result<Duration, RelayError> {
        let renew_every = if self.leadership.is_some() {
            RENEW_EVERY
        } else {
            STANDBY_POLL
        };
        if is_due(self.renewed_at, renew_every) {
            self.renew().await?;
        }
        // Publishing comes first: nothing that fails below may hold it up.
        let wait = match self.leadership {
            Some(_) => self.publish_pending().await,
            None => Ok(STANDBY_POLL),
        };
        self.requeue_suspects().await?;
        if self.leadership.is_some() && is_due(self.expired_at, EXPIRE_EVERY) {
            self.expired_at = Some(Instant::now());
            self.commands
                .expire_rules(Timestamp::now(), EXPIRE_AT_ONCE)
                .await?;
        }
        wait
    }

    /// Publishes the oldest entries and forgets those that the log has; returns how long to wait for more.
    async fn publish_pending(&mut self) -> Result<Duration, RelayError> {
        let entries = self.outbox.pending(BATCH.into()).await?;
        record_age(&entries);
        if entries.is_empty() {
            return Ok(POLL);
        }
        let leadership = self.leadership;
        let may_hand_over =
            || leadership.is_some_and(|leadership| Instant::now() + MESSAGE_TIMEOUT <= leadership.ends_at);
        let published = publish(&self.producer, &entries, &mut self.unconfirmed, may_hand_over).await;
        self.outbox.delete(&published.forgettable).await?;
        metrics::counter!("stockalert_outbox_published_total")
            .increment(u64::try_from(published.forgettable.len()).unwrap_or(u64::MAX));
        match published.failure {
            Some(error) => Err(error.into()),
            // The lease is too short to go on: renew it first.
            None if published.forgettable.is_empty() => {
                self.renewed_at = None;
                Ok(POLL)
            }
            None if entries.len() < usize::from(BATCH) => Ok(GATHER),
            None => Ok(Duration::ZERO),
        }
    }

    /// Asks the database for the lease and draws the conclusions from its answer.
    async fn renew(&mut self) -> Result<(), RelayError> {
        let asked_at = Instant::now();
        let lease = self.leases.acquire(LEASE, &self.holder, LEASE_TTL).await?;
        let led_before = self.leadership.map(|leadership| leadership.term);
        match lease {
            // Nobody else led since the last renewal: all that was handed over was handed over by the leader.
            Some(Lease { term }) if led_before == Some(term) => self.unconfirmed.clear(),
            Some(Lease { term }) => {
                self.distrust_unconfirmed();
                // Until this is known, it does not lead: the question is asked again.
                self.leadership = None;
                let rules = self.outbox.touched().await?;
                self.suspects.push_back(Suspects {
                    due: Instant::now() + SETTLED_AFTER,
                    rules,
                });
                tracing::info!(term, "this outbox relay leads");
            }
            None => {
                if led_before.is_some() {
                    tracing::warn!("this outbox relay lost its lease");
                }
                self.distrust_unconfirmed();
            }
        }
        self.leadership = lease.map(|lease| Leadership {
            term: lease.term,
            ends_at: asked_at + LEASE_TTL,
        });
        self.renewed_at = Some(asked_at);
        metrics::gauge!("stockalert_outbox_relay_leader").set(if self.leadership.is_some() {
            1.0
        } else {
            0.0
        });
        Ok(())
    }

    /// What was handed over after another began to lead may now be a rule's last record, though an older version. Twice:
    /// at once, because this process may end, and again when what the new leader had in hand is done, because the first
    /// may meet the new leader's own entry and vanish with it.
    fn distrust_unconfirmed(&mut self) {
        let rules: Vec<_> = std::mem::take(&mut self.unconfirmed).into_iter().collect();
        if rules.is_empty() {
            return;
        }
        tracing::warn!(
            rules = rules.len(),
            "rules were published without the lease; their newest versions follow"
        );
        let now = Instant::now();
        self.suspects.push_front(Suspects {
            due: now,
            rules: rules.clone(),
        });
        self.suspects.push_back(Suspects {
            due: now + SETTLED_AFTER,
            rules,
        });
    }

    /// Puts the newest versions of the suspects that are due into the outbox again, as much at once as a round takes.
    async fn requeue_suspects(&mut self) -> Result<(), RelayError> {
        let now = Instant::now();
        let Some(due) = self.suspects.iter_mut().find(|suspects| suspects.due <= now) else {
            return Ok(());
        };
        let rest = due.rules.len().saturating_sub(usize::from(BATCH));
        self.outbox.requeue(&due.rules[rest..]).await?;
        due.rules.truncate(rest);
        self.suspects.retain(|suspects| !suspects.rules.is_empty());
        Ok(())
    }

    /// Leaves nothing in doubt, and the lease to whoever comes next. What fails here, the next leader makes up for.
    async fn step_down(&mut self) {
        let farewell = async {
            if self.leadership.is_some() {
                self.renew().await?;
            }
            for suspects in std::mem::take(&mut self.suspects) {
                self.outbox.requeue(&suspects.rules).await?;
            }
            self.leases.release(LEASE, &self.holder).await?;
            Ok::<_, RelayError>(())
        };
        if let Err(error) = farewell.await {
            tracing::warn!(%error, "the outbox relay could not step down; its lease runs out by itself");
        }
    }
}

fn is_due(last: Option<Instant>, every: Duration) -> bool {
    last.is_none_or(|last| last.elapsed() >= every)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::assertions_on_constants, reason = "the constants are what is tested")]
    fn a_record_is_delivered_or_given_up_before_the_lease_can_be_anothers() {
        assert!(RENEW_EVERY + MESSAGE_TIMEOUT < LEASE_TTL);
        assert!(SETTLED_AFTER > MESSAGE_TIMEOUT);
        assert!(LEASE_TTL + STANDBY_POLL < Duration::from_secs(15));
    }
}
