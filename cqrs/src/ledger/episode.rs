//! A rule's newest known state, and what a newer one calls for.

use std::collections::HashMap;

use sqlx::{AnyConnection, QueryBuilder, Row as _};

use super::compose::Told;
use super::rows::{PlannedDelivery, Reader, side_text};
use super::{DeliveryKind, check_interval};
use crate::dialect::Dialect;
use crate::domain::{
    Alert, AlertPosition, DeliveryId, Price, ReminderInterval, RuleId, Side, Ticker, Timestamp, UserId,
};
use crate::sizes::push_in;
use crate::{StoreError, rows};

/// One row of `episodes`.
#[derive(Debug, Clone)]
pub(super) struct Episode {
    pub(super) rule_id: RuleId,
    pub(super) user_id: UserId,
    pub(super) ticker: Ticker,
    pub(super) position: AlertPosition,
    pub(super) side: Side,
    pub(super) price: Price,
    pub(super) threshold: Price,
    pub(super) currency: String,
    pub(super) quote_time: Timestamp,
    /// Some exactly while the side is out.
    pub(super) episode_id: Option<DeliveryId>,
    pub(super) opened_at: Timestamp,
    pub(super) last_delivered_at: Option<Timestamp>,
    pub(super) check_at: Option<Timestamp>,
    pub(super) last_planned_at: Timestamp,
    /// What the user was last told. Only read here: who sends writes it.
    pub(super) told: Told,
}

/// What a newer state calls for, given the side known before: nothing, or a message.
pub(super) const fn message_for(before: Side, now: Side) -> Option<DeliveryKind> {
    match (before, now) {
        (Side::In, Side::In) | (Side::Above, Side::Above) | (Side::Below, Side::Below) => None,
        (Side::In, Side::Above | Side::Below) => Some(DeliveryKind::Breach),
        (Side::Above, Side::Below) | (Side::Below, Side::Above) => Some(DeliveryKind::Jump),
        (Side::Above | Side::Below, Side::In) => Some(DeliveryKind::BackInRange),
    }
}

impl Episode {
    /// The state of a rule that never alerted, as the alert before the first.
    pub(super) fn before(alert: &Alert) -> Self {
        Self {
            rule_id: alert.rule_id,
            user_id: alert.user_id,
            ticker: alert.ticker.clone(),
            position: alert.position,
            side: Side::In,
            price: alert.price,
            threshold: alert.threshold,
            currency: alert.currency.clone(),
            quote_time: alert.quote_time,
            episode_id: None,
            opened_at: alert.quote_time,
            last_delivered_at: None,
            check_at: None,
            last_planned_at: Timestamp::EPOCH,
            told: Told::INSIDE,
        }
    }

    /// Takes on a newer state; gives the message that it calls for. The caller has compared the positions.
    pub(super) fn advance(
        &mut self,
        alert: &Alert,
        reminder: Option<ReminderInterval>,
        now: Timestamp,
    ) -> Option<PlannedDelivery> {
        if alert.position.version > self.position.version {
            // The user edited the rule, which starts it inside: what was open before ends without a word.
            self.close();
        }
        let kind = message_for(self.side, alert.side);
        self.position = alert.position;
        self.side = alert.side;
        self.price = alert.price;
        self.threshold = alert.threshold;
        self.currency.clone_from(&alert.currency);
        self.quote_time = alert.quote_time;
        let kind = kind?;

        let episode_id = *self.episode_id.get_or_insert_with(|| {
            self.opened_at = alert.quote_time;
            self.last_delivered_at = None;
            DeliveryId::generate()
        });
        if kind == DeliveryKind::BackInRange {
            self.close();
        } else {
            self.check_at = Some(now.plus(check_interval(reminder)));
        }
        Some(PlannedDelivery {
            id: DeliveryId::generate(),
            user_id: self.user_id,
            rule_id: self.rule_id,
            position: self.position,
            episode_id,
            kind,
            planned_at: self.next_planned_at(now),
            after_quiet: None,
            ticker: self.ticker.clone(),
            side: alert.side,
            price: alert.price,
            threshold: alert.threshold,
            currency: alert.currency.clone(),
            quote_time: alert.quote_time,
            quote_ingest_time: alert.quote_ingest_time,
            already_outside: alert.already_outside,
            opened_at: self.opened_at,
        })
    }

