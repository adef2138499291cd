//! For operators: records that the services could not handle and set aside.

mod args;
mod list;
mod replay;
mod show;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use service::config::KafkaArgs;
use service::kafka::KafkaError;
use service::kafka::dead_letters::{DeadLetter, DeadLetterError, DeadLetterReader, Place, Reading};

pub(crate) use self::args::DeadLettersCommand;
use crate::failure::{Exit, Failure};
use crate::screen::Screen;

pub(crate) async fn run(command: DeadLettersCommand, json: bool) -> Result<(), Failure> {
    let screen = Screen::detect(json);
    match command {
        DeadLettersCommand::List(args) => list::run(&screen, args).await,
        DeadLettersCommand::Show(args) => show::run(&screen, args).await,
        DeadLettersCommand::Replay(args) => replay::run(&screen, args).await,
    }
}

async fn open(kafka: Option<&KafkaArgs>) -> Result<DeadLetterReader, Failure> {
    let kafka = named(kafka)?;
    DeadLetterReader::open(&kafka.settings()).await.map_err(failure)
}

/// The broker that the command line or the environment names.
pub(crate) fn named(kafka: Option<&KafkaArgs>) -> Result<&KafkaArgs, Failure> {
    kafka.ok_or_else(|| {
        Failure::new(Exit::Misuse, "no Kafka broker is named")
            .remedy("set KAFKA_BOOTSTRAP_SERVERS to HOST:PORT as the services have it, or give --kafka-bootstrap-servers")
    })
}

/// Letters of these offsets.
struct Found {
    letters: Vec<DeadLetter>,
    replays: BTreeMap<i64, Place>,
}

/// Reads the letters of all these offsets, each of which has to be one.
async fn find(reader: &DeadLetterReader, offsets: &[i64]) -> Result<Found, Failure> {
    let wanted: BTreeSet<i64> = offsets.iter().copied().collect();
    let reading: Reading<BTreeMap<i64, DeadLetter>> = reader
        .read(BTreeMap::new(), move |found, letter| {
            if wanted.contains(&letter.offset) {
                found.insert(letter.offset, letter);
            }
        })
        .await
        .map_err(failure)?;
    if let Some(missing) = offsets.iter().find(|offset| !reading.state.contains_key(offset)) {
        return Err(no_such_letter(*missing, &reading.offsets));
    }
    Ok(Found {
        letters: reading.state.into_values().collect(),
        replays: reading.replays,
    })
}

fn no_such_letter(offset: i64, known: &Range<i64>) -> Failure {
    let why = if known.is_empty() {
        "there are none".to_owned()
    } else if known.contains(&offset) {
        "that record is the mark of a replay".to_owned()
    } else {
        format!("the topic holds {} to {} now", known.start, known.end - 1)
    };
    Failure::new(Exit::NotFound, format!("there is no dead letter {offset}: {why}"))
        .remedy("see `stockalert dead-letters list`; letters are kept for 30 days")
}

pub(crate) fn failure(error: DeadLetterError) -> Failure {
    let message = error.to_string();
    let (exit, message, remedy) = match error {
        DeadLetterError::NoTopic { .. } => (
            Exit::NotFound,
            message,
            "check KAFKA_BOOTSTRAP_SERVERS: the services make their topics when they first start with a broker",
        ),
        DeadLetterError::Stalled { .. } => (
            Exit::Unavailable,
            message,
            "check that the broker is well, and try again",
        ),
        DeadLetterError::Kafka(KafkaError::Unreachable {
            bootstrap_servers,
            seconds,
            reason,
        }) => (
            Exit::Unavailable,
            format!("no Kafka broker answered at {bootstrap_servers} for {seconds} s ({reason})"),
            "check KAFKA_BOOTSTRAP_SERVERS and that the broker runs; one with TLS or passwords needs KAFKA_PROPERTIES",
        ),
        DeadLetterError::Kafka(
            KafkaError::Client(_) | KafkaError::NotAcknowledged { .. } | KafkaError::Topics(_),
        ) => (
            Exit::Unavailable,
            message,
            "check that the broker is well, and KAFKA_PROPERTIES if you set it",
        ),
        DeadLetterError::Kafka(KafkaError::Ended) => {
            (Exit::Internal, message, "this is a fault of the program")
        }
    };
    Failure::new(exit, message).remedy(remedy)
}

/// `stockalert.rules.v1` as people call it: `rules`.
fn short(topic: &str) -> &str {
    topic
        .strip_prefix("stockalert.")
        .and_then(|name| name.strip_suffix(".v1"))
        .unwrap_or(topic)
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 {
        format!("{count} {what}")
    } else {
        format!("{count} {what}s")
    }
}
