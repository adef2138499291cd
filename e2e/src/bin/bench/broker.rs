//! The broker as the benchmarks see it: topics that are made anew, and groups from outside.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use service::config::KafkaArgs;
use service::kafka::Kafka;
use service::topics::{ALL, Topic};

const PATIENCE: Duration = Duration::from_secs(60);

/// The alert-system's consumer group.
pub(crate) const SYSTEM_GROUP: &str = "alert-system";

/// A broker that holds nothing but what the benchmarks wrote.
pub(crate) struct Broker {
    pub(crate) arguments: KafkaArgs,
    admin: AdminClient<DefaultClientContext>,
}

impl Broker {
    /// Refuses a broker on which this system's topics exist: the benchmarks delete them.
    pub(crate) fn claim(arguments: KafkaArgs) -> anyhow::Result<Self> {
        let admin = ClientConfig::new()
            .set("bootstrap.servers", &arguments.bootstrap_servers)
            .create()?;
        let broker = Self { arguments, admin };
        if broker.holds_topics()? {
            bail!(
                "{} has topics of this system already, and the benchmarks delete them; run `make bench`, which starts a broker of its own",
                broker.arguments.bootstrap_servers
            );
        }
        Ok(broker)
    }

    /// All topics without records, and no group.
    pub(crate) async fn fresh(&self) -> anyhow::Result<Kafka> {
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        if self.holds_topics()? {
            let names = ALL.map(|topic| topic.name);
            for deleted in self.admin.delete_topics(&names, &options).await? {
                deleted.map_err(|(name, code)| anyhow::anyhow!("{name} was not deleted: {code}"))?;
            }
            let start = Instant::now();
            while self.holds_topics()? {
                if start.elapsed() > PATIENCE {
                    bail!("the topics were deleted but are still there");
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            for deleted in self.admin.delete_groups(&[SYSTEM_GROUP], &options).await? {
                match deleted {
                    Ok(_) | Err((_, RDKafkaErrorCode::GroupIdNotFound)) => {}
                    Err((name, code)) => bail!("the group {name} was not deleted: {code}"),
                }
            }
        }
        Ok(Kafka::connect(&self.arguments.settings()).await?)
    }

    /// A topic beside this system's own.
    pub(crate) async fn create(&self, name: &str) -> anyhow::Result<()> {
        let new = NewTopic::new(name, self.arguments.partitions, TopicReplication::Fixed(-1));
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        for created in self.admin.create_topics(&[new], &options).await? {
            created.map_err(|(name, code)| anyhow::anyhow!("{name} was not created: {code}"))?;
        }
        Ok(())
    }

    fn holds_topics(&self) -> anyhow::Result<bool> {
        let metadata = self.admin.inner().fetch_metadata(None, PATIENCE)?;
        let ours = |name: &str| ALL.iter().any(|topic| topic.name == name);
        Ok(metadata.topics().iter().any(|topic| ours(topic.name())))
    }
}

/// A group's offsets in one topic, seen and set from outside of the group.
pub(crate) struct GroupOffsets {
    client: BaseConsumer,
    topic: Topic,
    partitions: i32,
}

impl GroupOffsets {
    pub(crate) fn of(kafka: &Kafka, group: &str, topic: Topic) -> anyhow::Result<Self> {
        let mut config = kafka.consumer_config(group);
        // Sees the ends of topics also where records are not visible yet.
        config.set("isolation.level", "read_uncommitted");
        Ok(Self {
            client: config.create()?,
            topic,
            partitions: kafka.partitions(),
        })
    }

    /// The end of each partition.
    pub(crate) fn ends(&self) -> anyhow::Result<Vec<i64>> {
        (0..self.partitions)
            .map(|partition| {
                Ok(self
                    .client
                    .fetch_watermarks(self.topic.name, partition, PATIENCE)?
                    .1)
            })
            .collect()
    }

    /// Commits in the name of the group, which must have no members.
    pub(crate) fn commit(&self, offsets: &[i64]) -> anyhow::Result<()> {
        let mut partitions = TopicPartitionList::new();
        for (partition, offset) in (0..).zip(offsets) {
            partitions.add_partition_offset(self.topic.name, partition, Offset::Offset(*offset))?;
        }
        let start = Instant::now();
        // A new broker needs a moment until it coordinates groups.
        while let Err(error) = self.client.commit(&partitions, CommitMode::Sync) {
            if start.elapsed() > PATIENCE {
                return Err(error.into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Waits until the group has committed at least these offsets; the moment when it was seen to.
    pub(crate) fn reached(&self, offsets: &[i64], patience: Duration) -> anyhow::Result<Instant> {
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_range(self.topic.name, 0, self.partitions - 1);
        let start = Instant::now();
        loop {
            let committed = self.client.committed_offsets(partitions.clone(), PATIENCE)?;
            let committed = committed.elements();
            let done = committed
                .iter()
                .zip(offsets)
                .all(|(done, wanted)| matches!(done.offset(), Offset::Offset(done) if done >= *wanted));
            if done {
                return Ok(Instant::now());
            }
            if start.elapsed() > patience {
                let reached: Vec<_> = committed.iter().map(|element| element.offset()).collect();
                return Err(anyhow::anyhow!("committed are {reached:?}, not {offsets:?}"))
                    .with_context(|| format!("{} was not read to its end in {patience:?}", self.topic.name));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
