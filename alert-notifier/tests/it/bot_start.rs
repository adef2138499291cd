//! Who comes back hears how things are.

use cqrs::domain::{Rule, Side};
use cqrs::{Caller, Limits, RuleEdit};
use e2e::telegram_stub::{Fault, PlannedFault};

use crate::bot::{answer_after, ask, link};
use crate::stage::{Stage, price, wait_for};

/// The user takes no messages while these rules leave their range, and then takes them again.
pub(crate) async fn miss(stage: &Stage, chat: i64, caller: Caller, rules: &[Rule]) {
    stage.telegram.block(chat);
    stage.alert_all(rules, 1, Side::Above).await;
    wait_for("the chat to be suspended", async || {
        let user = stage.store.queries().user(caller).await.unwrap()?;
        user.chat_suspended_at.map(|_| ())
    })
    .await;
    stage.telegram.unblock(chat);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_did_not_get_the_answer_to_start_hears_again_what_is_out_of_range() {
    let stage = Stage::set().await;
    let (ada, rule) = stage.user("ada@example.org", Some(42)).await;
    let (bruno, others) = stage.user("bruno@example.org", None).await;
    stage.alert_all([&others], 1, Side::Above).await;
    let token = link(&stage, bruno).await;
    let first = stage.start();
    miss(&stage, 42, ada, &[rule]).await;
    stage
        .telegram
        .fault(PlannedFault::of_messages(Fault::HoldBefore, 2));
    stage.telegram.say(42, "/start");
    stage.telegram.say(43, &format!("/start {token}"));
    wait_for("the answers to be held", async || {
        (stage.telegram.held() == 2).then_some(())
    })
    .await;
    first.kill();
    let second = stage.start();
    for (chat, beginning) in [
        (42, "This chat is linked to your account."),
        (43, "This link does not work any more, but"),
    ] {
        let answer = answer_after(&stage, chat, 0, "the repeated /start").await;
        assert!(answer.starts_with(beginning), "{answer}");
        assert!(
            answer.contains("Out of range now: 1\nAAPL ▲ above 200 since"),
            "{answer}"
        );
    }
    let token = link(&stage, bruno).await;
    let answer = ask(&stage, 43, &format!("/start {token}")).await;
    assert!(
        answer.starts_with("Welcome!") && answer.contains("AAPL ▲ above 200 since"),
        "{answer}"
    );
    stage.telegram.release();
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_were_changed_meanwhile_are_not_said_to_be_out_of_range() {
    let stage = Stage::set().await;
    let (caller, rules) = stage.user_with("ada@example.org", Some(42), 3).await;
    let notifier = stage.start();
    miss(&stage, 42, caller, &rules).await;
    let commands = stage.store.commands(Limits::default());
    let edits = [
        RuleEdit {
            high: Some(Some(price("300"))),
            ..RuleEdit::default()
        },
        RuleEdit {
            paused: Some(true),
            ..RuleEdit::default()
        },
    ];
    for (rule, edit) in rules.iter().zip(edits) {
        commands.update_rule(caller, rule.id, edit, None).await.unwrap();
    }
    for beginning in [
        "Welcome back! You missed 3 alerts; 1 still out of range.\nAAPL ▲ above 200 since",
        "This chat is linked to your account.\nYou have 3 rules: /list\n/help shows what you can write.\n\
         Out of range now: 1\nAAPL ▲ above 200 since",
    ] {
        let answer = ask(&stage, 42, "/start").await;
        assert!(answer.starts_with(beginning), "{answer}");
        assert_eq!(answer.matches('▲').count(), 1, "{answer}");
    }
    notifier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn until_start_is_said_every_answer_ends_with_the_word_that_alerts_are_off() {
    let stage = Stage::set().await;
    let notifier = stage.start();
    for (chat, language, off, edit, no_test, test) in [
        (
            42,
            "en",
            "⚠ Alerts are off: this chat has refused messages since ",
            "1 Edit",
            "I raised no test alert",
            "A test alert is on its way",
        ),
        (
            43,
            "it",
            "⚠ Gli avvisi sono spenti: questa chat rifiuta i messaggi dalle ",
            "1 Modifica",
            "Non ho fatto partire l'avviso di prova",
            "Un avviso di prova sta attraversando",
        ),
    ] {
        let (caller, rule) = stage.user(&format!("{language}@example.org"), Some(chat)).await;
        stage.telegram.speaks(chat, language);
        miss(&stage, chat, caller, &[rule]).await;
        let says_so = |answer: &str| answer.lines().last().is_some_and(|last| last.starts_with(off));

        let answer = ask(&stage, chat, "/test").await;
        assert!(answer.starts_with(no_test) && says_so(&answer), "{answer}");
        let answer = ask(&stage, chat, "/watch AAPL 3 2").await;
        assert!(says_so(&answer), "{answer}");
        let answer = ask(&stage, chat, "/list").await;
        assert!(answer.contains("AAPL") && says_so(&answer), "{answer}");
        let list = stage.telegram.messages_to(chat).pop().unwrap().message_id;
        let before = stage.telegram.texts(chat).len();
        stage.telegram.press_labelled(list, edit).unwrap();
        let below = answer_after(&stage, chat, before + 1, "a button").await;
        assert!(says_so(&below), "{below}");
        // The question before it is understood all the same.
        let question = stage.telegram.messages_to(chat)[before].message_id;
        stage.telegram.reply(chat, question, "150 300");
        let answer = answer_after(&stage, chat, before + 2, "150 300").await;
        assert!(answer.contains("150") && says_so(&answer), "{answer}");

        let answer = ask(&stage, chat, "/start").await;
        assert!(!says_so(&answer), "{answer}");
        let answer = ask(&stage, chat, "/test").await;
        assert!(answer.starts_with(test) && !says_so(&answer), "{answer}");
    }
    notifier.stop().await;
}
