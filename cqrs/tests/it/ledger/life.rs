//! Whole lives of rules at random: what a user sees, and what becomes of every delivery.

use std::collections::HashMap;
use std::time::Duration;

use cqrs::DeliveryKind::{self, BackInRange, Breach, CameAndWent, Jump, Reminder};
use cqrs::domain::{DeliveryId, QuietHours, Rule, Side, Snooze, Timestamp};
use cqrs::{
    Caller, ClaimLimits, ClaimedMessage, DeliveryStatus, Flapping, LedgerChange, Outcome, Pace, RuleEdit,
    UserEdit,
};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::{Stage, alert, limits, position};
use crate::support::Db;

on_both_databases! {
    every_alert_ends_and_every_told_breach_has_its_return,
    whatever_fails_every_alert_ends_and_copies_are_counted,
}

const SEEDS: u64 = 3;
const STEPS: u32 = 120;

/// A rule, the side that its price is on, and the side that its user believes it is on.
struct Watched {
    rule: Rule,
    offset: i64,
    side: Side,
    seen: Side,
    /// Something about it could not be told, or may have been told: the user's belief may lag or lead.
    blurred: bool,
}

struct Life {
    stage: Stage,
    random: StdRng,
    users: Vec<Caller>,
    rules: Vec<Watched>,
    /// Claimed and not yet finished.
    in_hand: Vec<ClaimedMessage>,
    /// How often each delivery reached its user.
    reached: HashMap<DeliveryId, u32>,
    /// Answers get lost, instances die.
    ambiguous: bool,
    now: Timestamp,
}

impl Life {
    async fn set(db: Db, seed: u64, ambiguous: bool) -> Self {
        let stage = Stage::set(db).await;
        let (mut users, mut rules) = (Vec::new(), Vec::new());
        for number in 0..2 {
            let user = stage.db.user(&format!("user{seed}.{number}@example.org")).await;
            let chat = i64::try_from(seed * 10 + number + 1).unwrap();
            stage
                .db
                .execute(&format!(
                    "update users set chat_id = {chat} where id = '{}'",
                    user.0
                ))
                .await;
            users.push(user);
            for ticker in ["AAPL", "MSFT"] {
                let rule = stage.db.rule(user, ticker).await;
                rules.push(Watched {
                    rule,
                    offset: 0,
                    side: Side::In,
                    seen: Side::In,
                    blurred: false,
                });
            }
        }
        let (random, now) = (StdRng::seed_from_u64(seed), stage.start);
        Self {
            stage,
            random,
            users,
            rules,
            in_hand: Vec::new(),
            reached: HashMap::new(),
            ambiguous,
            now,
        }
    }

    async fn step(&mut self) {
        self.now = self
            .now
            .plus(Duration::from_secs(self.random.random_range(1..90)));
        let user = self.users[self.random.random_range(0..self.users.len())];
        match self.random.random_range(0..20) {
            0..=6 => self.alert().await,
            7 => self.edit().await,
            8 => self.snooze().await,
            9 => self.quiet(user, true).await,
            10 => self.quiet(user, false).await,
            11 | 12 => drop(self.stage.ledger.check_episodes(self.now, 100).await.unwrap()),
            13 => self.resume(user).await,
            14..=16 => self.claim().await,
            _ => self.finish_one().await,
        }
    }

    async fn alert(&mut self) {
        let index = self.random.random_range(0..self.rules.len());
        let side = [Side::In, Side::Above, Side::Below][self.random.random_range(0..3)];
        let watched = &mut self.rules[index];
        if side == watched.side {
            return;
        }
        (watched.offset, watched.side) = (watched.offset + 1, side);
        let at = position(watched.rule.version.get(), 1, watched.offset);
        let alert = alert(watched.rule.id, watched.rule.user_id, at, side, self.now);
        let changes = [LedgerChange::Alert(alert)];
        // Read twice now and then, as after a restart.
        for _ in 0..self.random.random_range(1..3) {
            self.stage.ledger.fold(&changes, self.now).await.unwrap();
        }
    }

    /// A new version of a rule starts inside, and the user knows that.
    async fn edit(&mut self) {
        let index = self.random.random_range(0..self.rules.len());
        let watched = &mut self.rules[index];
        let edit = RuleEdit {
            note: Some("n".parse().unwrap()),
            ..RuleEdit::default()
        };
        let caller = Caller(watched.rule.user_id);
        let commands = self.stage.db.commands();
        watched.rule = commands
            .update_rule(caller, watched.rule.id, edit, None)
            .await
            .unwrap();
        watched.side = Side::In;
        // A return that waits is told all the same; whatever else was believed is over.
        watched.blurred = true;
    }

