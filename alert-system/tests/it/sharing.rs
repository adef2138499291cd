//! Several instances share the partitions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cqrs::domain::{RuleId, RuleSnapshot, Side};
use service::codec::decode_alert;
use service::topics::{ALERTS, partition_of};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::{Harness, PATIENCE, rule};
use crate::process::Process;

/// Quotes that never stop: each crosses the rule of its ticker, out or back, so that each is one alert.
struct Crossings {
    stop: CancellationToken,
    writer: JoinHandle<i64>,
    rules: Vec<RuleSnapshot>,
}

impl Crossings {
    async fn start(harness: &Arc<Harness>) -> Self {
        let mut rules = Vec::new();
        for ticker in harness.tickers() {
            let rule = rule(ticker.as_str(), "47", "49");
            harness.write_rule(&rule).await;
            rules.push(rule);
        }
        let stop = CancellationToken::new();
        let (harness, stopped, watched) = (Arc::clone(harness), stop.clone(), rules.clone());
        let writer = tokio::spawn(async move {
            let mut rounds = 0;
            while !stopped.is_cancelled() {
                let price = if rounds % 2 == 0 { "50" } else { "48" };
                for rule in &watched {
                    harness.write_quotes(rule.ticker.as_str(), &[price]).await;
                }
                rounds += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            rounds
        });
        Self { stop, writer, rules }
    }

    /// Stops, waits for the last alert, and checks that each quote was told once, in order.
    async fn finish(self, harness: &Harness) {
        self.stop.cancel();
        let rounds = self.writer.await.unwrap();
        let count = usize::try_from(rounds).unwrap() * self.rules.len();
        harness.read_until(ALERTS, count).await;
        let mut told: BTreeMap<RuleId, Vec<(i64, Side)>> = BTreeMap::new();
        for record in harness.read_all(ALERTS).await {
            let alert = decode_alert(record.payload.as_ref().unwrap()).unwrap();
            told.entry(alert.rule_id)
                .or_default()
                .push((alert.position.offset, alert.side));
        }
        let expected: Vec<(i64, Side)> = (0..rounds)
            .map(|round| (round, if round % 2 == 0 { Side::Above } else { Side::In }))
            .collect();
        for rule in &self.rules {
            assert_eq!(told[&rule.rule_id], expected, "{}", rule.ticker);
        }
    }
}

/// Waits until the instances have so many partitions, in any order.
async fn until_shared(instances: &[&Process], mut expected: Vec<u64>) {
    expected.sort_unstable();
    let shared = async {
        loop {
            let mut owned = Vec::new();
            for instance in instances {
                // What it owns and what it reads: the sum says that nothing is being restored.
                let partitions = instance.metric("stockalert_partitions").await;
                if instance.metric("stockalert_restore_progress_ratio").await == 1 {
                    owned.push(partitions);
                }
            }
            owned.sort_unstable();
            if owned == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, shared).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_come_and_go_without_lost_or_repeated_alerts_and_only_what_moves_is_restored() {
    let harness = Arc::new(Harness::with_partitions(4).await);
    assert_eq!(
        harness
            .tickers()
            .iter()
            .map(|t| partition_of(t, 4))
            .collect::<Vec<_>>(),
        [0, 1, 2, 3]
    );
    let crossings = Crossings::start(&harness).await;
    let first = harness.start_process();
    until_shared(&[&first], vec![4]).await;
    let second = harness.start_process();
    until_shared(&[&first, &second], vec![2, 2]).await;
    let third = harness.start_process();
    until_shared(&[&first, &second, &third], vec![1, 1, 2]).await;
    let restored = async |process: &Process| process.metric("stockalert_restored_partitions_total").await;
    assert_eq!(
        restored(&first).await,
        4,
        "it restored what it got first, and nothing since"
    );
    assert_eq!(restored(&second).await, 2);
    assert_eq!(restored(&third).await, 1);
    second.stop().await;
    until_shared(&[&first, &third], vec![2, 2]).await;
    assert!(restored(&first).await + restored(&third).await <= 7);
    crossings.finish(&harness).await;
    first.stop().await;
    third.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_instance_loses_and_repeats_nothing() {
    let harness = Arc::new(Harness::with_partitions(2).await);
    let crossings = Crossings::start(&harness).await;
    let first = harness.start_process();
    harness.read_until(ALERTS, 100).await;
    first.kill();
    let second = harness.start_process();
    until_shared(&[&second], vec![2]).await;
    crossings.finish(&harness).await;
    second.stop().await;
}