    /// Ends the episode, if one is open.
    pub(super) fn close(&mut self) {
        self.side = Side::In;
        self.episode_id = None;
        self.last_delivered_at = None;
        self.check_at = None;
    }

    /// The time to plan the rule's next message at: now, but after the last one, whatever the clocks of the instances.
    pub(super) fn next_planned_at(&mut self, now: Timestamp) -> Timestamp {
        self.last_planned_at = now.max(Timestamp::from_micros(self.last_planned_at.as_micros() + 1));
        self.last_planned_at
    }
}

/// Loads the rows of these rules and keeps them from changing until the transaction ends.
pub(super) async fn lock(
    connection: &mut AnyConnection,
    dialect: Dialect,
    rules: impl IntoIterator<Item = RuleId>,
) -> Result<HashMap<RuleId, Episode>, StoreError> {
    let mut select = QueryBuilder::new(
        "select rule_id, user_id, ticker, rule_version, log_generation, quote_offset, side, price, threshold, currency, \
         quote_time, episode_id, opened_at, last_delivered_at, check_at, last_planned_at, told_side, told_episode from episodes where rule_id ",
    );
    push_in(&mut select, rules.into_iter().map(|rule| rule.to_string()));
    select.push(dialect.for_update());
    let read = Reader("episodes");
    let mut episodes = HashMap::new();
    for row in select.build().fetch_all(connection).await? {
        let rule_id = read.parsed(&row, "rule_id")?;
        let episode = Episode {
            rule_id,
            user_id: read.parsed(&row, "user_id")?,
            ticker: read.parsed(&row, "ticker")?,
            position: read.position(&row)?,
            side: read.side(&row)?,
            price: read.price(&row, "price")?,
            threshold: read.price(&row, "threshold")?,
            currency: row.try_get("currency")?,
            quote_time: read.time(&row, "quote_time")?,
            episode_id: read.optional_id(&row, "episode_id")?,
            opened_at: read.time(&row, "opened_at")?,
            last_delivered_at: read.optional_time(&row, "last_delivered_at")?,
            check_at: read.optional_time(&row, "check_at")?,
            last_planned_at: read.time(&row, "last_planned_at")?,
            told: Told {
                side: rows::side(&row, "episodes", "told_side")?,
                episode: read.optional_id(&row, "told_episode")?,
            },
        };
        episodes.insert(rule_id, episode);
    }
    Ok(episodes)
}

/// Writes rows that `lock` loaded, or new ones of rules whose rows are locked.
pub(super) async fn save(
    connection: &mut AnyConnection,
    dialect: Dialect,
    episodes: impl IntoIterator<Item = &Episode>,
) -> Result<(), StoreError> {
    let mut episodes = episodes.into_iter().peekable();
    if episodes.peek().is_none() {
        return Ok(());
    }
    let mut insert = QueryBuilder::new(
        "insert into episodes (rule_id, user_id, ticker, rule_version, log_generation, quote_offset, side, price, \
         threshold, currency, quote_time, episode_id, opened_at, last_delivered_at, check_at, last_planned_at) ",
    );
    insert.push_values(episodes, |mut row, episode| {
        row.push_bind(episode.rule_id.to_string())
            .push_bind(episode.user_id.to_string())
            .push_bind(episode.ticker.as_str().to_owned())
            .push_bind(episode.position.version.get())
            .push_bind(episode.position.generation)
            .push_bind(episode.position.offset)
            .push_bind(side_text(episode.side))
            .push_bind(episode.price.units())
            .push_bind(episode.threshold.units())
            .push_bind(episode.currency.clone())
            .push_bind(episode.quote_time.as_micros())
            .push_bind(episode.episode_id.map(|id| id.to_string()))
            .push_bind(episode.opened_at.as_micros())
            .push_bind(episode.last_delivered_at.map(Timestamp::as_micros))
            .push_bind(episode.check_at.map(Timestamp::as_micros))
            .push_bind(episode.last_planned_at.as_micros());
    });
    insert.push(dialect.upsert(
        "rule_id",
        &[
            "rule_version",
            "log_generation",
            "quote_offset",
            "side",
            "price",
            "threshold",
            "currency",
            "quote_time",
            "episode_id",
            "opened_at",
            "last_delivered_at",
            "check_at",
            "last_planned_at",
        ],
    ));
    insert.build().execute(connection).await?;
    Ok(())
}
