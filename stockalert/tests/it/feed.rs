//! `stockalert feed` against a broker.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use cqrs::domain::{Quote, Timestamp};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use service::codec::decode_quote;
use service::kafka::{BatchLimits, ConsumerEvent, EmbeddedBroker, Kafka, StartFrom};
use service::topics::{ALL, QUOTES, RULES, partition_of};

use crate::program::{Home, Run};

const PARTITIONS: i32 = 4;

fn feed(home: &Home, words: &str, bootstrap_servers: &str) -> Command {
    let words = ["feed"].into_iter().chain(words.split(' '));
    let mut command = home.command(words);
    command.env("KAFKA_BOOTSTRAP_SERVERS", bootstrap_servers);
    command
}

#[expect(clippy::unwrap_used, reason = "a test's own tools may fail loudly")]
fn interrupt_after(mut command: Command, time: Duration) -> Run {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(time);
    interrupt(&child);
    Run::from(child.wait_with_output().unwrap())
}

#[expect(clippy::unwrap_used, reason = "a test's own tools may fail loudly")]
fn interrupt(child: &Child) {
    let id = child.id().to_string();
    let mut kill = Command::new("kill");
    assert!(kill.args(["-INT", &id]).status().unwrap().success());
}

/// A feed that writes already, and what it will say.
#[expect(clippy::unwrap_used, reason = "a test's own tools may fail loudly")]
fn publishing(
    home: &Home,
    cluster: &MockCluster<'_, DefaultProducerContext>,
) -> (Child, BufReader<ChildStderr>) {
    for topic in ALL {
        cluster.create_topic(topic.name, 1, 1).unwrap();
    }
    let mut command = feed(home, "synthetic --rate 1000/s", &cluster.bootstrap_servers());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    line_with(&mut said, "publishing 1000 made-up quotes/s");
    std::thread::sleep(Duration::from_secs(2));
    (child, said)
}

#[expect(clippy::unwrap_used, reason = "a test's own tools may fail loudly")]
fn line_with(said: &mut BufReader<ChildStderr>, text: &str) {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "{text:?} was not said");
    }
}

/// The first so many quotes of the topic, each checked to be in its ticker's partition and to carry a trace.
#[expect(clippy::unwrap_used, reason = "a test's own tools may fail loudly")]
async fn quotes(broker: &EmbeddedBroker, count: usize) -> Vec<Quote> {
    let kafka = Kafka::connect(broker.settings()).await.unwrap();
    let limits = BatchLimits {
        max_records: 1_000,
        max_wait: Duration::from_millis(10),
    };
    let mut consumer = kafka
        .consumer("test", QUOTES, StartFrom::Beginning, limits)
        .unwrap();
    let mut quotes = Vec::new();
    while quotes.len() < count {
        let event = tokio::time::timeout(Duration::from_secs(60), consumer.next());
        if let ConsumerEvent::Batch(batch) = event.await.unwrap().unwrap() {
            for record in batch.records {
                let quote = decode_quote(record.payload.as_deref().unwrap()).unwrap();
                assert_eq!(record.partition, partition_of(&quote.ticker, PARTITIONS));
                assert_eq!(record.key.as_deref(), Some(quote.ticker.as_str().as_bytes()));
                assert!(record.trace.is_some());
                quotes.push(quote);
            }
        }
    }
    consumer.close().await;
    quotes
}

