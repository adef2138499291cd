//! Reading and replaying dead letters, against the embedded broker.

use cqrs::domain::{Price, Quote, RuleId, RuleSnapshot, RuleVersion, Ticker, Timestamp, UserId};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, OwnedMessage};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use service::codec::{encode_quote, encode_rule};
use service::config::KafkaArgs;
use service::kafka::dead_letters::{DeadLetter, DeadLetterError, DeadLetterReader, Obstacle, Place, Reading};
use service::kafka::{DeadLetters, EmbeddedBroker, Kafka, KafkaError, Outgoing, Producer, Record};
use service::topics::{ALERTS, DEAD_LETTERS, QUOTES, RULES, Topic, partition_of};
use std::time::Duration;

use crate::{PATIENCE, connect};

/// A broker with a writer of dead letters and a reader.
struct Stage {
    // First: clients end before the broker.
    reader: DeadLetterReader,
    letters: DeadLetters,
    producer: Producer,
    kafka: Kafka,
    _broker: EmbeddedBroker,
}

impl Stage {
    async fn new() -> Self {
        let (kafka, broker) = connect().await;
        let producer = kafka.producer(Duration::from_secs(30), Duration::ZERO).unwrap();
        Self {
            reader: DeadLetterReader::open(broker.settings()).await.unwrap(),
            letters: DeadLetters::new(producer.clone(), "test"),
            producer,
            kafka,
            _broker: broker,
        }
    }

    async fn set_aside(&self, record: &Record) {
        self.letters.send(record, "not\u{1b} understood").await.unwrap();
    }

    async fn read(&self) -> Reading<Vec<DeadLetter>> {
        let reading = self
            .reader
            .read(Vec::new(), |letters, letter| letters.push(letter));
        reading.await.unwrap()
    }

    async fn plan(&self) -> Vec<Result<i32, Obstacle>> {
        let reading = self.read().await;
        let plan = self.reader.plan(&reading.state, &reading.replays).await.unwrap();
        plan.into_iter().map(|plan| plan.map(|to| to.partition)).collect()
    }

    fn read_record(&self, place: &Place) -> OwnedMessage {
        let consumer: BaseConsumer = self.kafka.consumer_config("test").create().unwrap();
        let mut partitions = TopicPartitionList::new();
        partitions
            .add_partition_offset(&place.topic, place.partition, Offset::Offset(place.offset))
            .unwrap();
        consumer.assign(&partitions).unwrap();
        consumer.poll(PATIENCE).unwrap().unwrap().detach()
    }

    async fn append(&self, topic: Topic, key: &str, payload: Option<&[u8]>) {
        let outgoing = Outgoing {
            topic,
            ticker: &ticker(),
            key: key.as_bytes(),
            payload,
            trace: None,
        };
        self.producer.send(outgoing).await.unwrap().wait().await.unwrap();
    }
}

fn ticker() -> Ticker {
    "AAPL".parse().unwrap()
}

fn record(topic: Topic, key: &str, payload: Option<Vec<u8>>) -> Record {
    Record {
        topic: topic.name,
        partition: partition_of(&ticker(), 4),
        offset: 7,
        timestamp: Some(Timestamp::from_micros(1_000_000)),
        key: Some(key.into()),
        payload,
        trace: None,
    }
}

fn quote() -> Record {
    let quote = Quote {
        ticker: ticker(),
        price: "48.87".parse::<Price>().unwrap(),
        currency: "USD".into(),
        volume: None,
        trade_side: None,
        event_time: Timestamp::from_micros(1),
        ingest_time: Timestamp::from_micros(2),
        source: "replay".into(),
    };
    record(QUOTES, "AAPL", Some(encode_quote(&quote)))
}

