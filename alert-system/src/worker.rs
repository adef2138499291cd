mod ending;
mod watching;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::{Offset, TopicPartitionList};
use service::ComponentHealth;
use service::kafka::{DeadLetters, Kafka};
use service::topics::{QUOTES, RULES, TICKERS};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::Offsets;
use crate::ends::EndsWatch;
use crate::engine::RearmMargin;
use crate::error::Error;
use crate::evaluator::{Evaluator, Progress};
use crate::group::{GroupContext, Rebalance};
use crate::lag::{LagWatch, UnreadWatch};
use crate::metrics;
use crate::partition::{Partition, Slot};
use crate::pressure::Pressure;
use crate::restore::{Restored, Restores, Tools};
use crate::watchdog::Beat;

/// The consumer group that shares the partitions of the quotes topic.
pub(crate) const GROUP: &str = "alert-system";

/// Rules taken in one turn.
const BURST: usize = 1_000;
/// The longest that quotes may take of one: bounds the delay of a rule change while quotes come fast.
const BURST_TIME: Duration = Duration::from_millis(5);
/// How long to wait for a quote when there is nothing else to do: bounds the delay of a rule change.
const IDLE: Duration = Duration::from_millis(5);
/// How long finishing the work may delay a rebalance. What is not committed by then is read again by the next owner, and what
/// is on its way to a slow broker may land behind the next owner's records: until the next restore puts that right.
const REVOKE: Duration = Duration::from_secs(20);
/// How long the client may take to begin reading elsewhere.
const SEEK: Duration = Duration::from_secs(5);

/// What the worker needs.
pub(crate) struct Setup {
    pub(crate) kafka: Kafka,
    pub(crate) margin: RearmMargin,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) runtime: Handle,
    pub(crate) health: ComponentHealth,
    pub(crate) beat: Arc<Beat>,
}

/// Works on this instance's partitions, on one thread. A turn does a little of everything and waits for nothing.
pub(crate) struct Worker {
    /// Shared only for the moment of a commit that is waited for.
    quotes: Arc<BaseConsumer<GroupContext>>,
    rules: BaseConsumer,
    evaluator: Evaluator,
    restores: Restores,
    pressure: Pressure,
    ends: EndsWatch,
    lag: LagWatch,
    unread_quotes: UnreadWatch,
    unread_rules: UnreadWatch,
    health: ComponentHealth,
    beat: Arc<Beat>,
    /// The group has answered at least once.
    joined: bool,
    told: Instant,
}

impl Worker {
    pub(crate) fn start(setup: Setup) -> Result<Self, Error> {
        let evaluator = Evaluator::start(&setup)?;
        let mut config = setup.kafka.consumer_config(GROUP);
        config
            // A rebalance touches only the partitions that move.
            .set("partition.assignment.strategy", "cooperative-sticky");
        let quotes: BaseConsumer<GroupContext> = config.create_with_context(GroupContext::default())?;
        quotes.subscribe(&[QUOTES.name])?;
        let rules = setup.kafka.consumer_config("alert-system-rules").create()?;
        let ends = EndsWatch::start(&setup.kafka)?;
        Ok(Self {
            quotes: Arc::new(quotes),
            rules,
            evaluator,
            restores: Restores::new(Tools {
                kafka: setup.kafka,
                margin: setup.margin,
                dead_letters: setup.dead_letters,
                runtime: setup.runtime,
            }),
            pressure: Pressure::default(),
            ends,
            lag: LagWatch::default(),
            // A partition may have to wait while others catch up.
            unread_quotes: UnreadWatch::after(3),
            unread_rules: UnreadWatch::after(1),
            health: setup.health,
            beat: setup.beat,
            joined: false,
            told: Instant::now(),
        })
    }

    /// Until shutdown.
    pub(crate) fn work(mut self, shutdown: &CancellationToken) -> Result<(), Error> {
        while !shutdown.is_cancelled() {
            if let Err(error) = self.turn() {
                self.leave();
                return Err(error);
            }
        }
        self.finish()
    }

