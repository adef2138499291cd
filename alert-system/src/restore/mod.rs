//! Rebuilds partitions' rules and states from the compacted topics on a thread of its own, before their quotes are read.

mod job;
mod progress;
mod reader;
mod repair;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use service::kafka::{DeadLetters, Kafka};
use tokio::runtime::Handle;

use crate::engine::{Engine, RearmMargin};
use crate::error::Error;
use crate::metrics;
use job::Job;
use progress::Progress;

/// What restoring needs.
#[derive(Clone)]
pub(crate) struct Tools {
    pub(crate) kafka: Kafka,
    pub(crate) margin: RearmMargin,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) runtime: Handle,
}

/// One partition's state.
#[derive(Debug)]
pub(crate) struct Restored {
    /// Which restore this came from.
    pub(crate) job: u64,
    pub(crate) partition: i32,
    pub(crate) engine: Engine,
    /// Where the rules topic is to be followed from.
    pub(crate) rules_end: i64,
    pub(crate) tickers_end: i64,
    /// Offset of the first quote: where the last owner stopped.
    pub(crate) first_quote: i64,
}

/// Partitions that went away while they were restored.
#[derive(Debug, Clone, Default)]
struct Cancelled {
    partitions: Arc<Mutex<HashSet<i32>>>,
}

impl Cancelled {
    fn add(&self, partition: i32) {
        self.partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(partition);
    }

    fn contains(&self, partition: i32) -> bool {
        self.partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&partition)
    }
}

/// The restores that run.
pub(crate) struct Restores {
    tools: Tools,
    running: Vec<Running>,
    last_job: u64,
    finished: mpsc::Receiver<Restored>,
    finishing: mpsc::Sender<Restored>,
}

struct Running {
    job: u64,
    cancelled: Cancelled,
    progress: Arc<Progress>,
    thread: JoinHandle<Result<(), Error>>,
}

impl Restores {
    pub(crate) fn new(tools: Tools) -> Self {
        let (finishing, finished) = mpsc::channel();
        Self {
            tools,
            running: Vec::new(),
            last_job: 0,
            finished,
            finishing,
        }
    }

    /// Starts to restore these partitions, all at once; returns the restore's number.
    pub(crate) fn start(&mut self, partitions: Vec<i32>) -> Result<u64, Error> {
        self.last_job += 1;
        let cancelled = Cancelled::default();
        let progress = Arc::new(Progress::new());
        let job = Job {
            number: self.last_job,
            tools: self.tools.clone(),
            cancelled: cancelled.clone(),
            progress: Arc::clone(&progress),
            finishing: self.finishing.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("restore".into())
            .spawn(move || job.run(&partitions))
            .map_err(|source| Error::Thread {
                thread: "restore",
                source,
            })?;
        self.running.push(Running {
            job: self.last_job,
            cancelled,
            progress,
            thread,
        });
        Ok(self.last_job)
    }

    /// The partition is no longer this instance's.
    pub(crate) fn cancel(&self, job: u64, partition: i32) {
        for running in self.running.iter().filter(|running| running.job == job) {
            running.cancelled.add(partition);
        }
    }

    /// The next partition that is complete, if there is one.
    ///
    /// # Errors
    /// If a restore failed.
    pub(crate) fn take(&mut self) -> Result<Option<Restored>, Error> {
        if let Some(index) = self
            .running
            .iter()
            .position(|running| running.thread.is_finished())
        {
            let ended = self.running.swap_remove(index);
            ended.thread.join().map_err(|_| Error::Died("restore"))??;
        }
        Ok(self.finished.try_recv().ok())
    }

    /// How far all of them are together, for people and for the metric.
    pub(crate) fn describe(&self, partitions: usize) -> String {
        let sum = |of: fn(&Progress) -> u64| self.running.iter().map(|running| of(&running.progress)).sum();
        let (done, total) = (sum(Progress::done), sum(Progress::total));
        let longest = self
            .running
            .iter()
            .map(|running| running.progress.elapsed())
            .max();
        let percent = progress::percent(done, total);
        metrics::restore_progress(percent);
        let left = progress::seconds_left(done, total, longest.unwrap_or_default());
        let left = left.map_or(String::new(), |seconds| format!(", {seconds} s left"));
        let noun = if partitions == 1 {
            "partition"
        } else {
            "partitions"
        };
        format!("restoring {partitions} {noun}: {percent} %{left}")
    }

    /// Ends them all, waiting a little for their clients to close.
    pub(crate) fn stop(&mut self, partitions: impl Iterator<Item = i32>) {
        for partition in partitions {
            self.running
                .iter()
                .for_each(|running| running.cancelled.add(partition));
        }
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline && self.running.iter().any(|running| !running.thread.is_finished()) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
