//! Reading a whole topic without a group.

use cqrs::domain::Ticker;
use service::kafka::{Kafka, Outgoing, Producer, ReaderEvent, TopicReader};
use service::topics::{TICKERS, partition_of};

use super::{LIMITS, PATIENCE, connect};

async fn write(producer: &Producer, names: impl IntoIterator<Item = String>) {
    for name in names {
        let ticker: Ticker = name.parse().unwrap();
        let outgoing = Outgoing {
            topic: TICKERS,
            ticker: &ticker,
            key: name.as_bytes(),
            payload: Some(b"x"),
            trace: None,
        };
        producer.send(outgoing).await.unwrap().wait().await.unwrap();
    }
}

fn start(kafka: &Kafka) -> TopicReader {
    kafka.reader("test", TICKERS, LIMITS).unwrap()
}

async fn next(reader: &mut TopicReader) -> ReaderEvent {
    tokio::time::timeout(PATIENCE, reader.next())
        .await
        .unwrap()
        .unwrap()
}

/// The keys of so many records, sorted, and after how many of them the reader said that it has caught up.
async fn keys(reader: &mut TopicReader, count: usize) -> (Vec<String>, Option<usize>) {
    let (mut keys, mut caught_up) = (Vec::new(), None);
    while keys.len() < count || caught_up.is_none() {
        match next(reader).await {
            ReaderEvent::CaughtUp => {
                assert_eq!(caught_up, None, "once");
                caught_up = Some(keys.len());
            }
            ReaderEvent::Batch(batch) => {
                assert!(batch.records.len() <= LIMITS.max_records);
                for record in batch.records {
                    let key = String::from_utf8(record.key.unwrap()).unwrap();
                    assert_eq!(record.partition, partition_of(&key.parse().unwrap(), 4));
                    keys.push(key);
                }
            }
        }
    }
    keys.sort();
    (keys, caught_up)
}

fn names(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("T{number:03}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reader_gets_all_that_there_is_then_hears_so_and_then_gets_what_comes() {
    let (kafka, _broker) = connect().await;
    let producer = kafka.producer(PATIENCE, std::time::Duration::ZERO).unwrap();
    write(&producer, names(0..95)).await;
    let mut readers = [start(&kafka), start(&kafka)];
    for reader in &mut readers {
        assert_eq!(keys(reader, 95).await, (names(0..95), Some(95)));
    }
    write(&producer, names(100..110)).await;
    for reader in &mut readers {
        let mut later = Vec::new();
        while later.len() < 10 {
            match next(reader).await {
                ReaderEvent::Batch(batch) => later.extend(batch.records),
                ReaderEvent::CaughtUp => panic!("it was said before"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_an_empty_topic_there_is_nothing_to_wait_for() {
    let (kafka, _broker) = connect().await;
    let mut reader = start(&kafka);
    assert!(matches!(next(&mut reader).await, ReaderEvent::CaughtUp));
    let producer = kafka.producer(PATIENCE, std::time::Duration::ZERO).unwrap();
    write(&producer, names(0..1)).await;
    assert!(matches!(next(&mut reader).await, ReaderEvent::Batch(batch) if batch.records.len() == 1));
}
