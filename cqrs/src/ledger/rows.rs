//! What rows look like, and the plain reads and writes.

use std::str::FromStr;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, QueryBuilder, Row as _};

use super::compose::priority;
use super::hold::Hold;
use super::{Backlog, DeliveryKind, DeliveryStatus, DeliveryView, OpenEpisode};
use crate::dialect::{self, Dialect};
use crate::domain::{
    AlertPosition, ChatId, DeliveryId, Price, RuleId, RuleVersion, Side, Ticker, Timestamp, UserId,
};
use crate::sizes::push_in;
use crate::{Store, StoreError};

/// Deliveries in one statement: their values stay below every database's limit.
const CHUNK: usize = 500;

/// A message that was decided on and is not in the table yet.
#[derive(Debug, Clone)]
pub(super) struct PlannedDelivery {
    pub(super) id: DeliveryId,
    pub(super) user_id: UserId,
    pub(super) rule_id: RuleId,
    pub(super) position: AlertPosition,
    pub(super) episode_id: DeliveryId,
    pub(super) kind: DeliveryKind,
    pub(super) planned_at: Timestamp,
    pub(super) ticker: Ticker,
    pub(super) side: Side,
    pub(super) price: Price,
    pub(super) threshold: Price,
    pub(super) currency: String,
    pub(super) quote_time: Timestamp,
    pub(super) quote_ingest_time: Timestamp,
    pub(super) already_outside: bool,
    pub(super) opened_at: Timestamp,
    /// Some: it waited for the end of the user's quiet hours, and goes then, with what else did.
    pub(super) after_quiet: Option<Timestamp>,
}

pub(super) async fn insert_deliveries(
    connection: &mut AnyConnection,
    deliveries: &[PlannedDelivery],
) -> Result<u64, StoreError> {
    let mut new = 0;
    for chunk in deliveries.chunks(CHUNK) {
        new += insert(connection, "insert into", chunk).await?;
    }
    Ok(new)
}

/// Inserts what has the same name each time it is planned, and gives how many were new.
pub(super) async fn insert_new_deliveries(
    connection: &mut AnyConnection,
    dialect: Dialect,
    deliveries: &[PlannedDelivery],
) -> Result<u64, StoreError> {
    let mut new = 0;
    for chunk in deliveries.chunks(CHUNK) {
        new += insert(connection, dialect.insert_ignore(), chunk).await?;
    }
    Ok(new)
}

async fn insert(
    connection: &mut AnyConnection,
    verb: &str,
    deliveries: &[PlannedDelivery],
) -> Result<u64, StoreError> {
    let mut insert = QueryBuilder::new(verb);
    insert.push(
        " deliveries (id, user_id, rule_id, rule_version, log_generation, quote_offset, episode_id, kind, \
         status, planned_at, due_at, attempts, ambiguous_sends, ticker, side, price, threshold, currency, quote_time, \
         quote_ingest_time, already_outside, opened_at, priority, held) ",
    );
    insert.push_values(deliveries, |mut row, delivery| {
        row.push_bind(delivery.id.to_string())
            .push_bind(delivery.user_id.to_string())
            .push_bind(delivery.rule_id.to_string())
            .push_bind(delivery.position.version.get())
            .push_bind(delivery.position.generation)
            .push_bind(delivery.position.offset)
            .push_bind(delivery.episode_id.to_string())
            .push_bind(kind_text(delivery.kind))
            .push_bind(status_text(DeliveryStatus::Planned))
            .push_bind(delivery.planned_at.as_micros())
            .push_bind(delivery.after_quiet.unwrap_or(delivery.planned_at).as_micros())
            .push_bind(0_i64)
            .push_bind(0_i64)
            .push_bind(delivery.ticker.as_str().to_owned())
            .push_bind(side_text(delivery.side))
            .push_bind(delivery.price.units())
            .push_bind(delivery.threshold.units())
            .push_bind(delivery.currency.clone())
            .push_bind(delivery.quote_time.as_micros())
            .push_bind(delivery.quote_ingest_time.as_micros())
            .push_bind(i64::from(delivery.already_outside))
            .push_bind(delivery.opened_at.as_micros())
            .push_bind(priority(delivery.kind))
            .push_bind(delivery.after_quiet.map(|_| Hold::Quiet.as_str()));
    });
    Ok(insert.build().execute(connection).await?.rows_affected())
}

/// Ends deliveries that are not sent.
pub(super) async fn end(
    connection: &mut AnyConnection,
    deliveries: &[DeliveryId],
    status: DeliveryStatus,
    reason: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut update = QueryBuilder::new("update deliveries set status = ");
    update.push_bind(status_text(status));
    update.push(", reason = ").push_bind(reason.to_owned());
    update.push(", due_at = ").push_bind(now.as_micros());
    update.push(", claimed_by = null, claimed_at = null where id ");
    push_in(&mut update, deliveries.iter().map(ToString::to_string));
    update.build().execute(connection).await?;
    Ok(())
}

