//! Asks the broker, not the client, how far topics go: a client can stop reading a partition without a word, and then knows
//! nothing of what it misses.

use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use service::kafka::Kafka;
use service::topics::{QUOTES, RULES};

use crate::error::Error;

/// Where a partition's topics end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) partition: i32,
    pub(crate) quotes: i64,
    pub(crate) rules: i64,
}

/// What the broker said.
pub(crate) enum Answer {
    /// Where all that was asked about ends.
    Ends(Vec<Ends>),
    /// Nothing.
    Away,
}

/// A thread that asks from time to time. Ends when this is dropped.
pub(crate) struct EndsWatch {
    wanted: mpsc::Sender<Vec<i32>>,
    answers: mpsc::Receiver<Answer>,
}

/// How often.
const EVERY: Duration = Duration::from_secs(5);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

impl EndsWatch {
    pub(crate) fn start(kafka: &Kafka) -> Result<Self, Error> {
        let client: BaseConsumer = kafka.consumer_config("alert-system-ends").create()?;
        let (wanted, wishes) = mpsc::channel();
        let (answering, answers) = mpsc::channel();
        std::thread::Builder::new()
            .name("ends".into())
            .spawn(move || ask(&client, &wishes, &answering))
            .map_err(|source| Error::Thread {
                thread: "ends",
                source,
            })?;
        Ok(Self { wanted, answers })
    }

    /// Which partitions to ask about from now on.
    pub(crate) fn want(&self, partitions: Vec<i32>) {
        // It only ends with this.
        let _ = self.wanted.send(partitions);
    }

    /// The next answer, once.
    pub(crate) fn take(&self) -> Result<Option<Answer>, Error> {
        match self.answers.try_recv() {
            Ok(answer) => Ok(Some(answer)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Error::Died("ends")),
        }
    }
}

fn ask(client: &BaseConsumer, wishes: &mpsc::Receiver<Vec<i32>>, answering: &mpsc::Sender<Answer>) {
    let mut partitions = Vec::new();
    loop {
        match wishes.recv_timeout(EVERY) {
            Ok(wanted) => partitions = wanted,
            Err(RecvTimeoutError::Timeout) => {
                if answering
                    .send(ends(client, &partitions).map_or(Answer::Away, Answer::Ends))
                    .is_err()
                {
                    return;
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn ends(client: &BaseConsumer, partitions: &[i32]) -> Option<Vec<Ends>> {
    let end = |topic, partition| Some(client.fetch_watermarks(topic, partition, PATIENCE).ok()?.1);
    partitions
        .iter()
        .map(|partition| {
            Some(Ends {
                partition: *partition,
                quotes: end(QUOTES.name, *partition)?,
                rules: end(RULES.name, *partition)?,
            })
        })
        .collect()
}
