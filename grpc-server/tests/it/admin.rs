//! What operators see and do.

use std::time::{Duration, Instant};

use cqrs::LedgerChange;
use cqrs::domain::{Alert, AlertPosition, RuleVersion, Side, Timestamp};
use prost::Message as _;
use proto::v1;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use service::kafka::{Kafka, KafkaSettings};
use service::topics::FEEDS;
use tonic::{Code, Status};

use crate::app::{App, Caller, Database, PATIENCE, no_broker, some_rule, with_token};
use crate::refusal::{refusal_of, refused};
use crate::rules_topic::{RulesTopic, versions_of};

on_both_stores! {
    users_are_listed_oldest_first_page_by_page_without_what_is_secret,
    a_revoked_token_stops_working_and_no_repeated_request_brings_it_back,
    all_rules_are_put_into_the_outbox_again_in_their_newest_versions,
    without_a_broker_the_lag_is_not_known,
}

on_both_systems! {
    rules_that_are_published_again_reach_the_topic,
    the_lag_is_what_groups_have_not_read_and_what_waits_in_the_database,
}

const OPERATOR: &str = "operator-0123456789abcdef0123456789abcdef";

async fn start(database: &Database, kafka: &KafkaSettings) -> App {
    App::start_with(database, kafka, |config| {
        config.security.operator_token = Some(OPERATOR.parse().unwrap());
    })
    .await
}

fn operator<T>(message: T) -> tonic::Request<T> {
    with_token(message, OPERATOR)
}

/// A breach of this rule, as the notifier takes it from the topic.
async fn breach(database: &Database, rule: &v1::Rule, owner: &Caller) {
    let now = Timestamp::now();
    let alert = Alert {
        rule_id: rule.id.parse().unwrap(),
        user_id: owner.user.id.parse().unwrap(),
        ticker: rule.ticker.parse().unwrap(),
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
    store.close().await;
}

async fn users_are_listed_oldest_first_page_by_page_without_what_is_secret(database: Database) {
    let app = start(&database, &no_broker()).await;
    let mut users = Vec::new();
    for _ in 0..5 {
        users.push(app.register().await);
    }
    let rule = users[1].creates(&app, some_rule()).await;
    users[1].creates(&app, some_rule()).await;
    users[3].creates(&app, some_rule()).await;
    breach(&database, &rule, &users[1]).await;
    app.links_chat(&database, &users[2], 815_471_108).await;
    let expected: Vec<_> = users
        .iter()
        .zip([
            (false, 0, 0),
            (false, 2, 1),
            (true, 0, 0),
            (false, 1, 0),
            (false, 0, 0),
        ])
        .map(
            |(caller, (telegram_linked, rule_count, open_episode_count))| v1::UserSummary {
                id: caller.user.id.clone(),
                create_time: caller.user.create_time,
                telegram_linked,
                rule_count,
                open_episode_count,
            },
        )
        .collect();
    for page_size in [1, 2, 5, 0] {
        let (mut found, mut page_token) = (Vec::new(), String::new());
        while found.len() < 10 {
            let request = v1::ListUsersRequest {
                page_size,
                page_token,
            };
            let answer = app.admin().list_users(operator(request)).await.unwrap();
            let bytes = answer.get_ref().encode_to_vec();
            let shows = |secret: &str| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            for caller in &users {
                assert!(!shows(&caller.user.email) && !shows(&caller.token));
            }
            let page = answer.into_inner();
            assert!(page_size == 0 || page.users.len() <= usize::try_from(page_size).unwrap());
            assert!(!format!("{page:?}").contains("815471108"));
            found.extend(page.users);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(found, expected, "{page_size}");
    }
    app.stop().await;
}

async fn a_revoked_token_stops_working_and_no_repeated_request_brings_it_back(database: Database) {
    let app = start(&database, &no_broker()).await;
    let request = v1::RegisterUserRequest {
        email: crate::app::some_email(),
        request_id: uuid::Uuid::new_v4().to_string(),
        ..Default::default()
    };
    let answer = app
        .users()
        .register_user(request.clone())
        .await
        .unwrap()
        .into_inner();
    let (token, user) = (answer.api_token, answer.user.unwrap());
    let other = app.register().await;
    let get = async |token: &str| {
        let request = with_token(v1::GetUserRequest {}, token);
        app.users()
            .get_user(request)
            .await
            .map(|answer| answer.into_inner().user)
    };
    assert_eq!(get(&token).await.unwrap(), Some(user.clone()));
    let revoke = async |user_id: &str| {
        let request = operator(v1::RevokeUserTokenRequest {
            user_id: user_id.into(),
        });
        app.admin().revoke_user_token(request).await
    };
    revoke(&user.id).await.unwrap();
    assert_eq!(get(&token).await.unwrap_err().code(), Code::Unauthenticated);
    assert!(get(&other.token).await.is_ok(), "another's token goes on");
    // Who has the request of the registration gets another user, not this one.
    let again = app.users().register_user(request).await.unwrap().into_inner();
    assert_ne!(again.user.unwrap().id, user.id);
    revoke(&user.id).await.unwrap();
    let refusal = refused(revoke("0197a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b").await);
    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (Code::NotFound, "USER_NOT_FOUND")
    );
    app.stop().await;
}

async fn all_rules_are_put_into_the_outbox_again_in_their_newest_versions(database: Database) {
    let app = start(&database, &no_broker()).await;
    let (first, second) = (app.register().await, app.register().await);
    let mut rules = Vec::new();
    for caller in [&first, &second, &first] {
        rules.push(caller.creates(&app, some_rule()).await);
    }
    let update = v1::UpdateRuleRequest {
        rule: Some(v1::Rule {
            id: rules[0].id.clone(),
            paused: true,
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["paused".into()],
        }),
        ..Default::default()
    };
    app.rules().update_rule(first.asks(update)).await.unwrap();
    let store = database.open().await;
    let published = store.outbox().pending(100).await.unwrap();
    store.outbox().delete(&published).await.unwrap();
    assert!(store.outbox().pending(100).await.unwrap().is_empty());

    let request = operator(v1::RepublishRulesRequest {});
    let answer = app.admin().republish_rules(request).await.unwrap();
    assert_eq!(answer.into_inner().rule_count, 3);
    let pending = store.outbox().pending(100).await.unwrap();
    let mut versions: Vec<_> = pending.iter().map(|entry| entry.version.get()).collect();
    versions.sort_unstable();
    assert_eq!(versions, [1, 1, 2]);
    app.stop().await;
}

async fn without_a_broker_the_lag_is_not_known(database: Database) {
    let app = start(&database, &no_broker()).await;
    let started = Instant::now();
    let refusal = refused(app.admin().get_lag(operator(v1::GetLagRequest {})).await);
    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (Code::Unavailable, "BROKER_UNAVAILABLE")
    );
    assert!(started.elapsed() < grpc_server::REQUEST_TIMEOUT);
    app.stop().await;
}

