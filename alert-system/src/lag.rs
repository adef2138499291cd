use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::statistics::Statistics;

use crate::error::Error;

/// How many quotes of a partition wait, by the client's statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartitionLag {
    pub(crate) partition: i32,
    /// Quotes that wait.
    pub(crate) lag: i64,
    /// The next one.
    pub(crate) position: i64,
    /// The broker that has them can be reached.
    pub(crate) leader_is_up: bool,
}

impl PartitionLag {
    /// Of all partitions of a topic whose lag is known.
    pub(crate) fn all(statistics: &Statistics, topic: &str) -> Vec<Self> {
        let Some(topic) = statistics.topics.get(topic) else {
            return Vec::new();
        };
        topic
            .partitions
            .values()
            .filter(|partition| partition.partition >= 0 && partition.consumer_lag >= 0)
            .map(|partition| Self {
                partition: partition.partition,
                lag: partition.consumer_lag,
                position: partition.app_offset,
                leader_is_up: statistics
                    .brokers
                    .values()
                    .any(|broker| broker.nodeid == partition.leader && broker.state == "UP"),
            })
            .collect()
    }
}

/// Notices partitions that have quotes and give none: a client can get stuck without a word.
#[derive(Debug, Default)]
pub(crate) struct LagWatch {
    /// Position of each partition that lags, and since when.
    behind: HashMap<i32, (i64, Instant)>,
}

impl LagWatch {
    /// How long a partition that lags may stand still.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Takes new statistics. `is_read` says of which partitions quotes are to be read.
    ///
    /// # Errors
    /// If one of them stood still for too long.
    pub(crate) fn observe(
        &mut self,
        lags: &[PartitionLag],
        is_read: impl Fn(i32) -> bool,
        now: Instant,
    ) -> Result<(), Error> {
        for lag in lags {
            if lag.lag == 0 || !lag.leader_is_up || !is_read(lag.partition) {
                self.behind.remove(&lag.partition);
                continue;
            }
            let (position, since) = self.behind.entry(lag.partition).or_insert((lag.position, now));
            if *position != lag.position {
                (*position, *since) = (lag.position, now);
            }
            if now.duration_since(*since) >= Self::PATIENCE {
                return Err(Error::NoProgress {
                    partition: lag.partition,
                    seconds: Self::PATIENCE.as_secs(),
                    lag: lag.lag,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lag(lag: i64, position: i64) -> [PartitionLag; 1] {
        [PartitionLag {
            partition: 3,
            lag,
            position,
            leader_is_up: true,
        }]
    }

    #[test]
    fn a_partition_that_lags_and_stands_still_is_noticed() {
        let (mut watch, start) = (LagWatch::default(), Instant::now());
        assert!(watch.observe(&lag(5, 10), |_| true, start).is_ok());
        assert!(
            watch
                .observe(&lag(9, 10), |_| true, start + LagWatch::PATIENCE / 2)
                .is_ok()
        );
        let stuck = watch.observe(&lag(9, 10), |_| true, start + LagWatch::PATIENCE);
        assert!(matches!(
            stuck,
            Err(Error::NoProgress {
                partition: 3,
                lag: 9,
                ..
            })
        ));
    }

    #[test]
    fn one_that_moves_catches_up_waits_or_has_no_broker_is_not() {
        let (mut watch, start) = (LagWatch::default(), Instant::now());
        let half = LagWatch::PATIENCE / 2;
        assert!(watch.observe(&lag(5, 10), |_| true, start).is_ok());
        assert!(watch.observe(&lag(5, 11), |_| true, start + half).is_ok());
        assert!(watch.observe(&lag(5, 11), |_| true, start + half * 2).is_ok());
        assert!(watch.observe(&lag(0, 16), |_| true, start + half * 2).is_ok());
        assert!(watch.observe(&lag(5, 16), |_| true, start + half * 3).is_ok());
        assert!(watch.observe(&lag(5, 16), |_| false, start + half * 4).is_ok());
        assert!(watch.observe(&lag(5, 16), |_| true, start + half * 5).is_ok());
        let mut away = lag(5, 16);
        away[0].leader_is_up = false;
        assert!(watch.observe(&away, |_| true, start + half * 7).is_ok());
    }
}
