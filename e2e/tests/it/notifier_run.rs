//! The notifier as a process on real servers, held at each step of its work from outside: by rows locked in the database, by
//! answers that the Bot API stub holds back, by a broker that is paused.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use cqrs::domain::{
    Alert, AlertPosition, ChatId, NewRule, Note, Price, Range, ReminderInterval, Rule, RuleVersion, Side,
    Timestamp,
};
use cqrs::{Caller, Limits, Store, StoreSettings, UserEdit};
use e2e::day::SplitMix;
use e2e::log;
use e2e::process::Service;
use e2e::servers::Servers;
use e2e::telegram_stub::{Fault, PlannedFault, TelegramStub};
use service::codec::encode_alert;
use service::config::KafkaArgs;
use service::kafka::{Kafka, Outgoing, Producer};
use service::topics::ALERTS;
use sqlx::{Connection as _, MySqlConnection};
use tempfile::TempDir;

const PARTITIONS: i32 = 2;
/// Machines are shared: everything is waited for, and for long. A killed instance's claims alone take 20 s.
const PATIENCE: Duration = Duration::from_secs(180);
/// The shortest that users can choose.
const REMINDERS: Duration = Duration::from_secs(10);
/// So that none comes before it is asked for.
const NO_REMINDERS: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How far an alert has come when the notifier is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Read from the topic; the fold waits for the rule's row.
    Consumed,
    /// In the ledger; the broker does not take the commit.
    Folded,
    /// In the ledger; no claim gets through.
    Planned,
    /// Claimed, and the request sent; Telegram has not taken the message.
    Requested,
    /// Telegram has the message; its answer does not come.
    Taken,
    /// The answer is here; writing it down waits for the delivery's row.
    Answered,
    /// All is done.
    WrittenDown,
}

impl Step {
    pub(crate) const ALL: [Self; 7] = [
        Self::Consumed,
        Self::Folded,
        Self::Planned,
        Self::Requested,
        Self::Taken,
        Self::Answered,
        Self::WrittenDown,
    ];

    /// Whether Telegram has the message, and nobody on this side knows.
    const fn leads_to_a_copy(self) -> bool {
        matches!(self, Self::Taken | Self::Answered)
    }
}

struct User {
    step: Step,
    chat: i64,
    caller: Caller,
    rule: Rule,
}

pub(crate) struct NotifierRun {
    // Dropped in this order: the service before its servers.
    notifier: Service,
    telegram: TelegramStub,
    producer: Producer,
    store: Store,
    servers: Servers,
    _folder: TempDir,
    users: Vec<User>,
    random: SplitMix,
    kills: u32,
    started: Instant,
}