    async fn snooze(&mut self) {
        let index = self.random.random_range(0..self.rules.len());
        let snooze = match self.random.random_range(0..3) {
            0 => None,
            1 => Some(Snooze::UntilBack),
            _ => Some(Snooze::Until(self.now.plus(Duration::from_secs(3_700)))),
        };
        let rule = &self.rules[index].rule;
        // Refused where the rule is in range.
        let _ = self
            .stage
            .db
            .commands()
            .snooze_rules(Caller(rule.user_id), &[rule.id], snooze)
            .await;
    }

    async fn quiet(&mut self, user: Caller, on: bool) {
        let minute = u16::try_from(self.now.as_micros() / 60_000_000 % 1_440).unwrap();
        let hours = QuietHours::from_minutes(minute, (minute + 20) % 1_440).filter(|_| on);
        let edit = UserEdit {
            quiet_hours: Some(hours),
            ..UserEdit::default()
        };
        self.stage
            .db
            .commands()
            .update_user(user, edit, None)
            .await
            .unwrap();
    }

    async fn resume(&mut self, user: Caller) {
        let Some(resumed) = self.stage.ledger.resume_chat(user.0, self.now).await.unwrap() else {
            return;
        };
        for watched in self
            .rules
            .iter_mut()
            .filter(|watched| watched.rule.user_id == user.0)
        {
            let open = resumed.open.iter().find(|open| open.rule_id == watched.rule.id);
            watched.seen = open.map_or(Side::In, |open| open.side);
            watched.blurred = false;
        }
    }

    fn limits() -> ClaimLimits {
        let pace = Pace {
            per_second: 1_000_000,
            per_chat: Duration::from_secs(1),
            per_group: Duration::from_secs(3),
        };
        ClaimLimits {
            pace,
            flapping: Flapping::default(),
            ..limits(2)
        }
    }

    async fn claim(&mut self) {
        let instance = if self.random.random() { "one" } else { "two" };
        let claimed = self
            .stage
            .ledger
            .claim(instance, self.now, Self::limits())
            .await
            .unwrap();
        for message in claimed {
            assert!(!message.items.is_empty());
            // Another message of the same user is in hand only where its claim ran out.
            self.in_hand
                .retain(|other| other.key != message.key || other.attempt == message.attempt);
            self.in_hand.push(message);
        }
    }

    async fn finish_one(&mut self) {
        if self.in_hand.is_empty() {
            return;
        }
        let index = self.random.random_range(0..self.in_hand.len());
        let message = self.in_hand.swap_remove(index);
        let at = self
            .now
            .plus(Duration::from_secs(self.random.random_range(1..200)));
        let reason = || "no luck".to_owned();
        match self.random.random_range(0..if self.ambiguous { 14 } else { 10 }) {
            0 => {
                self.end(
                    &message,
                    &Outcome::Retry {
                        at,
                        reason: reason(),
                        ambiguous: false,
                    },
                    false,
                )
                .await
            }
            1 => {
                self.end(
                    &message,
                    &Outcome::HoldChat {
                        until: at,
                        reason: reason(),
                    },
                    false,
                )
                .await
            }
            2 => {
                self.end(&message, &Outcome::Undeliverable { reason: reason() }, false)
                    .await
            }
            3 => {
                self.end(&message, &Outcome::ChatSuspended { reason: reason() }, false)
                    .await
            }
            4 => self.stage.ledger.release_claim(&message).await.unwrap(),
            // The answer was lost: before or after it arrived.
            10 | 11 => {
                let arrived = self.random.random();
                self.end(
                    &message,
                    &Outcome::Retry {
                        at,
                        reason: reason(),
                        ambiguous: true,
                    },
                    arrived,
                )
                .await;
            }
            // Killed before or after it arrived: the claim runs out.
            12 => {}
            13 => self.see(&message, true),
            _ => {
                self.end(&message, &Outcome::Sent { message_id: Some(1) }, true)
                    .await
            }
        }
    }

    /// A send, and what is written down of it. A claim that ran out meanwhile may have been taken over.
    async fn end(&mut self, message: &ClaimedMessage, outcome: &Outcome, arrives: bool) {
        let sure = matches!(outcome, Outcome::Sent { .. });
        if arrives && !sure {
            self.see(message, true);
        }
        let taken = self
            .stage
            .ledger
            .finish(message, outcome, self.now)
            .await
            .unwrap();
        if arrives && sure {
            self.see(message, !taken);
        }
        if taken
            && matches!(
                outcome,
                Outcome::Undeliverable { .. } | Outcome::ChatSuspended { .. }
            )
        {
            for watched in self
                .rules
                .iter_mut()
                .filter(|watched| watched.rule.user_id == message.user_id)
            {
                watched.blurred = true;
            }
        }
    }

