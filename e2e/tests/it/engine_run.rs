use std::sync::Arc;
use std::time::{Duration, Instant};

use cqrs::domain::Timestamp;
use e2e::alert_comparison::Comparison;
use e2e::committed::Committed;
use e2e::day::SplitMix;
use e2e::feed::{Feed, FeedControl, Load};
use e2e::log;
use e2e::process::Service;
use e2e::servers::KafkaServer;
use service::config::KafkaArgs;
use service::kafka::Kafka;
use service::topics::{ALERTS, QUOTES, RULES, Topic};
use tempfile::TempDir;
use tokio::task::JoinHandle;

const PARTITIONS: i32 = 12;
/// Machines are shared: everything is waited for, and for long.
const PATIENCE: Duration = Duration::from_secs(180);

/// Faults that follow one another hold a partition up for several session timeouts. A standstill that only a watchdog ends,
/// after a minute, must not go unseen.
const STALL: Duration = Duration::from_secs(55);

/// Alert systems alone, as processes on a real Kafka, fed with quotes and rule changes.
pub(crate) struct EngineRun {
    // Dropped in this order: instances before their server.
    pub(crate) instances: Vec<Service>,
    feed: Option<JoinHandle<anyhow::Result<Feed>>>,
    pub(crate) control: Arc<FeedControl>,
    kafka: KafkaServer,
    folder: TempDir,
    pub(crate) random: SplitMix,
    awakenings: Vec<Timestamp>,
    started: Instant,
    load: Load,
}

impl EngineRun {
    /// Writes the first rules, starts the instances, and lets quotes flow once they know the rules.
    pub(crate) async fn start(instances: usize, load: Load) -> Self {
        let kafka = KafkaServer::start().unwrap();
        let settings = KafkaArgs::plain(kafka.bootstrap_servers.clone(), PARTITIONS).settings();
        let topics = Kafka::connect(&settings).await.unwrap();
        let feed = Feed::start(&topics, &kafka.bootstrap_servers, load, 1)
            .await
            .unwrap();
        let mut run = Self {
            instances: Vec::new(),
            feed: None,
            control: Arc::default(),
            kafka,
            folder: tempfile::tempdir().unwrap(),
            random: SplitMix(4),
            awakenings: Vec::new(),
            started: Instant::now(),
            load,
        };
        for _ in 0..instances {
            run.join();
        }
        run.all_ready().await;
        run.until("the first rules are applied", |run| run.lag(RULES) == 0)
            .await;
        run.say(&format!("{instances} instances know the rules"));
        run.feed = Some(tokio::spawn(feed.run(Arc::clone(&run.control))));
        run
    }

    /// One more instance.
    pub(crate) fn join(&mut self) {
        let name = format!("alert-system-{}", self.instances.len());
        let settings = [
            ("KAFKA_BOOTSTRAP_SERVERS", self.kafka.bootstrap_servers.clone()),
            // Each record is a request of its own, so that a fault meets many that are not yet acknowledged, as with a
            // broker that is far away.
            ("KAFKA_PROPERTIES", "batch.num.messages=1".to_owned()),
        ];
        let instance = Service::start(&name, "alert-system", &settings, self.folder.path()).unwrap();
        self.instances.push(instance);
    }

    pub(crate) async fn all_ready(&mut self) {
        for instance in &mut self.instances {
            instance.ready(PATIENCE).await.unwrap();
        }
    }

    pub(crate) fn any_instance(&mut self) -> usize {
        usize::try_from(self.random.below(self.instances.len() as u64)).unwrap()
    }

    pub(crate) async fn sleep_up_to(&mut self, limit: Duration) {
        let limit = u64::try_from(limit.as_millis()).unwrap();
        tokio::time::sleep(Duration::from_millis(self.random.below(limit))).await;
    }

    /// Until so many of all quotes and rule changes are written.
    pub(crate) async fn until_share(&mut self, part: u64, of: u64) {
        let (quotes, edits) = (self.load.quotes * part / of, self.load.edits * part / of);
        self.until("the next fault is due", |run| {
            run.control.quotes() >= quotes && run.control.edits() >= edits
        })
        .await;
    }

    /// Wakes a paused instance.
    pub(crate) fn resume(&mut self, instance: usize) {
        self.awakenings.push(Timestamp::now());
        self.instances[instance].resume().unwrap();
    }

    pub(crate) fn lag(&self, topic: Topic) -> i64 {
        log::lag(&self.kafka.bootstrap_servers, "alert-system", topic).unwrap()
    }

