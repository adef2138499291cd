//! A notifier with all around it, and what tests wait for.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use alert_notifier::{Config, TelegramArgs, run};
use cqrs::domain::{
    Alert, AlertPosition, ChatId, NewRule, Note, Price, Range, ReminderInterval, Rule, RuleVersion, Side,
    Timestamp,
};
use cqrs::{Caller, LedgerChange, Limits, Store, UserEdit};
use e2e::telegram_stub::{Fault, PlannedFault, TelegramStub};
use service::codec::encode_alert;
use service::config::{DatabaseArgs, KafkaArgs};
use service::kafka::{EmbeddedBroker, Kafka, Outgoing, Producer};
use service::{Context, topics};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// Longest wait for anything: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(90);
pub(crate) const TOKEN: &str = "123456:very-secret";

/// Waits until `condition` gives something.
pub(crate) async fn wait_for<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let found = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(found) = condition().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    found
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// A running notifier.
pub(crate) struct Notifier {
    pub(crate) context: Context,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Notifier {
    /// Ends it as SIGTERM does.
    pub(crate) async fn stop(self) {
        self.context.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("it ends in time")
            .unwrap()
            .unwrap();
    }

    /// Ends it as kill -9 does: nothing more is done.
    pub(crate) fn kill(self) {
        self.task.abort();
    }
}

// In the order of dropping: clients of the broker before the broker.
pub(crate) struct Stage {
    pub(crate) store: Store,
    producer: Producer,
    pub(crate) kafka: Kafka,
    pub(crate) telegram: TelegramStub,
    broker: EmbeddedBroker,
    folder: TempDir,
}

impl Stage {
    pub(crate) async fn set() -> Self {
        // Shown for tests that fail.
        let _ = tracing_subscriber::fmt()
            .with_test_writer()
            .with_max_level(tracing::Level::INFO)
            .try_init();
        let folder = tempfile::tempdir().unwrap();
        let telegram = TelegramStub::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .await
            .unwrap();
        let broker = EmbeddedBroker::start(2).unwrap();
        let kafka = Kafka::connect(broker.settings()).await.unwrap();
        let producer = kafka.producer(Duration::from_secs(30), Duration::ZERO).unwrap();
        let store = Store::open(&database(&folder).store_settings()).await.unwrap();
        Self {
            store,
            producer,
            kafka,
            telegram,
            broker,
            folder,
        }
    }

    pub(crate) fn config(&self) -> Config {
        let broker = self.broker.settings();
        let mut kafka = KafkaArgs::plain(broker.bootstrap_servers.clone(), broker.partitions);
        kafka.properties = broker
            .properties
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join(",");
        let telegram = TelegramArgs::bot(TOKEN, &self.telegram.url()).unwrap();
        Config::new(database(&self.folder), kafka, telegram)
    }

    pub(crate) fn database_url(&self) -> String {
        format!("sqlite://{}/stock.db", self.folder.path().display())
    }

    pub(crate) fn start(&self) -> Notifier {
        Self::start_with(self.config())
    }

    pub(crate) fn start_with(config: Config) -> Notifier {
        let context = Context::default();
        let task = tokio::spawn(run(config, context.clone()));
        Notifier { context, task }
    }

    /// A user with a rule of 100 to 200; with a chat of this id, if any.
    pub(crate) async fn user(&self, email: &str, chat: Option<i64>) -> (Caller, Rule) {
        let (caller, mut rules) = self.user_with(email, chat, 1).await;
        (caller, rules.remove(0))
    }

