use cqrs::domain::Side;
use cqrs::{Caller, DeliveryStatus, Limits};
use e2e::telegram_stub::{Fault, PlannedFault};
use serde_json::json;

use crate::stage::{Stage, wait_for};

/// What the bot answers to `text`, the chat's only unanswered message.
pub(crate) async fn ask(stage: &Stage, chat: i64, text: &str) -> String {
    let before = stage.telegram.texts(chat).len();
    stage.telegram.say(chat, text);
    answer_after(stage, chat, before, text).await
}

/// The text of the chat's message number `before`, from 0.
pub(crate) async fn answer_after(stage: &Stage, chat: i64, before: usize, to: &str) -> String {
    let shown: String = to.chars().take(60).collect();
    wait_for(&format!("an answer to {shown}"), async || {
        stage.telegram.texts(chat).get(before).cloned()
    })
    .await
}

pub(crate) async fn link(stage: &Stage, caller: Caller) -> String {
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
    stage.telegram.speaks(42, "it-IT");
    let answer = ask(&stage, 42, &format!("/start {token}")).await;
    assert!(
        answer.contains("Ora questa chat riceve i tuoi avvisi") && answer.contains("Hai 1 regola"),
        "{answer}"
    );
    // Telegram's language holds until another is chosen.
    assert!(
        ask(&stage, 42, "/lang en")
            .await
            .contains("I write in English, as you chose")
    );
    assert!(ask(&stage, 42, "/lang auto").await.contains("Scrivo in italiano"));
    assert!(
        ask(&stage, 42, "/lang English")
            .await
            .contains("I write in English")
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
            .contains("used before, has expired (after 15 minutes) or never existed. Get a new one")
    );
    assert!(ask(&stage, 42, "/start").await.contains("This chat is linked"));

    assert!(
        ask(&stage, 42, "/watch brk-b - 500.50")
            .await
            .contains("I watch BRK-B: you get a message when it is at or above 500.50.")
    );
    assert!(ask(&stage, 42, "/set 5m").await.contains("every 5m"));
    let user = stage.store.queries().user(caller).await.unwrap().unwrap();
    assert_eq!(user.reminder_interval.unwrap().to_string(), "5m");
    assert!(ask(&stage, 42, "/unset").await.contains("do not remind you"));
    let user = stage.store.queries().user(caller).await.unwrap().unwrap();
    assert_eq!(user.reminder_interval, None);

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
    assert!(list.contains("AAPL no price yet, ▲ above since"), "{list}");
    assert!(list.contains("BRK-B no price yet"), "{list}");
    let answer = ask(&stage, 42, "/snooze all until-back").await;
    assert!(
        answer.contains("AAPL: no messages until it is back in range"),
        "{answer}"
    );
    let history = ask(&stage, 42, "/history").await;
    assert!(history.contains("AAPL 210 out of range (sent)"), "{history}");

    let answer = ask(&stage, 42, "/stop").await;
    assert!(
        answer.contains("no more alerts") && answer.contains("rules stay"),
        "{answer}"
    );
    // Nobody's chat is written to as Telegram is set.
    assert!(ask(&stage, 42, "/list").await.contains("non è ancora collegata"));
    let user = stage.store.queries().user(caller).await.unwrap().unwrap();
    assert!(!user.telegram_linked);
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
        json!({"message": {"message_id": 1, "date": 1_700_000_000, "chat": {"id": 42, "first_name": "Ada", "type": "private"}, "text": "/watch MSFT 1 2"}}),
        json!({"message": command("/watch MSFT 1 2", &json!({"id": 42, "first_name": "Ada", "type": "private"}))}),
        json!({"message": command("/list@another_bot", &group)}),
        json!({"message": {"message_id": 1, "date": 1_700_000_000, "chat": group, "from": somebody, "migrate_to_chat_id": -1_005}}),
        json!({"message": {"message_id": 1, "date": 1_700_000_000, "chat": {"id": 42, "first_name": "Ada", "type": "private"}, "from": somebody,
                           "photo": []}}),
        json!({"message": command(&format!("/start {token}"), &group)}),
    ] {
        stage.telegram.update(update);
    }
    for text in [
        "/list",
        "/set 5m",
        "/unset",
        "/watch AAPL 1 2",
        "/chart AAPL",
        "/settings",
        "/test",
        "/stop",
        "/import\na,b",
    ] {
        assert!(ask(&stage, 99, text).await.contains("not linked"), "{text}");
    }
    let before_file = stage.telegram.texts(99).len();
    stage
        .telegram
        .upload(99, "rules.csv", "ticker,low,high\nAAPL,1,2", "/import");
    let answer = answer_after(&stage, 99, before_file, "a file").await;
    assert!(answer.contains("not linked"), "{answer}");
    assert_eq!(stage.telegram.calls("getFile"), 0, "nothing is got for strangers");
    // The group was told to write in private; the token still works there.
    assert_eq!(
        stage.telegram.texts(-5),
        ["Alerts are for one person. Please write to me in a private chat."]
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
async fn a_chat_that_changes_hands_is_told_so() {
    let stage = Stage::set().await;
    let (before, _) = stage.user("ada@example.org", Some(42)).await;
    let (after, _) = stage.user("bruno@example.org", None).await;
    let notifier = stage.start();
    let left = "no longer gets the alerts of the account that it was linked to before";
    for (caller, moved) in [(before, false), (after, true)] {
        let token = link(&stage, caller).await;
        let answer = ask(&stage, 42, &format!("/start {token}")).await;
        assert!(answer.contains("now gets your alerts"), "{answer}");
        assert_eq!(answer.contains(left), moved, "{answer}");
    }
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
    // What is not confirmed when its instance is killed is answered again.
    wait_for("all to be confirmed", async || {
        (stage.telegram.waiting_updates() == 0).then_some(())
    })
    .await;
    first.kill();
    ask(&stage, 42, "/help").await;
    second.stop().await;
    assert_eq!(stage.telegram.texts(42).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_begins_with_what_happened_last() {
    let stage = Stage::set().await;
    let (_, rules) = stage.user_with("ada@example.org", Some(42), 17).await;
    stage.alert_all(&rules[..16], 1, Side::Above).await;
    stage.alert_all(&rules[16..], 2, Side::Below).await;
    let notifier = stage.start();
    stage.telegram.say(42, "/history");
    let history = wait_for("the history among the alerts", async || {
        let mut texts = stage.telegram.texts(42).into_iter();
        texts.find(|text| text.starts_with("Your last alerts"))
    })
    .await;
    let lines: Vec<_> = history.lines().skip(1).collect();
    assert_eq!(lines.len(), 15, "{history}");
    assert!(lines[0].contains("AAPL 90 out of range"), "{history}");
    notifier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_comes_through_kafka_and_who_unblocks_the_bot_hears_what_was_missed() {
    let stage = Stage::set().await;
    let (caller, rule) = stage.user("ada@example.org", Some(42)).await;
    let notifier = stage.start();
    for number in 1..=3 {
        let answer = ask(&stage, 42, "/test").await;
        assert!(answer.contains("A test alert is on its way"), "{answer}");
        wait_for("the test alert", async || {
            let texts = stage.telegram.texts(42);
            let told = texts.iter().filter(|text| text.contains("TEST"));
            (told.count() == number).then_some(())
        })
        .await;
    }
    // A message arrives before it is written down that it did.
    wait_for("what is written down", async || {
        let deliveries = stage.store.ledger().deliveries(caller.0, 10).await.unwrap();
        let mut all = deliveries.iter();
        all.all(|it| it.status == DeliveryStatus::Sent).then_some(())
    })
    .await;
    let history = ask(&stage, 42, "/history").await;
    assert_eq!(history.matches("TEST 101 test (sent)").count(), 3, "{history}");

    stage.telegram.block(42);
    stage.alert(&rule, 1, Side::Above).await;
    wait_for("the chat to be suspended", async || {
        let user = stage.store.queries().user(caller).await.unwrap()?;
        user.chat_suspended_at.map(|_| ())
    })
    .await;
    stage.telegram.unblock(42);
    assert!(
        ask(&stage, 42, "/settings")
            .await
            .contains("this chat has refused messages since")
    );
    let answer = ask(&stage, 42, "/start").await;
    assert!(
        answer.contains("Welcome back! You missed 1 alert; 1 still out of range."),
        "{answer}"
    );
    assert!(answer.contains("AAPL ▲ above 200 since"), "{answer}");
    notifier.stop().await;
}