impl NotifierRun {
    pub(crate) async fn start() -> Self {
        let servers = Servers::start().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let telegram = TelegramStub::start("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let settings = KafkaArgs::plain(servers.bootstrap_servers.clone(), PARTITIONS).settings();
        let kafka = Kafka::connect(&settings).await.unwrap();
        let producer = kafka.producer(Duration::from_secs(60), Duration::ZERO).unwrap();
        let settings = StoreSettings {
            url: servers.database_url.clone(),
            read_url: None,
            max_connections: 4,
            connect_timeout: PATIENCE,
        };
        let store = Store::open(&settings).await.unwrap();
        let notifier = Service::start(
            "alert-notifier",
            "alert-notifier",
            &[
                ("KAFKA_BOOTSTRAP_SERVERS", servers.bootstrap_servers.clone()),
                ("KAFKA_PARTITIONS", PARTITIONS.to_string()),
                ("DATABASE_URL", servers.database_url.clone()),
                ("TELEGRAM_BOT_TOKEN", "1:e2e".into()),
                ("TELEGRAM_API_URL", telegram.url()),
            ],
            folder.path(),
        );
        let mut run = Self {
            notifier: notifier.unwrap(),
            telegram,
            producer,
            store,
            servers,
            _folder: folder,
            users: Vec::new(),
            random: SplitMix(9),
            kills: 0,
            started: Instant::now(),
        };
        run.notifier.ready(PATIENCE).await.unwrap();
        run.tell_somebody_first().await;
        run
    }

    /// Rows that are made with the first message are there from now on.
    async fn tell_somebody_first(&mut self) {
        let user = self.user(Step::WrittenDown).await;
        self.alert(&user, 1, Side::Above).await;
        self.until("the first message is written down", |run| {
            run.deliveries(&user, "sent") == 1
        })
        .await;
        self.users.push(user);
    }

    /// One more user is to be told; the notifier is killed when it has come so far, and started again.
    pub(crate) async fn kill_at(&mut self, step: Step) {
        self.notifier.ready(PATIENCE).await.unwrap();
        // The database lets go of what a killed notifier waited for when it sees that nobody is there to answer.
        self.until("nobody of before waits any more", |run| {
            !run.somebody_waits_for("")
        })
        .await;
        let user = self.user(step).await;
        match step {
            Step::Consumed => {
                let lock = self.lock(&format!("rules where id = '{}'", user.rule.id)).await;
                self.alert(&user, 1, Side::Above).await;
                self.until("the fold waits", |run| run.somebody_waits_for("rules"))
                    .await;
                self.kill();
                drop(lock);
            }
            Step::Folded => {
                let lock = self.lock(&format!("rules where id = '{}'", user.rule.id)).await;
                self.alert(&user, 1, Side::Above).await;
                self.until("the fold waits", |run| run.somebody_waits_for("rules"))
                    .await;
                self.servers.pause("kafka").unwrap();
                // What is folded is not sent yet: that is another step.
                let _claims = self.lock("pacing").await;
                drop(lock);
                self.until("the alert is folded", |run| run.all_deliveries(&user) == 1)
                    .await;
                self.kill();
                // A broker that only went on would find the commit in its socket.
                self.servers.command("kill-kafka").unwrap();
                self.servers.command("start-kafka").unwrap();
                let lag = |run: &Self| log::lag(&run.servers.bootstrap_servers, "alert-notifier", ALERTS);
                // The broker says so only some time after its start.
                self.until("the offsets are known again", |run| lag(run).is_ok())
                    .await;
                let lag = lag(self).unwrap();
                assert!(lag > 0, "the offset was committed: this was another step");
            }
            Step::Planned => {
                let lock = self.lock("pacing").await;
                self.alert(&user, 1, Side::Above).await;
                self.until("the delivery is planned", |run| {
                    run.deliveries(&user, "planned") == 1
                })
                .await;
                self.until("the claim waits", |run| run.somebody_waits_for("pacing"))
                    .await;
                self.kill();
                drop(lock);
            }
            Step::Requested => {
                self.hold_answer(&user, Fault::HoldBefore).await;
                assert!(self.telegram.texts(user.chat).is_empty());
                self.kill();
            }
            Step::Taken => {
                self.hold_answer(&user, Fault::HoldAfter).await;
                assert_eq!(self.telegram.texts(user.chat).len(), 1);
                self.kill();
            }
            Step::Answered => {
                self.hold_answer(&user, Fault::HoldAfter).await;
                let lock = self
                    .lock(&format!("deliveries where rule_id = '{}'", user.rule.id))
                    .await;
                self.telegram.release();
                self.until("writing it down waits", |run| {
                    run.somebody_waits_for("deliveries")
                })
                .await;
                self.kill();
                drop(lock);
            }
            Step::WrittenDown => {
                self.alert(&user, 1, Side::Above).await;
                self.until("the message is written down", |run| {
                    run.deliveries(&user, "sent") == 1
                })
                .await;
                self.kill();
            }
        }
        self.users.push(user);
        self.notifier.start_again().unwrap();
        self.say(&format!("killed at {step:?}"));
    }

    async fn hold_answer(&mut self, user: &User, fault: Fault) {
        self.telegram
            .fault(PlannedFault::of_messages(fault, 1).to_chat(user.chat));
        self.alert(user, 1, Side::Above).await;
        self.until("the request is at Telegram", |run| run.telegram.held() == 1)
            .await;
        assert_eq!(self.deliveries(user, "sending"), 1);
    }

    fn kill(&mut self) {
        self.notifier.kill().unwrap();
        self.kills += 1;
    }

    pub(crate) async fn all_breaches_are_told(&mut self) {
        self.notifier.ready(PATIENCE).await.unwrap();
        self.until("all breaches are told", |run| {
            run.users.iter().all(|user| run.deliveries(user, "sent") == 1)
        })
        .await;
    }

    /// The one message came, and a copy where nobody could know: counted as such, and nowhere else.
    pub(crate) fn compare_breaches(&self) {
        for user in &self.users {
            let (step, told) = (user.step, self.told(user));
            assert_eq!(
                told.recorded,
                1,
                "{step:?}: {:#?}",
                self.telegram.texts(user.chat)
            );
            assert!(told.copies <= told.ambiguous, "{step:?}: {told:?}");
            assert_eq!(told.copies > 0, step.leads_to_a_copy(), "{step:?}: {told:?}");
        }
        self.say("each breach is told once, and once more where nobody could know");
    }

    /// Everybody is reminded, with kills at any moment.
    pub(crate) async fn remind_everybody(&mut self, kills: u32) {
        for user in &self.users {
            self.remind_every(user, REMINDERS).await;
        }
        for _ in 0..kills {
            tokio::time::sleep(Duration::from_millis(self.random.below(10_000))).await;
            self.kill();
            self.notifier.start_again().unwrap();
            self.notifier.ready(PATIENCE).await.unwrap();
        }
        self.until("all are reminded", |run| {
            run.users.iter().all(|user| run.deliveries(user, "sent") > 1)
        })
        .await;
        self.say("all are reminded");
    }

    /// With a kill while it is told.
    pub(crate) async fn everything_is_back_in_range(&mut self) {
        for user in &self.users {
            self.alert(user, 2, Side::In).await;
        }
        self.until("the first returns are told", |run| {
            run.count("deliveries where kind = 'back' and status = 'sent'") > 0
        })
        .await;
        self.kill();
        self.notifier.start_again().unwrap();
        self.until("all returns are told", |run| {
            let told = run.count("deliveries where kind = 'back' and status = 'sent'");
            let open = run.count("deliveries where status in ('planned', 'sending')");
            told == run.users.len() && open == 0
        })
        .await;
        self.say("all are back in range");
    }

    /// Every alert's delivery has ended, nothing is lost, copies are counted, and each chat reads: breach, reminders, back.
    pub(crate) async fn compare_all(&mut self) {
        // A reminder that was still to come would come within this time.
        let before = self.telegram.messages().len();
        tokio::time::sleep(REMINDERS + Duration::from_secs(3)).await;
        assert_eq!(
            self.telegram.messages().len(),
            before,
            "a message came after the end"
        );
        let statuses = self
            .servers
            .sql("select distinct status from deliveries")
            .unwrap();
        let ended = ["sent", "superseded", "undeliverable"];
        assert!(
            statuses.lines().all(|status| ended.contains(&status)),
            "{statuses}"
        );
        let lost = self.count("deliveries where kind in ('breach', 'back') and status <> 'sent'");
        assert_eq!(lost, 0, "breaches and returns that were not sent");
        let alerts = self.count("alerts");
        assert_eq!(alerts, 2 * self.users.len(), "the ledger has each alert once");
        let (mut messages, mut copies, mut ambiguous) = (0, 0, 0);
        for user in &self.users {
            let told = self.told(user);
            assert!(told.copies <= told.ambiguous, "{:?}: {told:?}", user.step);
            messages += told.recorded + told.copies;
            copies += told.copies;
            ambiguous += told.ambiguous;
            self.compare_order(user);
        }
        println!(
            "{} kills, {} users, {alerts} alerts: {messages} messages, {copies} copies, {ambiguous} ambiguous sends",
            self.kills,
            self.users.len(),
        );
    }

    fn compare_order(&self, user: &User) {
        let messages = self.telegram.messages_to(user.chat);
        let kinds: Vec<Kind> = messages.iter().map(|message| Kind::of(&message.text)).collect();
        assert!(kinds.is_sorted(), "{:?}: {messages:#?}", user.step);
        // What the ledger knows of came once, whatever else came again.
        let recorded = self.recorded(user);
        let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
        for (message, kind) in messages.iter().zip(&kinds) {
            if recorded.contains(&message.message_id) {
                *counts.entry(*kind).or_default() += 1;
            }
        }
        assert_eq!(
            counts.get(&Kind::Breach),
            Some(&1),
            "{:?}: {messages:#?}",
            user.step
        );
        assert_eq!(
            counts.get(&Kind::Back),
            Some(&1),
            "{:?}: {messages:#?}",
            user.step
        );
    }

    fn told(&self, user: &User) -> Told {
        let (recorded, chat) = (self.recorded(user), self.telegram.messages_to(user.chat));
        let came: BTreeSet<i64> = chat.iter().map(|message| message.message_id).collect();
        assert!(
            recorded.is_subset(&came),
            "the ledger knows of messages that never came"
        );
        let ambiguous = format!(
            "select coalesce(sum(ambiguous_sends), 0) from deliveries where rule_id = '{}'",
            user.rule.id
        );
        Told {
            recorded: recorded.len(),
            copies: came.len() - recorded.len(),
            ambiguous: self.servers.sql(&ambiguous).unwrap().trim().parse().unwrap(),
        }
    }

    /// The ids of the messages that the ledger knows of.
    fn recorded(&self, user: &User) -> BTreeSet<i64> {
        let ids = format!(
            "select distinct message_id from deliveries where rule_id = '{}' and status = 'sent'",
            user.rule.id
        );
        self.servers
            .sql(&ids)
            .unwrap()
            .lines()
            .map(|id| id.parse().unwrap())
            .collect()
    }

    async fn user(&self, step: Step) -> User {
        let number = self.users.len();
        let rule = NewRule {
            ticker: "AAPL".parse().unwrap(),
            range: Range::new(Some(price("100")), Some(price("200"))).unwrap(),
            note: Note::default(),
            paused: false,
            expires_at: None,
        };
        let commands = self.store.commands(Limits::default());
        let email = format!("user{number}@example.org").parse().unwrap();
        let registered = commands.register_user(email, vec![rule], None).await.unwrap();
        let chat = 1_000 + i64::try_from(number).unwrap();
        let linked = commands.link_chat(&registered.link.token, ChatId::new(chat), None);
        linked.await.unwrap();
        let user = User {
            step,
            chat,
            caller: Caller(registered.user.id),
            rule: registered.rules[0].clone(),
        };
        self.remind_every(&user, NO_REMINDERS).await;
        user
    }

    async fn remind_every(&self, user: &User, interval: Duration) {
        let seconds = i64::try_from(interval.as_secs()).unwrap();
        let edit = UserEdit {
            reminder_interval: Some(Some(ReminderInterval::from_secs(seconds).unwrap())),
            ..UserEdit::default()
        };
        let commands = self.store.commands(Limits::default());
        commands.update_user(user.caller, edit, None).await.unwrap();
    }

    /// The rule's new state, as the alert system writes it.
    async fn alert(&self, user: &User, offset: i64, side: Side) {
        let (rule, now) = (&user.rule, Timestamp::now());
        let alert = Alert {
            rule_id: rule.id,
            user_id: rule.user_id,
            ticker: rule.ticker.clone(),
            position: AlertPosition {
                version: RuleVersion::FIRST,
                generation: 1,
                offset,
            },
            side,
            price: price(if side == Side::In { "150" } else { "210" }),
            threshold: price("200"),
            currency: "USD".to_owned(),
            quote_time: now,
            quote_ingest_time: now,
            raised_at: now,
            already_outside: false,
        };
        let key = rule.id.to_string();
        let record = Outgoing {
            topic: ALERTS,
            ticker: &rule.ticker,
            key: key.as_bytes(),
            payload: Some(&encode_alert(&alert)),
            trace: None,
        };
        self.producer.send(record).await.unwrap().wait().await.unwrap();
    }

    /// Locks rows until what it gives is dropped.
    async fn lock(&self, rows: &str) -> MySqlConnection {
        let mut connection = MySqlConnection::connect(&self.servers.database_url)
            .await
            .unwrap();
        for statement in ["begin".to_owned(), format!("select * from {rows} for update")] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
                .execute(&mut connection)
                .await
                .unwrap();
        }
        connection
    }