    fn turn(&mut self) -> Result<(), Error> {
        self.beat.doing("reading rules");
        self.take_rules()?;
        self.beat.doing("reading quotes");
        self.take_quotes()?;
        self.beat.doing("following the group");
        self.follow_group()?;
        self.take_restored()?;
        self.beat.doing("committing");
        if let Progress::Ended(offsets) = self.evaluator.step_checkpoint(false)? {
            self.commit(&offsets)?;
        }
        self.relieve()?;
        self.watch_lag()?;
        self.evaluator.lanes.check()?;
        self.evaluator
            .metrics
            .flush(self.evaluator.lanes.outstanding_alerts());
        Ok(())
    }

    fn take_rules(&mut self) -> Result<(), Error> {
        for _ in 0..BURST {
            match self.rules.poll(Duration::ZERO) {
                Some(Ok(message)) => self.evaluator.take_rule(&message)?,
                Some(Err(error)) => log_poll_error(&error, RULES.name),
                None => break,
            }
        }
        Ok(())
    }

    fn take_quotes(&mut self) -> Result<(), Error> {
        let start = Instant::now();
        let in_a_hurry = self.evaluator.checkpoint.is_writing();
        let mut wait = if in_a_hurry { Duration::ZERO } else { IDLE };
        let mut handled = 0;
        loop {
            match self.quotes.poll(std::mem::take(&mut wait)) {
                Some(Ok(message)) => {
                    self.evaluator.take_quote(&message)?;
                    handled += 1;
                    if handled % 64 == 0 && start.elapsed() > BURST_TIME {
                        break;
                    }
                }
                Some(Err(error)) => log_poll_error(&error, QUOTES.name),
                None => break,
            }
        }
        if handled > 0 {
            self.evaluator.end_quotes(handled)?;
        }
        Ok(())
    }

    /// Carries out what the group decided.
    fn follow_group(&mut self) -> Result<(), Error> {
        for rebalance in self.quotes.context().take_rebalances() {
            match rebalance {
                Rebalance::Assign(partitions) => self.assign(&partitions)?,
                Rebalance::Revoke(partitions) => self.revoke(&partitions)?,
            }
            // What was committed while the group was being shared anew may have been refused, of which the client says
            // nothing: it tells only those who wait for a commit how it ended.
            self.evaluator.commit_again();
            self.joined = true;
            self.tell();
        }
        Ok(())
    }

    /// Takes partitions at once, so that the others go on, but paused until their state is restored.
    fn assign(&mut self, partitions: &TopicPartitionList) -> Result<(), Error> {
        let numbers = numbers(partitions);
        tracing::info!(partitions = ?numbers, "partitions assigned");
        // From the committed offsets, or from the beginning where there are none.
        self.quotes.incremental_assign(partitions)?;
        if numbers.is_empty() {
            return Ok(());
        }
        self.quotes.pause(partitions)?;
        let job = self.restores.start(numbers.clone())?;
        for number in numbers {
            self.evaluator
                .partitions
                .insert(number, Slot::Restoring { job, dropped: None });
        }
        Ok(())
    }

    /// Finishes the work of partitions and gives them up. The others keep their state.
    fn revoke(&mut self, partitions: &TopicPartitionList) -> Result<(), Error> {
        let numbers = numbers(partitions);
        let lost = self.quotes.assignment_lost();
        tracing::info!(partitions = ?numbers, lost, "partitions revoked");
        // What was lost has a new owner already: there is nothing to commit any more.
        if !lost && !self.settle(Instant::now() + REVOKE)? {
            tracing::warn!(
                seconds = REVOKE.as_secs(),
                "partitions are given up before their work was committed; it is done again"
            );
        }
        for number in &numbers {
            if let Some(Slot::Restoring { job, .. }) = self.evaluator.partitions.remove(*number) {
                self.restores.cancel(job, *number);
            }
            metrics::lag(*number, 0);
        }
        self.evaluator.checkpoint.forget(&numbers);
        self.follow_rules()?;
        self.quotes.incremental_unassign(partitions)?;
        Ok(())
    }

