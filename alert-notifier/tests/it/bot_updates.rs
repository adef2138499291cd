use std::net::{Ipv4Addr, SocketAddr};

use alert_notifier::WebhookArgs;
use e2e::telegram_stub::{Fault, PlannedFault};
use reqwest::StatusCode;
use serde_json::json;

use crate::bot::{answer_after, ask};
use crate::stage::{Stage, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_instance_had_in_hand_is_done_once_by_the_next() {
    let stage = Stage::set().await;
    let (caller, _) = stage.user("ada@example.org", Some(42)).await;
    stage.user("bruno@example.org", Some(43)).await;
    let first = stage.start();
    ask(&stage, 42, "/help").await;
    // The rules are made, the answers do not get through.
    stage
        .telegram
        .fault(PlannedFault::of_messages(Fault::HoldBefore, 2));
    stage.telegram.say(42, "/watch MSFT 1 2");
    stage.telegram.say(43, "/import\nticker,low,high\nMSFT,1,2");
    wait_for("the answers to be held", async || {
        (stage.telegram.held() == 2).then_some(())
    })
    .await;
    first.kill();
    assert_eq!(stage.telegram.texts(42).len(), 1);
    let second = stage.start();
    wait_for("the answer", async || {
        stage
            .telegram
            .texts(42)
            .iter()
            .any(|text| text.contains("I watch MSFT"))
            .then_some(())
    })
    .await;
    let imported = wait_for("the other answer", async || stage.telegram.texts(43).pop()).await;
    assert_eq!(imported, "Imported: 1 rule. /list", "as it was the first time");
    let rules = stage
        .store
        .queries()
        .rules_of(caller, &"MSFT".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(rules.len(), 1);
    stage.telegram.release();
    second.stop().await;
    // What was handled is not asked for again, not even after a shutdown in order.
    assert_eq!(stage.telegram.waiting_updates(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_chats_commands_are_answered_in_order_and_hold_nobody_up() {
    let stage = Stage::set().await;
    stage.user("ada@example.org", Some(42)).await;
    stage.user("bruno@example.org", Some(43)).await;
    stage
        .telegram
        .fault(PlannedFault::of_messages(Fault::HoldBefore, 1).to_chat(42));
    for text in ["/set 10s", "/set 20s", "/set 30s"] {
        stage.telegram.say(42, text);
    }
    stage.telegram.say(43, "/help");
    let notifier = stage.start();
    wait_for("an answer to the other", async || {
        stage.telegram.texts(43).first().cloned()
    })
    .await;
    wait_for("the first answer to be held", async || {
        (stage.telegram.held() == 1).then_some(())
    })
    .await;
    assert!(stage.telegram.texts(42).is_empty());
    stage.telegram.release();
    let answers = wait_for("all answers", async || {
        Some(stage.telegram.texts(42)).filter(|texts| texts.len() == 3)
    })
    .await;
    for (answer, interval) in answers.iter().zip(["10s", "20s", "30s"]) {
        assert!(answer.contains(interval), "{answer}");
    }
    notifier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_command_holds_up_nobody_who_writes_later_and_survives_a_kill() {
    let stage = Stage::set().await;
    stage.user("ada@example.org", Some(42)).await;
    let first = stage.start();
    stage
        .telegram
        .fault(PlannedFault::of_messages(Fault::HoldBefore, 1).to_chat(42));
    stage.telegram.say(42, "/set 10s");
    wait_for("the answer to be held", async || {
        (stage.telegram.held() == 1).then_some(())
    })
    .await;
    for _ in 0..3 {
        ask(&stage, 43, "/help").await;
    }
    assert_eq!(stage.telegram.held(), 1, "the first is still in hand");
    first.kill();
    let second = stage.start();
    let answer = answer_after(&stage, 42, 0, "/set 10s").await;
    assert!(answer.contains("10s"), "{answer}");
    second.stop().await;
    assert_eq!(stage.telegram.waiting_updates(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_longer_than_anything_may_take_is_told_in_their_language() {
    let stage = Stage::set().await;
    stage.user("ada@example.org", Some(42)).await;
    stage.telegram.speaks(42, "it-IT");
    // Two tries are more than the time for one update.
    stage
        .telegram
        .fault(PlannedFault::of_messages(Fault::HoldBefore, 2).to_chat(42));
    let notifier = stage.start();
    let answer = ask(&stage, 42, "/set 10s").await;
    assert!(answer.contains("forse non è stato fatto"), "{answer}");
    assert!(ask(&stage, 42, "/unset").await.contains("Non ti ricordo"));
    notifier.stop().await;
    assert_eq!(stage.telegram.waiting_updates(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_more_than_telegram_shows_at_once_is_told_and_hides_nobody() {
    let stage = Stage::set().await;
    for _ in 0..130 {
        stage.telegram.say(42, "/help");
    }
    stage.telegram.say(43, "/help");
    let notifier = stage.start();
    answer_after(&stage, 43, 0, "/help").await;
    wait_for("all to be handled", async || {
        (stage.telegram.waiting_updates() == 0).then_some(())
    })
    .await;
    let answers = stage.telegram.texts(42);
    let told = answers.iter().position(|text| text.contains("Too many messages"));
    assert_eq!(told, Some(20));
    assert!(answers.len() < 50, "{}", answers.len());
    assert!(ask(&stage, 42, "/help").await.contains("/watch"));
    notifier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn telegram_may_call_instead_and_has_to_show_the_secret() {
    let stage = Stage::set().await;
    stage.user("ada@example.org", Some(42)).await;
    let listen = free_address();
    let url = format!("http://{listen}/hook");
    let mut config = stage.config();
    config.telegram.webhook = WebhookArgs {
        webhook_url: Some(url.parse().unwrap()),
        webhook_listen: Some(listen),
        webhook_secret: None,
    };
    let notifier = Stage::start_with(config);
    let webhook = wait_for("the webhook", async || stage.telegram.webhook()).await;
    assert_eq!(webhook.url, url);
    let secret = webhook.secret.unwrap();
    assert!(ask(&stage, 42, "/help").await.contains("/watch"));
    assert!(ask(&stage, 42, "/set 5m").await.contains("every 5m"));
    assert_eq!(stage.telegram.calls("getUpdates"), 0);

    // Calls that are refused unread end their connections.
    let client = reqwest::Client::builder()
        .pool_max_idle_per_host(0)
        .build()
        .unwrap();
    let update = json!({"update_id": 5_000, "message": {"message_id": 1, "date": 1, "text": "/unset",
        "chat": {"id": 42, "first_name": "Ada", "type": "private"}, "from": {"id": 42, "is_bot": false, "first_name": "Ada"}}});
    let call = async |shown: Option<&str>, body: String, path: &str| {
        let mut request = client.post(format!("http://{listen}{path}")).body(body);
        if let Some(shown) = shown {
            request = request.header("X-Telegram-Bot-Api-Secret-Token", shown);
        }
        request.send().await.unwrap().status()
    };
    for shown in [None, Some(""), Some("guessed"), Some(&secret[1..])] {
        let status = call(shown, update.to_string(), "/hook").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(
        call(Some(&secret), update.to_string(), "/").await,
        StatusCode::NOT_FOUND
    );
    // What can't be read would come again and again if it were refused.
    assert_eq!(
        call(Some(&secret), "nonsense".to_owned(), "/hook").await,
        StatusCode::OK
    );
    let large = "x".repeat(2_000_000);
    assert_eq!(
        call(Some(&secret), large, "/hook").await,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(stage.telegram.texts(42).len(), 2);
    assert_eq!(
        call(Some(&secret), update.to_string(), "/hook").await,
        StatusCode::OK
    );
    assert!(stage.telegram.texts(42)[2].contains("do not remind you"));
    notifier.stop().await;

    // Without the setting the bot asks again.
    let notifier = stage.start();
    ask(&stage, 42, "/help").await;
    assert_eq!(stage.telegram.webhook(), None);
    notifier.stop().await;
}

/// Nobody listens there now.
pub(crate) fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}