#[expect(clippy::unwrap_used, reason = "a test's own tools may fail loudly")]
fn document(run: &Run) -> serde_json::Value {
    serde_json::from_str(&run.out).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn made_up_quotes_come_at_the_rate_until_ctrl_c_and_all_are_acknowledged() {
    let broker = EmbeddedBroker::start(PARTITIONS).unwrap();
    let home = Home::new();
    let server = &broker.settings().bootstrap_servers;
    let command = feed(&home, "synthetic --tickers 30 --rate 2000/s --json", server);
    let before = Timestamp::now();
    let run = interrupt_after(command, Duration::from_secs(4));
    assert_eq!(run.code, 0, "{run:?}");
    let said = "publishing 2000 made-up quotes/s of 30 tickers to stockalert.quotes.v1 at ";
    assert!(run.err.starts_with(&format!("{said}{server}")), "{}", run.err);
    let totals = document(&run);
    assert_eq!(totals["acknowledged"], totals["sent"]);
    assert_eq!(totals["not_acknowledged"], 0);
    let sent = usize::try_from(totals["sent"].as_u64().unwrap()).unwrap();
    // The start of the program takes a part of the time, on a busy machine a large one.
    assert!((1_000..=8_100).contains(&sent), "{totals}");
    let rate = totals["quotes_per_second"].as_f64().unwrap();
    assert!((1_500.0..=2_100.0).contains(&rate), "{totals}");

    let quotes = quotes(&broker, sent).await;
    assert_eq!(quotes.len(), sent);
    let mut by_ticker: BTreeMap<String, Vec<Quote>> = BTreeMap::new();
    for quote in quotes {
        assert!(before <= quote.ingest_time && quote.ingest_time <= Timestamp::now());
        assert_eq!(
            (quote.event_time, quote.source.as_str()),
            (quote.ingest_time, "synthetic")
        );
        by_ticker.entry(quote.ticker.to_string()).or_default().push(quote);
    }
    assert_eq!(by_ticker.len(), 30);
    for (ticker, quotes) in by_ticker {
        assert!(
            quotes.len().abs_diff(sent / 30) <= 1,
            "{ticker}: {}",
            quotes.len()
        );
        assert!(quotes.is_sorted_by_key(|quote| quote.event_time), "{ticker}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_replayed_to_its_end_and_rows_that_are_no_quotes_are_told() {
    let broker = EmbeddedBroker::start(PARTITIONS).unwrap();
    let home = Home::new();
    let mut file = String::from("timestamp,ticker,price,volume\n");
    for second in 0..60 {
        file.push_str(&format!(
            "2020-01-02T10:00:{second:02}Z,AAPL,{}.5,7\n",
            100 + second
        ));
        file.push_str(&format!(
            "2020-01-02T10:00:{second:02}Z,BTC-USD,{}.25,\n",
            9_000 + second
        ));
    }
    file.push_str("2020-01-02T10:01:00Z,aapl,1,\n");
    let path = home.path().join("day.csv");
    std::fs::write(&path, &file).unwrap();
    let server = broker.settings().bootstrap_servers.clone();

    let mut command = feed(&home, "replay day.csv --speed 30", &server);
    command.current_dir(home.path());
    let start = std::time::Instant::now();
    let run = Home::finish(&mut command);
    let took = start.elapsed();
    assert_eq!(run.code, 0, "{run:?}");
    assert!(
        took >= Duration::from_millis(1_950),
        "59 s at 30 times the speed: {took:?}"
    );
    assert!(
        run.out.starts_with("Quotes sent: 120; acknowledged: 120 in "),
        "{}",
        run.out
    );
    assert!(
        run.out
            .contains("Rows skipped: 1.\n  line 122: \"aapl\" is not a ticker"),
        "{}",
        run.out
    );

    let quotes = quotes(&broker, 120).await;
    for name in ["AAPL", "BTC-USD"] {
        let of = |quote: &&Quote| quote.ticker.as_str() == name;
        let times: Vec<Timestamp> = quotes.iter().filter(of).map(|quote| quote.event_time).collect();
        assert_eq!(times.len(), 60, "{name}");
        assert!(times.is_sorted(), "{name}");
        assert_eq!(times[0].to_string(), "2020-01-02T10:00:00Z");
    }
    assert!(quotes.iter().all(|quote| quote.source == "replay"));

    let mut command = feed(&home, "replay day.csv --speed 0 --json", &server);
    command.current_dir(home.path());
    let totals = document(&Home::finish(&mut command));
    assert_eq!(totals["acknowledged"], 120);
    assert_eq!(totals["skipped_rows"], 1);
}

#[test]
fn a_quote_that_is_not_acknowledged_makes_the_command_fail() {
    let cluster = MockCluster::new(1).unwrap();
    for topic in ALL {
        cluster.create_topic(topic.name, 1, 1).unwrap();
    }
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::Produce, &[refused; 100]);
    let home = Home::new();
    let path = home.path().join("day.csv");
    std::fs::write(
        &path,
        "timestamp,ticker,price,volume\n2020-01-02T10:00:00Z,A,1,\n",
    )
    .unwrap();
    let mut command = feed(&home, "replay day.csv", &cluster.bootstrap_servers());
    command.current_dir(home.path());
    let run = Home::finish(&mut command);
    assert_eq!(run.code, 69, "{run:?}");
    assert!(
        run.out.starts_with("Quotes sent: 1; acknowledged: 0 "),
        "{}",
        run.out
    );
    assert!(
        run.err.contains("error: 1 of 1 quotes were not acknowledged: "),
        "{}",
        run.err
    );
}

#[test]
fn a_signal_that_comes_twice_at_once_is_one_and_all_quotes_are_acknowledged() {
    let cluster = MockCluster::new(1).unwrap();
    // Some are always on their way.
    cluster
        .broker_round_trip_time(1, Duration::from_millis(300))
        .unwrap();
    let home = Home::new();
    let (child, _said) = publishing(&home, &cluster);
    interrupt(&child);
    interrupt(&child);
    let run = Run::from(child.wait_with_output().unwrap());
    assert_eq!(run.code, 0, "{run:?}");
}

#[test]
fn what_is_waited_for_after_ctrl_c_is_told_and_a_second_one_ends_it() {
    let cluster = MockCluster::new(1).unwrap();
    let home = Home::new();
    let (child, mut said) = publishing(&home, &cluster);
    cluster
        .broker_round_trip_time(1, Duration::from_secs(25))
        .unwrap();
    std::thread::sleep(Duration::from_secs(1));
    interrupt(&child);
    line_with(
        &mut said,
        "no more is sent; waiting up to 35 s for the acknowledgements of ",
    );
    std::thread::sleep(Duration::from_millis(1_100));
    interrupt(&child);
    line_with(&mut said, " quotes were not acknowledged: nobody waited for them");
    let run = Run::from(child.wait_with_output().unwrap());
    assert_eq!(run.code, 69, "{run:?}");
    assert!(run.out.starts_with("Quotes sent: "), "{}", run.out);
}

#[test]
fn nothing_is_published_where_the_topics_are_not_this_systems() {
    let home = Home::new();
    let run = |server: &str| Home::finish(&mut feed(&home, "synthetic --rate 1/s", server));
    let empty = MockCluster::new(1).unwrap();
    let refused = run(&empty.bootstrap_servers());
    assert_eq!((refused.code, refused.out.as_str()), (65, ""));
    assert!(
        refused
            .err
            .starts_with("error: there is no topic stockalert.quotes.v1 at "),
        "{}",
        refused.err
    );

    let uneven = MockCluster::new(1).unwrap();
    uneven.create_topic(QUOTES.name, 3, 1).unwrap();
    uneven.create_topic(RULES.name, 2, 1).unwrap();
    let refused = run(&uneven.bootstrap_servers());
    assert_eq!(refused.code, 65);
    assert!(
        refused
            .err
            .contains("stockalert.rules.v1: 2, stockalert.quotes.v1: 3"),
        "{}",
        refused.err
    );
}

#[test]
fn what_cant_be_done_is_refused_before_anything_is_published() {
    let home = Home::new();
    let run = home.run(&["feed", "synthetic", "--rate", "10"]);
    assert_eq!(run.code, 64);
    assert!(run.err.contains("set KAFKA_BOOTSTRAP_SERVERS"), "{}", run.err);

    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let run = Home::finish(&mut feed(&home, "synthetic --rate 10", &free.to_string()));
    assert_eq!(run.code, 69);
    assert!(
        run.err.starts_with(&format!("looking for a broker at {free}\n")),
        "{}",
        run.err
    );
    assert!(run.err.contains("no Kafka broker answered at"), "{}", run.err);

    let run = Home::finish(&mut feed(&home, "replay nowhere.csv", "127.0.0.1:1"));
    assert_eq!(run.code, 74);
    assert!(run.err.contains("nowhere.csv can't be read"), "{}", run.err);

    for (words, wanted) in [
        (
            "synthetic --rate -5/s",
            "give quotes per second, 1 to 10000000, such as 100000/s",
        ),
        ("synthetic --rate 1 --tickers -3", "-3 is not in 1..=100000"),
        (
            "replay day.csv --speed -1",
            "give 0 (as fast as the broker takes it) or a factor above 0",
        ),
    ] {
        let run = Home::finish(&mut feed(&home, words, "127.0.0.1:1"));
        assert_eq!(run.code, 64, "{words}: {run:?}");
        assert!(run.err.contains(wanted), "{words}: {}", run.err);
    }

    for words in [
        "synthetic",
        "synthetic --rate fast",
        "synthetic --rate 1 --tickers 0",
        "replay",
    ] {
        let run = Home::finish(&mut feed(&home, words, "127.0.0.1:1"));
        assert_eq!(run.code, 64, "{words}: {run:?}");
    }
}
