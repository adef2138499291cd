//! From commands to the rules topic: nothing lost, nothing overtaken, one leader.

use std::time::{Duration, Instant};

use cqrs::Store;
use cqrs::domain::RuleChange;
use proto::v1;
use service::codec::encode_rule;
use service::kafka::{Kafka, KafkaSettings, Outgoing};
use service::topics::RULES;

use crate::app::{App, Caller, Database, PATIENCE, in_seconds, some_email, some_rule};
use crate::rules_topic::{RulesTopic, records_of, versions_of};

on_both_systems! {
    changes_reach_the_topic_in_the_order_of_their_versions,
    a_rule_past_its_time_is_published_as_inactive,
    a_deleted_users_rules_are_deleted_from_the_topic,
    a_killed_leader_is_replaced_within_fifteen_seconds_and_nothing_is_lost,
    a_leader_that_ends_hands_over_at_once,
    after_a_paused_leader_wakes_up_the_newest_version_is_the_last_again,
    a_leader_that_lost_its_lease_unawares_makes_good_what_it_published,
}

async fn pause(app: &App, caller: &Caller, rule: &v1::Rule, paused: bool) -> v1::Rule {
    let request = v1::UpdateRuleRequest {
        rule: Some(v1::Rule {
            id: rule.id.clone(),
            paused,
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["paused".into()],
        }),
        ..Default::default()
    };
    app.rules()
        .update_rule(caller.asks(request))
        .await
        .unwrap()
        .into_inner()
        .rule
        .unwrap()
}

async fn delete(app: &App, caller: &Caller, rule: &v1::Rule) {
    let request = v1::DeleteRuleRequest {
        rule_id: rule.id.clone(),
        ..Default::default()
    };
    app.rules().delete_rule(caller.asks(request)).await.unwrap();
}

