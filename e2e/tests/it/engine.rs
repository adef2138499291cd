//! The alert system alone, under faults: its alerts equal the oracle's, one for one. `E2E_FULL=1` for the full sizes.

use std::time::{Duration, Instant};

use e2e::feed::Load;
use e2e::is_full;
use service::topics::QUOTES;

use crate::engine_run::EngineRun;
use crate::system::beside_others;

/// Longer than the session timeout of 8 s: the group goes on without the paused one.
const PAUSE: Duration = Duration::from_secs(12);

/// In so short a time it has taken many quotes and handled some.
const IN_HAND: Duration = Duration::from_millis(150);

fn load(quotes: u64, edits: u64) -> Load {
    Load {
        tickers: 100,
        near_rules: 50,
        far_rules: 0,
        quotes,
        edits,
        quotes_per_second: 1_200,
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka; run by make test"]
async fn alert_systems_killed_again_and_again_tell_what_the_oracle_says_on_kafka() {
    let _turn = beside_others().await;
    let (kills, load) = if is_full() {
        (30, load(300_000, 5_000))
    } else {
        (4, load(30_000, 500))
    };
    let mut run = EngineRun::start(3, load).await;
    for kill in 1..=kills {
        run.until_share(kill, kills + 1).await;
        let victim = run.any_instance();
        // Where in the work it strikes is what the test is about.
        if kill % 2 == 0 {
            run.sleep_up_to(Duration::from_millis(500)).await;
        } else {
            pause_in_a_storm(&mut run, victim, Duration::from_secs(1)).await;
        }
        run.instances[victim].kill().unwrap();
        run.say(&format!("kill {kill} of {kills}, instance {victim}"));
        run.sleep_up_to(Duration::from_secs(2)).await;
        run.instances[victim].start_again().unwrap();
        // Some strike while the group has not yet recovered from the one before.
        if run.random.below(2) == 0 {
            run.all_ready().await;
        }
    }
    let feed = run.settle().await;
    run.compare_with_the_oracle(&feed, "kills");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka; run by make test"]
async fn paused_alert_systems_that_wake_up_tell_what_the_oracle_says_on_kafka() {
    let _turn = beside_others().await;
    let (rounds, load) = if is_full() {
        (6, load(120_000, 2_000))
    } else {
        (1, load(20_000, 200))
    };
    let mut run = EngineRun::start(3, load).await;
    for round in 1..=rounds {
        run.until_share(round, rounds + 3).await;
        let first = run.any_instance();
        pause_in_a_storm(&mut run, first, IN_HAND).await;
        let slept = Instant::now();
        run.sleep_up_to(Duration::from_secs(3)).await;
        let second = (first + 1) % run.instances.len();
        pause_in_a_storm(&mut run, second, IN_HAND).await;
        run.say(&format!(
            "round {round} of {rounds}: instances {first} and {second} paused"
        ));
        tokio::time::sleep(PAUSE.saturating_sub(slept.elapsed())).await;
        run.resume(first);
        run.sleep_up_to(Duration::from_secs(3)).await;
        tokio::time::sleep(PAUSE.saturating_sub(slept.elapsed())).await;
        run.resume(second);
        run.say("both go on");
        run.all_ready().await;
    }
    let feed = run.settle().await;
    // Where a woken one appended something old, whoever restores next puts it right.
    run.restart_all().await;
    run.compare_with_the_oracle(&feed, "pauses");
}

/// Lets quotes heap up, and pauses the instance after it has worked on them for so long at most.
async fn pause_in_a_storm(run: &mut EngineRun, instance: usize, most: Duration) {
    const STORM: u64 = 6_000;
    let before = run.control.quotes();
    run.instances[instance].pause().unwrap();
    run.control.storm(STORM);
    run.until("a storm is written", |run| run.control.quotes() >= before + STORM)
        .await;
    run.instances[instance].resume().unwrap();
    run.sleep_up_to(most).await;
    run.instances[instance].pause().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka; run by make test"]
async fn alert_systems_that_come_and_go_all_the_time_tell_what_the_oracle_says_on_kafka() {
    const MOST: usize = 4;
    let _turn = beside_others().await;
    let (changes, load) = if is_full() {
        (40, load(140_000, 2_000))
    } else {
        (5, load(18_000, 200))
    };
    let mut run = EngineRun::start(MOST, load).await;
    let mut present = [true; MOST];
    for change in 1..=changes {
        let next = Instant::now() + Duration::from_secs(3);
        // So that there is work in hand when partitions move.
        run.control.storm(2_000);
        run.sleep_up_to(Duration::from_millis(300)).await;
        let members = present.iter().filter(|here| **here).count();
        let joins = members == 1 || (members < MOST && run.random.below(2) == 0);
        let index = loop {
            let index = run.any_instance();
            if present[index] != joins {
                break index;
            }
        };
        if joins {
            run.ended(index).await;
            run.instances[index].start_again().unwrap();
        } else {
            run.instances[index].terminate().unwrap();
        }
        present[index] = joins;
        let what = if joins { "joins" } else { "leaves" };
        run.say(&format!(
            "change {change} of {changes}: instance {index} {what} {members}"
        ));
        tokio::time::sleep_until(next.into()).await;
    }
    let feed = run.settle().await;
    run.compare_with_the_oracle(&feed, "joins and leaves");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka; run by make test"]
async fn alert_systems_killed_while_they_restore_tell_what_the_oracle_says_on_kafka() {
    let _turn = beside_others().await;
    let (kills, load) = if is_full() {
        let far_rules = 1_950;
        (
            10,
            Load {
                far_rules,
                ..load(100_000, 1_000)
            },
        )
    } else {
        let far_rules = 450;
        (
            2,
            Load {
                far_rules,
                ..load(10_000, 100)
            },
        )
    };
    let mut run = EngineRun::start(2, load).await;
    let mut victim = 0;
    run.end(victim).await;
    let restore = restored_in(&mut run, victim).await;
    run.say(&format!("restoring takes {restore:.2?}"));
    run.end(victim).await;
    let (mut kill, mut attempt) = (0, 0);
    while kill < kills {
        attempt += 1;
        begin_to_restore(&mut run, victim).await;
        run.sleep_up_to(restore * 3 / 4).await;
        let readiness = run.instances[victim].readiness().await;
        run.instances[victim].kill().unwrap();
        if let Some((false, reason)) = readiness {
            kill += 1;
            run.say(&format!(
                "kill {kill} of {kills}, instance {victim}: {}",
                reason.trim()
            ));
        }
        // The one that is killed gets its partitions back: now and then it must have its way.
        if attempt % 3 == 0 {
            run.instances[victim].start_again().unwrap();
            run.all_ready().await;
            victim = 1 - victim;
            run.end(victim).await;
        }
    }
    run.instances[victim].start_again().unwrap();
    let feed = run.settle().await;
    run.compare_with_the_oracle(&feed, "kills while restoring");
}

/// Starts an instance and waits until it says that it restores.
async fn begin_to_restore(run: &mut EngineRun, instance: usize) {
    let start = Instant::now();
    run.instances[instance].start_again().unwrap();
    while start.elapsed() < Duration::from_secs(120) {
        let readiness = run.instances[instance].readiness().await;
        if readiness.is_some_and(|(_, text)| text.contains("restoring")) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!(
        "instance {instance} did not restore: {}",
        run.instances[instance].log_tail(30)
    );
}

async fn restored_in(run: &mut EngineRun, instance: usize) -> Duration {
    begin_to_restore(run, instance).await;
    let start = Instant::now();
    run.all_ready().await;
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka; run by make test"]
async fn one_two_and_four_alert_systems_share_the_tickers_and_tell_what_the_oracle_says_on_kafka() {
    let _turn = beside_others().await;
    let quotes = if is_full() { 50_000 } else { 6_000 };
    let mut run = EngineRun::start(1, load(quotes, 50)).await;
    for count in [1, 2, 4] {
        while run.instances.len() < count {
            run.join();
        }
        let shares = shares_of(&run).await;
        run.say(&format!("{count} instances have {shares:?} of 12 partitions"));
        let (before, start) = (run.control.quotes(), Instant::now());
        run.control.burst(quotes);
        run.until("the burst is written", |run| {
            run.control.quotes() >= before + quotes
        })
        .await;
        run.until("all quotes are evaluated", |run| run.lag(QUOTES) < 500)
            .await;
        let rate = (run.control.quotes() - before) as f64 / start.elapsed().as_secs_f64();
        run.say(&format!("{count} instances evaluated {rate:.0} quotes/s"));
    }
    let feed = run.settle().await;
    run.compare_with_the_oracle(&feed, "1, 2 and 4 instances");
}

/// Waits until the instances have equal shares of the partitions, by their own account.
async fn shares_of(run: &EngineRun) -> Vec<f64> {
    let wanted = vec![12.0 / run.instances.len() as f64; run.instances.len()];
    let start = Instant::now();
    loop {
        let shares = run.shares().await;
        if shares == wanted {
            return shares;
        }
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "the shares are {shares:?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
