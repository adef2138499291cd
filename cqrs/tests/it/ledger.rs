use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cqrs::domain::{
    Alert, AlertPosition, ChatId, ReminderInterval, Rule, RuleId, RuleVersion, Side, Timestamp, UserId,
};
use cqrs::{
    Caller, Checked, ClaimLimits, ClaimedMessage, DeliveryKind, DeliveryStatus, DeliveryView, Ledger,
    LedgerChange, Outcome, Pace, RuleEdit, UserEdit,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use crate::support::{Db, price, quote};

on_both_databases! {
    a_breach_and_its_return_are_told_once_each,
    a_jump_from_side_to_side_is_one_message,
    an_edited_rule_starts_inside_its_range,
    after_a_lost_log_the_same_side_is_accepted_without_a_word,
    nothing_more_is_told_of_a_deleted_rule,
    instances_that_fold_the_same_records_at_once_plan_each_message_once,
    folds_of_random_records_plan_what_a_naive_reading_plans,
    a_users_messages_are_claimed_one_at_a_time_in_their_order,
    instances_together_send_each_message_once_and_in_order,
    a_claim_that_runs_out_is_taken_over_and_counted_as_ambiguous,
    a_message_that_is_tried_again_holds_up_only_its_user,
    a_return_is_told_only_to_those_who_were_told_of_the_breach,
    reminders_follow_the_last_delivered_message_until_the_price_is_back,
    a_reminder_that_was_overtaken_by_the_return_is_not_sent,
    setting_the_interval_moves_the_next_reminder,
    a_reminder_is_held_back_while_the_price_is_inside,
    an_edited_paused_or_deleted_rule_is_not_reminded_of,
    a_return_that_went_down_with_a_lost_log_is_told_all_the_same,
    who_cant_be_reached_is_not_reminded,
    a_chat_moves_unless_the_new_one_is_taken,
}

/// No pace: how that is kept has tests of its own.
fn limits(messages: u32) -> ClaimLimits {
    ClaimLimits {
        timeout: TIMEOUT,
        messages,
        pace: Pace {
            per_second: 1_000_000,
            per_chat: Duration::ZERO,
            per_group: Duration::ZERO,
        },
        look_ahead: Duration::from_secs(1),
    }
}

const TIMEOUT: Duration = Duration::from_secs(60);
/// The rules are of this range's ticker; see `support::new_rule`.
const INTERVAL: Duration = Duration::from_secs(15 * 60);

/// A user with one rule, 100 to 200, at a time that stands still.
struct Stage {
    db: Db,
    ledger: Ledger,
    caller: Caller,
    rule: Rule,
    start: Timestamp,
}

impl Stage {
    async fn set(db: Db) -> Self {
        let caller = db.user("ada@example.org").await;
        let rule = db.rule(caller, "AAPL").await;
        // Of this day, as the database's own clock is compared with in places.
        Self {
            ledger: db.ledger(),
            caller,
            rule,
            start: Timestamp::now(),
            db,
        }
    }

    fn at(&self, seconds: u64) -> Timestamp {
        self.start.plus(Duration::from_secs(seconds))
    }

    async fn fold(&self, changes: &[LedgerChange], seconds: u64) {
        self.ledger.fold(changes, self.at(seconds)).await.unwrap();
    }

    fn change(&self, offset: i64, side: Side) -> LedgerChange {
        LedgerChange::Alert(self.alert(offset, side))
    }

    fn alert(&self, offset: i64, side: Side) -> Alert {
        alert(
            self.rule.id,
            self.caller.0,
            position(1, 1, offset),
            side,
            self.start,
        )
    }

    async fn deliveries(&self) -> Vec<DeliveryView> {
        self.ledger.deliveries(self.caller.0, 1_000).await.unwrap()
    }

    async fn told(&self) -> Vec<(DeliveryKind, DeliveryStatus)> {
        self.deliveries()
            .await
            .into_iter()
            .map(|delivery| (delivery.kind, delivery.status))
            .collect()
    }

    async fn kinds(&self) -> Vec<DeliveryKind> {
        self.deliveries()
            .await
            .into_iter()
            .map(|delivery| delivery.kind)
            .collect()
    }

    async fn claim(&self, seconds: u64) -> Vec<ClaimedMessage> {
        self.ledger
            .claim("one", self.at(seconds), limits(100))
            .await
            .unwrap()
    }

    /// Claims the one delivery that is due and ends it.
    async fn end(&self, outcome: Outcome, seconds: u64) -> ClaimedMessage {
        let mut claimed = self.claim(seconds).await;
        assert_eq!(claimed.len(), 1, "{claimed:?}");
        let delivery = claimed.remove(0);
        assert!(
            self.ledger
                .finish(&delivery, &outcome, self.at(seconds))
                .await
                .unwrap()
        );
        delivery
    }

    async fn send(&self, seconds: u64) -> ClaimedMessage {
        self.end(sent(), seconds).await
    }

    async fn check(&self, seconds: u64) -> Checked {
        self.ledger.check_episodes(self.at(seconds), 100).await.unwrap()
    }

    /// A price that is known, of `seconds` after the start.
    async fn latest(&self, text: &str, seconds: u64) {
        let at = self.at(seconds).as_micros();
        self.db
            .store
            .history()
            .record(&[(quote("AAPL", text, at), at)])
            .await
            .unwrap();
    }
}

fn position(version: i64, generation: i64, offset: i64) -> AlertPosition {
    AlertPosition {
        version: RuleVersion::try_from(version).unwrap(),
        generation,
        offset,
    }
}

fn alert(rule_id: RuleId, user_id: UserId, position: AlertPosition, side: Side, at: Timestamp) -> Alert {
    let (price_text, threshold) = match side {
        Side::In => ("150", "200"),
        Side::Above => ("201", "200"),
        Side::Below => ("99", "100"),
    };
    Alert {
        rule_id,
        user_id,
        ticker: "AAPL".parse().unwrap(),
        position,
        side,
        price: price(price_text),
        threshold: price(threshold),
        currency: "USD".to_owned(),
        quote_time: at,
        quote_ingest_time: at,
        raised_at: at,
        already_outside: false,
    }
}

fn sent() -> Outcome {
    Outcome::Sent { message_id: Some(7) }
}

fn undeliverable() -> Outcome {
    Outcome::Undeliverable {
        reason: "blocked".to_owned(),
    }
}

use DeliveryKind::{BackInRange, Breach, Jump, Reminder};
use DeliveryStatus::{Planned, Sending, Sent, Superseded, Undeliverable};

async fn a_breach_and_its_return_are_told_once_each(db: Db) {
    let stage = Stage::set(db).await;
    let (out, back) = (stage.change(10, Side::Above), stage.change(20, Side::In));
    let old = stage.change(15, Side::Below);
    let first = stage
        .ledger
        .fold(&[out.clone(), out.clone()], stage.start)
        .await
        .unwrap();
    assert_eq!((first.taken, first.repeated, first.planned), (1, 1, 1));
    stage.fold(std::slice::from_ref(&out), 1).await;
    stage.fold(&[back.clone(), old, out, back], 2).await;
    assert_eq!(stage.kinds().await, [Breach, BackInRange]);
    let alerts = stage
        .db
        .queries()
        .alerts(stage.caller, None, None, 10)
        .await
        .unwrap();
    assert_eq!(
        alerts
            .items
            .iter()
            .map(|alert| alert.position.offset)
            .collect::<HashSet<_>>(),
        [10, 20].into()
    );
    assert!(
        stage
            .ledger
            .open_episodes(stage.caller.0)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn a_jump_from_side_to_side_is_one_message(db: Db) {
    let stage = Stage::set(db).await;
    stage
        .fold(&[stage.change(1, Side::Below), stage.change(2, Side::Above)], 0)
        .await;
    let open = stage.ledger.open_episodes(stage.caller.0).await.unwrap();
    assert_eq!(
        open.iter()
            .map(|open| (open.side, open.position.offset))
            .collect::<Vec<_>>(),
        [(Side::Above, 2)]
    );
    stage.fold(&[stage.change(3, Side::In)], 0).await;
    assert_eq!(stage.kinds().await, [Breach, Jump, BackInRange]);
    let first = stage.send(1).await;
    assert_eq!(
        (
            first.items[0].facts.side,
            first.items[0].facts.threshold,
            first.items[0].facts.price
        ),
        (Side::Below, price("100"), price("99"))
    );
    assert_eq!(stage.send(2).await.items[0].facts.side, Side::Above);
    assert_eq!(stage.send(3).await.items[0].facts.side, Side::In);
}

async fn an_edited_rule_starts_inside_its_range(db: Db) {
    let stage = Stage::set(db).await;
    let of = |version, offset, side| {
        LedgerChange::Alert(alert(
            stage.rule.id,
            stage.caller.0,
            position(version, 1, offset),
            side,
            stage.start,
        ))
    };
    stage
        .fold(
            &[
                of(1, 10, Side::Above),
                of(2, 11, Side::Above),
                of(1, 12, Side::In),
            ],
            0,
        )
        .await;
    assert_eq!(stage.kinds().await, [Breach, Breach]);
    // Back inside for the new version; then a version that has nothing to tell.
    stage
        .fold(
            &[of(2, 13, Side::In), of(2, 14, Side::Below), of(3, 15, Side::In)],
            0,
        )
        .await;
    assert_eq!(stage.kinds().await, [Breach, Breach, BackInRange, Breach]);
    assert!(
        stage
            .ledger
            .open_episodes(stage.caller.0)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn after_a_lost_log_the_same_side_is_accepted_without_a_word(db: Db) {
    let stage = Stage::set(db).await;
    let of = |generation, offset, side| {
        LedgerChange::Alert(alert(
            stage.rule.id,
            stage.caller.0,
            position(1, generation, offset),
            side,
            stage.start,
        ))
    };
    stage
        .fold(
            &[
                of(1, 500, Side::Above),
                of(2, 3, Side::Above),
                of(1, 501, Side::In),
            ],
            0,
        )
        .await;
    assert_eq!(stage.kinds().await, [Breach]);
    stage.fold(&[of(2, 9, Side::In)], 0).await;
    assert_eq!(stage.kinds().await, [Breach, BackInRange]);
}

async fn nothing_more_is_told_of_a_deleted_rule(db: Db) {
    let stage = Stage::set(db).await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    stage
        .db
        .commands()
        .delete_rule(stage.caller, stage.rule.id, None)
        .await
        .unwrap();
    // What was planned ends when its turn comes, even before the tombstone does.
    assert!(stage.claim(1).await.is_empty());
    assert_eq!(stage.told().await, [(Breach, Superseded)]);
    let folded = stage
        .ledger
        .fold(
            &[
                stage.change(2, Side::In),
                LedgerChange::RuleDeleted(stage.rule.id),
                stage.change(3, Side::Above),
            ],
            stage.at(2),
        )
        .await
        .unwrap();
    assert_eq!((folded.taken, folded.orphaned, folded.planned), (0, 2, 0));

    let other = stage.db.rule(stage.caller, "MSFT").await;
    let of_other = LedgerChange::Alert(alert(
        other.id,
        stage.caller.0,
        position(1, 1, 1),
        Side::Above,
        stage.start,
    ));
    stage.fold(&[of_other], 3).await;
    stage.fold(&[LedgerChange::RuleDeleted(other.id)], 4).await;
    assert_eq!(stage.told().await, [(Breach, Superseded), (Breach, Superseded)]);
    assert_eq!(stage.db.number("select count(*) from episodes").await, 0);
}

async fn instances_that_fold_the_same_records_at_once_plan_each_message_once(db: Db) {
    let stage = Stage::set(db).await;
    let mut changes = Vec::new();
    for number in 0..20 {
        let rule = stage.db.rule(stage.caller, &format!("T{number}")).await;
        for (offset, side) in [(1, Side::Above), (2, Side::Below), (3, Side::In)] {
            changes.push(LedgerChange::Alert(alert(
                rule.id,
                stage.caller.0,
                position(1, 1, offset),
                side,
                stage.start,
            )));
        }
    }
    let changes = Arc::new(changes);
    let folds = (0..6).map(|instance| {
        let (ledger, changes, now) = (stage.ledger.clone(), Arc::clone(&changes), stage.at(instance));
        tokio::spawn(async move {
            for chunk in changes.chunks(7 + usize::try_from(instance).unwrap()) {
                ledger.fold(chunk, now).await.unwrap();
            }
        })
    });
    for fold in folds.collect::<Vec<_>>() {
        fold.await.unwrap();
    }
    let mut by_rule: BTreeMap<RuleId, Vec<DeliveryKind>> = BTreeMap::new();
    for delivery in stage.deliveries().await {
        by_rule.entry(delivery.rule_id).or_default().push(delivery.kind);
    }
    assert_eq!(by_rule.len(), 20);
    assert!(
        by_rule
            .values()
            .all(|kinds| kinds == &[Breach, Jump, BackInRange]),
        "{by_rule:?}"
    );
}

/// What the records of one rule call for: those that are newer than all before them, and of these the changes of side,
/// each version for itself.
fn naive(records: &[Alert]) -> Vec<(AlertPosition, DeliveryKind)> {
    let newest: Vec<&Alert> = (0..records.len())
        .filter(|index| {
            records[..*index]
                .iter()
                .all(|before| before.position < records[*index].position)
        })
        .map(|index| &records[index])
        .collect();
    let mut planned = Vec::new();
    for (index, record) in newest.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| newest[before]);
        let side = before
            .filter(|before| before.position.version == record.position.version)
            .map_or(Side::In, |b| b.side);
        let kind = match (side.is_out(), record.side.is_out()) {
            (false, true) => Breach,
            (true, false) => BackInRange,
            (true, true) if side != record.side => Jump,
            _ => continue,
        };
        planned.push((record.position, kind));
    }
    planned
}

/// Records of one rule: mostly forward, with repeats, old ones, edits and lost logs in between.
fn random_records(random: &mut StdRng, rule: RuleId, user: UserId) -> Vec<Alert> {
    let (mut version, mut generation, mut offset) = (1, 1, 0);
    let mut records: Vec<Alert> = Vec::new();
    for _ in 0..random.random_range(1..30) {
        let repeat = records.choose(random).cloned();
        let record = match (random.random_range(0..10), repeat) {
            (0..3, Some(old)) => old,
            (kind, _) => {
                match kind {
                    3 => version += 1,
                    4 => (generation, offset) = (generation + 1, 0),
                    _ => {}
                }
                offset += random.random_range(1..5);
                let side = [Side::In, Side::Above, Side::Below][random.random_range(0..3)];
                alert(
                    rule,
                    user,
                    position(version, generation, offset),
                    side,
                    Timestamp::from_micros(offset),
                )
            }
        };
        records.push(record);
    }
    records
}

async fn folds_of_random_records_plan_what_a_naive_reading_plans(db: Db) {
    let stage = Stage::set(db).await;
    for seed in 0..25 {
        let mut random = StdRng::seed_from_u64(seed);
        let user = stage.db.user(&format!("user{seed}@example.org")).await;
        let mut of_rule = Vec::new();
        for _ in 0..3 {
            let rule = stage.db.rule(user, "AAPL").await;
            of_rule.push(random_records(&mut random, rule.id, user.0));
        }
        let mut rest: Vec<_> = of_rule.iter().map(|records| records.iter()).collect();
        let mut topic = Vec::new();
        while !rest.is_empty() {
            let rule = random.random_range(0..rest.len());
            match rest[rule].next() {
                Some(record) => topic.push(LedgerChange::Alert(record.clone())),
                None => drop(rest.swap_remove(rule)),
            }
        }
        // An instance reads the topic in batches, and now and then begins again at something it had.
        let mut read = 0;
        while read < topic.len() {
            let batch = random.random_range(1..=8).min(topic.len() - read);
            stage
                .ledger
                .fold(&topic[read..read + batch], stage.start)
                .await
                .unwrap();
            read += batch;
            if random.random_range(0..4) == 0 {
                let again = random.random_range(0..read);
                stage.ledger.fold(&topic[again..read], stage.start).await.unwrap();
            }
        }
        let planned = stage.ledger.deliveries(user.0, 10_000).await.unwrap();
        for records in of_rule {
            let rule = records[0].rule_id;
            let of_rule: Vec<_> = planned
                .iter()
                .filter(|it| it.rule_id == rule)
                .map(|it| (it.position, it.kind))
                .collect();
            assert_eq!(of_rule, naive(&records), "seed {seed}");
        }
    }
}

async fn a_users_messages_are_claimed_one_at_a_time_in_their_order(db: Db) {
    let stage = Stage::set(db).await;
    stage
        .db
        .commands()
        .link_chat(
            &stage.db.commands().create_link(stage.caller).await.unwrap().token,
            ChatId::new(42),
            None,
        )
        .await
        .unwrap();
    stage
        .fold(
            &[
                stage.change(1, Side::Above),
                stage.change(2, Side::In),
                stage.change(3, Side::Below),
            ],
            0,
        )
        .await;
    let claimed = stage.claim(1).await;
    assert_eq!(
        claimed
            .iter()
            .map(|delivery| delivery.items[0].facts.kind)
            .collect::<Vec<_>>(),
        [Breach]
    );
    assert_eq!(claimed[0].recipient.chat, Some(ChatId::new(42)));
    assert!(stage.claim(2).await.is_empty());
    assert_eq!(
        stage.told().await,
        [(Breach, Sending), (BackInRange, Planned), (Breach, Planned)]
    );
    stage
        .ledger
        .finish(&claimed[0], &sent(), stage.at(3))
        .await
        .unwrap();
    assert_eq!(stage.send(4).await.items[0].facts.kind, BackInRange);
    assert_eq!(stage.send(5).await.items[0].facts.kind, Breach);
    assert!(stage.claim(6).await.is_empty());
    assert_eq!(stage.ledger.backlog().await.unwrap().waiting, 0);
}

async fn instances_together_send_each_message_once_and_in_order(db: Db) {
    const USERS: usize = 5;
    const MESSAGES: i64 = 8;
    let stage = Stage::set(db).await;
    for user in 0..USERS {
        let user = stage.db.user(&format!("user{user}@example.org")).await;
        let rule = stage.db.rule(user, "AAPL").await;
        let changes: Vec<_> = (0..MESSAGES)
            .map(|offset| {
                let side = if offset % 2 == 0 { Side::Above } else { Side::In };
                LedgerChange::Alert(alert(rule.id, user.0, position(1, 1, offset), side, stage.start))
            })
            .collect();
        stage.fold(&changes, 0).await;
    }
    // What each user got, and to whom a message is on its way.
    let got: Arc<Mutex<BTreeMap<UserId, Vec<DeliveryKind>>>> = Arc::default();
    let on_the_way: Arc<Mutex<HashSet<UserId>>> = Arc::default();
    let instances = (0..4).map(|instance| {
        let (ledger, got, on_the_way) = (stage.ledger.clone(), Arc::clone(&got), Arc::clone(&on_the_way));
        let now = stage.at(1);
        tokio::spawn(async move {
            while got.lock().unwrap().values().map(Vec::len).sum::<usize>()
                < USERS * usize::try_from(MESSAGES).unwrap()
            {
                let claimed = ledger
                    .claim(&format!("instance {instance}"), now, limits(3))
                    .await
                    .unwrap();
                for delivery in &claimed {
                    assert!(
                        on_the_way.lock().unwrap().insert(delivery.user_id),
                        "two at once to one user"
                    );
                }
                // Time for the others to claim what they must not.
                tokio::time::sleep(Duration::from_millis(2)).await;
                for delivery in claimed {
                    got.lock()
                        .unwrap()
                        .entry(delivery.user_id)
                        .or_default()
                        .push(delivery.items[0].facts.kind);
                    assert!(on_the_way.lock().unwrap().remove(&delivery.user_id));
                    assert!(ledger.finish(&delivery, &sent(), now).await.unwrap());
                }
            }
        })
    });
    for instance in instances.collect::<Vec<_>>() {
        tokio::time::timeout(Duration::from_secs(120), instance)
            .await
            .expect("all is sent in time")
            .unwrap();
    }
    for (user, kinds) in got.lock().unwrap().iter() {
        let expected: Vec<_> = (0..MESSAGES)
            .map(|it| if it % 2 == 0 { Breach } else { BackInRange })
            .collect();
        assert_eq!(kinds, &expected, "{user}");
    }
}

async fn a_claim_that_runs_out_is_taken_over_and_counted_as_ambiguous(db: Db) {
    let stage = Stage::set(db).await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    let dead = stage.claim(0).await.remove(0);
    assert!(!dead.reclaimed);
    assert!(
        stage
            .ledger
            .claim("two", stage.at(59), limits(10))
            .await
            .unwrap()
            .is_empty()
    );
    let alive = stage
        .ledger
        .claim("two", stage.at(60), limits(10))
        .await
        .unwrap()
        .remove(0);
    assert!(alive.reclaimed && alive.attempt == 2);
    assert!(
        stage
            .ledger
            .claim("three", stage.at(61), limits(10))
            .await
            .unwrap()
            .is_empty()
    );
    // It was only slow, and comes back.
    assert!(!stage.ledger.finish(&dead, &sent(), stage.at(62)).await.unwrap());
    assert_eq!(stage.told().await, [(Breach, Sending)]);
    assert!(stage.ledger.finish(&alive, &sent(), stage.at(63)).await.unwrap());
    let delivery = stage.deliveries().await.remove(0);
    assert_eq!(
        (delivery.status, delivery.attempts, delivery.ambiguous_sends),
        (Sent, 2, 1)
    );
}

async fn a_message_that_is_tried_again_holds_up_only_its_user(db: Db) {
    let stage = Stage::set(db).await;
    let other = stage.db.user("bob@example.org").await;
    let others_rule = stage.db.rule(other, "AAPL").await;
    stage
        .fold(&[stage.change(1, Side::Above), stage.change(2, Side::In)], 0)
        .await;
    let again = |at| Outcome::Retry {
        at,
        reason: "502".to_owned(),
        ambiguous: true,
    };
    stage.end(again(stage.at(10)), 0).await;
    let of_other = alert(
        others_rule.id,
        other.0,
        position(1, 1, 1),
        Side::Above,
        stage.start,
    );
    stage.fold(&[LedgerChange::Alert(of_other)], 1).await;
    assert_eq!(stage.send(2).await.user_id, other.0);
    assert!(stage.claim(9).await.is_empty());
    let breach = stage.end(again(stage.at(11)), 10).await;
    assert_eq!((breach.items[0].facts.kind, breach.attempt), (Breach, 2));
    assert_eq!(stage.send(11).await.items[0].facts.kind, Breach);
    assert_eq!(stage.send(11).await.items[0].facts.kind, BackInRange);
    assert_eq!(stage.deliveries().await[0].ambiguous_sends, 2);
}

async fn a_return_is_told_only_to_those_who_were_told_of_the_breach(db: Db) {
    let stage = Stage::set(db).await;
    stage
        .fold(&[stage.change(1, Side::Above), stage.change(2, Side::In)], 0)
        .await;
    stage.end(undeliverable(), 1).await;
    assert!(stage.claim(2).await.is_empty());
    assert_eq!(
        stage.told().await,
        [(Breach, Undeliverable), (BackInRange, Superseded)]
    );
    // Told of leaving, not of the jump: told of the return.
    stage
        .fold(
            &[
                stage.change(3, Side::Above),
                stage.change(4, Side::Below),
                stage.change(5, Side::In),
            ],
            3,
        )
        .await;
    stage.send(4).await;
    stage.end(undeliverable(), 5).await;
    assert_eq!(stage.send(6).await.items[0].facts.kind, BackInRange);
}

async fn reminders_follow_the_last_delivered_message_until_the_price_is_back(db: Db) {
    let stage = Stage::set(db).await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    // Nothing was delivered yet, so there is nothing to remind of.
    assert_eq!(stage.check(3_600).await.reminders, 0);
    stage.send(5_000).await;
    let due = 5_000 + INTERVAL.as_secs();
    assert_eq!(stage.check(due - 1).await.reminders, 0);
    stage.latest("205", due - 10).await;
    assert_eq!(stage.check(due).await.reminders, 1);
    assert_eq!(stage.check(due).await.episodes, 0);
    let reminder = stage.send(due + 100).await;
    assert_eq!(
        (reminder.items[0].facts.kind, reminder.items[0].facts.side),
        (Reminder, Side::Above)
    );
    assert_eq!(
        (reminder.items[0].facts.price, reminder.items[0].facts.threshold),
        (price("205"), price("200"))
    );
    assert_eq!(
        (
            reminder.items[0].facts.quote_time,
            reminder.items[0].facts.opened_at
        ),
        (stage.at(due - 10), stage.start)
    );
    let next = due + 100 + INTERVAL.as_secs();
    assert_eq!(stage.ledger.next_check().await.unwrap(), Some(stage.at(next)));
    assert_eq!(stage.check(next - 1).await.reminders, 0);
    assert_eq!(stage.check(next).await.reminders, 1);
    stage.send(next).await;
    stage.fold(&[stage.change(2, Side::In)], next + 1).await;
    stage.send(next + 1).await;
    assert_eq!(stage.check(next + 100_000).await, Checked::default());
    assert_eq!(stage.kinds().await, [Breach, Reminder, Reminder, BackInRange]);
}

async fn a_reminder_that_was_overtaken_by_the_return_is_not_sent(db: Db) {
    let stage = Stage::set(db).await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    stage.send(0).await;
    assert_eq!(stage.check(INTERVAL.as_secs()).await.reminders, 1);
    stage.fold(&[stage.change(2, Side::In)], INTERVAL.as_secs()).await;
    assert_eq!(
        stage.send(INTERVAL.as_secs() + 1).await.items[0].facts.kind,
        BackInRange
    );
    assert_eq!(
        stage.told().await,
        [(Breach, Sent), (Reminder, Superseded), (BackInRange, Sent)]
    );
}

async fn setting_the_interval_moves_the_next_reminder(db: Db) {
    let stage = Stage::set(db).await;
    let set = async |interval: Option<i64>| {
        let interval = interval.map(|seconds| ReminderInterval::from_secs(seconds).unwrap());
        let edit = UserEdit {
            reminder_interval: Some(interval),
            ..UserEdit::default()
        };
        stage
            .db
            .commands()
            .update_user(stage.caller, edit, None)
            .await
            .unwrap();
    };
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    stage.send(0).await;
    set(Some(60)).await;
    assert_eq!(stage.check(59).await.reminders, 0);
    assert_eq!(stage.check(60).await.reminders, 1);
    stage.send(60).await;
    set(None).await;
    assert_eq!(stage.check(100_000).await.reminders, 0);
    set(Some(10)).await;
    assert_eq!(stage.check(100_001).await.reminders, 1);
}

async fn a_reminder_is_held_back_while_the_price_is_inside(db: Db) {
    let stage = Stage::set(db).await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    stage.send(0).await;
    let due = INTERVAL.as_secs();
    stage.latest("199.99", due - 1).await;
    assert_eq!(
        stage.check(due).await,
        Checked {
            episodes: 1,
            ..Checked::default()
        }
    );
    assert_eq!(stage.check(due + 4).await, Checked::default());
    // Beyond the other threshold: the alert that says so is on its way.
    stage.latest("50", due + 4).await;
    assert_eq!(
        stage.check(due + 5).await,
        Checked {
            episodes: 1,
            ..Checked::default()
        }
    );
    stage.latest("200", due + 9).await;
    assert_eq!(stage.check(due + 10).await.reminders, 1);
    assert_eq!(stage.send(due + 10).await.items[0].facts.price, price("200"));
}

async fn an_edited_paused_or_deleted_rule_is_not_reminded_of(db: Db) {
    let stage = Stage::set(db).await;
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
    for (number, edit) in edits.into_iter().enumerate() {
        let rule = stage.db.rule(stage.caller, &format!("T{number}")).await;
        let of_rule = LedgerChange::Alert(alert(
            rule.id,
            stage.caller.0,
            position(1, 1, 1),
            Side::Above,
            stage.start,
        ));
        stage.fold(&[of_rule], 0).await;
        stage.send(0).await;
        // Once before the reminder is planned, once after.
        if number == 0 {
            assert_eq!(stage.check(INTERVAL.as_secs()).await.reminders, 1);
        }
        stage
            .db
            .commands()
            .update_rule(stage.caller, rule.id, edit, None)
            .await
            .unwrap();
        assert!(stage.claim(INTERVAL.as_secs()).await.is_empty());
        assert_eq!(
            stage.check(INTERVAL.as_secs() * 3).await,
            Checked {
                episodes: 1,
                closed: 1,
                ..Checked::default()
            }
        );
    }
    let deleted = stage.db.rule(stage.caller, "GONE").await;
    let of_rule = LedgerChange::Alert(alert(
        deleted.id,
        stage.caller.0,
        position(1, 1, 1),
        Side::Above,
        stage.start,
    ));
    stage.fold(&[of_rule], 0).await;
    stage.send(0).await;
    stage
        .db
        .commands()
        .delete_rule(stage.caller, deleted.id, None)
        .await
        .unwrap();
    assert_eq!(stage.check(INTERVAL.as_secs()).await.closed, 1);
    assert!(
        stage
            .ledger
            .open_episodes(stage.caller.0)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        stage
            .kinds()
            .await
            .into_iter()
            .filter(|kind| *kind != Breach)
            .collect::<Vec<_>>(),
        [Reminder]
    );
}

async fn a_return_that_went_down_with_a_lost_log_is_told_all_the_same(db: Db) {
    let stage = Stage::set(db).await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    stage.send(0).await;
    stage.db.outbox().republish_all(true).await.unwrap();
    // A price from before the log began anew says nothing.
    let due = INTERVAL.as_secs();
    stage
        .db
        .execute(&format!(
            "update log_state set started_at = {}",
            stage.at(100).as_micros()
        ))
        .await;
    stage.latest("150", 50).await;
    assert_eq!(
        stage.check(due).await,
        Checked {
            episodes: 1,
            ..Checked::default()
        }
    );
    stage.latest("151", due).await;
    assert_eq!(
        stage.check(due + 5).await,
        Checked {
            episodes: 1,
            repaired: 1,
            ..Checked::default()
        }
    );
    let back = stage.send(due + 6).await;
    assert_eq!(
        (
            back.items[0].facts.kind,
            back.items[0].facts.side,
            back.items[0].facts.price
        ),
        (BackInRange, Side::In, price("151"))
    );
    assert_eq!(stage.check(due * 100).await, Checked::default());
    // The new log has its own say from here on.
    let anew = alert(
        stage.rule.id,
        stage.caller.0,
        position(1, 2, 0),
        Side::Above,
        stage.start,
    );
    stage.fold(&[LedgerChange::Alert(anew)], due + 7).await;
    assert_eq!(stage.kinds().await, [Breach, BackInRange, Breach]);
}

async fn who_cant_be_reached_is_not_reminded(db: Db) {
    let stage = Stage::set(db).await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    stage.send(0).await;
    assert_eq!(stage.check(INTERVAL.as_secs()).await.reminders, 1);
    stage.end(undeliverable(), INTERVAL.as_secs()).await;
    assert_eq!(stage.check(INTERVAL.as_secs() * 2).await.reminders, 0);
    assert_eq!(stage.check(INTERVAL.as_secs() * 3).await.reminders, 0);
    // But what was begun is ended.
    stage
        .fold(&[stage.change(2, Side::In)], INTERVAL.as_secs() * 4)
        .await;
    assert_eq!(
        stage.send(INTERVAL.as_secs() * 4).await.items[0].facts.kind,
        BackInRange
    );
}

async fn a_chat_moves_unless_the_new_one_is_taken(db: Db) {
    let stage = Stage::set(db).await;
    let other = stage.db.user("bob@example.org").await;
    for (caller, chat) in [(stage.caller, 1), (other, 2)] {
        let link = stage.db.commands().create_link(caller).await.unwrap();
        stage
            .db
            .commands()
            .link_chat(&link.token, ChatId::new(chat), None)
            .await
            .unwrap();
    }
    assert!(
        !stage
            .ledger
            .move_chat(ChatId::new(1), ChatId::new(2))
            .await
            .unwrap()
    );
    assert!(
        stage
            .ledger
            .move_chat(ChatId::new(1), ChatId::new(-1003))
            .await
            .unwrap()
    );
    assert_eq!(
        stage
            .db
            .queries()
            .caller_of_chat(ChatId::new(-1003))
            .await
            .unwrap(),
        Some(stage.caller)
    );
    assert_eq!(
        stage.db.queries().caller_of_chat(ChatId::new(2)).await.unwrap(),
        Some(other)
    );
}
