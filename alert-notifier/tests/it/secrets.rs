//! What must be in no log, however much is logged.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cqrs::Limits;
use cqrs::domain::{Quote, Rule, Side, Timestamp};
use e2e::telegram_stub::{Fault, PlannedFault};
use reqwest::StatusCode;
use serde_json::json;
use tempfile::NamedTempFile;

use crate::bot::{answer_after, ask};
use crate::bot_updates::free_address;
use crate::stage::{Stage, price, wait_for};

const TOKEN: &str = "900719925:AAcanary-token_in-no-log";
/// The first of the chats: the others have the same first ten digits.
const CHAT: i64 = 715_517_715_500;
/// Where one of them moves.
const MOVED: i64 = -826_628_826_628;
/// What all e-mail addresses begin with.
const EMAIL: &str = "canary.address";

/// What can go wrong with a send; each with one of a user's own.
const OF_SENDS: [Fault; 13] = [
    // First, while nobody else sends: which chat it is for is not known when it happens.
    Fault::DropUnread,
    Fault::TooManyRequests(1),
    Fault::Blocked,
    Fault::ChatNotFound,
    Fault::Migrated(MOVED),
    Fault::Conflict,
    Fault::BadGateway,
    Fault::Garbage,
    Fault::DropBefore,
    Fault::DropAfter,
    Fault::CutAnswer,
    Fault::Delay(10),
    // Last, as nothing is sent for some seconds after it.
    Fault::Unauthorized,
];

/// And with a request for updates.
const OF_POLLS: [Fault; 8] = [
    Fault::DropUnread,
    Fault::TooManyRequests(1),
    Fault::Unauthorized,
    Fault::Conflict,
    Fault::Garbage,
    Fault::DropAfter,
    Fault::CutAnswer,
    // Last, as the library is silent for ten seconds after it.
    Fault::BadGateway,
];

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The notifier as a process of its own, with everything logged.
fn start(stage: &Stage, log: &NamedTempFile, settings: &[(&str, String)]) -> Killed {
    let config = stage.config();
    // Behind what another start has logged.
    let log = OpenOptions::new().append(true).open(log.path()).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_alert-notifier"))
        .env("RUST_LOG", "trace")
        .env("DATABASE_URL", stage.database_url())
        .env("KAFKA_BOOTSTRAP_SERVERS", config.kafka.bootstrap_servers)
        .env("KAFKA_PARTITIONS", config.kafka.partitions.to_string())
        .env("KAFKA_PROPERTIES", config.kafka.properties)
        .env("TELEGRAM_BOT_TOKEN", TOKEN)
        .env("TELEGRAM_API_URL", stage.telegram.url())
        .env("ADMIN_LISTEN", "127.0.0.1:0")
        .envs(settings.iter().cloned())
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    Killed(child)
}

async fn used_up(stage: &Stage, what: &str) {
    wait_for(what, async || {
        stage.telegram.faults_to_come().is_empty().then_some(())
    })
    .await;
}

/// Commands, a button, a chart and a file, the last two with a failure first. Gives the token of the link.
async fn talk(stage: &Stage) -> String {
    let (caller, _) = stage.user(&format!("{EMAIL}@example.org"), None).await;
    let commands = stage.store.commands(Limits::default());
    let link = commands.create_link(caller).await.unwrap();
    let link = link.token.expose().to_owned();
    ask(stage, CHAT, &format!("/start {link}")).await;
    for text in ["/watch MSFT 1 2", "/settings", "/nonsense", "/list"] {
        ask(stage, CHAT, text).await;
    }
    let list = stage.telegram.messages_to(CHAT).pop().unwrap();
    let press = stage.telegram.press_labelled(list.message_id, "Pause").unwrap();
    wait_for("the button's answer", async || {
        stage.telegram.button_answer(&press)
    })
    .await;

    let now = Timestamp::now().minus(Duration::from_secs(2));
    let quote = Quote {
        ticker: "AAPL".parse().unwrap(),
        price: price("187"),
        currency: "USD".to_owned(),
        volume: None,
        trade_side: None,
        event_time: now,
        ingest_time: now,
        source: "test".to_owned(),
    };
    stage.store.history().record(&[(quote, 1)]).await.unwrap();
    let fails = PlannedFault::of_messages(Fault::DropBefore, 1);
    stage.telegram.fault(fails.clone().of_method("sendPhoto"));
    ask(stage, CHAT, "/chart AAPL 1d").await;
    used_up(stage, "a chart that fails").await;
    for (fails_at, expected) in [
        (Some("getFile"), "went wrong"),
        (Some("file"), "went wrong"),
        (None, "Imported: 1 rule"),
    ] {
        if let Some(method) = fails_at {
            stage.telegram.fault(fails.clone().of_method(method));
        }
        let before = stage.telegram.texts(CHAT).len();
        stage
            .telegram
            .upload(CHAT, "rules.csv", "ticker,low,high\nNFLX,1,2", "/import");
        let answer = answer_after(stage, CHAT, before, "/import").await;
        assert!(answer.contains(expected), "{answer}");
    }
    used_up(stage, "files that fail").await;
    link
}

