//! How far a group has come, asked again and again.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use service::topics::Topic;

const PATIENCE: Duration = Duration::from_secs(60);

/// Asks for a group's committed offsets without being a member of it.
pub struct Committed {
    client: BaseConsumer,
    asked: TopicPartitionList,
}

impl std::fmt::Debug for Committed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committed").finish_non_exhaustive()
    }
}

impl Committed {
    /// # Errors
    /// If the client refuses a setting.
    pub fn open(
        bootstrap_servers: &str,
        group: &str,
        topics: &[Topic],
        partitions: i32,
    ) -> anyhow::Result<Self> {
        let mut asked = TopicPartitionList::new();
        for topic in topics {
            asked.add_partition_range(topic.name, 0, partitions - 1);
        }
        let client = ClientConfig::new()
            .set("bootstrap.servers", bootstrap_servers)
            .set("group.id", group)
            .create()?;
        Ok(Self { client, asked })
    }

    /// The committed offsets now, 0 where there are none. Blocks until the broker answers.
    ///
    /// # Errors
    /// If it does not.
    pub fn now(&self) -> anyhow::Result<CommittedOffsets> {
        Ok(CommittedOffsets(
            self.client.committed_offsets(self.asked.clone(), PATIENCE)?,
        ))
    }
}

/// What a group has committed.
#[derive(Debug)]
pub struct CommittedOffsets(TopicPartitionList);

impl CommittedOffsets {
    /// The offset after the last record that is done.
    #[must_use]
    pub fn of(&self, topic: Topic, partition: i32) -> i64 {
        match self
            .0
            .find_partition(topic.name, partition)
            .map(|found| found.offset())
        {
            Some(Offset::Offset(offset)) => offset,
            Some(
                Offset::Beginning | Offset::End | Offset::Stored | Offset::Invalid | Offset::OffsetTail(_),
            )
            | None => 0,
        }
    }
}
