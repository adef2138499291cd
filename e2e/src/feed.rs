//! Writes quotes and rule changes straight into the topics, in such an order that what the alerts must be is certain.
//!
//! Rules and quotes are different topics, so that nothing orders a change and a quote that are written at once. Before a
//! ticker's rules change, its quotes stop until the alert system has committed those that were written; and they go on
//! once it has committed the changes. Other tickers' quotes flow meanwhile. So each version of a rule sees exactly the
//! quotes between its own change and the next.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cqrs::domain::Timestamp;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};
use service::codec::encode_quote;
use service::kafka::Kafka;
use service::topics::{QUOTES, RULES, Topic, partition_of};

use crate::committed::{Committed, CommittedOffsets};
use crate::day::SplitMix;
use crate::market::{Market, Mood};
use crate::rule_book::{RuleBook, RuleRecord};
use crate::rule_history::History;

/// How often quotes are written and commits looked at.
const TURN: Duration = Duration::from_millis(50);
/// After a hiccup of the machine, not all at once.
const MOST: u64 = 20_000;
/// Of a hundred tickers whose quotes go on, so many begin with a late quote: whoever has restored them meanwhile knows
/// only from their record that it is late.
const LATE_FIRST: u64 = 30;
/// Tickers whose quotes are held back at one time.
const HELD: usize = 40;
/// Machines are shared, and a killed member holds its group up.
const PATIENCE: Duration = Duration::from_secs(240);

/// How much is written.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Tickers, all of them watched.
    pub tickers: usize,
    /// Rules per ticker, at the start, near its price.
    pub near_rules: usize,
    /// Rules per ticker that no price reaches.
    pub far_rules: usize,
    /// Quotes to write; more if the caller takes longer.
    pub quotes: u64,
    /// Rule changes to write, spread over the quotes.
    pub edits: u64,
    /// How fast.
    pub quotes_per_second: u64,
}

/// How far a feed has come, and what is wanted of it.
#[derive(Debug, Default)]
pub struct FeedControl {
    quotes: AtomicU64,
    edits: AtomicU64,
    burst: AtomicU64,
    storm: AtomicU64,
    finish: AtomicBool,
}

impl FeedControl {
    /// Quotes written so far.
    pub fn quotes(&self) -> u64 {
        self.quotes.load(Ordering::Relaxed)
    }

    /// Rule changes written so far.
    pub fn edits(&self) -> u64 {
        self.edits.load(Ordering::Relaxed)
    }

    /// Asks for so many quotes at once.
    pub fn burst(&self, quotes: u64) {
        self.burst.store(quotes, Ordering::Relaxed);
    }

    /// Asks for so many quotes at once, with prices that jump.
    pub fn storm(&self, quotes: u64) {
        self.storm.store(quotes, Ordering::Relaxed);
    }

    /// Lets the feed end once all is written.
    pub fn finish(&self) {
        self.finish.store(true, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone, Copy)]
enum Flow {
    Flowing,
    /// Until the quotes before this offset are committed.
    Draining {
        until: i64,
        edits: u64,
        since: Instant,
    },
    /// Until the rules before this offset are committed.
    Applying {
        until: i64,
        since: Instant,
    },
}

#[derive(Debug)]
struct Watched {
    partition: i32,
    /// The offset after its last quote.
    written_to: i64,
    late_first: bool,
    flow: Flow,
}

/// See the module.
pub struct Feed {
    load: Load,
    producer: FutureProducer,
    committed: Committed,
    market: Market,
    rules: RuleBook,
    watched: Vec<Watched>,
    random: SplitMix,
    last_time: Timestamp,
    edits_begun: u64,
    longest_hold: Duration,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed")
            .field("load", &self.load)
            .finish_non_exhaustive()
    }
}

