//! How long others wait while one chat gets much, at Telegram's own limits: measured and printed. `E2E_FULL=1`: a thousand
//! others, and the bar is kept.

use std::time::Duration;

use cqrs::domain::{Rule, Side, Timestamp};
use e2e::is_full;
use e2e::telegram_stub::{Fault, PlannedFault};

use crate::deliveries_many::{all_ended, crowd};
use crate::stage::{Notifier, Stage, wait_for};

/// The chat that gets much.
const HOT: i64 = 1_000_000;
const PER_SECOND: f64 = 30.0;
/// How much longer others may wait than without.
const BAR: f64 = 1.1;

struct Scene {
    stage: Stage,
    notifier: Notifier,
    hot: Vec<Rule>,
    others: Vec<Rule>,
}

impl Scene {
    /// So many chats, and a hot one with rules for more messages than one.
    async fn set(others: usize) -> Self {
        let stage = Stage::set().await;
        let rules = if is_full() { 1_000 } else { 250 };
        let (_, hot) = stage.user_with("hot@example.org", Some(HOT), rules).await;
        let crowd = crowd(&stage, i64::try_from(others).unwrap(), 1).await;
        let others = crowd
            .into_iter()
            .map(|(_, _, mut rules)| rules.remove(0))
            .collect();
        let notifier = stage.start();
        // It has joined the group and claimed nothing once the breach of one more user is told.
        let (_, first) = stage.user("first@example.org", Some(HOT + 1)).await;
        stage.alert(&first, 1, Side::Above).await;
        stage.headlines(HOT + 1, 1).await;
        stage.telegram.enforce_limits();
        Self {
            stage,
            notifier,
            hot,
            others,
        }
    }

    /// The hot chat's alerts come first, then those of all others. Gives within how many seconds 99 of 100 of the others were
    /// told; and within how many they could be, at 30 messages a second with those for the hot chat among them.
    async fn p99(&self) -> (f64, f64) {
        let begun = Timestamp::now();
        self.stage.alert_all(&self.hot, 1, Side::Above).await;
        self.stage.alert_all(&self.others, 1, Side::Above).await;
        let count = self.others.len();
        wait_for("everybody's message", async || {
            (self.arrivals(begun, false).len() >= count).then_some(())
        })
        .await;
        let arrivals = self.arrivals(begun, false);
        assert_eq!(arrivals.len(), count, "one message each");
        let place = count * 99 / 100;
        let p99 = arrivals[place - 1];
        let hot = self.arrivals(begun, true);
        let places = place + hot.iter().filter(|at| **at <= p99).count();
        (p99, f64::from(u32::try_from(places).unwrap()) / PER_SECOND)
    }

    /// After how many seconds each message came, to the hot chat or to the others.
    fn arrivals(&self, begun: Timestamp, hot: bool) -> Vec<f64> {
        let messages = self.stage.telegram.messages();
        let wanted = messages.iter().filter(|message| {
            if hot {
                message.chat == HOT
            } else {
                message.chat < HOT
            }
        });
        wanted
            .map(|message| {
                let at = Timestamp::from_micros(i64::try_from(message.received_us).unwrap());
                at.since(begun).as_secs_f64()
            })
            .collect()
    }
}

fn others(everyday: usize) -> usize {
    if is_full() { 1_000 } else { everyday }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_chats_do_not_wait_for_one_with_a_thousand_alerts() {
    let scene = Scene::set(others(90)).await;
    let (p99, ideal) = scene.p99().await;
    all_ended(&scene.stage).await;
    scene.notifier.stop().await;
    let telegram = &scene.stage.telegram;
    let hot = telegram.messages_to(HOT);
    let ratio = p99 / ideal;
    println!(
        "{} others' p99 {p99:.2} s, ideal {ideal:.2} s, ratio {ratio:.3}; the hot chat's {} alerts came in {} messages",
        scene.others.len(),
        scene.hot.len(),
        hot.len(),
    );
    assert_eq!(telegram.too_fast(), 0, "Telegram's limits were broken");
    let times: Vec<u64> = hot.iter().map(|message| message.received_us).collect();
    assert!(
        times.len() > 1 && times.windows(2).all(|pair| pair[1] - pair[0] > 950_000),
        "{times:?}"
    );
    assert!(!is_full() || ratio <= BAR, "the bar is {BAR}");
}

#[tokio::test(flavor = "multi_thread")]
async fn others_do_not_notice_that_one_chat_is_throttled() {
    let mut p99 = [0.0; 2];
    let others = others(60);
    for (throttled, p99) in [false, true].into_iter().zip(&mut p99) {
        let scene = Scene::set(others).await;
        if throttled {
            let fault = PlannedFault::of_messages(Fault::TooManyRequests(1), 1_000_000);
            scene.stage.telegram.fault(fault.to_chat(HOT));
        }
        (*p99, _) = scene.p99().await;
        let is_throttled = scene.stage.telegram.messages_to(HOT).is_empty();
        assert_eq!(is_throttled, throttled);
        scene.notifier.stop().await;
    }
    let [normal, throttled] = p99;
    let ratio = throttled / normal;
    println!(
        "{others} others' p99 {throttled:.2} s while one chat is throttled, {normal:.2} s otherwise, ratio {ratio:.3}"
    );
    assert!(!is_full() || ratio <= BAR, "the bar is {BAR}");
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_share_the_messengers_limits() {
    let scene = Scene::set(90).await;
    let (stage, others) = (&scene.stage, &scene.others);
    let second = stage.start();
    let begun = Timestamp::now();
    stage.alert_all(others, 1, Side::Above).await;
    all_ended(stage).await;
    let time = Timestamp::now().since(begun);
    scene.notifier.stop().await;
    second.stop().await;
    assert_eq!(stage.telegram.too_fast(), 0, "together they were too fast");
    // No upper bound: machines are shared. 90 at 30 a second, or at 60 if each took all.
    assert!(time >= Duration::from_secs(2), "{time:?}");
    assert_eq!(stage.telegram.messages().len(), 91);
}
