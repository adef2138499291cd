//! How this instance fares: too many alerts on their way, quotes and rules that are not read, and what it says of itself.

use std::time::Instant;

use rdkafka::consumer::Consumer as _;
use rdkafka::{Offset, TopicPartitionList};
use service::topics::QUOTES;

use super::{SEEK, Worker};
use crate::ends::Answer;
use crate::error::Error;
use crate::lag::Position;
use crate::metrics;
use crate::partition::Slot;
use crate::pressure::Change;

impl Worker {
    /// Stops and starts the reading of quotes by how many alerts wait for their acknowledgement.
    pub(super) fn relieve(&mut self) -> Result<(), Error> {
        let outstanding = self.evaluator.lanes.outstanding_alerts();
        let Some(change) = self.pressure.observe(outstanding) else {
            return Ok(());
        };
        let mut ready = TopicPartitionList::new();
        for (number, _) in self.evaluator.partitions.ready() {
            ready.add_partition(QUOTES.name, number);
        }
        match change {
            Change::Pause => self.quotes.pause(&ready)?,
            Change::Resume => self.quotes.resume(&ready)?,
        }
        tracing::info!(
            outstanding,
            ?change,
            "the broker takes alerts slower than they are raised"
        );
        self.evaluator.metrics.paused(self.pressure.is_paused());
        Ok(())
    }

    /// Compares what was read with what there is.
    pub(super) fn watch_lag(&mut self) -> Result<(), Error> {
        let Some(answer) = self.ends.take()? else {
            return Ok(());
        };
        let Answer::Ends(ends) = answer else {
            // The broker is away.
            self.lag.forget();
            return Ok(());
        };
        // From time to time: a refused commit is not told, and an idle partition's last one may be it.
        self.evaluator.commit_again();
        let (mut quotes, mut unread) = (Vec::new(), false);
        for ends in ends {
            let Some(Slot::Ready(partition)) = self.evaluator.partitions.get_mut(ends.partition) else {
                continue;
            };
            let position = |next, end| Position {
                partition: ends.partition,
                next,
                end,
            };
            let read = position(partition.next_quote.unwrap_or(partition.first_quote), ends.quotes);
            metrics::lag(ends.partition, read.lag().max(0));
            quotes.push(read);
            if !self.pressure.is_paused() && self.unread_quotes.stands_still(read) {
                tracing::warn!(
                    kafka.partition = read.partition,
                    kafka.offset = read.next,
                    end = read.end,
                    "quotes were not read; they are read anew"
                );
                let from = Offset::Offset(read.next);
                self.quotes.seek(QUOTES.name, read.partition, from, SEEK)?;
            }
            if self
                .unread_rules
                .stands_still(position(partition.next_rule, ends.rules))
            {
                tracing::warn!(
                    kafka.partition = ends.partition,
                    kafka.offset = partition.next_rule,
                    end = ends.rules,
                    "rules were not read; they are read anew"
                );
                unread = true;
            }
        }
        if unread {
            self.follow_rules()?;
        }
        if self.pressure.is_paused() {
            quotes.clear();
        }
        self.lag.observe(&quotes, Instant::now())
    }

    /// Says how ready this instance is.
    pub(super) fn tell(&mut self) {
        self.told = Instant::now();
        let partitions = &self.evaluator.partitions;
        let owned = partitions.iter().count();
        let rules = partitions
            .ready()
            .map(|(_, partition)| partition.engine.rules())
            .sum();
        self.evaluator.metrics.owned(owned, rules);
        let restoring = owned - partitions.ready().count();
        if restoring > 0 {
            self.health.not_ready(self.restores.describe(restoring));
        } else if self.joined {
            metrics::restore_progress(100);
            self.health.ready();
        }
    }
}