pub(super) async fn open_episodes<'c>(
    database: impl sqlx::Executor<'c, Database = sqlx::Any>,
    user: UserId,
) -> Result<Vec<OpenEpisode>, StoreError> {
    let rows = sqlx::query(
        "select rule_id, side, rule_version, log_generation, quote_offset, opened_at from episodes \
         where user_id = ? and episode_id is not null order by opened_at, rule_id",
    )
    .bind(user.to_string())
    .fetch_all(database)
    .await?;
    let read = Reader("episodes");
    rows.iter()
        .map(|row| {
            Ok(OpenEpisode {
                rule_id: read.parsed(row, "rule_id")?,
                side: read.side(row)?,
                position: read.position(row)?,
                opened_at: read.time(row, "opened_at")?,
            })
        })
        .collect()
}

pub(super) async fn deliveries(
    store: &Store,
    user: UserId,
    limit: u32,
) -> Result<Vec<DeliveryView>, StoreError> {
    let select = format!(
        "select {DELIVERY_COLUMNS} from deliveries where user_id = ? order by planned_at desc, id desc limit ?"
    );
    let rows = dialect::query(select)
        .bind(user.to_string())
        .bind(i64::from(limit))
        .fetch_all(&store.read)
        .await?;
    rows.iter().rev().map(delivery).collect()
}

/// The columns of [`delivery`].
pub(crate) const DELIVERY_COLUMNS: &str = "id, rule_id, rule_version, log_generation, quote_offset, kind, ticker, \
     price, status, planned_at, attempts, ambiguous_sends, sent_at, message_id, reason";

/// A row of `deliveries`.
pub(crate) fn delivery(row: &AnyRow) -> Result<DeliveryView, StoreError> {
    let read = Reader("deliveries");
    Ok(DeliveryView {
        id: read.parsed(row, "id")?,
        rule_id: read.parsed(row, "rule_id")?,
        position: read.position(row)?,
        kind: read.kind(row)?,
        ticker: read.parsed(row, "ticker")?,
        price: read.price(row, "price")?,
        status: read.status(row)?,
        planned_at: read.time(row, "planned_at")?,
        attempts: read.count(row, "attempts")?,
        ambiguous_sends: read.count(row, "ambiguous_sends")?,
        sent_at: read.optional_time(row, "sent_at")?,
        message_id: row.try_get("message_id")?,
        reason: row.try_get("reason")?,
    })
}

pub(super) async fn backlog(store: &Store) -> Result<Backlog, StoreError> {
    let row =
        sqlx::query("select count(*) as waiting from deliveries where status in ('planned', 'sending')")
            .fetch_one(store.primary())
            .await?;
    let waiting: i64 = row.try_get("waiting")?;
    Ok(Backlog {
        waiting: u64::try_from(waiting).unwrap_or(0),
    })
}

pub(super) async fn move_chat(store: &Store, from: ChatId, to: ChatId) -> Result<bool, StoreError> {
    let moved = sqlx::query("update users set chat_id = ? where chat_id = ?")
        .bind(to.get())
        .bind(from.get())
        .execute(&store.write)
        .await;
    match moved {
        Ok(_) => Ok(true),
        Err(error) if error.as_database_error().is_some_and(|e| e.is_unique_violation()) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn set_bot_username(store: &Store, username: &str) -> Result<(), StoreError> {
    sqlx::query("replace into service_state (name, value) values ('bot_username', ?)")
        .bind(username.to_owned())
        .execute(&store.write)
        .await?;
    Ok(())
}

pub(super) const fn side_text(side: Side) -> &'static str {
    match side {
        Side::In => "in",
        Side::Above => "above",
        Side::Below => "below",
    }
}

pub(super) const fn kind_text(kind: DeliveryKind) -> &'static str {
    match kind {
        DeliveryKind::Breach => "breach",
        DeliveryKind::Jump => "jump",
        DeliveryKind::Reminder => "reminder",
        DeliveryKind::BackInRange => "back",
        DeliveryKind::CameAndWent => "came-and-went",
        DeliveryKind::Test => "test",
        DeliveryKind::FeedStale => "feed-stale",
        DeliveryKind::FeedBack => "feed-back",
        DeliveryKind::Restated => "restated",
    }
}

pub(super) const fn status_text(status: DeliveryStatus) -> &'static str {
    match status {
        DeliveryStatus::Planned => "planned",
        DeliveryStatus::Sending => "sending",
        DeliveryStatus::Sent => "sent",
        DeliveryStatus::Undeliverable => "undeliverable",
        DeliveryStatus::Superseded => "superseded",
    }
}

