use cqrs::Limits;
use cqrs::domain::{RuleId, Side, Snooze};
use e2e::telegram_stub::{Fault, PlannedFault, SentMessage};

use crate::bot::{answer_after, ask};
use crate::bot_conversation::record;
use crate::stage::{Stage, wait_for};

/// The chat's newest message.
pub(crate) fn newest(stage: &Stage, chat: i64) -> SentMessage {
    stage.telegram.messages_to(chat).pop().unwrap()
}

/// Presses the button and gives what shows over the chat.
pub(crate) async fn press(stage: &Stage, message: i64, label: &str) -> String {
    let query = stage
        .telegram
        .press_labelled(message, label)
        .unwrap_or_else(|| panic!("no button {label} under {:?}", stage.telegram.message(message)));
    acknowledged(stage, &query).await
}

pub(crate) async fn acknowledged(stage: &Stage, query: &str) -> String {
    wait_for("an answer to a button", async || {
        stage.telegram.button_answer(query).map(|answer| answer.text)
    })
    .await
}

pub(crate) fn labels(message: &SentMessage) -> Vec<String> {
    message.buttons().into_iter().map(|button| button.label).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn buttons_change_rules_and_the_messages_that_they_stand_under() {
    let stage = Stage::set().await;
    let (caller, rule) = stage.user("ada@example.org", Some(42)).await;
    let queries = stage.store.queries();
    let notifier = stage.start();

    // A breach: snoozed for an hour, messages again, until back.
    stage.alert(&rule, 1, Side::Above).await;
    let breach = wait_for("the breach", async || {
        stage.telegram.messages_to(42).first().cloned()
    })
    .await;
    assert_eq!(labels(&breach), ["Snooze 1h", "Until back", "Edit", "Chart"]);
    let notice = press(&stage, breach.message_id, "Snooze 1h").await;
    assert!(notice.starts_with("🔕 AAPL: no messages until "), "{notice}");
    let changed = wait_for("other buttons", async || {
        stage
            .telegram
            .message(breach.message_id)
            .filter(|message| message.edits == 1)
    });
    assert_eq!(labels(&changed.await), ["Unsnooze", "Edit", "Chart"]);
    let snooze = queries.rule(caller, rule.id).await.unwrap().unwrap().snooze;
    assert!(matches!(snooze, Some(Snooze::Until(_))), "{snooze:?}");
    assert_eq!(
        press(&stage, breach.message_id, "Unsnooze").await,
        "🔔 AAPL: messages again"
    );
    wait_for("the first buttons", async || {
        stage
            .telegram
            .message(breach.message_id)
            .filter(|message| message.edits == 2)
    })
    .await;
    let notice = press(&stage, breach.message_id, "Until back").await;
    assert_eq!(notice, "🔕 AAPL: no messages until it is back in range");

    // The answer to a question changes the rule that the question was about.
    let before = stage.telegram.texts(42).len();
    press(&stage, breach.message_id, "Edit").await;
    let question = answer_after(&stage, 42, before, "Edit").await;
    assert!(question.contains("New thresholds for AAPL?"), "{question}");
    let question = newest(&stage, 42);
    assert!(question.asks_for_reply());
    for (text, answer) in [
        ("x", "Nothing was changed. Answer the question again"),
        ("300 200", "The low threshold 300 is not below"),
        ("٣ 200", "is not a price"),
        ("+5% -3%", "I have no price of AAPL"),
        (
            "150 300",
            "Changed: you get a message when AAPL is at or below 150, or at or above 300.",
        ),
    ] {
        let before = stage.telegram.texts(42).len();
        stage.telegram.reply(42, question.message_id, text);
        let found = answer_after(&stage, 42, before, text).await;
        assert!(found.contains(answer), "{text}: {found}");
    }
    let changed = queries.rule(caller, rule.id).await.unwrap().unwrap();
    assert_eq!(changed.range.high(), Some("300".parse().unwrap()));

    list_and_delete(&stage, caller, rule.id).await;
    pages(&stage).await;
    files(&stage, caller).await;
    old_buttons(&stage, rule.id).await;
    notifier.stop().await;
}

async fn list_and_delete(stage: &Stage, caller: cqrs::Caller, rule: RuleId) {
    let queries = stage.store.queries();
    ask(stage, 42, "/list").await;
    let list = newest(stage, 42);
    assert_eq!(press(stage, list.message_id, "1 Pause").await, "AAPL is paused");
    let paused = wait_for("the list to change", async || {
        stage
            .telegram
            .message(list.message_id)
            .filter(|message| message.edits == 1)
    })
    .await;
    assert!(
        paused.text.contains("AAPL no price yet, ⏸ paused"),
        "{}",
        paused.text
    );
    assert_eq!(labels(&paused), ["1 Edit", "1 Resume", "1 Delete"]);
    assert!(queries.rule(caller, rule).await.unwrap().unwrap().paused);
    assert_eq!(
        press(stage, list.message_id, "1 Resume").await,
        "AAPL is watched again"
    );

    let before = stage.telegram.texts(42).len();
    press(stage, list.message_id, "1 Delete").await;
    let question = answer_after(stage, 42, before, "Delete").await;
    assert!(question.contains("Delete the rule on AAPL"), "{question}");
    let question = newest(stage, 42).message_id;
    press(stage, question, "Keep it").await;
    wait_for("it to be kept", async || {
        let text = stage.telegram.message(question)?.text;
        text.contains("Nothing was changed").then_some(())
    })
    .await;
    assert!(queries.rule(caller, rule).await.unwrap().is_some());

    let before = stage.telegram.texts(42).len();
    press(stage, list.message_id, "1 Delete").await;
    answer_after(stage, 42, before, "Delete").await;
    let question = newest(stage, 42).message_id;
    press(stage, question, "Yes, delete").await;
    wait_for("it to be deleted", async || {
        let message = stage.telegram.message(question)?;
        (message.text.contains("Deleted: the rule on AAPL") && message.buttons().is_empty()).then_some(())
    })
    .await;
    assert!(queries.rule(caller, rule).await.unwrap().is_none());
}

async fn pages(stage: &Stage) {
    let many: Vec<String> = (1..=20).map(|number| format!("T{number} 1 2")).collect();
    ask(stage, 42, &format!("/watch {}", many.join("\n"))).await;
    let list = ask(stage, 42, "/list").await;
    assert!(list.contains("Your rules, 1 to 8 of 20"), "{list}");
    let list = newest(stage, 42).message_id;
    for (button, heading) in [
        ("»", "9 to 16 of 20"),
        ("»", "17 to 20 of 20"),
        ("«", "9 to 16 of 20"),
    ] {
        press(stage, list, button).await;
        wait_for(heading, async || {
            stage.telegram.message(list)?.text.contains(heading).then_some(())
        })
        .await;
    }
    // The list stays on its page.
    assert_eq!(press(stage, list, "10 Pause").await, "T10 is paused");
    wait_for("the same page", async || {
        let text = stage.telegram.message(list)?.text;
        (text.contains("9 to 16 of 20") && text.contains("10. T10 no price yet, ⏸ paused")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_one_ticker_stays_with_it_and_leads_to_no_other_pages() {
    let stage = Stage::set().await;
    stage.user("ada@example.org", Some(42)).await;
    let notifier = stage.start();
    let many: Vec<String> = (1..=10).map(|low| format!("MSFT {low} 20")).collect();
    ask(&stage, 42, &format!("/watch {}", many.join("\n"))).await;
    let list = ask(&stage, 42, "/list MSFT").await;
    assert!(
        list.contains("8. MSFT") && list.contains("… and 2 more: /list"),
        "{list}"
    );
    let list = newest(&stage, 42);
    assert_eq!(list.buttons().len(), 8 * 3, "{:?}", labels(&list));
    assert_eq!(press(&stage, list.message_id, "8 Pause").await, "MSFT is paused");
    wait_for("the same list", async || {
        let text = stage.telegram.message(list.message_id)?.text;
        let stays = text.contains("8. MSFT no price yet, ⏸ paused") && !text.contains("AAPL");
        (stays && text.contains("… and 2 more")).then_some(())
    })
    .await;
    // One wrong line of several: none is made.
    let answer = ask(&stage, 42, "/watch GOOGL 1 2\nTSLA 2 1").await;
    assert!(
        answer.starts_with("Line 2: The low threshold 2 is not below")
            && answer.ends_with("Nothing was changed: none of these rules was made."),
        "{answer}"
    );
    assert!(
        ask(&stage, 42, "/list GOOGL")
            .await
            .contains("You have no rule on")
    );
    notifier.stop().await;
}

async fn files(stage: &Stage, caller: cqrs::Caller) {
    let before = stage.telegram.texts(42).len();
    stage.telegram.say(42, "/export");
    answer_after(stage, 42, before, "/export").await;
    let table = newest(stage, 42).attachment.unwrap().bytes;
    assert!(table.starts_with(b"ticker,low,high,note,paused,expires_at\nT1,1,2,,false,\n"));

    // What was exported comes back to somebody else, who has one of the rules.
    let (other, _) = stage.user("bruno@example.org", Some(43)).await;
    ask(stage, 43, "/watch T1 1 2").await;
    let before = stage.telegram.texts(43).len();
    stage.telegram.upload(43, "rules.csv", table.clone(), "/import");
    let answer = answer_after(stage, 43, before, "/import").await;
    assert!(
        answer.contains("Imported: 19 rules") && answer.contains("You had 1 rule"),
        "{answer}"
    );
    let rules = stage.store.queries().rules(other, None, 100).await.unwrap();
    assert_eq!(rules.items.len(), 21);
    assert!(
        rules
            .items
            .iter()
            .any(|rule| rule.ticker.as_str() == "T10" && rule.paused)
    );

    // As the answer to the bot's question, without a caption.
    ask(stage, 43, "/import").await;
    let question = newest(stage, 43);
    assert!(question.asks_for_reply());
    let before = stage.telegram.texts(43).len();
    stage
        .telegram
        .reply(43, question.message_id, "ticker;low;high\nU1;1,5;2");
    let answer = answer_after(stage, 43, before, "import").await;
    assert!(answer.contains("Imported: 1 rule"), "{answer}");
    for (content, caption, reason) in [
        (table.to_vec(), "", "What shall I do with this file?"),
        (b"\x89PNG\r\n\x1a\n".to_vec(), "/import", "not a table in CSV"),
        (
            vec![b'x'; 1_100_000],
            "/import",
            "A file of 1075 KiB is too large; send at most 1024 KiB.",
        ),
    ] {
        let before = stage.telegram.texts(43).len();
        stage.telegram.upload(43, "rules.csv", content, caption);
        let answer = answer_after(stage, 43, before, "a file").await;
        assert!(answer.contains(reason), "{answer}");
    }
    stage
        .telegram
        .fault(PlannedFault::of_messages(Fault::ChatNotFound, 1).of_method("getFile"));
    let before = stage.telegram.texts(43).len();
    stage.telegram.upload(43, "rules.csv", table.to_vec(), "/import");
    let answer = answer_after(stage, 43, before, "a file that is not to be had").await;
    assert!(answer.contains("Something went wrong here."), "{answer}");
    let limits = Limits::default();
    let full: Vec<String> = (0..limits.rules_per_user)
        .map(|number| format!("V{number},1,2"))
        .collect();
    let before = stage.telegram.texts(42).len();
    stage.telegram.upload(
        42,
        "rules.csv",
        format!("ticker,low,high\n{}", full.join("\n")),
        "/import",
    );
    let answer = answer_after(stage, 42, before, "too many rules").await;
    assert!(
        answer.contains("You can have 200 rules, and this would be more.")
            && answer.contains("Nothing was changed"),
        "{answer}"
    );
    let rules = stage.store.queries().rules(caller, None, 200).await.unwrap();
    assert_eq!(rules.items.len(), 20, "all or nothing");
}

async fn old_buttons(stage: &Stage, deleted: RuleId) {
    let others = stage.user("carla@example.org", None).await.1;
    let gone = "This rule is not there any more. /list shows those that are.";
    let old = "This button is too old. /help shows what you can write.";
    for (data, notice) in [
        (format!("sh:{deleted}"), gone),
        (format!("cd:{deleted}"), gone),
        (format!("cd:{}", others.id), gone),
        (format!("pa:{}", others.id), gone),
        ("pg:60000".to_owned(), ""),
        ("of an older version".to_owned(), old),
    ] {
        // Under a message that Telegram does not know any more.
        let query = stage.telegram.press(42, 999_999, &data);
        assert_eq!(acknowledged(stage, &query).await, notice, "{data}");
    }
    // The list that could not be changed came anew: its last page.
    wait_for("the last page", async || {
        stage
            .telegram
            .texts(42)
            .last()?
            .contains("17 to 20 of 20")
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_telegram_does_not_take_is_said_in_another_way() {
    let stage = Stage::set().await;
    stage.user("ada@example.org", Some(42)).await;
    record(&stage, "AAPL", "187.23").await;
    let notifier = stage.start();
    let fault = |fault, method: &str| {
        stage
            .telegram
            .fault(PlannedFault::of_messages(fault, 1).of_method(method));
    };
    fault(Fault::ChatNotFound, "sendPhoto");
    let answer = ask(&stage, 42, "/chart AAPL").await;
    assert!(answer.starts_with("Something went wrong here."), "{answer}");

    ask(&stage, 42, "/list").await;
    let list = newest(&stage, 42).message_id;
    fault(Fault::TooManyRequests(1), "editMessageText");
    press(&stage, list, "1 Pause").await;
    wait_for("the list to change in the end", async || {
        let text = stage.telegram.message(list)?.text;
        text.contains("paused").then_some(())
    })
    .await;
    fault(Fault::ChatNotFound, "editMessageText");
    let before = stage.telegram.texts(42).len();
    press(&stage, list, "1 Resume").await;
    let anew = answer_after(&stage, 42, before, "1 Resume").await;
    assert!(
        anew.starts_with("Your rules") && !anew.contains("paused"),
        "{anew}"
    );
    notifier.stop().await;
}
