//! Answers and alerts share what Telegram takes.

use cqrs::domain::Side;

use crate::deliveries_many::{all_ended, crowd};
use crate::stage::{Stage, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn many_who_write_at_once_and_alerts_keep_to_the_messengers_limits_together() {
    const USERS: i64 = 60;
    const WRITERS: std::ops::Range<i64> = 5_000_000..5_000_060;
    let stage = Stage::set().await;
    let crowd = crowd(&stage, USERS, 1).await;
    let rules: Vec<_> = crowd.into_iter().flat_map(|(_, _, rules)| rules).collect();
    let notifier = stage.start();
    let (_, first) = stage.user("first@example.org", Some(9_000_000)).await;
    stage.alert(&first, 1, Side::Above).await;
    stage.headlines(9_000_000, 1).await;
    stage.telegram.enforce_limits();

    for chat in WRITERS {
        stage.telegram.say(chat, "/help");
    }
    stage.alert_all(&rules, 1, Side::Above).await;
    wait_for("an answer to everybody", async || {
        let all = WRITERS
            .into_iter()
            .all(|chat| !stage.telegram.texts(chat).is_empty());
        all.then_some(())
    })
    .await;
    all_ended(&stage).await;
    notifier.stop().await;
    assert_eq!(stage.telegram.too_fast(), 0, "Telegram's limits were broken");
}
