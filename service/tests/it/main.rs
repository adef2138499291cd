//! The Kafka clients against the embedded broker.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod dead_letters;
mod reader;

use std::time::Duration;

use cqrs::domain::Ticker;
use service::TraceParent;
use service::kafka::{
    Batch, BatchConsumer, BatchLimits, ConsumerEvent, DeadLetters, EmbeddedBroker, Kafka, Outgoing, StartFrom,
};
use service::topics::{DEAD_LETTERS, QUOTES, RULES, partition_of};

const LIMITS: BatchLimits = BatchLimits {
    max_records: 10,
    max_wait: Duration::from_millis(20),
};
const PATIENCE: Duration = Duration::from_secs(60);

async fn next_batch(consumer: &mut BatchConsumer) -> Batch {
    let batch = async {
        loop {
            if let ConsumerEvent::Batch(batch) = consumer.next().await.unwrap() {
                return batch;
            }
        }
    };
    tokio::time::timeout(PATIENCE, batch)
        .await
        .unwrap_or_else(|_| panic!("no records came"))
}

async fn connect() -> (Kafka, EmbeddedBroker) {
    let broker = EmbeddedBroker::start(4).unwrap();
    let kafka = Kafka::connect(broker.settings()).await.unwrap();
    (kafka, broker)
}

#[tokio::test(flavor = "multi_thread")]
async fn records_keep_their_order_partition_key_and_trace() {
    let (kafka, _broker) = connect().await;
    assert_eq!(kafka.partitions(), 4);
    let producer = kafka.producer(Duration::from_secs(30), Duration::ZERO).unwrap();
    let ticker: Ticker = "AAPL".parse().unwrap();
    let trace = TraceParent::generate();
    let send = |payload: &'static [u8]| {
        let outgoing = Outgoing {
            topic: QUOTES,
            ticker: &ticker,
            key: b"AAPL",
            payload: Some(payload),
            trace: Some(trace),
        };
        let producer = producer.clone();
        async move { producer.send(outgoing).await.unwrap().wait().await.unwrap() }
    };
    for payload in [b"1", b"2", b"3"] {
        send(payload).await;
    }
    let mut consumer = kafka
        .consumer("test", QUOTES, StartFrom::Committed, LIMITS)
        .unwrap();
    let mut records = Vec::new();
    while records.len() < 3 {
        records.extend(next_batch(&mut consumer).await.records);
    }
    assert_eq!(
        records
            .iter()
            .map(|r| r.payload.as_deref().unwrap())
            .collect::<Vec<_>>(),
        [b"1", b"2", b"3"]
    );
    assert!(
        records
            .iter()
            .all(|r| r.partition == partition_of(&ticker, 4) && r.trace == Some(trace))
    );
    assert!(records.iter().all(|r| r.key.as_deref() == Some(b"AAPL")));
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_goes_on_after_what_it_committed_and_a_rebuilder_starts_anew() {
    let (kafka, _broker) = connect().await;
    let producer = kafka.producer(Duration::from_secs(30), Duration::ZERO).unwrap();
    let ticker: Ticker = "AAPL".parse().unwrap();
    for payload in [b"1", b"2"] {
        let outgoing = Outgoing {
            topic: RULES,
            ticker: &ticker,
            key: b"k",
            payload: Some(payload),
            trace: None,
        };
        producer.send(outgoing).await.unwrap().wait().await.unwrap();
    }
    let one = BatchLimits {
        max_records: 1,
        ..LIMITS
    };
    let mut consumer = kafka.consumer("test", RULES, StartFrom::Committed, one).unwrap();
    let batch = next_batch(&mut consumer).await;
    assert_eq!(batch.records[0].payload.as_deref(), Some(&b"1"[..]));
    consumer.commit_and_wait(&batch).unwrap();
    consumer.close().await;

    let mut consumer = kafka.consumer("test", RULES, StartFrom::Committed, one).unwrap();
    assert_eq!(
        next_batch(&mut consumer).await.records[0].payload.as_deref(),
        Some(&b"2"[..])
    );
    consumer.close().await;

    let mut consumer = kafka.consumer("test", RULES, StartFrom::Beginning, one).unwrap();
    assert_eq!(
        next_batch(&mut consumer).await.records[0].payload.as_deref(),
        Some(&b"1"[..])
    );
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_the_record_itself_with_its_origin() {
    let (kafka, _broker) = connect().await;
    let producer = kafka.producer(Duration::from_secs(30), Duration::ZERO).unwrap();
    let ticker: Ticker = "AAPL".parse().unwrap();
    let outgoing = Outgoing {
        topic: QUOTES,
        ticker: &ticker,
        key: b"AAPL",
        payload: Some(b"garbage"),
        trace: None,
    };
    producer.send(outgoing).await.unwrap().wait().await.unwrap();
    let mut consumer = kafka
        .consumer("test", QUOTES, StartFrom::Committed, LIMITS)
        .unwrap();
    let record = next_batch(&mut consumer).await.records.remove(0);
    DeadLetters::new(producer, "test")
        .send(&record, "not a quote")
        .await
        .unwrap();
    let mut letters = kafka
        .consumer("letters", DEAD_LETTERS, StartFrom::Beginning, LIMITS)
        .unwrap();
    let letter = next_batch(&mut letters).await.records.remove(0);
    assert_eq!((letter.key, letter.payload), (record.key, record.payload));
    letters.close().await;
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka; run by make test"]
async fn missing_topics_are_created_on_kafka_with_equal_partition_counts() {
    let bootstrap_servers = std::env::var("TEST_KAFKA_BOOTSTRAP_SERVERS")
        .unwrap_or_else(|_| panic!("TEST_KAFKA_BOOTSTRAP_SERVERS is not set; run make test"));
    let settings = service::config::KafkaArgs::plain(bootstrap_servers, 12).settings();
    let (one, two) = tokio::join!(Kafka::connect(&settings), Kafka::connect(&settings));
    assert_eq!(one.unwrap().partitions(), two.unwrap().partitions());
}
