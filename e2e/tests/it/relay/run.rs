//! Instances of the server, writers, and what strikes them.

use std::time::{Duration, Instant};

use e2e::day::SplitMix;
use e2e::rules_topic::{Order, RulesTopic};

use super::writers::Writers;
use crate::api_run::{ApiRun, PATIENCE};

const WRITERS: usize = 64;
const USERS: usize = 16;

/// Longer than a leader's lease (10 s) and the others' next look at it (1 s).
const SHORTEST_PAUSE: Duration = Duration::from_millis(11_500);
/// Longer than the lease, the look at it, and what the paused leader may have locked (5 s), on a slow machine.
const TAKEOVER: Duration = Duration::from_secs(40);
/// With it, a pause ends before and after the new leader makes good what the old one may have had in hand (6 s).
const MORE_PAUSE_MS: u64 = 8_000;

/// Transactions of commands take a time of their own between writing into the outbox and committing, so that they commit
/// in another order. What relays put there again is older.
const COMMIT_DELAYS: &str = "create trigger commit_delays after insert on outbox for each row \
     do sleep(if(new.updated_at < unix_timestamp(sysdate(6)) * 1000000 - 500000, 0, \
                 if(rand() < 0.95, 0.002, 0.08) * rand()))";

pub(crate) struct RelayRun {
    // Before the servers that it writes to.
    writers: Writers,
    api: ApiRun,
    random: SplitMix,
    /// How many commands come with each strike.
    share: usize,
    strikes: u32,
    changes_of_leader: u32,
    /// How long it took at most until another led than the one that was paused.
    longest_without: Duration,
    leader: Option<usize>,
    started: Instant,
    outcome: Option<(RulesTopic, Order)>,
}

impl RelayRun {
    pub(crate) async fn start(commands: usize, strikes: usize) -> Self {
        let mut api = ApiRun::start(&[]).await;
        let users = api.register(USERS).await;
        api.servers.sql(COMMIT_DELAYS).unwrap();
        let writers = Writers::start(users, WRITERS, commands);
        writers.know(&api.addresses);
        Self {
            writers,
            api,
            random: SplitMix(5),
            share: commands / (strikes + 1),
            strikes: 0,
            changes_of_leader: 0,
            longest_without: Duration::ZERO,
            leader: None,
            started: Instant::now(),
            outcome: None,
        }
    }

    pub(crate) async fn has_instances(&mut self, count: usize) {
        while self.api.instances.len() < count {
            self.api.add_instance().await;
            self.writers.know(&self.api.addresses);
        }
    }

    /// Mostly the leader, soon after it began to lead, with much to publish; else any instance, at any time.
    pub(crate) async fn kill_one(&mut self) {
        let aimed = self.random.below(4) > 0;
        // Some to wait in the outbox until somebody leads, and some to write while it publishes.
        self.writers.allow(self.share / 2);
        let victim = if aimed {
            self.leader().await
        } else {
            usize::try_from(self.random.below(self.api.instances.len() as u64)).unwrap()
        };
        self.writers.allow(self.share - self.share / 2);
        self.wait(if aimed { 1_500 } else { 6_000 }).await;
        self.api.instances[victim].kill().unwrap();
        self.strikes += 1;
        println!(
            "kill {} of instance {victim} after {} commands, {} in the outbox",
            self.strikes,
            self.writers.done(),
            self.api.count("outbox")
        );
        self.wait(1_000).await;
        self.api.instances[victim].start_again().unwrap();
        self.api.instances[victim].ready(PATIENCE).await.unwrap();
    }

    pub(crate) async fn pause_the_leader(&mut self) {
        let leader = self.leader().await;
        let done = self.writers.done();
        self.writers.allow(self.share / 2);
        while self.writers.done() == done {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.wait(500).await;
        self.api.instances[leader].pause().unwrap();
        self.strikes += 1;
        println!(
            "pause {} of instance {leader} after {} commands, {} in the outbox",
            self.strikes,
            self.writers.done(),
            self.api.count("outbox")
        );
        let paused = Instant::now();
        // Writers go on, and until another leads, all of it waits.
        tokio::time::sleep(SHORTEST_PAUSE / 2).await;
        self.writers.allow(self.share - self.share / 2);
        while self.leaders(Some(leader)).await.is_empty() {
            assert!(paused.elapsed() < TAKEOVER, "nobody leads instead");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let took = paused.elapsed();
        self.longest_without = self.longest_without.max(took);
        tokio::time::sleep(SHORTEST_PAUSE.saturating_sub(took)).await;
        self.wait(MORE_PAUSE_MS).await;
        println!(
            "another leads after {took:.1?}; it goes on after {:.1?}",
            paused.elapsed()
        );
        self.api.instances[leader].resume().unwrap();
    }

    async fn wait(&mut self, most_ms: u64) {
        tokio::time::sleep(Duration::from_millis(self.random.below(most_ms))).await;
    }

    /// Who says that they lead, but for one that is not asked.
    async fn leaders(&self, but: Option<usize>) -> Vec<usize> {
        let mut leaders = Vec::new();
        for (number, instance) in self.api.instances.iter().enumerate() {
            if but != Some(number) && instance.metric("stockalert_outbox_relay_leader").await == Some(1.0) {
                leaders.push(number);
            }
        }
        leaders
    }

    /// Waits until exactly one leads.
    async fn leader(&mut self) -> usize {
        let start = Instant::now();
        loop {
            let leaders = self.leaders(None).await;
            if let [leader] = leaders[..] {
                if self.leader.is_some_and(|before| before != leader) {
                    self.changes_of_leader += 1;
                }
                self.leader = Some(leader);
                return leader;
            }
            assert!(start.elapsed() < PATIENCE, "these lead: {leaders:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for the last command and the last record, and compares all there is.
    pub(crate) async fn all_is_published(&mut self) {
        self.writers.finish().await;
        let topic = self.api.settled_topic().await;
        let order = topic.order();
        assert!(order.faults.is_empty(), "{:#?}", order.faults);
        let differences = topic.differences(&self.api.servers).unwrap();
        assert!(differences.is_empty(), "{differences:#?}");
        let faults = self.writers.faults(&topic);
        assert!(faults.is_empty(), "{faults:#?}");
        self.outcome = Some((topic, order));
    }

    pub(crate) fn print(&self, what: &str) {
        let (topic, order) = self.outcome.as_ref().unwrap();
        println!(
            "relay, {} {what} in {:.0?}, {} changes of leader, at most {:.1?} after a pause began: {}; {} rules with {} records in the topic, {} of them repeats, \
             {} of those after a newer version; no version missing, none in the wrong order, the newest last, no rule twice",
            self.strikes,
            self.started.elapsed(),
            self.changes_of_leader,
            self.longest_without,
            self.writers,
            topic.rules().count(),
            topic.record_count(),
            order.repeats,
            order.late_repeats,
        );
    }
}
