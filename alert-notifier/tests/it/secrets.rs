//! What must be in no log, however much is logged.

use std::process::{Child, Command, Stdio};

use cqrs::domain::Side;
use cqrs::{Caller, Limits};
use e2e::telegram_stub::{Fault, PlannedFault};
use serde_json::json;

use crate::stage::{Stage, wait_for};

const TOKEN: &str = "900719925:AAcanary-token_in-no-log";
const CHAT: i64 = 715_517_715_517;
const EMAIL: &str = "canary.address@example.org";

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The notifier as a process of its own, with everything logged.
fn start(stage: &Stage, api_url: &str, log: std::fs::File) -> Killed {
    let config = stage.config();
    let child = Command::new(env!("CARGO_BIN_EXE_alert-notifier"))
        .env("RUST_LOG", "trace")
        .env("DATABASE_URL", stage.database_url())
        .env("KAFKA_BOOTSTRAP_SERVERS", config.kafka.bootstrap_servers)
        .env("KAFKA_PARTITIONS", config.kafka.partitions.to_string())
        .env("KAFKA_PROPERTIES", config.kafka.properties)
        .env("TELEGRAM_BOT_TOKEN", TOKEN)
        .env("TELEGRAM_API_URL", api_url)
        .env("ADMIN_LISTEN", "127.0.0.1:0")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    Killed(child)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_chats_and_addresses_are_in_no_log_at_trace() {
    let stage = Stage::set().await;
    let (caller, rule) = stage.user(EMAIL, None).await;
    let commands = stage.store.commands(Limits::default());
    let link = commands.create_link(Caller(caller.0)).await.unwrap();
    let mut log = tempfile::NamedTempFile::new().unwrap();
    let notifier = start(&stage, &stage.telegram.url(), log.reopen().unwrap());
    let answers = async |count: usize| {
        wait_for("answers", async || {
            (stage.telegram.texts(CHAT).len() >= count).then_some(())
        })
        .await;
    };
    stage
        .telegram
        .say(CHAT, &format!("/start {}", link.token.expose()));
    answers(1).await;
    for (count, text) in [(2, "/list"), (3, "/watch AAPL 1 2"), (4, "/nonsense")] {
        stage.telegram.say(CHAT, text);
        answers(count).await;
    }
    // Libraries like to log what they can't read.
    stage
        .telegram
        .update(json!({"message": {"message_id": "none", "chat": {"id": CHAT}, "text": EMAIL}}));
    // Everything that can go wrong with a send, and with a poll.
    for fault in [
        Fault::TooManyRequests(1),
        Fault::BadGateway,
        Fault::Garbage,
        Fault::DropBefore,
        Fault::DropAfter,
    ] {
        stage
            .telegram
            .fault(PlannedFault::of_messages(fault, 1).to_chat(CHAT));
        stage
            .telegram
            .fault(PlannedFault::of_messages(fault, 1).of_method("getUpdates"));
    }
    stage.alert(&rule, 1, Side::Above).await;
    let calls = stage.telegram.calls("sendMessage");
    wait_for("sends that fail", async || {
        (stage.telegram.calls("sendMessage") >= calls + 3).then_some(())
    })
    .await;
    stage
        .telegram
        .fault(PlannedFault::of_messages(Fault::Blocked, 1).to_chat(CHAT));
    drop(notifier);
    // A messenger that is not there at all.
    let notifier = start(&stage, "http://127.0.0.1:9", log.reopen().unwrap());
    let mut logged = String::new();
    wait_for("a failure to connect", async || {
        use std::io::Read as _;
        let mut more = Vec::new();
        log.read_to_end(&mut more).unwrap();
        logged.push_str(&String::from_utf8_lossy(&more));
        logged
            .contains("the bot could not introduce itself")
            .then_some(())
    })
    .await;
    drop(notifier);
    // It was all logged, the libraries' words included.
    for said in [
        "TRACE",
        "sqlx",
        "hyper",
        "not sent; trying again",
        "answers the bot's users",
    ] {
        assert!(logged.contains(said), "the log has no \"{said}\"");
    }
    let secret = TOKEN.split_once(':').unwrap().1;
    for (what, canary) in [
        ("the bot's token", secret),
        ("the bot's token", TOKEN),
        ("the chat's id", &CHAT.to_string()),
        ("the address", EMAIL),
        ("the link's token", link.token.expose()),
    ] {
        let line = logged.lines().find(|line| line.contains(canary));
        assert_eq!(line, None, "{what} is in the log");
    }
}