    /// A user with so many rules of 100 to 200.
    pub(crate) async fn user_with(
        &self,
        email: &str,
        chat: Option<i64>,
        rules: usize,
    ) -> (Caller, Vec<Rule>) {
        let commands = self.store.commands(Limits {
            rules_per_user: 2_000,
            ..Limits::default()
        });
        let rule = NewRule {
            ticker: "AAPL".parse().unwrap(),
            range: Range::new(Some(price("100")), Some(price("200"))).unwrap(),
            note: Note::default(),
            paused: false,
            expires_at: None,
        };
        let registration = commands
            .register_user(email.parse().unwrap(), vec![rule; rules], None)
            .await
            .unwrap();
        if let Some(chat) = chat {
            commands
                .link_chat(&registration.link.token, ChatId::new(chat), None)
                .await
                .unwrap();
        }
        (Caller(registration.user.id), registration.rules)
    }

    pub(crate) async fn remind_every(&self, caller: Caller, seconds: i64) {
        let interval = ReminderInterval::from_secs(seconds).unwrap();
        let edit = UserEdit {
            reminder_interval: Some(Some(interval)),
            ..UserEdit::default()
        };
        self.store
            .commands(Limits::default())
            .update_user(caller, edit, None)
            .await
            .unwrap();
    }

    /// The rule's new state, into the alerts topic.
    pub(crate) async fn alert(&self, rule: &Rule, offset: i64, side: Side) {
        let alert = encode_alert(&alert_of(rule, offset, side));
        self.produce(&rule.id.to_string(), Some(&alert)).await;
    }

    /// The rules' new state, past Kafka: for many.
    pub(crate) async fn alert_all<'a>(
        &self,
        rules: impl IntoIterator<Item = &'a Rule>,
        offset: i64,
        side: Side,
    ) {
        let changes: Vec<_> = rules
            .into_iter()
            .map(|rule| LedgerChange::Alert(alert_of(rule, offset, side)))
            .collect();
        self.store
            .ledger()
            .fold(&changes, Timestamp::now())
            .await
            .unwrap();
    }

    pub(crate) async fn produce(&self, key: &str, payload: Option<&[u8]>) {
        self.produce_to(topics::ALERTS, key, payload).await;
    }

    pub(crate) async fn produce_to(&self, topic: topics::Topic, key: &str, payload: Option<&[u8]>) {
        let record = Outgoing {
            topic,
            ticker: &"AAPL".parse().unwrap(),
            key: key.as_bytes(),
            payload,
            trace: None,
        };
        self.producer.send(record).await.unwrap().wait().await.unwrap();
    }

    /// The next message to the chat goes wrong; to any, if it goes wrong before its chat is known.
    pub(crate) fn plan_fault(&self, fault: Fault, chat: i64) {
        let planned = PlannedFault::of_messages(fault, 1);
        self.telegram.fault(if fault == Fault::DropUnread {
            planned
        } else {
            planned.to_chat(chat)
        });
    }

    /// First lines of what the chat got, once there are `count`.
    pub(crate) async fn headlines(&self, chat: i64, count: usize) -> Vec<String> {
        let texts = wait_for("messages", async || {
            let texts = self.telegram.texts(chat);
            (texts.len() >= count).then_some(texts)
        });
        texts
            .await
            .iter()
            .map(|text| text.lines().next().unwrap_or_default().to_owned())
            .collect()
    }
}

fn alert_of(rule: &Rule, offset: i64, side: Side) -> Alert {
    let now = Timestamp::now();
    Alert {
        rule_id: rule.id,
        user_id: rule.user_id,
        ticker: rule.ticker.clone(),
        position: AlertPosition {
            version: RuleVersion::FIRST,
            generation: 1,
            offset,
        },
        side,
        price: price(match side {
            Side::In => "150",
            Side::Above => "210",
            Side::Below => "90",
        }),
        threshold: price(if side == Side::Below { "100" } else { "200" }),
        currency: "USD".to_owned(),
        quote_time: now,
        quote_ingest_time: now,
        raised_at: now,
        already_outside: false,
    }
}

fn database(folder: &TempDir) -> DatabaseArgs {
    DatabaseArgs::single(format!("sqlite://{}/stock.db", folder.path().display()))
}

pub(crate) fn price(text: &str) -> Price {
    text.parse().unwrap()
}