    pub(crate) async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            if self.feed.as_ref().is_some_and(JoinHandle::is_finished) && !self.is_written() {
                self.take_feed().await;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "waited {PATIENCE:?} in vain until {what}\n{}",
                self.evidence()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn is_written(&self) -> bool {
        self.control.quotes() >= self.load.quotes && self.control.edits() >= self.load.edits
    }

    async fn take_feed(&mut self) -> Feed {
        let fed = self.feed.take().unwrap().await.unwrap();
        fed.unwrap_or_else(|error| panic!("the feed failed: {error:#}\n{}", self.evidence()))
    }

    /// All that is wanted is written, evaluated and committed. Ends the feed.
    pub(crate) async fn settle(&mut self) -> Feed {
        self.control.finish();
        let feed = self.take_feed().await;
        let written = Instant::now();
        self.until("all quotes are evaluated", |run| run.lag(QUOTES) == 0)
            .await;
        let longest = feed.longest_hold().max(written.elapsed());
        self.say(&format!("all is evaluated; the longest wait was {longest:.1?}"));
        assert!(
            longest < STALL,
            "something stood still for {longest:?}\n{}",
            self.evidence()
        );
        feed
    }

    /// How many partitions each instance has, by its own account.
    pub(crate) async fn shares(&self) -> Vec<f64> {
        let mut shares = Vec::new();
        for instance in &self.instances {
            shares.push(instance.metric("stockalert_partitions").await.unwrap_or(0.0));
        }
        shares
    }

    /// Ends an instance as a supervisor would.
    pub(crate) async fn end(&mut self, index: usize) {
        self.instances[index].terminate().unwrap();
        self.ended(index).await;
    }

    /// Waits until an instance that was told to end has done so.
    pub(crate) async fn ended(&mut self, index: usize) {
        let start = Instant::now();
        while !self.instances[index].has_ended().unwrap() {
            assert!(
                start.elapsed() < PATIENCE,
                "instance {index} does not end\n{}",
                self.evidence()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends all instances as a supervisor would, and starts them again: each partition's state is restored.
    pub(crate) async fn restart_all(&mut self) {
        for instance in &self.instances {
            instance.terminate().unwrap();
        }
        for index in 0..self.instances.len() {
            self.ended(index).await;
        }
        for instance in &mut self.instances {
            instance.start_again().unwrap();
        }
        let start = Instant::now();
        loop {
            self.all_ready().await;
            // One without partitions is ready too.
            let shares: f64 = self.shares().await.iter().sum();
            if shares >= f64::from(PARTITIONS) && self.are_ready().await {
                return;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "waited {PATIENCE:?} in vain\n{}",
                self.evidence()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn are_ready(&self) -> bool {
        for instance in &self.instances {
            if !matches!(instance.readiness().await, Some((true, _))) {
                return false;
            }
        }
        true
    }

    pub(crate) fn compare_with_the_oracle(&self, feed: &Feed, name: &str) {
        let quotes = log::read_all(&self.kafka.bootstrap_servers, QUOTES).unwrap();
        let alerts = log::read_all(&self.kafka.bootstrap_servers, ALERTS).unwrap();
        let histories = feed.histories();
        let found = Comparison::of(&histories, &quotes, &alerts, &self.awakenings).unwrap();
        self.say(&format!(
            "{name}: {} quotes, {} rules, {} rule changes; oracle {} alerts, topic {} ({} repeats, {} outdated)",
            quotes.len(),
            histories.len(),
            self.control.edits(),
            found.expected,
            found.records,
            found.repeats,
            found.outdated,
        ));
        if let Err(problems) = found.verdict() {
            panic!("{name}: {problems}\n{}", self.evidence());
        }
    }

    pub(crate) fn say(&self, what: &str) {
        println!(
            "{:6.1} s, quote {}, rule change {}: {what}",
            self.started.elapsed().as_secs_f64(),
            self.control.quotes(),
            self.control.edits()
        );
    }

    /// What helps to find out why a test failed: how far each partition is, and what the instances said last.
    fn evidence(&self) -> String {
        let mut evidence = String::new();
        for topic in [RULES, QUOTES] {
            let (ends, committed) = self.positions(topic);
            evidence += &format!("{}: ends {ends:?}, committed {committed:?}\n", topic.name);
        }
        for instance in &self.instances {
            evidence += &format!("--- {}\n{}\n", instance.name(), instance.log_tail(15));
        }
        evidence
    }

    fn positions(&self, topic: Topic) -> (Vec<i64>, Vec<i64>) {
        let servers = &self.kafka.bootstrap_servers;
        let committed = Committed::open(servers, "alert-system", &[topic], PARTITIONS).unwrap();
        let committed = committed.now().unwrap();
        let committed = (0..PARTITIONS).map(|partition| committed.of(topic, partition));
        (log::ends(servers, topic).unwrap(), committed.collect())
    }
}

impl Drop for EngineRun {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            println!("the instances' logs are in {}", self.folder.path().display());
        }
    }
}
