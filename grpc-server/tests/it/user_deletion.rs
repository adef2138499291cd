//! What is left of a user who was deleted: nothing in the database, and the ends of their rules and alerts in the topics.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use cqrs::LedgerChange;
use cqrs::domain::{Alert, AlertPosition, Quote, RuleVersion, Side, Timestamp};
use proto::v1;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use service::Context;
use service::codec::encode_quote;
use service::config::KafkaArgs;
use service::kafka::{Kafka, KafkaSettings, Outgoing, Producer};
use service::topics::{ALERTS, QUOTES, RULES, Topic};
use sha2::{Digest as _, Sha256};
use sqlx::{AnyPool, AssertSqlSafe, Row as _};

use crate::app::{App, Caller, Database, PATIENCE, no_broker, some_email, some_rule};

on_both_stores! {
    no_column_of_any_table_names_a_deleted_user,
}

on_both_systems! {
    the_topics_end_with_the_deletion_of_a_deleted_users_rules_and_alerts,
}

/// The columns that have this text in some row, of all that the schema has.
async fn columns_with(database: &Database, text: &str) -> Vec<String> {
    let pool = AnyPool::connect(&database.url).await.unwrap();
    let select = if database.url.starts_with("sqlite") {
        "select m.name as table_name, c.name as column_name
         from sqlite_master m join pragma_table_info(m.name) c where m.type = 'table' and m.name not like 'sqlite%'"
    } else {
        "select cast(table_name as char) as table_name, cast(column_name as char) as column_name
         from information_schema.columns where table_schema = database()"
    };
    let mut found = Vec::new();
    let columns = sqlx::query(select).fetch_all(&pool).await.unwrap();
    assert!(columns.len() > 100, "{}", columns.len());
    for row in columns {
        let (table, column): (String, String) = (row.get("table_name"), row.get("column_name"));
        if table == "_sqlx_migrations" {
            continue;
        }
        let select = format!("select count(*) from {table} where cast({column} as char(5000)) like ?");
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(select))
            .bind(format!("%{text}%"))
            .fetch_one(&pool)
            .await
            .unwrap();
        if count > 0 {
            found.push(format!("{table}.{column}"));
        }
    }
    pool.close().await;
    found.sort();
    found
}

async fn registered(app: &App, rules: Vec<v1::NewRule>) -> (Caller, String, Vec<v1::Rule>) {
    let request = v1::RegisterUserRequest {
        email: some_email(),
        rules,
        request_id: uuid::Uuid::new_v4().to_string(),
    };
    let answer = app.users().register_user(request).await.unwrap().into_inner();
    let caller = Caller {
        token: answer.api_token,
        user: answer.user.unwrap(),
    };
    (caller, answer.telegram_link.unwrap().token, answer.rules)
}

async fn no_column_of_any_table_names_a_deleted_user(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let rule = v1::NewRule {
        note: "what only I know".into(),
        ..some_rule()
    };
    let (caller, link, rules) = registered(&app, vec![rule]).await;
    let now = Timestamp::now();
    let alert = Alert {
        rule_id: rules[0].id.parse().unwrap(),
        user_id: caller.user.id.parse().unwrap(),
        ticker: "AAPL".parse().unwrap(),
        position: AlertPosition {
            version: RuleVersion::FIRST,
            generation: 1,
            offset: 1,
        },
        side: Side::Above,
        price: "201".parse().unwrap(),
        threshold: "200.25".parse().unwrap(),
        currency: "USD".into(),
        quote_time: now,
        quote_ingest_time: now,
        raised_at: now,
        already_outside: false,
    };
    let store = database.open().await;
    store
        .ledger()
        .fold(&[LedgerChange::Alert(alert)], now)
        .await
        .unwrap();
    let hash = |token: &str| hex::encode(Sha256::digest(token.as_bytes()));
    let secrets = [
        caller.user.email.clone(),
        hash(&caller.token),
        "what only I know".into(),
    ];
    assert_eq!(
        columns_with(&database, &hash(&link)).await,
        ["link_tokens.token_hash"]
    );
    app.links_chat(&database, &caller, 8_154_711_083).await;
    for secret in secrets.iter().chain([&"8154711083".to_owned()]) {
        let found = columns_with(&database, secret).await;
        assert!(!found.is_empty(), "{secret} is not there before");
    }
    assert!(columns_with(&database, &caller.user.id).await.len() >= 7);

    app.users()
        .delete_user(caller.asks(v1::DeleteUserRequest::default()))
        .await
        .unwrap();

    for secret in secrets.iter().chain([&"8154711083".to_owned(), &hash(&link)]) {
        assert_eq!(columns_with(&database, secret).await, [""; 0], "{secret}");
    }
    // Only on its way to the log, and no more when that has it.
    assert_eq!(columns_with(&database, &caller.user.id).await, ["outbox.user_id"]);
    assert_eq!(columns_with(&database, &rules[0].id).await, ["outbox.rule_id"]);
    let pending = store.outbox().pending(10).await.unwrap();
    let last = pending.last().unwrap();
    assert!(
        matches!(&last.change, cqrs::domain::RuleChange::Deleted { rule_id, .. } if rule_id.to_string() == rules[0].id),
        "{pending:?}"
    );
    store.outbox().delete(&pending).await.unwrap();
    assert_eq!(columns_with(&database, &caller.user.id).await, [""; 0]);
    assert_eq!(columns_with(&database, &rules[0].id).await, [""; 0]);
    app.stop().await;
}

