use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::engine::QuoteFate;

/// This service's metrics. Looked up once; quotes are counted here and handed on once a turn.
#[derive(Debug)]
pub(crate) struct Metrics {
    evaluated: Tally,
    not_watched: Tally,
    late: Tally,
    repeated: Tally,
    alerts: Tally,
    quote_to_alert: Histogram,
    checkpoint: Histogram,
    partitions: Gauge,
    rules: Gauge,
    paused: Gauge,
    unacknowledged: Gauge,
}

#[derive(Debug)]
struct Tally {
    counter: Counter,
    count: u64,
}

impl Tally {
    const fn new(counter: Counter) -> Self {
        Self { counter, count: 0 }
    }

    fn flush(&mut self) {
        if self.count > 0 {
            self.counter.increment(std::mem::take(&mut self.count));
        }
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let quotes =
            |outcome: &'static str| Tally::new(counter!("stockalert_quotes_total", "outcome" => outcome));
        Self {
            evaluated: quotes("evaluated"),
            not_watched: quotes("not_watched"),
            late: quotes("late"),
            repeated: quotes("repeated"),
            alerts: Tally::new(counter!("stockalert_alerts_total")),
            quote_to_alert: histogram!("stockalert_quote_to_alert_seconds"),
            checkpoint: histogram!("stockalert_checkpoint_seconds"),
            partitions: gauge!("stockalert_partitions"),
            rules: gauge!("stockalert_rules"),
            paused: gauge!("stockalert_paused"),
            unacknowledged: gauge!("stockalert_unacknowledged_alerts"),
        }
    }

    pub(crate) fn quote(&mut self, fate: QuoteFate) {
        let tally = match fate {
            QuoteFate::Evaluated => &mut self.evaluated,
            QuoteFate::NotWatched => &mut self.not_watched,
            QuoteFate::Late => &mut self.late,
            QuoteFate::Repeated => &mut self.repeated,
        };
        tally.count += 1;
    }

    /// So many alerts of one quote, raised so long after it entered the system.
    pub(crate) fn alerts(&mut self, count: usize, delay: Duration) {
        self.alerts.count += u64::try_from(count).unwrap_or(u64::MAX);
        self.quote_to_alert.record_many(delay.as_secs_f64(), count);
    }

    pub(crate) fn checkpoint(&self, took: Duration) {
        self.checkpoint.record(took.as_secs_f64());
    }

    pub(crate) fn paused(&self, paused: bool) {
        self.paused.set(f64::from(u8::from(paused)));
    }

    pub(crate) fn owned(&self, partitions: usize, rules: usize) {
        self.partitions.set(to_f64(partitions));
        self.rules.set(to_f64(rules));
    }

    /// Hands on what was counted in this turn.
    pub(crate) fn flush(&mut self, unacknowledged: usize) {
        let tallies = [
            &mut self.evaluated,
            &mut self.not_watched,
            &mut self.late,
            &mut self.repeated,
            &mut self.alerts,
        ];
        tallies.into_iter().for_each(Tally::flush);
        self.unacknowledged.set(to_f64(unacknowledged));
    }
}

/// How many quotes of a partition wait.
pub(crate) fn lag(partition: i32, lag: i64) {
    gauge!("stockalert_consumer_lag_records", "partition" => partition.to_string())
        .set(f64::from(i32::try_from(lag).unwrap_or(i32::MAX)));
}

/// How far restoring is; 100 % where nothing is left to do.
pub(crate) fn restore_progress(percent: u64) {
    gauge!("stockalert_restore_progress_ratio").set(f64::from(u32::try_from(percent).unwrap_or(100)) / 100.0);
}

/// One more partition was restored.
pub(crate) fn partition_restored() {
    counter!("stockalert_restored_partitions_total").increment(1);
}

/// How long a restore took.
pub(crate) fn restored(took: Duration) {
    histogram!("stockalert_restore_seconds").record(took.as_secs_f64());
}

fn to_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