/// All that can go wrong with a poll, and an update that can't be read: libraries like to log what they can't read.
async fn fail_polls(stage: &Stage) {
    let text = format!("{EMAIL}@example.org");
    stage
        .telegram
        .update(json!({"message": {"message_id": "none", "chat": {"id": CHAT}, "text": text}}));
    for fault in OF_POLLS {
        // Pauses grow from failure to failure.
        ask(stage, CHAT, "/help").await;
        stage
            .telegram
            .fault(PlannedFault::of_messages(fault, 1).of_method("getUpdates"));
        // Ends the poll that waits now; the next one fails.
        stage.telegram.say(CHAT, "/help");
        used_up(stage, "a poll that fails").await;
    }
}

/// All that can go wrong with a send.
async fn fail_sends(stage: &Stage) {
    for (number, fault) in (1..).zip(OF_SENDS) {
        let (email, chat) = (format!("{EMAIL}.{number}@example.org"), CHAT + number);
        let (_, rule) = stage.user(&email, Some(chat)).await;
        stage.plan_fault(fault, chat);
        stage.alert(&rule, 1, Side::Above).await;
        used_up(stage, "a send that fails").await;
    }
    stage.headlines(MOVED, 1).await;
}

/// Telegram is not there at first, then it calls. Gives the calls' secret.
async fn be_called(stage: &Stage, log: &mut Log, rule: &Rule) -> String {
    stage.telegram.leave().await;
    let listen = free_address();
    let url = format!("http://{listen}/hook");
    let settings = [
        ("TELEGRAM_WEBHOOK_URL", url.clone()),
        ("TELEGRAM_WEBHOOK_LISTEN", listen.to_string()),
    ];
    let _notifier = start(stage, &log.file, &settings);
    stage.alert(rule, 1, Side::Above).await;
    log.says("the bot could not introduce itself").await;
    log.says("the messenger can't be reached").await;
    stage.telegram.come_back().await;
    let webhook = wait_for("the webhook", async || stage.telegram.webhook()).await;
    stage.telegram.say(CHAT, "/list");
    // Answers from before may come first.
    let press = wait_for("the list", async || {
        let messages = stage.telegram.messages_to(CHAT);
        let mut messages = messages.iter().rev();
        messages.find_map(|it| stage.telegram.press_labelled(it.message_id, "Resume"))
    })
    .await;
    wait_for("the button's answer", async || {
        stage.telegram.button_answer(&press)
    })
    .await;
    let guess = reqwest::Client::new()
        .post(url)
        .json(&json!({"update_id": 1, "message": {"chat": {"id": CHAT}}}));
    let refused = guess.header("X-Telegram-Bot-Api-Secret-Token", "guess").send();
    assert_eq!(refused.await.unwrap().status(), StatusCode::UNAUTHORIZED);
    webhook.secret.unwrap()
}

/// What was logged so far.
struct Log {
    file: NamedTempFile,
    text: String,
}

impl Log {
    fn read(&mut self) {
        let mut more = Vec::new();
        self.file.read_to_end(&mut more).unwrap();
        self.text.push_str(&String::from_utf8_lossy(&more));
    }

    async fn says(&mut self, words: &str) {
        wait_for(words, async || {
            self.read();
            self.text.contains(words).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_chats_and_addresses_are_in_no_log_at_trace() {
    let stage = Stage::set().await;
    let mut log = Log {
        file: NamedTempFile::new().unwrap(),
        text: String::new(),
    };
    let notifier = start(&stage, &log.file, &[]);
    let link = talk(&stage).await;
    fail_polls(&stage).await;
    fail_sends(&stage).await;
    drop(notifier);
    let (_, rule) = stage
        .user(&format!("{EMAIL}.last@example.org"), Some(CHAT + 99))
        .await;
    let webhook_secret = be_called(&stage, &mut log, &rule).await;
    log.read();
    // It was all logged, the libraries' words included.
    for said in [
        "TRACE",
        "sqlx",
        "hyper",
        "not sent; trying again",
        "the messenger asks to wait 1 s",
        "the chat takes no messages",
        "chat not found",
        "the messenger refuses the bot's token",
        "updates could not be got from Telegram",
        "a file could not be got from Telegram",
        "takes the bot's updates from Telegram's calls",
    ] {
        assert!(log.text.contains(said), "the log has no \"{said}\"");
    }
    let secret = TOKEN.split_once(':').unwrap().1;
    let moved = MOVED.unsigned_abs().to_string();
    for (what, canary) in [
        ("the bot's token", secret),
        ("the bot's token", TOKEN),
        ("a chat's id", &CHAT.to_string()[..10]),
        ("the id that a chat moved to", &moved),
        ("an address", EMAIL),
        ("the link's token", &link),
        ("the webhook's secret", &webhook_secret),
    ] {
        let line = log.text.lines().find(|line| line.contains(canary));
        assert_eq!(line, None, "{what} is in the log");
    }
}