impl Feed {
    /// Writes the first rules.
    ///
    /// # Errors
    /// If the broker does not take them.
    pub async fn start(
        kafka: &Kafka,
        bootstrap_servers: &str,
        load: Load,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let producer = kafka
            .producer_config(Duration::from_secs(120), Duration::from_millis(2))
            .create()?;
        let partitions = kafka.partitions();
        let market = Market::new(load.tickers, seed)?;
        let watched = (0..load.tickers)
            .map(|number| Watched {
                partition: partition_of(market.ticker(number), partitions),
                written_to: 0,
                late_first: false,
                flow: Flow::Flowing,
            })
            .collect();
        let mut feed = Self {
            load,
            producer,
            committed: Committed::open(bootstrap_servers, "alert-system", &[RULES, QUOTES], partitions)?,
            rules: RuleBook::new(load.tickers, seed + 1),
            market,
            watched,
            random: SplitMix(seed + 2),
            last_time: Timestamp::EPOCH,
            edits_begun: 0,
            longest_hold: Duration::ZERO,
        };
        feed.write_first_rules().await?;
        Ok(feed)
    }

    /// What happened to the rules.
    #[must_use]
    pub fn histories(&self) -> Vec<History> {
        self.rules.histories()
    }

    /// The longest that one ticker's quotes or changes waited to be committed.
    #[must_use]
    pub const fn longest_hold(&self) -> Duration {
        self.longest_hold
    }

    /// Writes until all is written and the caller wants no more; then each ticker has its last changes applied.
    ///
    /// # Errors
    /// If the broker refuses, or the alert system commits nothing for minutes.
    pub async fn run(mut self, control: Arc<FeedControl>) -> anyhow::Result<Self> {
        let mut written_up_to = Instant::now();
        loop {
            let all_written = control.quotes() >= self.load.quotes && control.edits() >= self.load.edits;
            if all_written && control.finish.load(Ordering::Relaxed) && self.held() == 0 {
                return Ok(self);
            }
            let committed = tokio::task::block_in_place(|| self.committed.now())?;
            self.go_on_with_held(&committed, &control).await?;
            self.hold_for_edits(&control)?;
            let due =
                self.load.quotes_per_second * u64::try_from(written_up_to.elapsed().as_millis())? / 1_000;
            written_up_to = Instant::now();
            let burst = control.burst.swap(0, Ordering::Relaxed);
            self.write_quotes(due.min(MOST) + burst, Mood::Calm, &control)
                .await?;
            let storm = control.storm.swap(0, Ordering::Relaxed);
            self.write_quotes(storm, Mood::Storm, &control).await?;
            tokio::time::sleep(TURN).await;
        }
    }

    async fn write_first_rules(&mut self) -> anyhow::Result<()> {
        let partitions: Vec<i32> = self.watched.iter().map(|watched| watched.partition).collect();
        for (number, partition) in partitions.into_iter().enumerate() {
            let mut sent = Vec::new();
            for count in 0..self.load.near_rules + self.load.far_rules {
                let now = self.now();
                let (ticker, price) = (self.market.ticker(number), self.market.price(number));
                let record = if count < self.load.near_rules {
                    self.rules.create(number, ticker, price, now)?
                } else {
                    self.rules.create_far(number, ticker, price, now)?
                };
                sent.push(self.send_rule(partition, &record).await?);
            }
            last_offset(sent).await?;
        }
        Ok(())
    }

    fn held(&self) -> usize {
        self.watched
            .iter()
            .filter(|watched| !matches!(watched.flow, Flow::Flowing))
            .count()
    }

    /// Begins as many changes as are due.
    fn hold_for_edits(&mut self, control: &FeedControl) -> anyhow::Result<()> {
        let share = control.quotes().min(self.load.quotes);
        let due = self.load.edits * share / self.load.quotes.max(1);
        let mut held = self.held();
        while self.edits_begun < due && held < HELD {
            let number = usize::try_from(self.random.below(self.watched.len() as u64))?;
            let watched = &mut self.watched[number];
            if !matches!(watched.flow, Flow::Flowing) {
                continue;
            }
            let edits = (1 + self.random.below(9)).min(due - self.edits_begun);
            watched.flow = Flow::Draining {
                until: watched.written_to,
                edits,
                since: Instant::now(),
            };
            self.edits_begun += edits;
            held += 1;
        }
        Ok(())
    }