async fn outbox_is_empty(store: &Store) {
    let waiting = async {
        while !store.outbox().pending(1).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("the outbox is emptied");
}

async fn changes_reach_the_topic_in_the_order_of_their_versions(database: Database, kafka: KafkaSettings) {
    let app = App::start(&database, &kafka).await;
    let caller = app.register().await;
    let mut rules = Vec::new();
    for ticker in ["AAPL", "MSFT", "EURUSD=X"] {
        rules.push(
            caller
                .creates(
                    &app,
                    v1::NewRule {
                        ticker: ticker.into(),
                        ..some_rule()
                    },
                )
                .await,
        );
    }
    for round in 0..20 {
        for rule in &rules {
            pause(&app, &caller, rule, round % 2 == 0).await;
        }
    }
    delete(&app, &caller, &rules[0]).await;

    let mut topic = RulesTopic::open(&kafka).await;
    let expected: Vec<Option<i64>> = (1..=21).map(Some).collect();
    let deleted = [expected.clone(), vec![None]].concat();
    topic
        .read_until("all versions", |records| {
            versions_of(records, &rules[0]).ends_with(&[None])
                && rules[1..]
                    .iter()
                    .all(|rule| versions_of(records, rule).len() >= 21)
        })
        .await;
    // A new leader publishes what it found waiting once more; each version's first time is in order.
    for (rule, expected) in rules.iter().zip([&deleted, &expected, &expected]) {
        let mut versions = versions_of(&topic.records, rule);
        versions.dedup();
        assert_eq!(&versions, expected, "{}", rule.ticker);
        for record in records_of(&topic.records, rule) {
            assert_eq!(record.partition, topic.partition_of(&rule.ticker));
        }
    }
    for rule in &rules[1..] {
        let last = records_of(&topic.records, rule).next_back().unwrap();
        assert!(last.snapshot.as_ref().unwrap().active, "{}", rule.ticker);
    }
    outbox_is_empty(&database.open().await).await;
    app.stop().await;
}

async fn a_rule_past_its_time_is_published_as_inactive(database: Database, kafka: KafkaSettings) {
    let app = App::start(&database, &kafka).await;
    let caller = app.register().await;
    let rule = caller
        .creates(
            &app,
            v1::NewRule {
                expire_time: Some(in_seconds(2)),
                ..some_rule()
            },
        )
        .await;
    let mut topic = RulesTopic::open(&kafka).await;
    topic
        .read_until("expired", |records| {
            versions_of(records, &rule).contains(&Some(2))
        })
        .await;
    let states: Vec<_> = records_of(&topic.records, &rule)
        .filter_map(|record| record.snapshot.as_ref())
        .map(|rule| rule.active)
        .collect();
    assert_eq!((states.first(), states.last()), (Some(&true), Some(&false)));
    app.stop().await;
}

async fn a_deleted_users_rules_are_deleted_from_the_topic(database: Database, kafka: KafkaSettings) {
    let app = App::start(&database, &kafka).await;
    let request = v1::RegisterUserRequest {
        email: some_email(),
        rules: vec![some_rule(); 5],
        ..Default::default()
    };
    let answer = app.users().register_user(request).await.unwrap().into_inner();
    let caller = Caller {
        token: answer.api_token,
        user: answer.user.unwrap(),
    };
    app.users()
        .delete_user(caller.asks(v1::DeleteUserRequest::default()))
        .await
        .unwrap();
    let mut topic = RulesTopic::open(&kafka).await;
    topic
        .read_until("tombstones", |records| {
            answer
                .rules
                .iter()
                .all(|rule| versions_of(records, rule).ends_with(&[None]))
        })
        .await;
    app.stop().await;
}

async fn a_killed_leader_is_replaced_within_fifteen_seconds_and_nothing_is_lost(
    database: Database,
    kafka: KafkaSettings,
) {
    let leader = App::start(&database, &kafka).await;
    let caller = leader.register().await;
    let rule = caller.creates(&leader, some_rule()).await;
    let mut topic = RulesTopic::open(&kafka).await;
    topic
        .read_until("the first leads", |records| {
            versions_of(records, &rule).contains(&Some(1))
        })
        .await;
    let standby = App::start(&database, &kafka).await;
    pause(&standby, &caller, &rule, true).await;
    topic
        .read_until("the first publishes for the other", |records| {
            versions_of(records, &rule).contains(&Some(2))
        })
        .await;

    leader.kill().await;
    let killed_at = Instant::now();
    for version in 3..=6 {
        pause(&standby, &caller, &rule, version % 2 == 0).await;
    }
    topic
        .read_until("the other leads", |records| {
            versions_of(records, &rule).contains(&Some(6))
        })
        .await;
    let took = killed_at.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    let mut versions = versions_of(&topic.records, &rule);
    versions.dedup();
    assert_eq!(versions, (1..=6).map(Some).collect::<Vec<_>>());
    standby.stop().await;
}

async fn a_leader_that_ends_hands_over_at_once(database: Database, kafka: KafkaSettings) {
    let leader = App::start(&database, &kafka).await;
    let caller = leader.register().await;
    let rule = caller.creates(&leader, some_rule()).await;
    let mut topic = RulesTopic::open(&kafka).await;
    topic
        .read_until("the first leads", |records| {
            versions_of(records, &rule).contains(&Some(1))
        })
        .await;
    let standby = App::start(&database, &kafka).await;
    leader.stop().await;
    let stopped_at = Instant::now();
    pause(&standby, &caller, &rule, true).await;
    topic
        .read_until("the other leads", |records| {
            versions_of(records, &rule).contains(&Some(2))
        })
        .await;
    // Far below the lease's ten seconds.
    assert!(
        stopped_at.elapsed() < Duration::from_secs(6),
        "{:?}",
        stopped_at.elapsed()
    );
    standby.stop().await;
}

/// Plays a leader that is paused between looking at its lease and handing a record over, wakes up when another leads,
/// and is killed before it can make good: its old version lands behind the newest one.
async fn after_a_paused_leader_wakes_up_the_newest_version_is_the_last_again(
    database: Database,
    kafka: KafkaSettings,
) {
    let store = database.open().await;
    let ttl = Duration::from_secs(5);
    store
        .leases()
        .acquire(grpc_server::LEASE, "paused", ttl)
        .await
        .unwrap()
        .expect("it is free");
    let app = App::start(&database, &kafka).await;
    let caller = app.register().await;
    let (changed, deleted) = (
        caller.creates(&app, some_rule()).await,
        caller.creates(&app, some_rule()).await,
    );
    let in_hand = store.outbox().pending(10).await.unwrap();
    assert_eq!(in_hand.len(), 2);
    pause(&app, &caller, &changed, true).await;
    delete(&app, &caller, &deleted).await;

    // Paused until the other has published all that it knows of.
    let mut topic = RulesTopic::open(&kafka).await;
    topic
        .read_until("the other leads", |records| {
            versions_of(records, &changed).ends_with(&[Some(2)])
                && versions_of(records, &deleted).ends_with(&[None])
        })
        .await;
    let client = Kafka::connect(&kafka).await.unwrap();
    let producer = client.producer(Duration::from_secs(4), Duration::ZERO).unwrap();
    for entry in &in_hand {
        let RuleChange::Changed(rule) = &entry.change else {
            panic!("{entry:?}")
        };
        let (key, payload) = (rule.rule_id.to_string(), encode_rule(rule));
        let (key, payload) = (key.as_bytes(), Some(payload.as_slice()));
        let record = Outgoing {
            topic: RULES,
            ticker: &rule.ticker,
            key,
            payload,
            trace: None,
        };
        producer.send(record).await.unwrap().wait().await.unwrap();
    }

    let stale = |records: &[_], rule: &v1::Rule| {
        let versions = versions_of(records, rule);
        versions
            .iter()
            .rposition(|version| *version == Some(1))
            .is_some_and(|last| last > 1)
    };
    topic
        .read_until("the old versions are there", |records| {
            stale(records, &changed) && stale(records, &deleted)
        })
        .await;
    topic
        .read_until("the newest versions are last", |records| {
            versions_of(records, &changed).ends_with(&[Some(2)])
                && versions_of(records, &deleted).ends_with(&[None])
        })
        .await;
    app.stop().await;
}

/// Plays the other side: this process leads, and learns late that another has led meanwhile.
async fn a_leader_that_lost_its_lease_unawares_makes_good_what_it_published(
    database: Database,
    kafka: KafkaSettings,
) {
    let app = App::start(&database, &kafka).await;
    // Leads before there is anything to publish, so that it has nothing of the leader before to make sure of.
    let ready = async {
        while app.context.health.readiness().is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ready).await.expect("it leads");
    let caller = app.register().await;
    let rule = caller.creates(&app, some_rule()).await;
    let store = database.open().await;
    let mut topic = RulesTopic::open(&kafka).await;
    topic
        .read_until("it leads", |records| {
            versions_of(records, &rule).contains(&Some(1))
        })
        .await;
    outbox_is_empty(&store).await;

    // Another takes the lease, as after a long pause, and nobody tells this one, which goes on publishing.
    let pool = sqlx::AnyPool::connect(&database.url).await.unwrap();
    sqlx::query("update leases set holder = 'another', term = term + 1 where name = 'outbox-relay'")
        .execute(&pool)
        .await
        .unwrap();
    pause(&app, &caller, &rule, true).await;
    topic
        .read_until("published without the lease", |records| {
            versions_of(records, &rule).contains(&Some(2))
        })
        .await;
    outbox_is_empty(&store).await;
    // It finds out when it renews, and puts the rule into the outbox, for whoever leads.
    let waiting = async {
        while store.outbox().touched().await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("the rule is published again");
    let touched = store.outbox().touched().await.unwrap();
    let ids: Vec<_> = touched.iter().map(|(id, _)| id.to_string()).collect();
    assert_eq!(ids, std::slice::from_ref(&rule.id));
    app.stop().await;
}
