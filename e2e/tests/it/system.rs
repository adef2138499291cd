mod comparison;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use cqrs::domain::Price;
use e2e::day::{self, SplitMix};
use e2e::log;
use e2e::oracle::OracleRule;
use e2e::process::{Service, free_port};
use e2e::servers::Servers;
use e2e::telegram_stub::TelegramStub;
use proto::v1::user_service_client::UserServiceClient;
use proto::v1::{NewRule, RegisterUserRequest};
use service::topics::{ALERTS, QUOTES, RULES};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::transport::Channel;

const USERS: usize = 100;
/// Machines are shared: everything is waited for, and for long.
const PATIENCE: Duration = Duration::from_secs(300);

static ROOM: Semaphore = Semaphore::const_new(2);

/// Real servers and eight processes a test are enough for one machine.
pub(crate) async fn one_at_a_time() -> SemaphorePermit<'static> {
    ROOM.acquire_many(2).await.unwrap()
}

/// For tests that mostly wait for timeouts: beside another of their kind.
pub(crate) async fn beside_others() -> SemaphorePermit<'static> {
    ROOM.acquire().await.unwrap()
}

pub(crate) fn kills() -> u32 {
    std::env::var("E2E_KILLS").map_or(2, |kills| kills.parse().unwrap())
}

/// So that the day lasts longer than all kills: each takes a session timeout of the consumer group.
pub(crate) fn speed_for_kills() -> String {
    std::env::var("E2E_REPLAY_SPEED").unwrap_or_else(|_| "300".to_owned())
}

struct User {
    chat: i64,
    rule: OracleRule,
}

/// Every service as its own process, on servers of its own.
pub(crate) struct System {
    // Dropped in this order: services before their servers.
    collector: Option<Service>,
    alert_systems: Vec<Service>,
    notifier: Service,
    others: Vec<Service>,
    telegram: TelegramStub,
    servers: Servers,
    folder: TempDir,
    grpc: String,
    day: PathBuf,
    trades: i64,
    users: Vec<User>,
    random: SplitMix,
    replay_started: Instant,
}

impl System {
    pub(crate) async fn start(alert_systems: usize) -> Self {
        let servers = Servers::start().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let telegram = TelegramStub::start("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let day = std::env::var("E2E_REPLAY_FILE").map_or_else(
            |_| {
                let made = folder.path().join("day.csv");
                day::write(
                    &made,
                    &[("AIG", 49.0), ("BAC", 14.0), ("C", 50.0), ("BRK-B", 114.0)],
                    12_000,
                    7,
                )
                .unwrap();
                made
            },
            PathBuf::from,
        );
        let trades = i64::try_from(std::fs::read_to_string(&day).unwrap().lines().count() - 1).unwrap();
        let grpc = format!("127.0.0.1:{}", free_port().unwrap());
        let kafka = ("KAFKA_BOOTSTRAP_SERVERS", servers.bootstrap_servers.clone());
        let database = ("DATABASE_URL", servers.database_url.clone());
        let start = |name: &str, program: &str, settings: &[(&str, String)]| {
            Service::start(name, program, settings, folder.path()).unwrap()
        };
        let grpc_server = start(
            "grpc-server",
            "grpc-server",
            &[
                kafka.clone(),
                database.clone(),
                ("GRPC_LISTEN", grpc.clone()),
                // All users of the test come from one address.
                ("REGISTRATIONS_PER_HOUR", "100000".into()),
            ],
        );
        let recorder = start(
            "quote-recorder",
            "quote-recorder",
            &[kafka.clone(), database.clone()],
        );
        let notifier = start(
            "alert-notifier",
            "alert-notifier",
            &[
                kafka.clone(),
                database,
                ("TELEGRAM_BOT_TOKEN", "1:e2e".into()),
                ("TELEGRAM_API_URL", telegram.url()),
            ],
        );
        let alert_systems = (0..alert_systems)
            .map(|n| {
                start(
                    &format!("alert-system-{n}"),
                    "alert-system",
                    std::slice::from_ref(&kafka),
                )
            })
            .collect();
        let mut system = Self {
            collector: None,
            alert_systems,
            notifier,
            others: vec![grpc_server, recorder],
            telegram,
            servers,
            folder,
            grpc,
            day,
            trades,
            users: Vec::new(),
            random: SplitMix(1),
            replay_started: Instant::now(),
        };
        system.ready().await;
        system
    }

    async fn ready(&mut self) {
        for service in self
            .others
            .iter_mut()
            .chain([&mut self.notifier])
            .chain(&mut self.alert_systems)
        {
            service.ready(PATIENCE).await.unwrap();
        }
    }

