//! Commands whose callers go away at any moment leave nothing half done: each was carried out as a whole or not at all,
//! and repeated with its request id, exactly once.

mod command;
mod plan;
mod state;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use e2e::day::SplitMix;
use e2e::is_full;
use futures::{StreamExt as _, stream};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::api_run::{ApiRun, PATIENCE, is_open};
use crate::system;
use command::{Call, Kind, Told};
use plan::Plan;

const CALLERS: usize = 32;
/// Nobody waits longer than this before going away.
const LONGEST: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka and MariaDB; run by make test"]
async fn calls_cancelled_at_any_moment_leave_nothing_half_done_on_kafka_and_mariadb() {
    let _turn = system::one_at_a_time().await;
    let count = if is_full() { 10_000 } else { 600 };
    let mut run = ApiRun::start(&[]).await;
    let mut plan = Plan::make(&mut run, count, (count / 10).max(240)).await;

    let mut typical = typical_latencies(&run, std::mem::take(&mut plan.uncancelled)).await;
    println!("cancelled calls: these take {typical:.1?}");
    let started = Instant::now();
    let calls = cancel_all(&run, std::mem::take(&mut plan.cancelled), &mut typical).await;
    let answered = calls.iter().filter(|(_, told)| told.is_some()).count();
    println!(
        "cancelled calls: {count} in {:.1?}, {answered} of them answered before that, beside which these take {typical:.1?}",
        started.elapsed()
    );

    let waited = state::nothing_is_open(&run).await;
    let done = state::nothing_is_half_done(&run);
    println!("cancelled calls: nothing open after {waited:.1?}; {done}");
    repeat_all(&run, calls).await;
    state::nothing_is_open(&run).await;
    state::nothing_is_half_done(&run);
    plan.all_is_done_once(&run);
    let topic = run.settled_topic().await;
    let order = topic.order();
    assert!(order.faults.is_empty(), "{:#?}", order.faults);
    let differences = topic.differences(&run.servers).unwrap();
    assert!(differences.is_empty(), "{differences:#?}");
    println!(
        "cancelled calls: after each was repeated, every command was carried out once; {} rules with {} records in the topic, \
         as in the database",
        topic.rules().count(),
        topic.record_count()
    );
}

/// How long calls of each kind take that nobody cancels: the median.
async fn typical_latencies(run: &ApiRun, calls: Vec<Call>) -> BTreeMap<Kind, Duration> {
    let channel = run.channel();
    let measured: RefCell<BTreeMap<Kind, Vec<Duration>>> = RefCell::default();
    stream::iter(calls)
        .for_each_concurrent(CALLERS, async |call| {
            let start = Instant::now();
            call.send(channel.clone(), None).await.unwrap();
            let took = start.elapsed();
            measured.borrow_mut().entry(call.kind()).or_default().push(took);
        })
        .await;
    let median = |(kind, mut times): (Kind, Vec<Duration>)| {
        times.sort_unstable();
        (kind, times[times.len() / 2])
    };
    measured.into_inner().into_iter().map(median).collect()
}

/// Each after up to twice its typical latency: by a dropped call, a deadline, or a connection that is gone. Gives what
/// those were told that were answered before.
async fn cancel_all(
    run: &ApiRun,
    calls: Vec<Call>,
    typical: &mut BTreeMap<Kind, Duration>,
) -> Vec<(Call, Option<Told>)> {
    let shared = run.channel();
    let random = RefCell::new(SplitMix(11));
    let typical = RefCell::new(typical);
    stream::iter(calls)
        .map(async |call| {
            let expected = typical.borrow()[&call.kind()];
            let most = u64::try_from(2 * expected.as_micros()).unwrap();
            let (after, way) = {
                let mut random = random.borrow_mut();
                (Duration::from_micros(random.below(most)), random.below(10))
            };
            let channel = if way == 0 {
                connected(&run.addresses[0]).await
            } else {
                shared.clone()
            };
            let start = Instant::now();
            let outcome = match way {
                1..5 => Ok(call.send(channel, Some(after)).await),
                _ => tokio::time::timeout(after, call.send(channel, None)).await,
            };
            let told = match outcome {
                Ok(Ok(told)) => Some(told),
                Ok(Err(status)) => {
                    assert!(is_open(&status), "{call:?}: {status:?}");
                    None
                }
                Err(_) => None,
            };
            // The work of those who went away goes on, so that the others take longer: this follows.
            if told.is_some() || after > expected {
                let now = if told.is_some() {
                    start.elapsed()
                } else {
                    2 * expected
                };
                typical
                    .borrow_mut()
                    .insert(call.kind(), ((3 * expected + now) / 4).min(LONGEST));
            }
            (call, told)
        })
        .buffer_unordered(CALLERS)
        .collect()
        .await
}

/// A connection of one's own.
async fn connected(address: &str) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    endpoint.connect().await.unwrap()
}

/// Each twice more: both answers are the same, and the same as the one before.
async fn repeat_all(run: &ApiRun, calls: Vec<(Call, Option<Told>)>) {
    let channel = run.channel();
    let repeats = Cell::new(0);
    stream::iter(calls)
        .for_each_concurrent(CALLERS, async |(call, mut told)| {
            for _ in 0..2 {
                let answer = match until_answered(&channel, &call).await {
                    Ok(answer) => answer,
                    // It was carried out, or the repeat before it was.
                    Err(status) if call.kind().ends_its_token() && status.code() == Code::Unauthenticated => {
                        continue;
                    }
                    Err(status) => panic!("{call:?}: {status:?}"),
                };
                if let Some(told) = &told {
                    assert_eq!(told, &answer, "{call:?}");
                }
                repeats.set(repeats.get() + 1);
                told = Some(answer);
            }
        })
        .await;
    println!(
        "cancelled calls: {} repeats were answered, as before",
        repeats.get()
    );
}

async fn until_answered(channel: &Channel, call: &Call) -> Result<Told, Status> {
    let start = Instant::now();
    loop {
        match call.send(channel.clone(), None).await {
            Err(status) if is_open(&status) && start.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            result => return result,
        }
    }
}
