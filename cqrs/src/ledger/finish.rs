//! How sends ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::reasons::SUSPENDED;
use super::rows::{Reader, side_text};
use super::{ClaimedMessage, DeliveryKind, Outcome, check_interval};
use crate::dialect::{self, Dialect};
use crate::domain::{DeliveryId, ReminderInterval, RuleId, Side, Timestamp, UserId};
use crate::transaction::Tx;
use crate::{Store, StoreError};

/// What the column `reason` holds, in characters.
const MAX_REASON: usize = 200;

/// A delivery of the message.
struct Member {
    rule_id: RuleId,
    episode_id: DeliveryId,
    kind: DeliveryKind,
    side: Side,
    ambiguous_sends: u32,
}

impl Member {
    fn of(row: &AnyRow) -> Result<Self, StoreError> {
        let read = Reader("deliveries");
        Ok(Self {
            rule_id: read.parsed(row, "rule_id")?,
            episode_id: read.parsed(row, "episode_id")?,
            kind: read.kind(row)?,
            side: read.side(row)?,
            ambiguous_sends: read.count(row, "ambiguous_sends")?,
        })
    }
}

pub(super) async fn finish(
    store: &Store,
    message: &ClaimedMessage,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let work = Arc::new((message.clone(), outcome.clone()));
    store
        .transaction(move |tx| {
            let work = Arc::clone(&work);
            Box::pin(async move { finish_in(tx, &work.0, &work.1, now).await })
        })
        .await
}

async fn finish_in(
    tx: &mut Tx,
    message: &ClaimedMessage,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let dialect = tx.dialect;
    let connection = tx.connection();
    let reminder = lock_user(connection, dialect, message.user_id).await?;
    let members = members(connection, dialect, message).await?;
    if members.is_empty() {
        return Ok(false);
    }
    match outcome {
        Outcome::Sent { message_id } => {
            end(connection, message, "sent", None, Some(now), *message_id, now).await?;
            let next_check = now.plus(check_interval(reminder));
            told(connection, members.iter(), *message_id, Some(now), next_check).await?;
        }
        Outcome::Retry {
            at,
            reason,
            ambiguous,
        } => {
            again(connection, message, *at, reason, *ambiguous, now).await?;
        }
        Outcome::HoldChat { until, reason } => {
            again(connection, message, *until, reason, false, now).await?;
        }
        Outcome::Undeliverable { reason } => {
            undeliverable(connection, message, &members, reason, reminder, now).await?;
        }
        Outcome::ChatSuspended { reason } => {
            undeliverable(connection, message, &members, reason, reminder, now).await?;
            suspend(connection, message.user_id, now).await?;
        }
    }
    Ok(true)
}

/// The user's reminder interval, with their row locked: what is sent to them is written down by one at a time.
async fn lock_user(
    connection: &mut AnyConnection,
    dialect: Dialect,
    user: UserId,
) -> Result<Option<ReminderInterval>, StoreError> {
    let select = format!(
        "select reminder_interval_secs from users where id = ?{}",
        dialect.for_update()
    );
    let row = dialect::query(select)
        .bind(user.to_string())
        .fetch_optional(connection)
        .await?;
    let seconds: Option<i64> = match row {
        Some(row) => row.try_get("reminder_interval_secs")?,
        None => None,
    };
    Ok(seconds.and_then(|seconds| ReminderInterval::from_secs(seconds).ok()))
}

/// The deliveries that the claim holds, in the order in which they were planned. None: it was taken over, or is finished.
async fn members(
    connection: &mut AnyConnection,
    dialect: Dialect,
    message: &ClaimedMessage,
) -> Result<Vec<Member>, StoreError> {
    let select = format!(
        "select rule_id, episode_id, kind, side, ambiguous_sends from deliveries \
         where message_key = ? and status = 'sending' and claimed_by = ? and claimed_at = ? order by planned_at, id{}",
        dialect.for_update()
    );
    let rows = dialect::query(select)
        .bind(message.key.to_string())
        .bind(message.claimed_by.clone())
        .bind(message.claimed_at.as_micros())
        .fetch_all(connection)
        .await?;
    rows.iter().map(Member::of).collect()
}