    /// Each with a chat and a rule; the thresholds lie around the day's first prices.
    pub(crate) async fn register_users(&mut self) {
        let first = first_prices(&self.day);
        let channel = Channel::from_shared(format!("http://{}", self.grpc))
            .unwrap()
            .connect()
            .await
            .unwrap();
        let mut client = UserServiceClient::new(channel);
        for number in 0..USERS {
            let (ticker, price) = &first[number % first.len()];
            let centre = price * (0.96 + 0.074 * number as f64 / USERS as f64);
            let (low, high) = (format!("{:.2}", centre * 0.997), format!("{:.2}", centre * 1.003));
            let rule = NewRule {
                ticker: ticker.clone(),
                low: Some(low.clone()),
                high: Some(high.clone()),
                ..NewRule::default()
            };
            let email = format!("user{number}@example.org");
            let request = RegisterUserRequest {
                email,
                rules: vec![rule],
                request_id: String::new(),
            };
            let registered = client.register_user(request).await.unwrap().into_inner();
            let chat = 1_000 + i64::try_from(number).unwrap();
            self.telegram.say(
                chat,
                &format!("/start {}", registered.telegram_link.unwrap().token),
            );
            self.users.push(User {
                chat,
                rule: OracleRule {
                    id: registered.rules[0].id.clone(),
                    ticker: ticker.clone(),
                    low: Some(low.parse::<Price>().unwrap().units()),
                    high: Some(high.parse::<Price>().unwrap().units()),
                },
            });
        }
        self.until("all chats are linked", |system| {
            system
                .servers
                .sql("select count(*) from users where chat_id is not null")
                .unwrap()
                .trim()
                == "100"
        })
        .await;
        self.until("all rules are in the topic", |system| {
            log::ends(&system.servers.bootstrap_servers, RULES)
                .unwrap()
                .iter()
                .sum::<i64>()
                >= 100
        })
        .await;
        self.until("the alert systems know all rules", |system| {
            log::lag(&system.servers.bootstrap_servers, "alert-system", RULES).unwrap() == 0
        })
        .await;
    }

    pub(crate) async fn replay(&mut self, speed: &str) {
        let settings = [
            ("KAFKA_BOOTSTRAP_SERVERS", self.servers.bootstrap_servers.clone()),
            ("QUOTE_PROVIDER", "replay".into()),
            ("REPLAY_FILE", self.day.display().to_string()),
            ("REPLAY_SPEED", speed.to_owned()),
        ];
        self.replay_started = Instant::now();
        self.collector =
            Some(Service::start("data-collector", "data-collector", &settings, self.folder.path()).unwrap());
        self.until("quotes flow", |system| system.quotes() > 0).await;
    }

    fn quotes(&self) -> i64 {
        log::ends(&self.servers.bootstrap_servers, QUOTES)
            .unwrap()
            .iter()
            .sum()
    }

    /// Kills the alert system and the notifier, again and again, while the day is being replayed.
    pub(crate) async fn kill_in_the_middle(&mut self, times: u32) {
        for round in 1..=times {
            let share = self.trades * i64::from(round) / i64::from(times + 1);
            self.until("the next kill is due", |system| system.quotes() >= share)
                .await;
            // Where in the work it strikes is what the test is about.
            tokio::time::sleep(Duration::from_millis(self.random.below(500))).await;
            let victim = usize::try_from(self.random.below(self.alert_systems.len() as u64)).unwrap();
            self.alert_systems[victim].kill().unwrap();
            tokio::time::sleep(Duration::from_millis(self.random.below(500))).await;
            self.notifier.kill().unwrap();
            let quotes = self.quotes();
            println!("kill {round} of {times} at quote {quotes} of {}", self.trades);
            assert!(
                quotes < self.trades,
                "the day was over before kill {round}: set E2E_REPLAY_SPEED lower"
            );
            self.alert_systems[victim].start_again().unwrap();
            self.notifier.start_again().unwrap();
            self.ready().await;
        }
    }

    /// Kills the broker and the database, one after the other, while the day is being replayed.
    pub(crate) async fn kill_servers_in_the_middle(&mut self) {
        for (server, share) in [("kafka", self.trades / 4), ("mariadb", self.trades / 2)] {
            self.until("the next kill is due", |system| system.quotes() >= share)
                .await;
            println!("{server} is killed at quote {} of {}", self.quotes(), self.trades);
            self.servers.command(&format!("kill-{server}")).unwrap();
            self.servers.command(&format!("start-{server}")).unwrap();
        }
        self.ready().await;
    }

    /// Until the whole day has gone through, and all that users are to be told has been said.
    pub(crate) async fn settle(&mut self) {
        self.until("the day is over", |system| system.quotes() >= system.trades)
            .await;
        println!(
            "replayed {} quotes in {:.1?}",
            self.trades,
            self.replay_started.elapsed()
        );
        let bootstrap_servers = self.servers.bootstrap_servers.clone();
        self.until("all quotes are evaluated", |_| {
            log::lag(&bootstrap_servers, "alert-system", QUOTES).unwrap() == 0
        })
        .await;
        self.until("all quotes are recorded", |_| {
            log::lag(&bootstrap_servers, "quote-recorder", QUOTES).unwrap() == 0
        })
        .await;
        self.until("all alerts are folded", |_| {
            log::lag(&bootstrap_servers, "alert-notifier", ALERTS).unwrap() == 0
        })
        .await;
        self.until("all messages are sent", |system| {
            // What a rule that goes in and out all the time still has to tell waits for minutes.
            let open = "select count(*) from deliveries where status in ('planned', 'sending') and coalesce(held, '') <> 'flapping'";
            system.servers.sql(open).unwrap().trim() == "0"
        })
        .await;
    }

    async fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(
                start.elapsed() < PATIENCE,
                "waited {PATIENCE:?} in vain until {what}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// The tickers of a day in order of appearance, each with its first price.
fn first_prices(day: &std::path::Path) -> Vec<(String, f64)> {
    let mut first: Vec<(String, f64)> = Vec::new();
    for line in std::fs::read_to_string(day).unwrap().lines().skip(1) {
        let mut fields = line.split(',').skip(1);
        let ticker = fields.next().unwrap();
        if !first.iter().any(|(known, _)| known == ticker) {
            first.push((ticker.to_owned(), fields.next().unwrap().parse().unwrap()));
        }
    }
    first
}
