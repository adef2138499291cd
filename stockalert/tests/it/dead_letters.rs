//! `stockalert dead-letters` against a broker.

use std::time::Duration;

use cqrs::domain::{Quote, Timestamp};
use serde_json::json;
use service::codec::encode_quote;
use service::kafka::{DeadLetters, EmbeddedBroker, Kafka, Record};
use service::topics::{QUOTES, partition_of};

use crate::program::Home;

const QUOTE_PARTITION: i32 = 1;

/// A broker with two letters: 0 can't be read, 1 can (by now).
#[expect(clippy::unwrap_used, reason = "a test's own tools may fail loudly")]
async fn broker_with_letters() -> EmbeddedBroker {
    let broker = EmbeddedBroker::start(4).unwrap();
    let kafka = Kafka::connect(broker.settings()).await.unwrap();
    let producer = kafka.producer(Duration::from_secs(30), Duration::ZERO).unwrap();
    let letters = DeadLetters::new(producer, "alert-system");
    let quote = Quote {
        ticker: "AAPL".parse().unwrap(),
        price: "48.87".parse().unwrap(),
        currency: "USD".into(),
        volume: None,
        trade_side: None,
        event_time: Timestamp::from_micros(1),
        ingest_time: Timestamp::from_micros(2),
        source: "replay".into(),
    };
    assert_eq!(partition_of(&quote.ticker, 4), QUOTE_PARTITION);
    for (offset, payload) in [(17, b"\x1b[2J secret".to_vec()), (18, encode_quote(&quote))] {
        let record = Record {
            topic: QUOTES.name,
            partition: QUOTE_PARTITION,
            offset,
            timestamp: Some(Timestamp::from_micros(0)),
            key: Some(b"AA\x1bPL".to_vec()),
            payload: Some(payload),
            trace: None,
        };
        letters
            .send(&record, "the value \u{1b}[2J is no quote")
            .await
            .unwrap();
    }
    broker
}

/// A home whose environment names the broker.
struct Operator {
    home: Home,
    bootstrap_servers: String,
}

impl Operator {
    fn of(broker: &EmbeddedBroker) -> Self {
        Self {
            home: Home::new(),
            bootstrap_servers: broker.settings().bootstrap_servers.clone(),
        }
    }

    fn run(&self, words: &str) -> crate::program::Run {
        let words = ["dead-letters"].into_iter().chain(words.split(' '));
        let mut command = self.home.command(words);
        command.env("KAFKA_BOOTSTRAP_SERVERS", &self.bootstrap_servers);
        Home::finish(&mut command)
    }

