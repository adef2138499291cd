//! The ledger, from alerts to messages.

mod claiming;
mod corners;
mod digests;
mod feeding;
mod folding;
mod holding;
mod life;
mod pacing;
mod reminding;
mod restating;
mod suspending;

use std::time::Duration;

use cqrs::domain::{Alert, AlertPosition, ChatId, Rule, RuleId, RuleVersion, Side, Timestamp, UserId};
use cqrs::{
    Caller, Checked, ClaimLimits, ClaimedMessage, DeliveryKind, DeliveryStatus, DeliveryView, Flapping,
    Ledger, LedgerChange, Outcome, Pace,
};

use crate::support::{Db, price, quote};

/// Never holds a rule back for telling much.
const NEVER: Flapping = Flapping {
    messages: 0,
    window: Duration::from_secs(600),
};

/// No pace, and nothing flaps: how those are kept has tests of its own.
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
        flapping: NEVER,
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

    /// When what waits for the user may be sent.
    async fn next_due(&self) -> Timestamp {
        let user = self.caller.0;
        let due =
            format!("select min(due_at) from deliveries where status = 'planned' and user_id = '{user}'");
        let chat = format!("select chat_next_at from users where id = '{user}'");
        let (due, chat) = (self.db.number(&due).await, self.db.number(&chat).await);
        Timestamp::from_micros(due.max(chat))
    }

    /// Links a chat to the user.
    async fn link(&self, chat: i64) {
        let commands = self.db.commands();
        let link = commands.create_link(self.caller).await.unwrap();
        commands
            .link_chat(&link.token, ChatId::new(chat), None)
            .await
            .unwrap();
    }

    /// Another rule of the user, and an alert of it.
    async fn other_rule(&self, ticker: &str) -> Rule {
        self.db.rule(self.caller, ticker).await
    }

    fn change_of(&self, rule: &Rule, offset: i64, side: Side) -> LedgerChange {
        let alert = alert(rule.id, rule.user_id, position(1, 1, offset), side, self.start);
        LedgerChange::Alert(Alert {
            ticker: rule.ticker.clone(),
            ..alert
        })
    }

    async fn told_to(&self, caller: Caller) -> Vec<(DeliveryKind, DeliveryStatus)> {
        let deliveries = self.ledger.deliveries(caller.0, 1_000).await.unwrap();
        deliveries
            .into_iter()
            .map(|delivery| (delivery.kind, delivery.status))
            .collect()
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

/// What a message says: of each item the kind and how much it folds.
fn said(message: &ClaimedMessage) -> Vec<(DeliveryKind, u32)> {
    message
        .items
        .iter()
        .map(|item| (item.facts.kind, item.facts.crossings))
        .collect()
}
