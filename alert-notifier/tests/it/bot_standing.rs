//! What those who look after a notifier learn of its bot.

use e2e::telegram_stub::{Fault, PlannedFault};

use crate::bot::ask;
use crate::stage::{Notifier, Stage, wait_for};

async fn ready(notifier: &Notifier) {
    wait_for("it to be ready", async || {
        notifier.context.health.readiness().ok()
    })
    .await;
}

/// The line about the bot, once it is not ready for more than its start.
async fn complaint(notifier: &Notifier) -> String {
    wait_for("the bot not to be ready", async || {
        let missing = notifier.context.health.readiness().err()?;
        let mut lines = missing.lines().filter(|line| line.starts_with("bot: "));
        lines.find(|line| !line.ends_with("starting")).map(str::to_owned)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_telegram_refuses_shows_before_any_alert() {
    let stage = Stage::set().await;
    let faults = |method: &str, times| {
        let fault = PlannedFault::of_messages(Fault::Unauthorized, times).of_method(method);
        stage.telegram.fault(fault);
    };
    faults("getMe", 2);
    let notifier = stage.start();
    let set =
        "bot: the messenger refuses the bot's token; set TELEGRAM_BOT_TOKEN to one that @BotFather shows";
    assert_eq!(complaint(&notifier).await, set);
    ask(&stage, 42, "/help").await;
    ready(&notifier).await;
    // It is taken back later.
    faults("getUpdates", 2);
    // Not waited for: it may be answered only when all is well again.
    stage.telegram.say(42, "/help");
    assert_eq!(complaint(&notifier).await, set);
    ask(&stage, 42, "/help").await;
    ready(&notifier).await;
    notifier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_program_with_the_same_token_shows_and_what_passes_by_itself_does_not() {
    let stage = Stage::set().await;
    let first = stage.start();
    ask(&stage, 42, "/help").await;
    ready(&first).await;
    let second = stage.start();
    ready(&second).await;

    for fault in [Fault::BadGateway, Fault::DropBefore] {
        stage
            .telegram
            .fault(PlannedFault::of_messages(fault, 1).of_method("getUpdates"));
    }
    let before = stage.telegram.calls("getUpdates");
    ask(&stage, 42, "/help").await;
    wait_for("polls that fail", async || {
        assert_eq!(first.context.health.readiness(), Ok(()));
        (stage.telegram.calls("getUpdates") >= before + 3).then_some(())
    })
    .await;

    // 1, 2, 4 and 8 s between them.
    stage
        .telegram
        .fault(PlannedFault::of_messages(Fault::Conflict, 5).of_method("getUpdates"));
    stage.telegram.say(42, "/help");
    let complaint = complaint(&first).await;
    assert!(
        complaint.contains("another program gets this bot's updates") && complaint.contains("stop it"),
        "{complaint}"
    );
    assert_eq!(second.context.health.readiness(), Ok(()), "it does not ask");
    ask(&stage, 42, "/help").await;
    ready(&first).await;
    first.stop().await;
    second.stop().await;
}