    /// A message arrives. `unsure`: nobody wrote that down.
    fn see(&mut self, message: &ClaimedMessage, unsure: bool) {
        for item in &message.items {
            for delivery in &item.deliveries {
                *self.reached.entry(*delivery).or_default() += 1;
            }
            let watched = self
                .rules
                .iter_mut()
                .find(|watched| watched.rule.id == item.rule_id)
                .unwrap();
            let facts = &item.facts;
            if !watched.blurred {
                let fits = match facts.kind {
                    Breach => {
                        watched.seen == facts.told_side && (watched.seen == Side::In || facts.crossings > 1)
                    }
                    Jump => watched.seen.is_out() && watched.seen != facts.side,
                    Reminder => watched.seen == facts.side,
                    BackInRange => watched.seen.is_out(),
                    CameAndWent => watched.seen == Side::In && facts.crossings > 1,
                    DeliveryKind::Test
                    | DeliveryKind::FeedStale
                    | DeliveryKind::FeedBack
                    | DeliveryKind::Restated => false,
                };
                assert!(fits, "{facts:?} to one who knows of {:?}", watched.seen);
            }
            if facts.kind == Reminder {
                assert!(
                    watched.blurred || watched.seen.is_out(),
                    "a reminder after the return"
                );
            } else {
                watched.seen = facts.side;
                watched.blurred = unsure;
            }
        }
    }

    /// Nothing fails any more, nothing is held, and all that waits is sent.
    async fn calm_down(&mut self) {
        for user in self.users.clone() {
            self.resume(user).await;
            let edit = UserEdit {
                quiet_hours: Some(None),
                reminder_interval: Some(None),
                ..UserEdit::default()
            };
            self.stage
                .db
                .commands()
                .update_user(user, edit, None)
                .await
                .unwrap();
        }
        for watched in &self.rules {
            let caller = Caller(watched.rule.user_id);
            self.stage
                .db
                .commands()
                .snooze_rules(caller, &[watched.rule.id], None)
                .await
                .unwrap();
        }
        // Whoever had a message in hand is gone, and what they had may have arrived or not.
        self.in_hand.clear();
        for _ in 0..50 {
            self.now = self.now.plus(Duration::from_secs(700));
            for message in self
                .stage
                .ledger
                .claim("last", self.now, Self::limits())
                .await
                .unwrap()
            {
                self.end(&message, &Outcome::Sent { message_id: Some(1) }, true)
                    .await;
            }
            if self.stage.ledger.backlog().await.unwrap().waiting == 0 {
                return;
            }
        }
        panic!("something is never sent");
    }

    async fn assert_all_ended(&self) {
        for user in &self.users {
            for delivery in self.stage.ledger.deliveries(user.0, 10_000).await.unwrap() {
                let reasoned = delivery.reason.is_some();
                assert!(
                    match delivery.status {
                        DeliveryStatus::Sent => delivery.sent_at.is_some(),
                        DeliveryStatus::Undeliverable | DeliveryStatus::Superseded => reasoned,
                        DeliveryStatus::Planned | DeliveryStatus::Sending => false,
                    },
                    "{delivery:?}"
                );
                let reached = self.reached.get(&delivery.id).copied().unwrap_or(0);
                assert!(
                    reached <= 1 + delivery.ambiguous_sends,
                    "{delivery:?} arrived {reached} times"
                );
                assert!(
                    reached > 0 || delivery.status != DeliveryStatus::Sent,
                    "{delivery:?}"
                );
            }
        }
    }
}

async fn live(db: &Db, seed: u64, ambiguous: bool) {
    let mut life = Life::set(db.clone(), seed, ambiguous).await;
    for _ in 0..STEPS {
        life.step().await;
    }
    life.calm_down().await;
    life.assert_all_ended().await;
    for watched in life.rules.iter().filter(|watched| !watched.blurred) {
        assert_eq!(watched.seen, watched.side, "seed {seed}: {:?}", watched.rule);
    }
    // And from here on all is told again: one more change of each rule, whatever was missed.
    for index in 0..life.rules.len() {
        life.rules[index].blurred = true;
        for side in [Side::Above, Side::In] {
            let watched = &mut life.rules[index];
            if watched.side == side {
                continue;
            }
            (watched.offset, watched.side) = (watched.offset + 1, side);
            let at = position(watched.rule.version.get(), 1, watched.offset);
            let change =
                LedgerChange::Alert(alert(watched.rule.id, watched.rule.user_id, at, side, life.now));
            life.stage.ledger.fold(&[change], life.now).await.unwrap();
            life.calm_down().await;
            assert_eq!(life.rules[index].seen, side, "seed {seed}");
        }
    }
}

async fn every_alert_ends_and_every_told_breach_has_its_return(db: Db) {
    for seed in 0..SEEDS {
        live(&db, seed, false).await;
        forget(&db).await;
    }
}

async fn whatever_fails_every_alert_ends_and_copies_are_counted(db: Db) {
    for seed in 100..100 + SEEDS {
        live(&db, seed, true).await;
        forget(&db).await;
    }
}

/// Makes room for the next life's users and chats.
async fn forget(db: &Db) {
    for table in [
        "deliveries",
        "episodes",
        "alerts",
        "outbox",
        "rules",
        "link_tokens",
        "api_tokens",
        "users",
    ] {
        db.execute(&format!("delete from {table}")).await;
    }
}
