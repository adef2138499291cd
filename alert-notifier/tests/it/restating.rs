//! A split, from the feeds topic to the chat and back to the rules topic.

use std::collections::HashMap;
use std::time::Duration;

use cqrs::domain::{FeedChange, Restatement, Rule, RuleId, RuleSnapshot, Side, Split, Timestamp};
use e2e::telegram_stub::SentMessage;
use service::Context;
use service::codec::decode_rule;
use service::kafka::{BatchConsumer, BatchLimits, ConsumerEvent, StartFrom};
use service::topics::RULES;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::bot::ask;
use crate::bot_buttons::{acknowledged, labels, newest, press};
use crate::feeds::tell;
use crate::stage::{Stage, price, wait_for};

/// What publishes rules: the server, with its outbox relay.
struct Relay {
    context: Context,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Relay {
    async fn start(stage: &Stage) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let of_notifier = stage.config();
        let config = grpc_server::Config {
            database: of_notifier.database,
            kafka: of_notifier.kafka,
            grpc_listen: listener.local_addr().unwrap(),
            max_rules_per_user: 200,
            rearm_margin_permille: 2,
            rules_in_all: None,
            security: grpc_server::SecurityArgs::default(),
        };
        let context = Context::default();
        let task = tokio::spawn(grpc_server::serve(listener, config, context.clone()));
        Self { context, task }
    }

