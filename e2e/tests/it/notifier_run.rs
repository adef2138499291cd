//! The notifier as a process on real servers, held at each step of its work from outside: by rows locked in the database, by
//! answers that the Bot API stub holds back, by a broker that is paused.

mod rows;
mod step;
mod told;

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
use tempfile::TempDir;

pub(crate) use step::Step;

const PARTITIONS: i32 = 2;
/// Longer than the database gives the same answer about its locks.
const LOOK: Duration = Duration::from_millis(150);
/// Machines are shared: everything is waited for, and for long. A killed instance's claims alone take 20 s.
const PATIENCE: Duration = Duration::from_secs(180);
/// The shortest that users can choose.
const REMINDERS: Duration = Duration::from_secs(10);
/// So that none comes before it is asked for.
const NO_REMINDERS: Duration = Duration::from_secs(7 * 24 * 3_600);

struct User {
    /// Where the notifier is killed.
    step: Step,
    /// What it is about to tell then.
    side: Side,
    chat: i64,
    caller: Caller,
    rule: Rule,
}

impl User {
    /// Messages up to the one that the kill is about.
    fn news(&self) -> usize {
        if self.side == Side::In { 2 } else { 1 }
    }
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
    /// Users who know of their breach and will be told that it is over.
    told: Vec<User>,
    random: SplitMix,
    kills: u32,
    started: Instant,
}

