use cqrs::domain::Side;
use cqrs::{Caller, Limits};
use e2e::telegram_stub::{Fault, PlannedFault};
use serde_json::json;

use crate::stage::{Stage, wait_for};

/// What the bot answers to `text`, the chat's only unanswered message.
async fn ask(stage: &Stage, chat: i64, text: &str) -> String {
    let before = stage.telegram.texts(chat).len();
    stage.telegram.say(chat, text);
    wait_for(&format!("an answer to {text}"), async || {
        stage.telegram.texts(chat).get(before).cloned()
    })
    .await
}

async fn link(stage: &Stage, caller: Caller) -> String {
    stage
        .store
        .commands(Limits::default())
        .create_link(caller)
        .await
        .unwrap()
        .token
        .expose()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_links_a_chat_and_sets_rules_by_talking_to_the_bot() {
    let stage = Stage::set().await;
    let (caller, rule) = stage.user("ada@example.org", None).await;
    let notifier = stage.start();
    let token = link(&stage, caller).await;

    let answer = ask(&stage, 42, "/start").await;
    assert!(
        answer.contains("not linked") && answer.contains("/start TOKEN"),
        "{answer}"
    );
    let answer = ask(&stage, 42, &format!("/start {token}")).await;
    assert!(
        answer.contains("now gets your alerts") && answer.contains("AAPL: tell when at or below 100"),
        "{answer}"
    );
    // Telegram's start button sends the same again; another chat can't use it any more.
    assert!(
        ask(&stage, 42, &format!("/start {token}"))
            .await
            .contains("linked to an account already")
    );
    assert!(
        ask(&stage, 43, &format!("/start {token}"))
            .await
            .contains("used before, has expired or never existed")
    );
    assert!(ask(&stage, 42, "/start").await.contains("This chat is linked"));

    assert_eq!(
        ask(&stage, 42, "/watch brk-b - 500.50").await,
        "Watching BRK-B: you get a message when it is at or above 500.5."
    );
    assert!(ask(&stage, 42, "/set 5m").await.contains("every 5m"));
    let user = stage.store.queries().user(caller).await.unwrap().unwrap();
    assert_eq!(user.reminder_interval.unwrap().to_string(), "5m");
    assert!(ask(&stage, 42, "/unset").await.contains("do not remind you"));
    assert_eq!(
        stage
            .store
            .queries()
            .user(caller)
            .await
            .unwrap()
            .unwrap()
            .reminder_interval,
        None
    );

    stage.alert(&rule, 1, Side::Above).await;
    wait_for("the breach", async || {
        stage
            .telegram
            .texts(42)
            .iter()
            .any(|it| it.contains("is above"))
            .then_some(())
    })
    .await;
    let list = ask(&stage, 42, "/list@stock_alerts_stub_bot").await;
    assert!(
        list.contains("AAPL: tell when at or below 100, or at or above 200 (now above)"),
        "{list}"
    );
    assert!(list.contains("BRK-B: tell when at or above 500.5"), "{list}");
    let help = ask(&stage, 42, "/help").await;
    for command in ["/start", "/list", "/watch", "/set", "/unset", "/help"] {
        assert!(help.contains(command), "{help}");
    }
    notifier.stop().await;
    assert_eq!(
        stage
            .store
            .commands(Limits::default())
            .create_link(caller)
            .await
            .unwrap()
            .bot_username
            .as_deref(),
        Some("stock_alerts_stub_bot")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_else_comes_neither_stops_the_bot_nor_changes_anything() {
    let stage = Stage::set().await;
    let (caller, _) = stage.user("ada@example.org", Some(42)).await;
    let notifier = stage.start();
    let token = link(&stage, caller).await;
    let group = json!({"id": -5, "title": "All of us", "type": "supergroup"});
    let somebody = json!({"id": 7, "is_bot": false, "first_name": "Somebody"});
    let command = |text: &str, chat: &serde_json::Value| {
        json!({"message_id": 1, "date": 1_700_000_000, "chat": chat, "from": somebody, "text": text,
               "entities": [{"offset": 0, "length": text.split(' ').next().unwrap_or_default().len(), "type": "bot_command"}]})
    };
    for update in [
        json!({"kind_of_the_future": {"some": "field"}}),
        json!({"channel_post": {"message_id": 1, "date": 1_700_000_000, "chat": {"id": -9, "title": "News", "type": "channel"}, "text": "/list"}}),
        json!({"edited_message": command("/watch MSFT 1 2", &json!({"id": 42, "first_name": "Ada", "type": "private"}))}),
        json!({"message": command("/list@another_bot", &group)}),
        json!({"message": {"message_id": 1, "date": 1_700_000_000, "chat": group, "from": somebody, "migrate_to_chat_id": -1_005}}),
        json!({"message": {"message_id": 1, "date": 1_700_000_000, "chat": {"id": 42, "first_name": "Ada", "type": "private"}, "from": somebody,
                           "photo": []}}),
        json!({"message": command(&format!("/start {token}"), &group)}),
    ] {
        stage.telegram.update(update);
    }
    for (text, reason) in [
        ("/set", "is not an interval"),
        ("/set 5", "shorter than 10 seconds"),
        ("/set soon", "\"soon\" is not an interval"),
        ("/watch", "write /watch TICKER LOW HIGH"),
        ("/watch AAPL 2 1", "is not below the high threshold"),
        ("/watch AAPL - -", "give at least one"),
        ("/nonsense", "I do not understand \"/nonsense\""),
        ("hello there", "/help shows what you can write"),
        ("/start x y", "linked to an account already"),
    ] {
        let answer = ask(&stage, 42, text).await;
        assert!(answer.contains(reason), "{text}: {answer}");
    }
    for text in ["/list", "/set 5m", "/unset", "/watch AAPL 1 2"] {
        assert!(ask(&stage, 99, text).await.contains("not linked"), "{text}");
    }
    // The group was told to write in private; the token still works there.
    assert_eq!(
        stage.telegram.texts(-5),
        ["Please write to me in a private chat."]
    );
    assert!(
        ask(&stage, 43, &format!("/start {token}"))
            .await
            .contains("now gets your alerts")
    );
    let rules = stage.store.queries().rules(caller, None, 10).await.unwrap();
    assert_eq!(rules.items.len(), 1);
    notifier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_instances_polls_and_the_other_takes_over() {
    let stage = Stage::set().await;
    stage
        .telegram
        .fault(PlannedFault::of_messages(Fault::BadGateway, 1).of_method("getMe"));
    stage
        .telegram
        .fault(PlannedFault::of_messages(Fault::BadGateway, 1).of_method("getUpdates"));
    let first = stage.start();
    ask(&stage, 42, "/help").await;
    let second = stage.start();
    ask(&stage, 42, "/help").await;
    assert_eq!(stage.telegram.conflicts(), 0);
    first.kill();
    ask(&stage, 42, "/help").await;
    second.stop().await;
    assert_eq!(stage.telegram.texts(42).len(), 3);
}