    /// Starts reading the quotes of partitions that are restored.
    fn take_restored(&mut self) -> Result<(), Error> {
        let mut came = false;
        while let Some(restored) = self.restores.take()? {
            let number = restored.partition;
            match self.evaluator.partitions.get_mut(number) {
                Some(Slot::Restoring { job, dropped }) if *job == restored.job => {
                    let dropped = *dropped;
                    self.take_over(restored, dropped)?;
                    came = true;
                }
                // It went, and perhaps came again, meanwhile.
                Some(_) | None => {}
            }
            self.tell();
        }
        if came {
            self.follow_rules()?;
        }
        if self.told.elapsed() >= Duration::from_millis(500) {
            self.tell();
        }
        Ok(())
    }

    fn take_over(&mut self, restored: Restored, dropped: Option<i64>) -> Result<(), Error> {
        let number = restored.partition;
        let partition = Partition {
            engine: restored.engine,
            next_rule: restored.rules_end,
            next_quote: None,
            first_quote: restored.first_quote,
            tickers_end: restored.tickers_end,
            // How far the rules were read is committed also where nothing else happens: operators see no lag.
            uncommitted: true,
        };
        self.evaluator
            .partitions
            .insert(number, Slot::Ready(Box::new(partition)));
        self.evaluator.checkpoint.handled(0, Instant::now());
        metrics::partition_restored();
        if let Some(offset) = dropped {
            self.quotes
                .seek(QUOTES.name, number, Offset::Offset(offset), SEEK)?;
        }
        if !self.pressure.is_paused() {
            let mut quotes = TopicPartitionList::new();
            quotes.add_partition(QUOTES.name, number);
            self.quotes.resume(&quotes)?;
        }
        Ok(())
    }

    /// Reads the rules of all ready partitions, each from the next one: all at once, so that nothing depends on what the client
    /// made of the assignments before.
    fn follow_rules(&self) -> Result<(), Error> {
        let mut rules = TopicPartitionList::new();
        for (number, partition) in self.evaluator.partitions.ready() {
            rules.add_partition_offset(RULES.name, number, Offset::Offset(partition.next_rule))?;
        }
        self.rules.assign(&rules)?;
        self.ends.want(
            self.evaluator
                .partitions
                .ready()
                .map(|(number, _)| number)
                .collect(),
        );
        Ok(())
    }

    fn commit(&self, offsets: &[Offsets]) -> Result<(), Error> {
        let offsets = committable(offsets)?;
        if offsets.count() > 0
            && let Err(error) = self.quotes.commit(&offsets, CommitMode::Async)
        {
            log_commit_error(&error);
        }
        Ok(())
    }
}

fn committable(offsets: &[Offsets]) -> Result<TopicPartitionList, Error> {
    let mut list = TopicPartitionList::new();
    for offsets in offsets {
        if let Some(next) = offsets.next_quote {
            list.add_partition_offset(QUOTES.name, offsets.partition, Offset::Offset(next))?;
        }
        // Up to here, malformed records are in the dead letters. Nothing is resumed from these.
        list.add_partition_offset(RULES.name, offsets.partition, Offset::Offset(offsets.next_rule))?;
        list.add_partition_offset(
            TICKERS.name,
            offsets.partition,
            Offset::Offset(offsets.tickers_end),
        )?;
    }
    Ok(list)
}

fn numbers(partitions: &TopicPartitionList) -> Vec<i32> {
    partitions
        .elements()
        .iter()
        .map(|element| element.partition())
        .collect()
}

/// Lost partitions can't be committed, and need not be: whoever has them reads the quotes again.
fn log_commit_error(error: &ClientError) {
    tracing::warn!(%error, "a commit failed; a later one makes up for it");
}

fn log_poll_error(error: &ClientError, topic: &str) {
    tracing::warn!(%error, kafka.topic = topic, "the consumer met an error and goes on");
}