    /// Writes the changes of tickers whose quotes are all evaluated, and lets those go on whose changes are applied.
    async fn go_on_with_held(
        &mut self,
        committed: &CommittedOffsets,
        control: &FeedControl,
    ) -> anyhow::Result<()> {
        for number in 0..self.watched.len() {
            let Watched { partition, flow, .. } = self.watched[number];
            let (what, topic, until, since) = match flow {
                Flow::Flowing => continue,
                Flow::Draining { until, since, .. } => ("quotes", QUOTES, until, since),
                Flow::Applying { until, since } => ("rule changes", RULES, until, since),
            };
            let reached = committed.of(topic, partition);
            if reached < until {
                if since.elapsed() > PATIENCE {
                    bail!(
                        "the alert system has not committed {what} of partition {partition} before offset {until} for \
                         {PATIENCE:?}; it is at {reached}"
                    );
                }
                continue;
            }
            self.longest_hold = self.longest_hold.max(since.elapsed());
            self.watched[number].flow = match flow {
                Flow::Draining { edits, .. } => Flow::Applying {
                    until: self.write_edits(number, edits).await?,
                    since: Instant::now(),
                },
                Flow::Flowing | Flow::Applying { .. } => {
                    self.watched[number].late_first = self.random.below(100) < LATE_FIRST;
                    Flow::Flowing
                }
            };
            if let Flow::Draining { edits, .. } = flow {
                control.edits.fetch_add(edits, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Returns the offset after the last of them.
    async fn write_edits(&mut self, number: usize, edits: u64) -> anyhow::Result<i64> {
        let partition = self.watched[number].partition;
        let mut sent = Vec::new();
        for _ in 0..edits {
            let now = self.now();
            let (ticker, price) = (self.market.ticker(number), self.market.price(number));
            for record in self.rules.edit(number, ticker, price, now)? {
                sent.push(self.send_rule(partition, &record).await?);
            }
        }
        Ok(last_offset(sent).await? + 1)
    }

    async fn write_quotes(&mut self, count: u64, mood: Mood, control: &FeedControl) -> anyhow::Result<()> {
        let flowing: Vec<usize> = (0..self.watched.len())
            .filter(|number| matches!(self.watched[*number].flow, Flow::Flowing))
            .collect();
        if flowing.is_empty() {
            return Ok(());
        }
        let mut sent: HashMap<usize, Vec<DeliveryFuture>> = HashMap::new();
        for _ in 0..count {
            let number = flowing[usize::try_from(self.random.below(flowing.len() as u64))?];
            let now = self.now();
            let late_first = std::mem::take(&mut self.watched[number].late_first);
            let mood = if late_first { Mood::Late } else { mood };
            let quote = self.market.quote(number, mood, now)?;
            let partition = self.watched[number].partition;
            let payload = encode_quote(&quote);
            let delivery = self
                .send(QUOTES, partition, quote.ticker.as_str(), Some(&payload))
                .await?;
            sent.entry(number).or_default().push(delivery);
            control.quotes.fetch_add(1, Ordering::Relaxed);
        }
        for (number, deliveries) in sent {
            self.watched[number].written_to = last_offset(deliveries).await? + 1;
        }
        Ok(())
    }

    /// The wall clock, but each time later than the time before.
    fn now(&mut self) -> Timestamp {
        let next = self.last_time.plus(Duration::from_micros(1));
        self.last_time = Timestamp::now().max(next);
        self.last_time
    }

    async fn send_rule(&self, partition: i32, record: &RuleRecord) -> anyhow::Result<DeliveryFuture> {
        self.send(RULES, partition, &record.key, record.payload.as_deref())
            .await
    }

    async fn send(
        &self,
        topic: Topic,
        partition: i32,
        key: &str,
        payload: Option<&[u8]>,
    ) -> anyhow::Result<DeliveryFuture> {
        let mut record: FutureRecord<'_, str, [u8]> =
            FutureRecord::to(topic.name).partition(partition).key(key);
        if let Some(payload) = payload {
            record = record.payload(payload);
        }
        loop {
            match self.producer.send_result(record) {
                Ok(delivery) => return Ok(delivery),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                    record = refused;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }
}

/// Waits for all acknowledgements; the highest offset.
async fn last_offset(deliveries: Vec<DeliveryFuture>) -> anyhow::Result<i64> {
    let mut last = -1;
    for delivery in deliveries {
        let delivered = delivery.await.context("the producer ended")?;
        let delivered = delivered
            .map_err(|(error, _)| error)
            .context("a record was not acknowledged")?;
        last = last.max(delivered.offset);
    }
    Ok(last)
}