fn rule(id: RuleId, version: i64) -> Vec<u8> {
    encode_rule(&RuleSnapshot {
        rule_id: id,
        user_id: UserId::generate(),
        ticker: ticker(),
        range: cqrs::domain::Range::new(None, Some("500".parse().unwrap())).unwrap(),
        version: RuleVersion::try_from(version).unwrap(),
        active: true,
        expires_at: None,
        updated_at: Timestamp::from_micros(7),
        generation: 0,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_record_is_where_it_was_says_so_and_its_letter_is_marked() {
    let stage = Stage::new().await;
    let quote = quote();
    stage.set_aside(&quote).await;
    let reading = stage.read().await;
    let letter = &reading.state[0];
    assert_eq!(
        letter.origin,
        Some(Place {
            topic: QUOTES.name.into(),
            partition: quote.partition,
            offset: 7
        })
    );
    assert_eq!((&letter.key, &letter.payload), (&quote.key, &quote.payload));
    assert_eq!(letter.origin_time, quote.timestamp);
    assert_eq!(
        (letter.group.as_str(), letter.error.as_str()),
        ("test", "not\u{1b} understood")
    );
    let fields = letter.fields().unwrap();
    assert!(fields.contains(&("price", Some("48.87".into()))), "{fields:?}");

    let plan = stage.reader.plan(&reading.state, &reading.replays).await.unwrap();
    let replayer = stage.reader.replayer().unwrap();
    let place = replayer.replay(letter, *plan[0].as_ref().unwrap()).await.unwrap();
    let replayed = stage.read_record(&place);
    assert_eq!(replayed.key(), quote.key.as_deref());
    assert_eq!(replayed.payload(), quote.payload.as_deref());
    let header = replayed.headers().unwrap().get(0);
    assert_eq!((header.key, header.value), ("replayed-from", Some(&b"0"[..])));

    let reading = stage.read().await;
    assert_eq!((reading.state.len(), reading.replays.get(&0)), (1, Some(&place)));
    assert!(matches!(&stage.plan().await[..], [Err(Obstacle::Replayed(to))] if *to == place));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_come_back_or_would_be_seen_by_nobody_is_not_replayed() {
    let stage = Stage::new().await;
    let garbage = record(QUOTES, "AAPL", Some(b"garbage".to_vec()));
    let elsewhere = |change: fn(&mut Record)| {
        let mut record = quote();
        change(&mut record);
        record
    };
    for record in [
        garbage,
        elsewhere(|record| record.topic = "payments"),
        elsewhere(|record| record.topic = DEAD_LETTERS.name),
        elsewhere(|record| record.partition = 4),
        elsewhere(|record| record.partition = (record.partition + 1) % 4),
        record(RULES, "no id", None),
        record(ALERTS, &RuleId::generate().to_string(), quote().payload),
        quote(),
    ] {
        stage.set_aside(&record).await;
    }
    let plan = stage.plan().await;
    assert!(
        matches!(
            &plan[..],
            [
                Err(Obstacle::Undecodable(_)),
                Err(Obstacle::UnknownTopic { .. }),
                Err(Obstacle::UnknownTopic { .. }),
                Err(Obstacle::NoPartition {
                    partition: 4,
                    count: 4,
                    ..
                }),
                Err(Obstacle::WrongPartition { .. }),
                Err(Obstacle::Undecodable(_)),
                Err(Obstacle::Undecodable(_)),
                Ok(_),
            ]
        ),
        "{plan:?}"
    );
    assert!(
        plan.iter()
            .flat_map(|plan| plan.as_ref().err())
            .all(|obstacle| !obstacle.is_settled())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_topic_never_gets_an_older_record_last() {
    let stage = Stage::new().await;
    let [edited, same, deleted, twice, paused] = [(); 5].map(|()| RuleId::generate());
    // A paused writer may have left an older version behind a newer one.
    for (id, version) in [(edited, 3), (same, 2), (deleted, 1), (paused, 5), (paused, 4)] {
        stage
            .append(RULES, &id.to_string(), Some(&rule(id, version)))
            .await;
    }
    stage.append(RULES, &deleted.to_string(), None).await;
    // What nobody can read does not count, whatever its key.
    stage.append(RULES, &same.to_string(), Some(b"garbage")).await;
    for (id, version) in [
        (edited, 2),
        (same, 2),
        (deleted, 9),
        (twice, 4),
        (twice, 3),
        (paused, 4),
    ] {
        stage
            .set_aside(&record(RULES, &id.to_string(), Some(rule(id, version))))
            .await;
    }
    let plan = stage.plan().await;
    assert!(
        matches!(
            &plan[..],
            [
                Err(Obstacle::Superseded { offset: 0, .. }),
                Ok(_),
                Err(Obstacle::Superseded { offset: 5, .. }),
                Ok(_),
                Err(Obstacle::OlderThanLetter { letter: 3, .. }),
                Err(Obstacle::Superseded { offset: 3, .. }),
            ]
        ),
        "{plan:?}"
    );
    assert!(
        plan.iter()
            .flat_map(|plan| plan.as_ref().err())
            .all(Obstacle::is_settled)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_the_topic_is_told_from_one_that_is_away_and_gets_no_topic() {
    let cluster = MockCluster::new(1).unwrap();
    let here = KafkaArgs::plain(cluster.bootstrap_servers(), 4).settings();
    let error = DeadLetterReader::open(&here).await.unwrap_err();
    assert!(
        matches!(&error, DeadLetterError::NoTopic { bootstrap_servers } if *bootstrap_servers == here.bootstrap_servers)
    );
    let client: BaseProducer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", &here.bootstrap_servers)
        .create()
        .unwrap();
    let metadata = client
        .client()
        .fetch_metadata(None, Duration::from_secs(30))
        .unwrap();
    assert_eq!(metadata.topics().len(), 0);
    drop(client);

    let free_port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let away = KafkaArgs::plain(free_port.to_string(), 4).settings();
    let error = DeadLetterReader::open(&away).await.unwrap_err();
    assert!(
        matches!(
            error,
            DeadLetterError::Kafka(KafkaError::Unreachable { seconds: 10, .. })
        ),
        "{error}"
    );
}