/// Keys and whether there is a value, of all records of a topic.
struct Records {
    consumer: BaseConsumer,
    /// Of each key, its last record: whether it has a value.
    last: HashMap<String, bool>,
}

impl Records {
    async fn of(settings: &KafkaSettings, topic: Topic) -> Self {
        let kafka = Kafka::connect(settings).await.unwrap();
        let group = format!("test-{}", uuid::Uuid::new_v4());
        let consumer: BaseConsumer = kafka.consumer_config(&group).create().unwrap();
        let mut all = TopicPartitionList::new();
        for partition in 0..kafka.partitions() {
            all.add_partition_offset(topic.name, partition, Offset::Beginning)
                .unwrap();
        }
        consumer.assign(&all).unwrap();
        let last = HashMap::new();
        Self { consumer, last }
    }

    /// Reads what is there, for a moment, and says how this key ends.
    async fn end_of(&mut self, key: &str) -> Option<bool> {
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(200) {
            match self.consumer.poll(Duration::ZERO) {
                Some(message) => {
                    let message = message.unwrap();
                    let key = String::from_utf8(message.key().unwrap_or_default().to_vec()).unwrap();
                    self.last.insert(key, message.payload().is_some());
                }
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
        self.last.get(key).copied()
    }

    async fn until(&mut self, key: &str, ends_with: bool) {
        let started = Instant::now();
        while self.end_of(key).await != Some(ends_with) {
            assert!(started.elapsed() < PATIENCE, "never: {ends_with}");
        }
    }
}

async fn send_price(producer: &Producer, ticker: &str, price: &str) {
    let now = Timestamp::now();
    let quote = Quote {
        ticker: ticker.parse().unwrap(),
        price: price.parse().unwrap(),
        currency: "USD".into(),
        volume: None,
        trade_side: None,
        event_time: now,
        ingest_time: now,
        source: "test".into(),
    };
    let record = Outgoing {
        topic: QUOTES,
        ticker: &quote.ticker,
        key: ticker.as_bytes(),
        payload: Some(&encode_quote(&quote)),
        trace: None,
    };
    producer.send(record).await.unwrap().wait().await.unwrap();
}

async fn the_topics_end_with_the_deletion_of_a_deleted_users_rules_and_alerts(
    database: Database,
    kafka: KafkaSettings,
) {
    let app = App::start(&database, &kafka).await;
    let mut args = KafkaArgs::plain(kafka.bootstrap_servers.clone(), kafka.partitions);
    args.properties = kafka
        .properties
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join(",");
    let context = Context::default();
    let shutdown = context.shutdown.clone();
    let config = alert_system::Config {
        kafka: args,
        rearm_margin_permille: 2,
    };
    let alert_system = tokio::spawn(alert_system::run(config, context));
    // Of its own, as the servers' topics are shared.
    let ticker = format!("T{}", &uuid::Uuid::new_v4().simple().to_string()[..12]).to_uppercase();
    let rule = v1::NewRule {
        ticker: ticker.clone(),
        ..some_rule()
    };
    let (caller, _, rules) = registered(&app, vec![rule]).await;
    let rule = rules[0].id.as_str();
    let (mut of_rules, mut of_alerts) = (
        Records::of(&kafka, RULES).await,
        Records::of(&kafka, ALERTS).await,
    );
    of_rules.until(rule, true).await;
    let client = Kafka::connect(&kafka).await.unwrap();
    let producer = client.producer(Duration::from_secs(30), Duration::ZERO).unwrap();
    // A price that comes before alert-system has read the rule is nothing to it, so until one is.
    let started = Instant::now();
    while of_alerts.end_of(rule).await != Some(true) {
        assert!(started.elapsed() < PATIENCE, "no alert");
        send_price(&producer, &ticker, "201").await;
    }

    app.users()
        .delete_user(caller.asks(v1::DeleteUserRequest::default()))
        .await
        .unwrap();

    of_rules.until(rule, false).await;
    of_alerts.until(rule, false).await;
    // What comes later raises nothing.
    send_price(&producer, &ticker, "150").await;
    for _ in 0..10 {
        assert_eq!(of_alerts.end_of(rule).await, Some(false));
    }
    shutdown.cancel();
    tokio::time::timeout(PATIENCE, alert_system)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    app.stop().await;
}