    async fn stop(self) {
        self.context.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// The rules topic as its readers see it.
struct RulesTopic {
    consumer: BatchConsumer,
    newest: HashMap<RuleId, RuleSnapshot>,
}

impl RulesTopic {
    fn open(stage: &Stage) -> Self {
        let limits = BatchLimits {
            max_records: 100,
            max_wait: Duration::from_millis(100),
        };
        let consumer = stage
            .kafka
            .consumer("test", RULES, StartFrom::Beginning, limits)
            .unwrap();
        Self {
            consumer,
            newest: HashMap::new(),
        }
    }

    /// The rule as the topic has it, once it is in this version.
    async fn version(&mut self, rule: &Rule, version: i64) -> RuleSnapshot {
        let read = async {
            loop {
                let found = self.newest.get(&rule.id);
                if let Some(found) = found.filter(|found| found.version.get() >= version) {
                    return found.clone();
                }
                if let ConsumerEvent::Batch(batch) = self.consumer.next().await.unwrap() {
                    for record in batch.records {
                        let snapshot = decode_rule(record.payload.as_deref().unwrap()).unwrap();
                        self.newest.insert(snapshot.rule_id, snapshot);
                    }
                }
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(90), read).await;
        let found = found.expect("the rule is published");
        assert_eq!(found.version.get(), version);
        found
    }
}

/// 700 to 100, in so many new shares for one.
fn restated(shares: u32) -> FeedChange {
    let now = Timestamp::now();
    FeedChange::Restated(Restatement {
        ticker: "AAPL".parse().unwrap(),
        from: price("700"),
        to: price("100"),
        split: Split::new(shares, 1),
        event_time: now,
        restated_at: now,
    })
}

/// The chat's message number `number`, from 1.
async fn message(stage: &Stage, chat: i64, number: usize) -> SentMessage {
    wait_for("a message", async || {
        stage.telegram.messages_to(chat).get(number - 1).cloned()
    })
    .await
}

async fn edited(stage: &Stage, message: i64, edits: u32) -> SentMessage {
    wait_for("a message to change", async || {
        let message = stage.telegram.message(message)?;
        (message.edits == edits).then_some(message)
    })
    .await
}

fn thresholds(rule: &RuleSnapshot) -> [String; 2] {
    [rule.range.low(), rule.range.high()].map(|price| price.unwrap().to_string())
}

const ADJUSTED: [&str; 2] = ["14.28571429", "28.57142857"];

#[tokio::test(flavor = "multi_thread")]
async fn a_split_puts_rules_on_hold_and_their_owner_adjusts_them() {
    let stage = Stage::set().await;
    let relay = Relay::start(&stage).await;
    let (_, rules) = stage.user_with("ada@example.org", Some(42), 2).await;
    let notifier = stage.start();
    let mut topic = RulesTopic::open(&stage);
    stage.alert(&rules[0], 1, Side::Above).await;
    message(&stage, 42, 1).await;

    let split = restated(7);
    tell(&stage, &split).await;
    tell(&stage, &split).await;
    let notice = message(&stage, 42, 2).await;
    assert!(
        notice.text.contains("AAPL looks like a 7:1 split")
            && notice.text.contains("Its price went from 700 to 100")
            && notice.text.contains("2 alerts on it are on hold")
            && notice
                .text
                .contains("low 100, high 200 (would be low 14.29, high 28.57)"),
        "{}",
        notice.text
    );
    assert_eq!(labels(&notice), ["Adjust", "Keep as they are", "List"]);
    for rule in &rules {
        assert!(!topic.version(rule, 2).await.active);
    }

    // The buttons are known after a restart too.
    notifier.stop().await;
    let notifier = stage.start();
    press(&stage, notice.message_id, "List").await;
    let list = message(&stage, 42, 3).await;
    assert!(list.text.contains("⏸ on hold: 7:1 split"), "{}", list.text);
    assert!(labels(&list).ends_with(&["Adjust AAPL".to_owned(), "Keep AAPL".to_owned()]));

    let data = notice.buttons()[0].data.clone().unwrap();
    assert_eq!(
        press(&stage, notice.message_id, "Adjust").await,
        "AAPL is watched again"
    );
    let answered = edited(&stage, notice.message_id, 1).await;
    assert!(
        answered.text.contains("low 14.28571429, high 28.57142857") && answered.buttons().is_empty(),
        "{}",
        answered.text
    );
    for rule in &rules {
        let published = topic.version(rule, 3).await;
        assert!(published.active);
        assert_eq!(thresholds(&published), ADJUSTED);
    }
    // Pressed twice, and what the list offers still.
    let query = stage.telegram.press(42, notice.message_id, &data);
    let nothing = "Nothing on AAPL is on hold any more";
    assert_eq!(acknowledged(&stage, &query).await, nothing);
    assert_eq!(press(&stage, list.message_id, "Keep AAPL").await, nothing);
    let shown = ask(&stage, 42, "/list").await;
    assert!(
        shown.contains("14.28571429") && !shown.contains("on hold"),
        "{shown}"
    );
    let unchanged = stage.telegram.message(notice.message_id).unwrap();
    assert_eq!(unchanged.text, answered.text);

    notifier.stop().await;
    relay.stop().await;
    let queries = stage.store.queries();
    for rule in &rules {
        let caller = cqrs::Caller(rule.user_id);
        let now = queries.rule(caller, rule.id).await.unwrap().unwrap();
        assert_eq!(now.version.get(), 3, "no press did more");
    }
    let told: Vec<String> = stage.telegram.texts(42);
    let notices = told.iter().filter(|text| text.contains("looks like"));
    assert_eq!(notices.count(), 0, "the one notice became its answer: {told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_split_outdates_the_buttons_and_the_list_answers_too() {
    let stage = Stage::set().await;
    let relay = Relay::start(&stage).await;
    let (caller, rule) = stage.user("ada@example.org", Some(42)).await;
    let notifier = stage.start();
    let mut topic = RulesTopic::open(&stage);
    tell(&stage, &restated(7)).await;
    let first = message(&stage, 42, 1).await;
    tell(&stage, &restated(2)).await;
    let second = message(&stage, 42, 2).await;
    assert!(
        second.text.contains("AAPL looks like a 2:1 split")
            && second.text.contains("(would be low 7.14, high 14.29)"),
        "{}",
        second.text
    );
    topic.version(&rule, 3).await;
    let notice = press(&stage, first.message_id, "Adjust").await;
    assert_eq!(
        notice,
        "The prices of AAPL were counted anew once more. What is on hold now: /list AAPL"
    );
    let outdated = edited(&stage, first.message_id, 1).await;
    assert!(outdated.buttons().is_empty());
    assert_eq!(outdated.text, first.text);
    let queries = stage.store.queries();
    let held = queries.rule(caller, rule.id).await.unwrap().unwrap();
    assert!(held.on_hold_since.is_some());

    let shown = ask(&stage, 42, "/status").await;
    assert!(shown.contains("⏸ AAPL: 1 rule on hold (/list)"), "{shown}");
    let shown = ask(&stage, 42, "/list").await;
    assert!(shown.contains("⏸ on hold: 14:1 split"), "{shown}");
    let list = newest(&stage, 42);
    assert_eq!(
        labels(&list),
        ["1 Edit", "1 Resume", "1 Delete", "Adjust AAPL", "Keep AAPL"]
    );
    assert_eq!(
        press(&stage, list.message_id, "Keep AAPL").await,
        "AAPL is watched again"
    );
    let list = edited(&stage, list.message_id, 1).await;
    assert!(
        list.text.contains("Your rules") && !list.text.contains("on hold"),
        "{}",
        list.text
    );
    assert_eq!(labels(&list), ["1 Edit", "1 Pause", "1 Delete"]);
    let published = topic.version(&rule, 4).await;
    assert!(published.active);
    assert_eq!(thresholds(&published), ["100", "200"]);

    // Whoever resumes a rule, or gives it other thresholds, has answered.
    tell(&stage, &restated(3)).await;
    let third = message(&stage, 42, 5).await;
    assert!(!topic.version(&rule, 5).await.active);
    ask(&stage, 42, "/list").await;
    let list = newest(&stage, 42);
    assert_eq!(
        press(&stage, list.message_id, "1 Resume").await,
        "AAPL is watched again"
    );
    assert!(topic.version(&rule, 6).await.active);
    assert_eq!(
        press(&stage, third.message_id, "Adjust").await,
        "Nothing on AAPL is on hold any more"
    );
    assert!(edited(&stage, third.message_id, 1).await.buttons().is_empty());
    notifier.stop().await;
    relay.stop().await;
}