impl NotifierRun {
    /// Each step can be taken so often.
    pub(crate) async fn start(rounds: u32) -> Self {
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
            told: Vec::new(),
            random: SplitMix(9),
            kills: 0,
            started: Instant::now(),
        };
        run.notifier.ready(PATIENCE).await.unwrap();
        run.tell_some_first(rounds).await;
        run
    }

    /// Rows that are made with the first message are there from now on.
    async fn tell_some_first(&mut self, rounds: u32) {
        let first = self.user(Step::WrittenDown, Side::Above).await;
        self.alert(&first, Side::Above).await;
        self.users.push(first);
        for step in (0..rounds).flat_map(|_| Step::OF_RETURNS) {
            let user = self.user(step, Side::In).await;
            self.alert(&user, Side::Above).await;
            self.told.push(user);
        }
        self.until("the first messages are written down", |run| {
            let mut users = run.users.iter().chain(&run.told);
            users.all(|user| run.deliveries(user, "sent") == 1)
        })
        .await;
    }

    /// One more user is to be told, and at some steps one that the price is back; the notifier is killed when it has come so
    /// far, and started again.
    pub(crate) async fn kill_at(&mut self, step: Step) {
        self.notifier.ready(PATIENCE).await.unwrap();
        let user = self.user(step, Side::Above).await;
        match step {
            Step::Consumed => {
                let lock = self.lock(&format!("rules where id = '{}'", user.rule.id)).await;
                self.alert(&user, Side::Above).await;
                self.until("the fold waits", |run| run.waiting_for("rules") > 0)
                    .await;
                self.kill();
                drop(lock);
            }
            Step::Folded => {
                let lock = self.lock(&format!("rules where id = '{}'", user.rule.id)).await;
                self.alert(&user, Side::Above).await;
                self.until("the fold waits", |run| run.waiting_for("rules") > 0)
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
                // A broker that has just come up does not know its groups yet.
                self.until("the broker knows the group", |run| run.lag().is_some())
                    .await;
                assert!(
                    self.lag() > Some(0),
                    "the offset was committed: this was another step"
                );
            }
            Step::Planned => {
                let lock = self.lock("pacing").await;
                self.alert(&user, Side::Above).await;
                self.until("the delivery is planned", |run| {
                    run.deliveries(&user, "planned") == 1
                })
                .await;
                self.until("the claim waits", |run| run.waiting_for("pacing") > 0)
                    .await;
                self.kill();
                drop(lock);
            }
            Step::Requested => {
                self.hold_answers(&user, Fault::HoldBefore).await;
                self.kill();
            }
            Step::Taken => {
                self.hold_answers(&user, Fault::HoldAfter).await;
                self.kill();
            }
            Step::Answered => {
                self.hold_answers(&user, Fault::HoldAfter).await;
                let rules = [user.rule.id, self.users[self.users.len() - 1].rule.id];
                let rows = format!("deliveries where rule_id in ('{}', '{}')", rules[0], rules[1]);
                let lock = self.lock(&rows).await;
                self.telegram.release();
                self.until("writing them down waits", |run| run.waiting_for("deliveries") > 1)
                    .await;
                self.kill();
                drop(lock);
            }
            Step::WrittenDown => {
                self.alert(&user, Side::Above).await;
                self.until("the message is written down", |run| {
                    run.deliveries(&user, "sent") == 1
                })
                .await;
                self.kill();
            }
        }
        self.users.push(user);
        // What the killed one waited for would be taken for what the next one waits for.
        self.until("the killed one's statements end", |run| run.waiting_for("") == 0)
            .await;
        self.notifier.start_again().unwrap();
        self.say(&format!("killed at {step:?}"));
    }

    /// Until the message of the breach, and that of a return, are at Telegram.
    async fn hold_answers(&mut self, user: &User, fault: Fault) {
        let place = self.told.iter().position(|told| told.step == user.step);
        let returning = self.told.remove(place.unwrap());
        for user in [user, &returning] {
            let fault = PlannedFault::of_messages(fault, 1);
            self.telegram.fault(fault.to_chat(user.chat));
            self.alert(user, user.side).await;
        }
        self.until("the requests are at Telegram", |run| run.telegram.held() == 2)
            .await;
        for user in [user, &returning] {
            assert_eq!(self.deliveries(user, "sending"), 1);
            let taken = usize::from(fault == Fault::HoldAfter);
            assert_eq!(self.telegram.texts(user.chat).len(), user.news() - 1 + taken);
        }
        self.users.push(returning);
    }

    /// Alerts that the notifier has not committed.
    fn lag(&self) -> Option<i64> {
        log::lag(&self.servers.bootstrap_servers, "alert-notifier", ALERTS).ok()
    }

    fn kill(&mut self) {
        self.notifier.kill().unwrap();
        self.kills += 1;
    }

    pub(crate) async fn all_news_are_told(&mut self) {
        self.notifier.ready(PATIENCE).await.unwrap();
        self.until("all news are told", |run| {
            let mut users = run.users.iter();
            users.all(|user| run.deliveries(user, "sent") == user.news())
        })
        .await;
    }

    /// All whose price is still out are reminded, with kills at any moment.
    pub(crate) async fn remind_everybody(&mut self, kills: u32) {
        for user in self.still_out() {
            self.remind_every(user, REMINDERS).await;
        }
        for _ in 0..kills {
            tokio::time::sleep(Duration::from_millis(self.random.below(10_000))).await;
            self.kill();
            self.notifier.start_again().unwrap();
            self.notifier.ready(PATIENCE).await.unwrap();
        }
        self.until("all are reminded", |run| {
            run.still_out().all(|user| run.deliveries(user, "sent") > 1)
        })
        .await;
        self.say("all are reminded");
    }

    /// With a kill while it is told.
    pub(crate) async fn everything_is_back_in_range(&mut self) {
        let told = "deliveries where kind = 'back' and status = 'sent'";
        let before = self.count(told);
        for user in self.still_out() {
            self.alert(user, Side::In).await;
        }
        self.until("the first of these returns are told", |run| {
            run.count(told) > before
        })
        .await;
        self.kill();
        self.notifier.start_again().unwrap();
        self.until("all returns are told", |run| {
            let open = run.count("deliveries where status in ('planned', 'sending')");
            run.count(told) == run.users.len() && open == 0
        })
        .await;
        self.say("all are back in range");
    }

    /// Those of whom the last news is the breach.
    fn still_out(&self) -> impl Iterator<Item = &User> {
        self.users.iter().filter(|user| user.side == Side::Above)
    }

    async fn user(&self, step: Step, side: Side) -> User {
        let number = self.users.len() + self.told.len();
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
            side,
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

    /// The rule's new state, out first and then back in, as the alert system writes it.
    async fn alert(&self, user: &User, side: Side) {
        let (rule, now) = (&user.rule, Timestamp::now());
        let alert = Alert {
            rule_id: rule.id,
            user_id: rule.user_id,
            ticker: rule.ticker.clone(),
            position: AlertPosition {
                version: RuleVersion::FIRST,
                generation: 1,
                offset: if side == Side::In { 2 } else { 1 },
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

    async fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(
                start.elapsed() < PATIENCE,
                "waited {PATIENCE:?} in vain until {what}; the notifier's log: {}",
                self.notifier.log_tail(30)
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    fn say(&self, what: &str) {
        println!("{:7.1} s  {what}", self.started.elapsed().as_secs_f64());
    }
}

fn price(text: &str) -> Price {
    text.parse().unwrap()
}