    /// Whether a transaction waits for locked rows of this table, and not only for a moment, as it happens anyway.
    fn somebody_waits_for(&self, table: &str) -> bool {
        self.count(&format!(
            "information_schema.innodb_trx where trx_state = 'LOCK WAIT' and trx_query like '%{table}%' and \
             timestampdiff(microsecond, trx_wait_started, now(6)) > 1500000"
        )) > 0
    }

    fn deliveries(&self, user: &User, status: &str) -> usize {
        self.count(&format!(
            "deliveries where rule_id = '{}' and status = '{status}'",
            user.rule.id
        ))
    }

    fn all_deliveries(&self, user: &User) -> usize {
        self.count(&format!("deliveries where rule_id = '{}'", user.rule.id))
    }

    fn count(&self, rows: &str) -> usize {
        let count = self.servers.sql(&format!("select count(*) from {rows}")).unwrap();
        count.trim().parse().unwrap()
    }

    async fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(
                start.elapsed() < PATIENCE,
                "waited {PATIENCE:?} in vain until {what}; the notifier's log: {}",
                self.notifier.log_tail(30)
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn say(&self, what: &str) {
        println!("{:7.1} s  {what}", self.started.elapsed().as_secs_f64());
    }
}

/// What one user got.
#[derive(Debug)]
struct Told {
    /// Messages that the ledger knows of.
    recorded: usize,
    /// Others.
    copies: usize,
    /// Sends of which the ledger says that nobody knows whether they arrived.
    ambiguous: usize,
}

/// In the order in which a chat may read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Breach,
    Reminder,
    Back,
}

impl Kind {
    fn of(text: &str) -> Self {
        let headline = text.lines().next().unwrap_or_default();
        if headline.contains("Reminder") {
            Self::Reminder
        } else if headline.contains("back in range") {
            Self::Back
        } else {
            assert!(headline.contains("AAPL is above 200"), "{text}");
            Self::Breach
        }
    }
}

fn price(text: &str) -> Price {
    text.parse().unwrap()
}
