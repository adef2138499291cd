//! Crowds of connections that mean no good beside ordinary clients: what the server holds stays bounded, and others' calls
//! succeed.

mod attacks;
mod frames;
mod load;

use std::time::{Duration, Instant};

use e2e::is_full;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::api_run::{ApiRun, User};
use crate::system;
use attacks::Attack;
use load::{Load, Times};

/// As a server without settings.
const MAX_CONNECTIONS: u32 = 1_024;

/// Files of a process beside its connections.
const OTHER_FILES: u64 = 400;

/// What one idle connection may cost where a server is told to take any number: its buffers and its task.
const BYTES_OF_ONE: u64 = 64 * 1_024;

/// Between two attacks, for what goes away by itself.
const QUIET: Duration = Duration::from_secs(3);

struct Sizes {
    lasts: Duration,
    idle: u32,
    slow: u32,
    resetting: u32,
    watchers: usize,
}

fn sizes() -> Sizes {
    if is_full() {
        Sizes {
            lasts: Duration::from_secs(20),
            idle: 10_000,
            slow: 1_000,
            resetting: 64,
            watchers: 50,
        }
    } else {
        Sizes {
            lasts: Duration::from_secs(3),
            idle: 1_500,
            slow: 200,
            resetting: 8,
            watchers: 10,
        }
    }
}

/// Streams that one user may have.
const STREAMS_OF_ONE: usize = 20;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka and MariaDB; run by make test"]
async fn crowds_of_hostile_connections_cost_bounded_memory_and_others_calls_succeed_on_kafka_and_mariadb() {
    let _turn = system::one_at_a_time().await;
    let sizes = sizes();
    let most = allow_connections();
    let mut run = ApiRun::start(&[]).await;
    // Told at the end, after all was measured.
    let mut misses = Vec::new();
    let scene = Scene::open(&mut run, sizes.lasts).await;
    let slow = |address: &str| Attack::slow_headers(address, sizes.slow);
    scene.under("slow headers", &mut misses, slow).await;

    // A server of its own for each: memory that was freed stays with a process.
    run.replace_instance(&[]).await;
    let scene = Scene::open(&mut run, sizes.lasts).await;
    let idle = sizes.idle.min(most);
    let attack = scene
        .under("idle", &mut misses, |address| Attack::idle(address, idle))
        .await;
    assert!(
        attack.open() < u64::from(MAX_CONNECTIONS) && attack.refused() > 0,
        "{attack}"
    );
    drop(attack);

    run.replace_instance(&[]).await;
    let scene = Scene::open(&mut run, sizes.lasts).await;
    let resets = |address: &str| Attack::rapid_resets(address, sizes.resetting);
    scene.under("rapid resets", &mut misses, resets).await;

    run.replace_instance(&[]).await;
    let watchers = run.register(sizes.watchers).await;
    let scene = Scene::open(&mut run, sizes.lasts).await;
    let streams = |address: &str| Attack::streams(address, watchers, STREAMS_OF_ONE);
    let attack = scene.under("streams", &mut misses, streams).await;
    assert_eq!(
        attack.open(),
        (sizes.watchers * STREAMS_OF_ONE) as u64,
        "{attack}"
    );
    drop(attack);

    // Where the limit is taken away, memory grows with connections, by no more than this each.
    let raised = [
        ("MAX_CONNECTIONS", "65536"),
        ("MAX_CONNECTIONS_PER_ADDRESS", "65536"),
    ];
    run.replace_instance(&raised).await;
    let mut scene = Scene::open(&mut run, sizes.lasts).await;
    scene.most = scene.alone.memory + u64::from(idle) * BYTES_OF_ONE;
    let attack = scene
        .under("idle, no limit", &mut misses, |address| {
            Attack::idle(address, idle)
        })
        .await;
    assert_eq!(attack.open(), u64::from(idle), "{attack}");
    drop(attack);
    assert!(misses.is_empty(), "{misses:#?}");
}

/// So many connections as this process, and those that it starts, may have.
fn allow_connections() -> u32 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )
    .unwrap();
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    u32::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(u32::MAX)
}

/// Ordinary clients, and what they and the server's memory are like without an attack.
struct Scene<'a> {
    run: &'a mut ApiRun,
    load: Load,
    lasts: Duration,
    alone: Measured,
    /// Most memory.
    most: u64,
}

#[derive(Debug)]
struct Measured {
    memory: u64,
    times: Times,
}

impl<'a> Scene<'a> {
    async fn open(run: &'a mut ApiRun, lasts: Duration) -> Self {
        let users: Vec<User> = run.register(4).await;
        load::record_prices(run);
        let load = Load::start(run, users);
        // Connections, statements and caches are made first.
        measure(run, &load, lasts).await;
        let alone = measure(run, &load, lasts).await;
        println!(
            "hostile connections: alone: {} KiB, {}",
            alone.memory / 1_024,
            alone.times
        );
        Self {
            run,
            load,
            lasts,
            most: 2 * alone.memory,
            alone,
        }
    }

    /// Measures while it goes on, which is until it is dropped. None of the ordinary calls may fail. Too much memory
    /// is a miss.
    async fn under(
        self,
        what: &str,
        misses: &mut Vec<String>,
        attack: impl FnOnce(&str) -> Attack,
    ) -> Attack {
        tokio::time::sleep(QUIET).await;
        let attack = attack(&self.run.addresses[0]);
        attack.is_there().await;
        let measured = measure(self.run, &self.load, self.lasts).await;
        let calls = |times: &Times| times.quotes.len() + times.creations.len();
        println!(
            "hostile connections: {what}: {attack}; {} KiB ({:.2} of alone), {} (p99 {:.2} and {:.2} of alone)",
            measured.memory / 1_024,
            measured.memory as f64 / self.alone.memory as f64,
            measured.times,
            measured.times.p99s().0 / self.alone.times.p99s().0,
            measured.times.p99s().1 / self.alone.times.p99s().1,
        );
        assert_eq!(measured.times.failures, Vec::<String>::new(), "{what}");
        assert!(
            calls(&measured.times) > 0,
            "{what}: no ordinary call came to its end"
        );
        if measured.memory >= self.most {
            let (memory, most) = (measured.memory, self.most);
            misses.push(format!("{what}: {memory} bytes, not less than {most}"));
        }
        self.load.end().await;
        attack
    }
}

/// The most memory of the server in this time, and its ordinary clients' calls.
async fn measure(run: &ApiRun, load: &Load, lasts: Duration) -> Measured {
    load.take();
    let (start, mut memory) = (Instant::now(), 0);
    while start.elapsed() < lasts {
        memory = memory.max(resident(run.instances[0].id()));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Measured {
        memory,
        times: load.take(),
    }
}

/// Bytes of a process that are in memory.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}
