//! Many messages, while all goes wrong that can. `E2E_FULL=1`: 20,000.

use std::time::{Duration, Instant};

use alert_notifier::{Config, Retries};
use cqrs::domain::{Rule, Side, Timestamp};
use cqrs::{Caller, DeliveryStatus};
use e2e::is_full;
use e2e::telegram_stub::{Fault, FaultMix};

use crate::stage::Stage;

/// Both directions twice for each rule; more within minutes would be flapping.
const TRANSITIONS: [Side; 4] = [Side::Above, Side::In, Side::Below, Side::In];

/// Users with their chats and rules.
type Crowd = Vec<(i64, Caller, Vec<Rule>)>;

/// So many users, each with rules; the chat of user `n` is `n`.
pub(crate) async fn crowd(stage: &Stage, users: i64, rules: usize) -> Crowd {
    let mut crowd = Vec::new();
    for chat in 1..=users {
        let email = format!("user{chat}@example.org");
        let (caller, rules) = stage.user_with(&email, Some(chat), rules).await;
        crowd.push((chat, caller, rules));
    }
    crowd
}

/// Waits until nothing is left to be sent: long, as the machine may be busy.
pub(crate) async fn all_ended(stage: &Stage) {
    let ledger = stage.store.ledger();
    let ended = tokio::time::timeout(Duration::from_secs(600), async {
        while ledger.backlog().await.unwrap().waiting > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    ended.await.expect("all messages end");
}

pub(crate) fn fast(stage: &Stage) -> Config {
    let mut config = stage.config();
    config.telegram.messages_per_second = 5_000;
    config.telegram.per_chat = Duration::from_millis(1);
    config.retries = Retries {
        first_pause: Duration::from_millis(50),
        longest_pause: Duration::from_millis(400),
        ..Retries::default()
    };
    config
}

/// What goes wrong with every fifth message.
const FAULTS: [Fault; 11] = [
    Fault::TooManyRequests(1),
    Fault::Blocked,
    Fault::ChatNotFound,
    Fault::Conflict,
    Fault::BadGateway,
    Fault::Garbage,
    Fault::DropUnread,
    Fault::DropBefore,
    Fault::DropAfter,
    Fault::CutAnswer,
    Fault::Delay(50),
];

/// The group that a chat becomes.
const fn moved(chat: i64) -> i64 {
    -1_000_000 - chat
}

/// What else goes wrong in this round of so many: some chats move, each of them once; and now and then requests take longer
/// than they may, and the token is refused.
fn plan_faults(stage: &Stage, crowd: &Crowd, round: usize, rounds: usize) {
    for (chat, ..) in crowd.iter().skip(round).step_by(rounds) {
        stage.plan_fault(Fault::Migrated(moved(*chat)), *chat);
    }
    if round.is_multiple_of(10) {
        for (user, fault) in [
            (0, Fault::Unauthorized),
            (1, Fault::Delay(9_000)),
            (2, Fault::HoldBefore),
            (3, Fault::HoldAfter),
        ] {
            // They move in rounds to come.
            stage.plan_fault(fault, crowd[round + 1 + user].0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_alert_ends_and_copies_are_no_more_than_ambiguous_sends() {
    let (users, rules) = if is_full() { (1_000, 5) } else { (200, 1) };
    let stage = Stage::set().await;
    let crowd = crowd(&stage, users, rules).await;
    stage.telegram.fault_mix(Some(FaultMix {
        seed: 7,
        per_thousand: 200,
        faults: FAULTS.to_vec(),
    }));
    let notifier = Stage::start_with(fast(&stage));
    let begun = Instant::now();
    let ledger = stage.store.ledger();
    for round in 0..rules * TRANSITIONS.len() {
        plan_faults(&stage, &crowd, round, rules * TRANSITIONS.len());
        let (rule, step) = (round / TRANSITIONS.len(), round % TRANSITIONS.len());
        let of_all = crowd.iter().map(|(_, _, rules)| &rules[rule]);
        let offset = i64::try_from(step).unwrap() + 1;
        stage.alert_all(of_all, offset, TRANSITIONS[step]).await;
        all_ended(&stage).await;
        for (_, caller, _) in &crowd {
            ledger.resume_chat(caller.0, Timestamp::now()).await.unwrap();
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    notifier.stop().await;
    let mut total = Tally::default();
    for (chat, caller, _) in &crowd {
        total
            .count(&stage, *chat, *caller, rules * TRANSITIONS.len())
            .await;
    }
    println!(
        "alerts | calls | sent | undeliverable | superseded | ambiguous sends | copies | s\n\
         {} | {} | {} | {} | {} | {} | {} | {seconds:.0}",
        total.alerts,
        stage.telegram.calls("sendMessage"),
        total.sent,
        total.undeliverable,
        total.superseded,
        total.ambiguous,
        total.copies,
    );
    assert!(
        total.ambiguous > 0 && total.copies > 0 && total.undeliverable > 0,
        "{total:?}"
    );
    // To some nothing was sent, or nothing arrived, since their turn to move.
    assert!(total.moved > crowd.len() / 2, "{total:?}");
}

/// What became of all alerts.
#[derive(Debug, Default)]
struct Tally {
    alerts: usize,
    sent: u32,
    undeliverable: u32,
    superseded: u32,
    /// Sends of which nobody knows whether they arrived.
    ambiguous: u32,
    /// Messages that arrived though they are not in the ledger.
    copies: u32,
    /// Chats that got messages where they moved.
    moved: usize,
}

impl Tally {
    /// Adds one user's alerts, which must be so many, and have ended.
    async fn count(&mut self, stage: &Stage, chat: i64, caller: Caller, alerts: usize) {
        let deliveries = stage.store.ledger().deliveries(caller.0, 1_000).await.unwrap();
        assert_eq!(deliveries.len(), alerts, "chat {chat}");
        let (mut sent, mut ambiguous) = (0, 0);
        for delivery in &deliveries {
            ambiguous += delivery.ambiguous_sends;
            match delivery.status {
                DeliveryStatus::Sent => sent += 1,
                DeliveryStatus::Undeliverable => self.undeliverable += 1,
                DeliveryStatus::Superseded => self.superseded += 1,
                DeliveryStatus::Planned | DeliveryStatus::Sending => panic!("{delivery:?} has not ended"),
            }
            let explained = delivery.reason.is_some() || delivery.status == DeliveryStatus::Sent;
            assert!(explained, "{delivery:?}");
        }
        let after_move = stage.telegram.texts(moved(chat)).len();
        let arrived = u32::try_from(stage.telegram.texts(chat).len() + after_move).unwrap();
        assert!(arrived >= sent, "chat {chat}: {sent} sent, {arrived} arrived");
        let copies = arrived - sent;
        assert!(
            copies <= ambiguous,
            "chat {chat}: {copies} copies, {ambiguous} ambiguous sends"
        );
        self.moved += usize::from(after_move > 0);
        self.alerts += alerts;
        self.sent += sent;
        self.ambiguous += ambiguous;
        self.copies += copies;
    }
}