/// Ends the message's deliveries.
async fn end(
    connection: &mut AnyConnection,
    message: &ClaimedMessage,
    status: &'static str,
    reason: Option<&str>,
    sent_at: Option<Timestamp>,
    message_id: Option<i64>,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "update deliveries set status = ?, due_at = ?, sent_at = ?, message_id = ?, reason = ?, claimed_by = null, \
         claimed_at = null where message_key = ? and status = 'sending'",
    )
    .bind(status)
    .bind(now.as_micros())
    .bind(sent_at.map(Timestamp::as_micros))
    .bind(message_id)
    .bind(reason.map(cut))
    .bind(message.key.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

/// Plans the message's deliveries again, and lets all else that the user is to get wait for them.
async fn again(
    connection: &mut AnyConnection,
    message: &ClaimedMessage,
    at: Timestamp,
    reason: &str,
    ambiguous: bool,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "update deliveries set status = 'planned', due_at = ?, reason = ?, ambiguous_sends = ambiguous_sends + ?, \
         tried_since = coalesce(tried_since, ?), claimed_by = null, claimed_at = null where message_key = ? and status = 'sending'",
    )
    .bind(at.as_micros())
    .bind(cut(reason))
    .bind(i64::from(ambiguous))
    .bind(now.as_micros())
    .bind(message.key.to_string())
    .execute(&mut *connection)
    .await?;
    let user = message.user_id.to_string();
    // `planned_at > 0` names the rest of the index by user: without it SQLite looks at all that is due of everybody.
    sqlx::query(
        "update deliveries set due_at = ? where user_id = ? and status = 'planned' and planned_at > 0 and due_at < ?",
    )
    .bind(at.as_micros())
    .bind(user.clone())
    .bind(at.as_micros())
    .execute(&mut *connection)
    .await?;
    sqlx::query("update users set chat_next_at = ? where id = ? and chat_next_at < ?")
        .bind(at.as_micros())
        .bind(user)
        .bind(at.as_micros())
        .execute(connection)
        .await?;
    Ok(())
}

async fn undeliverable(
    connection: &mut AnyConnection,
    message: &ClaimedMessage,
    members: &[Member],
    reason: &str,
    reminder: Option<ReminderInterval>,
    now: Timestamp,
) -> Result<(), StoreError> {
    end(
        connection,
        message,
        "undeliverable",
        Some(reason),
        None,
        None,
        now,
    )
    .await?;
    let next_check = now.plus(check_interval(reminder));
    // Whoever can't be reached is not reminded: there would be no end to it.
    for member in members
        .iter()
        .filter(|member| member.kind != DeliveryKind::BackInRange)
    {
        count_from(connection, member, None, next_check).await?;
    }
    // But what may have reached the user after all counts as told, so that its end is told too.
    let maybe = members.iter().filter(|member| member.ambiguous_sends > 0);
    told(connection, maybe, None, None, next_check).await
}

/// Writes down what the user knows now. `at`: when they got it, if it is known that they did.
async fn told<'a>(
    connection: &mut AnyConnection,
    members: impl Iterator<Item = &'a Member>,
    message_id: Option<i64>,
    at: Option<Timestamp>,
    next_check: Timestamp,
) -> Result<(), StoreError> {
    // The last word on each rule, in an order that all keep to.
    let mut last: BTreeMap<RuleId, &Member> = BTreeMap::new();
    for member in members {
        match member.kind {
            DeliveryKind::Breach
            | DeliveryKind::Jump
            | DeliveryKind::BackInRange
            | DeliveryKind::CameAndWent
            | DeliveryKind::Reminder => {
                last.insert(member.rule_id, member);
            }
            DeliveryKind::Test
            | DeliveryKind::FeedStale
            | DeliveryKind::FeedBack
            | DeliveryKind::Restated => {}
        }
    }
    for member in last.into_values() {
        if member.kind != DeliveryKind::Reminder {
            let out = member.side.is_out();
            sqlx::query(
                "update episodes set told_side = ?, told_episode = ?, message_id = ? where rule_id = ?",
            )
            .bind(side_text(member.side))
            .bind(out.then(|| member.episode_id.to_string()))
            .bind(message_id.filter(|_| out))
            .bind(member.rule_id.to_string())
            .execute(&mut *connection)
            .await?;
        }
        count_from(connection, member, at, next_check).await?;
    }
    Ok(())
}

/// Counts the time to the next reminder from here, if the stay is still the same. `at`: none, nothing to remind of.
async fn count_from(
    connection: &mut AnyConnection,
    member: &Member,
    at: Option<Timestamp>,
    next_check: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "update episodes set last_delivered_at = ?, check_at = ? where rule_id = ? and episode_id = ?",
    )
    .bind(at.map(Timestamp::as_micros))
    .bind(next_check.as_micros())
    .bind(member.rule_id.to_string())
    .bind(member.episode_id.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends all that waits for a chat that takes no messages.
async fn suspend(connection: &mut AnyConnection, user: UserId, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("update users set chat_suspended_at = ? where id = ? and chat_suspended_at is null")
        .bind(now.as_micros())
        .bind(user.to_string())
        .execute(&mut *connection)
        .await?;
    end_planned(connection, user, now).await
}

pub(super) async fn end_planned(
    connection: &mut AnyConnection,
    user: UserId,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "update deliveries set status = 'undeliverable', reason = ?, due_at = ? where user_id = ? and status = 'planned'",
    )
    .bind(SUSPENDED)
    .bind(now.as_micros())
    .bind(user.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn release(store: &Store, message: &ClaimedMessage) -> Result<(), StoreError> {
    sqlx::query(
        "update deliveries set status = 'planned', attempts = attempts - 1, claimed_by = null, claimed_at = null \
         where message_key = ? and status = 'sending' and claimed_by = ? and claimed_at = ?",
    )
    .bind(message.key.to_string())
    .bind(message.claimed_by.clone())
    .bind(message.claimed_at.as_micros())
    .execute(&store.write)
    .await?;
    Ok(())
}

fn cut(reason: &str) -> String {
    reason.chars().take(MAX_REASON).collect()
}