/// Reads columns of a table; what does not parse is a corrupt row of that table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader(pub(super) &'static str);

impl Reader {
    fn corrupt(self, column: &str, value: impl std::fmt::Debug) -> StoreError {
        StoreError::Corrupt {
            table: self.0,
            reason: format!("{column} is {value:?}"),
        }
    }

    /// A text column as the type it was made from.
    pub(super) fn parsed<T: FromStr>(self, row: &AnyRow, column: &str) -> Result<T, StoreError> {
        let text: String = row.try_get(column)?;
        text.parse().map_err(|_| self.corrupt(column, text))
    }

    pub(super) fn optional_id(self, row: &AnyRow, column: &str) -> Result<Option<DeliveryId>, StoreError> {
        let text: Option<String> = row.try_get(column)?;
        text.map(|text| text.parse().map_err(|_| self.corrupt(column, text)))
            .transpose()
    }

    pub(super) fn price(self, row: &AnyRow, column: &str) -> Result<Price, StoreError> {
        let units: i64 = row.try_get(column)?;
        Price::from_units(units).map_err(|_| self.corrupt(column, units))
    }

    pub(super) fn time(self, row: &AnyRow, column: &str) -> Result<Timestamp, StoreError> {
        Ok(Timestamp::from_micros(row.try_get(column)?))
    }

    pub(super) fn optional_time(self, row: &AnyRow, column: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(row.try_get::<Option<i64>, _>(column)?.map(Timestamp::from_micros))
    }

    pub(super) fn flag(self, row: &AnyRow, column: &str) -> Result<bool, StoreError> {
        Ok(row.try_get::<i64, _>(column)? != 0)
    }

    /// Whether a row of `rules` is of one that is evaluated: see `Rule::is_active`.
    pub(super) fn active(self, row: &AnyRow) -> Result<bool, StoreError> {
        let on_hold = row.try_get::<Option<i64>, _>("restated_at")?.is_some();
        Ok(!self.flag(row, "paused")? && !self.flag(row, "expired")? && !on_hold)
    }

    pub(super) fn count(self, row: &AnyRow, column: &str) -> Result<u32, StoreError> {
        let count: i64 = row.try_get(column)?;
        u32::try_from(count).map_err(|_| self.corrupt(column, count))
    }

    pub(super) fn version(self, row: &AnyRow, column: &str) -> Result<RuleVersion, StoreError> {
        let version: i64 = row.try_get(column)?;
        RuleVersion::try_from(version).map_err(|_| self.corrupt(column, version))
    }

    pub(super) fn position(self, row: &AnyRow) -> Result<AlertPosition, StoreError> {
        Ok(AlertPosition {
            version: self.version(row, "rule_version")?,
            generation: row.try_get("log_generation")?,
            offset: row.try_get("quote_offset")?,
        })
    }

    pub(super) fn side(self, row: &AnyRow) -> Result<Side, StoreError> {
        let text: String = row.try_get("side")?;
        match text.as_str() {
            "in" => Ok(Side::In),
            "above" => Ok(Side::Above),
            "below" => Ok(Side::Below),
            _ => Err(self.corrupt("side", text)),
        }
    }

    pub(super) fn kind(self, row: &AnyRow) -> Result<DeliveryKind, StoreError> {
        let text: String = row.try_get("kind")?;
        match text.as_str() {
            "breach" => Ok(DeliveryKind::Breach),
            "jump" => Ok(DeliveryKind::Jump),
            "reminder" => Ok(DeliveryKind::Reminder),
            "back" => Ok(DeliveryKind::BackInRange),
            "came-and-went" => Ok(DeliveryKind::CameAndWent),
            "test" => Ok(DeliveryKind::Test),
            "feed-stale" => Ok(DeliveryKind::FeedStale),
            "feed-back" => Ok(DeliveryKind::FeedBack),
            "restated" => Ok(DeliveryKind::Restated),
            _ => Err(self.corrupt("kind", text)),
        }
    }

    pub(super) fn status(self, row: &AnyRow) -> Result<DeliveryStatus, StoreError> {
        let text: String = row.try_get("status")?;
        match text.as_str() {
            "planned" => Ok(DeliveryStatus::Planned),
            "sending" => Ok(DeliveryStatus::Sending),
            "sent" => Ok(DeliveryStatus::Sent),
            "undeliverable" => Ok(DeliveryStatus::Undeliverable),
            "superseded" => Ok(DeliveryStatus::Superseded),
            _ => Err(self.corrupt("status", text)),
        }
    }
}
