//! A messenger that is not there for a while. `E2E_FULL=1`: for ten minutes, with the pauses between tries that users know.

use std::time::{Duration, Instant};

use alert_notifier::Retries;
use cqrs::domain::{Rule, Side};
use cqrs::{Caller, DeliveryKind, DeliveryStatus, DeliveryView};
use e2e::is_full;

use crate::deliveries_many::{crowd, fast};
use crate::stage::{Stage, wait_for};

const TEN_MINUTES: Duration = Duration::from_secs(600);
/// In seconds: the shortest that users can choose.
const REMINDERS: i64 = 10;
/// What a chat's first message after ten minutes begins with.
const HEADING: &str = "I could not deliver this before:";

struct User {
    chat: i64,
    caller: Caller,
    rule: Rule,
    /// The offset of its last alert.
    offset: i64,
}

impl User {
    async fn goes(&mut self, stage: &Stage, side: Side) {
        self.offset += 1;
        stage.alert(&self.rule, self.offset, side).await;
    }

    async fn deliveries(&self, stage: &Stage) -> Vec<DeliveryView> {
        stage
            .store
            .ledger()
            .deliveries(self.caller.0, 1_000)
            .await
            .unwrap()
    }

    /// Waits until a message of this kind was tried in vain.
    async fn tried(&self, stage: &Stage, kind: DeliveryKind) {
        wait_for("a send that fails", async || {
            let deliveries = self.deliveries(stage).await;
            let mut of_kind = deliveries.iter().filter(|it| it.kind == kind);
            of_kind
                .any(|it| it.attempts > 0 && it.reason.is_some())
                .then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_messenger_loses_nothing_and_then_the_newest_state_of_each_rule_is_told_once() {
    let stage = Stage::set().await;
    let users = crowd(&stage, 6, 1).await.into_iter();
    let users = users.map(|(chat, caller, mut rules)| User {
        chat,
        caller,
        rule: rules.remove(0),
        offset: 0,
    });
    let mut users: Vec<User> = users.collect();
    let notifier = Stage::start_with(if is_full() { stage.config() } else { fast(&stage) });
    // The last three know of a breach, and are reminded of it.
    for user in &mut users[3..] {
        stage.remind_every(user.caller, REMINDERS).await;
        user.goes(&stage, Side::Above).await;
        stage.headlines(user.chat, 1).await;
    }
    stage.telegram.leave().await;
    let died = Instant::now();
    go_in_and_out(&stage, &mut users, died).await;
    assert_eq!(stage.telegram.messages().len(), 3);
    stage.telegram.come_back().await;
    let back = Instant::now();
    let told = |user: &User| stage.telegram.texts(user.chat).split_off(user.knew());
    let all_told = tokio::time::timeout(TEN_MINUTES, async {
        while users.iter().any(|user| told(user).is_empty()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    all_told.await.expect("everybody is told");
    let (dead_for, told_after) = (back - died, back.elapsed());
    println!(
        "dead for {:.0} s; everybody told {:.1} s after",
        dead_for.as_secs_f64(),
        told_after.as_secs_f64()
    );
    for (user, news) in users.iter().zip([
        "AAPL is above 200",
        "AAPL left its range and is back",
        "AAPL is below 100",
        "Reminder: AAPL is still above 200",
        "AAPL is back in range",
        "AAPL jumped from above your range to below 100",
    ]) {
        let first = told(user).remove(0);
        assert!(first.contains(news), "{first}");
        assert!(!first.contains("may be a repeat"), "{first}");
        assert!(!is_full() || first.starts_with(HEADING), "{first}");
    }
    let crossings = format!("{} crossings", users[0].offset);
    assert!(told(&users[0])[0].contains(&crossings), "{crossings}");
    assert!(
        !is_full() || told_after <= Retries::default().longest_pause,
        "{told_after:?}"
    );
    notifier.stop().await;
    for user in &users {
        nothing_is_lost_and_nothing_comes_twice(&stage, user).await;
    }
}

impl User {
    /// Messages from before.
    fn knew(&self) -> usize {
        usize::from(self.chat > 3)
    }
}

/// What happens while the messenger is dead.
async fn go_in_and_out(stage: &Stage, users: &mut [User], died: Instant) {
    let [often, came_and_went, out, still_out, back, other_side] = users else {
        panic!("six users");
    };
    out.goes(stage, Side::Below).await;
    for side in [Side::Above, Side::In] {
        came_and_went.goes(stage, side).await;
    }
    back.goes(stage, Side::In).await;
    for side in [Side::In, Side::Below] {
        other_side.goes(stage, side).await;
    }
    still_out.tried(stage, DeliveryKind::Reminder).await;
    for user in [&*out, &*came_and_went, &*other_side] {
        user.tried(stage, DeliveryKind::Breach).await;
    }
    back.tried(stage, DeliveryKind::BackInRange).await;
    let dead_for = if is_full() { TEN_MINUTES } else { Duration::ZERO };
    let mut sides = [Side::Above, Side::In, Side::Below, Side::In].into_iter().cycle();
    loop {
        let side = sides.next().expect("it never ends");
        often.goes(stage, side).await;
        often.tried(stage, DeliveryKind::Breach).await;
        if side == Side::Above && often.offset > 4 && died.elapsed() >= dead_for {
            return;
        }
        if is_full() {
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
    }
}

async fn nothing_is_lost_and_nothing_comes_twice(stage: &Stage, user: &User) {
    let deliveries = user.deliveries(stage).await;
    for delivery in &deliveries {
        assert_eq!(delivery.ambiguous_sends, 0, "{delivery:?}");
        let is_reminder = delivery.kind == DeliveryKind::Reminder;
        match delivery.status {
            DeliveryStatus::Sent => {}
            // One that comes now, or that news took the place of.
            DeliveryStatus::Planned | DeliveryStatus::Superseded => assert!(is_reminder, "{delivery:?}"),
            DeliveryStatus::Sending | DeliveryStatus::Undeliverable => panic!("{delivery:?}"),
        }
    }
    let alerts = deliveries.iter().filter(|it| it.kind != DeliveryKind::Reminder);
    assert_eq!(alerts.count(), usize::try_from(user.offset).unwrap());
    // After the first message there are only reminders, at their pace.
    let after = stage.telegram.messages_to(user.chat).split_off(user.knew());
    for pair in after.windows(2) {
        assert!(pair[1].text.contains("Reminder: AAPL"), "{pair:?}");
        assert!(pair[1].received_us - pair[0].received_us >= 9_900_000, "{pair:?}");
    }
}