async fn rules_that_are_published_again_reach_the_topic(database: Database, kafka: KafkaSettings) {
    let app = start(&database, &kafka).await;
    let caller = app.register().await;
    let rules = [
        caller.creates(&app, some_rule()).await,
        caller.creates(&app, some_rule()).await,
    ];
    let mut topic = RulesTopic::open(&kafka).await;
    for times in 1..=2 {
        topic
            .read_until("published", |records| {
                rules.iter().all(|rule| {
                    versions_of(records, rule)
                        .iter()
                        .filter(|it| **it == Some(1))
                        .count()
                        >= times
                })
            })
            .await;
        let request = operator(v1::RepublishRulesRequest {});
        let answer = app.admin().republish_rules(request).await.unwrap();
        assert_eq!(answer.into_inner().rule_count, 2);
    }
    app.stop().await;
}

/// Asks until the broker can say; a new cluster needs some seconds before it knows of any groups.
async fn lag(app: &App) -> v1::GetLagResponse {
    let started = Instant::now();
    loop {
        let error: Status = match app.admin().get_lag(operator(v1::GetLagRequest {})).await {
            Ok(answer) => return answer.into_inner(),
            Err(error) => error,
        };
        assert_eq!(refusal_of(&error).reason, "BROKER_UNAVAILABLE");
        assert!(started.elapsed() < PATIENCE, "{error:?}");
    }
}

async fn the_lag_is_what_groups_have_not_read_and_what_waits_in_the_database(
    database: Database,
    kafka: KafkaSettings,
) {
    const GROUP: &str = "alert-notifier-feeds";
    // The relay of another leads, so that what is in the outbox stays there.
    let store = database.open().await;
    let held = Duration::from_secs(600);
    store
        .leases()
        .acquire(grpc_server::LEASE, "another", held)
        .await
        .unwrap();
    let app = start(&database, &kafka).await;
    let caller = app.register().await;
    let client = Kafka::connect(&kafka).await.unwrap();
    let producer = client.producer(Duration::from_secs(30), Duration::ZERO).unwrap();
    let write = async || {
        let sent = producer
            .send_to_single(FEEDS, b"ticker/AAPL", None)
            .await
            .unwrap();
        sent.wait().await.unwrap();
    };
    write().await;
    let consumer: BaseConsumer = client.consumer_config(GROUP).create().unwrap();
    let (_, end) = consumer.fetch_watermarks(FEEDS.name, 0, PATIENCE).unwrap();
    let mut committed = TopicPartitionList::new();
    committed
        .add_partition_offset(FEEDS.name, 0, Offset::Offset(end))
        .unwrap();
    // The group is there once this has worked.
    let started = Instant::now();
    while let Err(error) = consumer.commit(&committed, CommitMode::Sync) {
        assert!(started.elapsed() < PATIENCE, "{error}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let of_feeds = |lag: &v1::GetLagResponse| {
        let group = lag.groups.iter().find(|group| group.group == GROUP).unwrap();
        assert_eq!(group.topic, FEEDS.name);
        (group.record_count, group.uncommitted_partition_count)
    };
    let before = lag(&app).await;
    assert_eq!(of_feeds(&before), (0, 0));
    assert_eq!(before.groups.len(), 4);
    assert_eq!((before.outbox_count, before.outbox_oldest_time), (0, None));
    assert_eq!(
        (before.due_delivery_count, before.due_delivery_oldest_time),
        (0, None)
    );

    for _ in 0..3 {
        write().await;
    }
    let rule = caller.creates(&app, some_rule()).await;
    caller.creates(&app, some_rule()).await;
    breach(&database, &rule, &caller).await;
    let after = lag(&app).await;
    assert_eq!(of_feeds(&after), (3, 0));
    assert_eq!(
        (after.outbox_count, after.outbox_oldest_time),
        (2, rule.update_time)
    );
    assert_eq!(after.due_delivery_count, 1);
    assert!(after.due_delivery_oldest_time.is_some());
    app.stop().await;
}