    #[expect(clippy::expect_used, reason = "a test's own tools may fail loudly")]
    fn json(&self, words: &str) -> serde_json::Value {
        let run = self.run(&format!("{words} --json"));
        serde_json::from_str(&run.out).expect("the output is JSON")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_listed_newest_first_without_what_they_hold() {
    let broker = broker_with_letters().await;
    let operator = Operator::of(&broker);
    let run = operator.run("list");
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let letters = operator.json("list");
    let time = |letter: usize| {
        letters[letter]["set_aside_time"]
            .as_str()
            .map(|t| t[11..19].to_owned())
    };
    let out = run
        .out
        .replace(&time(0).unwrap(), "TIME")
        .replace(&time(1).unwrap(), "TIME");
    insta::assert_snapshot!(out, @r"
    LETTER  SET ASIDE  RECORD       GROUP         ERROR
         1  TIME   quotes/1/18  alert-system  the value �[2J is no quote
         0  TIME   quotes/1/17  alert-system  the value �[2J is no quote

    2 dead letters, none of them replayed.
    COUNT  TOPIC   ERROR
        2  quotes  the value �[2J is no quote
    ");
    assert_eq!(
        letters[1]["origin"],
        json!({"topic": QUOTES.name, "partition": QUOTE_PARTITION, "offset": 17})
    );
    assert_eq!(operator.json("list --limit 1")[0]["offset"], 1);
    assert_eq!(operator.json("list --since 1h").as_array().map(Vec::len), Some(2));
    let none = operator.run("list --topic rules");
    assert_eq!(
        none.out,
        "No dead letter matches; there are 2 dead letters in all.\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_shown_with_all_that_can_be_told_of_it() {
    let broker = broker_with_letters().await;
    let operator = Operator::of(&broker);
    let run = operator.run("show 0");
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let shown: Vec<&str> = run
        .out
        .lines()
        .filter(|line| !line.starts_with("Set aside"))
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    ABOUT       CONTENT
    Letter      0
    By group    alert-system
    Error       the value �[2J is no quote
    Record      stockalert.quotes.v1, partition 1, offset 17
    Written     1970-01-01 00:00:00.000 UTC
    Key         AA\x1bPL
    Value       11 bytes
    Replayed    no
    Replayable  no: it still can't be decoded, so it would come straight back: the value is not a protobuf message of this topic: failed to decode Protobuf message: QuoteRecord.event_time_us: invalid wire type: StartGroup (expected Varint)

    VALUE
    0000  1b 5b 32 4a 20 73 65 63 72 65 74                 .[2J secret
    ");
    let letter = operator.json("show 1");
    assert_eq!(
        (&letter["replayable"], &letter["fields"]["price"]),
        (&json!(true), &json!("48.87"))
    );
    let run = operator.run("show 2");
    assert_eq!(run.code, 66);
    insta::assert_snapshot!(run.err, @r"
    error: there is no dead letter 2: the topic holds 0 to 1 now
      see `stockalert dead-letters list`; letters are kept for 30 days
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_read_is_replayed_once_and_the_rest_refused_with_the_reason() {
    let broker = broker_with_letters().await;
    let operator = Operator::of(&broker);
    let unasked = operator.run("replay 1");
    assert_eq!(unasked.code, 64);
    insta::assert_snapshot!(unasked.err, @r"
    error: replaying asks before it appends anything, and there is no terminal to ask at
      give --yes to go ahead, or --dry-run to see what would be done
    ");

    let rehearsal = operator.run("replay --all --dry-run");
    assert_eq!(rehearsal.code, 65);
    insta::assert_snapshot!(rehearsal.out, @r"
    LETTER  OUTCOME            RECORD OR REASON
         0  refused            it still can't be decoded, so it would come straight back: the value is not a protobuf message of this topic: failed to decode Protobuf message: QuoteRecord.event_time_us: invalid wire type: StartGroup (expected Varint)
         1  would be appended  stockalert.quotes.v1, partition 1
    ");

    let run = operator.run("replay --all --yes");
    assert_eq!(run.code, 65);
    insta::assert_snapshot!(format!("{}{}", run.out, run.err), @r"
    LETTER  OUTCOME   RECORD OR REASON
         0  refused   it still can't be decoded, so it would come straight back: the value is not a protobuf message of this topic: failed to decode Protobuf message: QuoteRecord.event_time_us: invalid wire type: StartGroup (expected Varint)
         1  appended  stockalert.quotes.v1, partition 1, offset 0
    error: 1 of 2 letters can't be replayed
      see the reasons above
    ");
    assert_eq!(operator.json("list")[0]["replayed_to"]["offset"], 0);

    let repeated = operator.run("replay 1 --yes");
    assert_eq!(repeated.code, 65);
    insta::assert_snapshot!(format!("{}{}", repeated.out, repeated.err), @r"
    LETTER  OUTCOME  RECORD OR REASON
         1  skipped  replayed already, to stockalert.quotes.v1, partition 1, offset 0; --again appends it once more
    error: letter 1 can't be replayed
      see the reasons above
    ");
    let again = operator.json("replay 1 --yes --again");
    assert_eq!(
        (&again["letters"][0]["outcome"], &again["letters"][0]["offset"]),
        (&json!("appended"), &json!(1))
    );
    // The marks are no letters.
    assert_eq!(operator.json("list").as_array().map(Vec::len), Some(2));
    assert!(
        operator
            .run("show 2")
            .err
            .contains("that record is the mark of a replay")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_letters_or_without_a_broker_it_says_so() {
    let broker = EmbeddedBroker::start(1).unwrap();
    let mut operator = Operator::of(&broker);
    let run = operator.run("list");
    assert_eq!(
        (run.code, run.out.as_str()),
        (0, "There are no dead letters: every record could be handled.\n")
    );
    assert_eq!(operator.run("replay --all --yes").code, 0);
    assert_eq!(operator.run("show 0").code, 66);

    let run = Home::finish(&mut operator.home.command(["dead-letters", "list"]));
    assert_eq!(run.code, 64);
    assert!(run.err.contains("set KAFKA_BOOTSTRAP_SERVERS"), "{}", run.err);

    let free_port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    operator.bootstrap_servers = free_port.to_string();
    let run = operator.run("list");
    assert_eq!(run.code, 69);
    assert!(run.err.contains(&operator.bootstrap_servers), "{}", run.err);
    assert!(run.err.contains("check KAFKA_BOOTSTRAP_SERVERS"), "{}", run.err);
}
