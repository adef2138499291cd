use rdkafka::error::KafkaError as ClientError;
use service::kafka::KafkaError;

/// Why the alert system can't go on. Its process ends and is started again; it goes on where the last commit was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The broker could not do its work.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The client refused.
    #[error("the Kafka client failed: {0}")]
    Client(#[from] ClientError),
    /// There are quotes, the broker is there, and none of them comes.
    #[error("no quote of partition {partition} was read for {seconds} s, though {lag} wait")]
    NoProgress {
        /// Of the quotes topic.
        partition: i32,
        /// How long.
        seconds: u64,
        /// How many wait.
        lag: i64,
    },
    /// The thread that reads stopped turning.
    #[error("the thread hangs: {doing} for {seconds} s")]
    Hangs {
        /// What it was doing.
        doing: &'static str,
        /// How long.
        seconds: u64,
    },
    /// The thread did not end after shutdown.
    #[error("the thread did not end within {seconds} s after it was told to; it was {doing}")]
    DidNotEnd {
        /// What it was doing.
        doing: &'static str,
        /// How long.
        seconds: u64,
    },
    /// A thread ended without a word.
    #[error("the {0} thread died")]
    Died(&'static str),
    /// A thread could not be started.
    #[error("the {thread} thread could not start: {source}")]
    Thread {
        /// Which.
        thread: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}
