//! Who sends what, and how it ended.

use std::sync::Arc;
use std::time::Duration;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::rows::{Reader, kind_text};
use super::{
    ClaimLimits, ClaimedMessage, DeliveryKind, Heading, MessageFacts, MessageItem, Outcome, Recipient,
    check_interval,
};
use crate::domain::{
    ChatId, DeliveryId, Note, ReminderInterval, RuleId, RuleVersion, Side, Timestamp, UserId,
};
use crate::rows;
use crate::transaction::Tx;
use crate::{Store, StoreError};

/// What the column `reason` holds, in characters.
const MAX_REASON: usize = 200;

/// A delivery that looked free a moment ago.
#[derive(Debug)]
struct Candidate {
    delivery: ClaimedMessage,
    /// When the claim that ran out was made.
    claimed_before: Option<i64>,
    /// Why there is no more reason to send it.
    superseded: Option<&'static str>,
}

pub(super) async fn claim(
    store: &Store,
    instance: &str,
    now: Timestamp,
    limits: ClaimLimits,
) -> Result<Vec<ClaimedMessage>, StoreError> {
    let ClaimLimits {
        timeout,
        messages: limit,
        ..
    } = limits;
    let mut claimed = Vec::new();
    loop {
        // Looking takes no lock; only what is then changed does, and each change asks again.
        let candidates = candidates(store, instance, now, timeout, limit).await?;
        if candidates.is_empty() {
            return Ok(claimed);
        }
        let candidates: Arc<[Candidate]> = candidates.into();
        let (ended, taken) = store
            .transaction(move |tx| {
                let candidates = Arc::clone(&candidates);
                Box::pin(async move { take_all(tx, &candidates, now).await })
            })
            .await?;
        claimed.extend(taken);
        // What was superseded made room for its users' next messages.
        if ended == 0 || claimed.len() >= usize::try_from(limit).unwrap_or(usize::MAX) {
            return Ok(claimed);
        }
    }
}

/// How many were superseded, and those that were claimed.
async fn take_all(
    tx: &mut Tx,
    candidates: &[Candidate],
    now: Timestamp,
) -> Result<(u32, Vec<ClaimedMessage>), StoreError> {
    let connection = tx.connection();
    let mut ended = 0;
    let mut taken = Vec::new();
    for candidate in candidates {
        if let Some(reason) = candidate.superseded {
            supersede(connection, candidate, reason).await?;
            ended += 1;
        } else if take(connection, candidate, now).await? {
            taken.push(candidate.delivery.clone());
        }
    }
    Ok((ended, taken))
}

const CANDIDATES: &str = "\
    select d.id, d.user_id, d.rule_id, d.rule_version, d.kind, d.side, d.ticker, d.price, d.threshold, d.currency, \
     d.quote_time, d.quote_ingest_time, d.already_outside, d.opened_at, d.planned_at, d.attempts, d.status, d.claimed_at, \
     d.episode_id, u.chat_id, u.language, u.messenger_language, u.time_zone, r.note, r.low, r.high, r.version as current_version, r.paused, r.expired, \
     e.episode_id as open_episode, e.side as open_side, coalesce(e.told_side, 'in') as told_side, \
     (select count(*) from deliveries b where b.episode_id = d.episode_id and b.kind in ('breach', 'jump') \
      and b.status = 'sent') as told \
    from deliveries d \
    join users u on u.id = d.user_id \
    left join rules r on r.id = d.rule_id \
    left join episodes e on e.rule_id = d.rule_id ";

async fn candidates(
    store: &Store,
    instance: &str,
    now: Timestamp,
    timeout: Duration,
    limit: u32,
) -> Result<Vec<Candidate>, StoreError> {
    // Two statements, as one with `or` would find no index. A claim that ran out needs no look at the user's other
    // messages: it was the first when it was claimed.
    let ran_out = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{CANDIDATES} where d.status = 'sending' and d.claimed_at <= ? order by d.claimed_at limit ?"
    )))
    .bind(now.minus(timeout).as_micros())
    .bind(i64::from(limit))
    .fetch_all(store.primary())
    .await?;
    let due = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{CANDIDATES} where d.status = 'planned' and d.due_at <= ? and not exists ( \
          select 1 from deliveries o where o.user_id = d.user_id and (o.status = 'sending' or (o.status = 'planned' \
          and (o.planned_at < d.planned_at or (o.planned_at = d.planned_at and o.id < d.id))))) \
         order by d.due_at, d.id limit ?"
    )))
    .bind(now.as_micros())
    .bind(i64::from(limit))
    .fetch_all(store.primary())
    .await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    ran_out
        .iter()
        .chain(&due)
        .take(limit)
        .map(|row| candidate(row, instance))
        .collect()
}

fn candidate(row: &AnyRow, instance: &str) -> Result<Candidate, StoreError> {
    let read = Reader("deliveries");
    let kind = read.kind(row)?;
    let note: Option<String> = row.try_get("note")?;
    let status: String = row.try_get("status")?;
    let reclaimed = status == "sending";
    let has_rule = row.try_get::<Option<i64>, _>("current_version")?.is_some();
    let facts = MessageFacts {
        kind,
        range: if has_rule {
            Some(rows::range(row, "rules")?)
        } else {
            None
        },
        told_side: rows::side(row, "episodes", "told_side")?,
        peak: None,
        crossings: 1,
        ticker: read.parsed(row, "ticker")?,
        note: note.unwrap_or_default().parse::<Note>().unwrap_or_default(),
        side: read.side(row)?,
        price: read.price(row, "price")?,
        threshold: read.price(row, "threshold")?,
        currency: row.try_get("currency")?,
        quote_time: read.time(row, "quote_time")?,
        quote_ingest_time: read.time(row, "quote_ingest_time")?,
        already_outside: read.flag(row, "already_outside")?,
        opened_at: read.time(row, "opened_at")?,
    };
    let id = read.parsed::<DeliveryId>(row, "id")?;
    Ok(Candidate {
        superseded: superseded(row, kind, facts.side)?,
        claimed_before: if reclaimed {
            row.try_get("claimed_at")?
        } else {
            None
        },
        delivery: ClaimedMessage {
            key: id,
            user_id: read.parsed::<UserId>(row, "user_id")?,
            recipient: Recipient {
                chat: row.try_get::<Option<i64>, _>("chat_id")?.map(ChatId::new),
                language: rows::language_of_user(row)?,
                time_zone: read.parsed(row, "time_zone")?,
            },
            items: vec![MessageItem {
                deliveries: vec![id],
                rule_id: read.parsed::<RuleId>(row, "rule_id")?,
                facts,
            }],
            heading: Heading::Plain,
            reply_to: None,
            send_in: Duration::ZERO,
            attempt: read.count(row, "attempts")?.saturating_add(1),
            claimed_by: instance.to_owned(),
            reclaimed,
            planned_at: read.time(row, "planned_at")?,
        },
    })
}

/// Why there is no more reason to send it, if so.
fn superseded(row: &AnyRow, kind: DeliveryKind, side: Side) -> Result<Option<&'static str>, StoreError> {
    let read = Reader("deliveries");
    let Some(current_version) = row.try_get::<Option<i64>, _>("current_version")? else {
        return Ok(Some("the rule was deleted"));
    };
    Ok(match kind {
        DeliveryKind::Breach
        | DeliveryKind::Jump
        | DeliveryKind::CameAndWent
        | DeliveryKind::Test
        | DeliveryKind::FeedStale
        | DeliveryKind::FeedBack => None,
        DeliveryKind::BackInRange => {
            // Nobody is told of the end of what they were not told of.
            (row.try_get::<i64, _>("told")? == 0).then_some("the breach was not delivered")
        }
        DeliveryKind::Reminder => {
            let version: RuleVersion = read.version(row, "rule_version")?;
            let active = !read.flag(row, "paused")? && !read.flag(row, "expired")?;
            let episode: String = row.try_get("episode_id")?;
            let open_episode: Option<String> = row.try_get("open_episode")?;
            let open_side: Option<String> = row.try_get("open_side")?;
            let still_open = open_episode.as_deref() == Some(episode.as_str())
                && open_side.as_deref() == Some(super::rows::side_text(side));
            if version.get() != current_version || !active {
                Some("the rule was changed")
            } else if still_open {
                None
            } else {
                Some("the price went on")
            }
        }
    })
}

async fn supersede(
    connection: &mut AnyConnection,
    candidate: &Candidate,
    reason: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "update deliveries set status = 'superseded', reason = ? \
         where id = ? and attempts = ? and status in ('planned', 'sending')",
    )
    .bind(reason.to_owned())
    .bind(candidate.delivery.key.to_string())
    .bind(i64::from(candidate.delivery.attempt - 1))
    .execute(connection)
    .await?;
    Ok(())
}

/// Claims the delivery, unless another instance was faster or another message of the user came before it.
async fn take(
    connection: &mut AnyConnection,
    candidate: &Candidate,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let delivery = &candidate.delivery;
    let taken = if let Some(claimed_before) = candidate.claimed_before {
        sqlx::query(
            "update deliveries set claimed_by = ?, claimed_at = ?, attempts = attempts + 1, \
             ambiguous_sends = ambiguous_sends + 1 \
             where id = ? and attempts = ? and status = 'sending' and claimed_at = ?",
        )
        .bind(delivery.claimed_by.clone())
        .bind(now.as_micros())
        .bind(delivery.key.to_string())
        .bind(i64::from(delivery.attempt - 1))
        .bind(claimed_before)
        .execute(connection)
        .await?
    } else {
        // The inner `limit` makes MySQL look at the other rows first: it can't update a table that it is reading.
        sqlx::query(
            "update deliveries set status = 'sending', claimed_by = ?, claimed_at = ?, attempts = attempts + 1 \
             where id = ? and attempts = ? and status = 'planned' and not exists (select 1 from ( \
              select o.id from deliveries o where o.user_id = ? and o.id <> ? and (o.status = 'sending' or ( \
              o.status = 'planned' and (o.planned_at < ? or (o.planned_at = ? and o.id < ?)))) limit 1) first)",
        )
        .bind(delivery.claimed_by.clone())
        .bind(now.as_micros())
        .bind(delivery.key.to_string())
        .bind(i64::from(delivery.attempt - 1))
        .bind(delivery.user_id.to_string())
        .bind(delivery.key.to_string())
        .bind(delivery.planned_at.as_micros())
        .bind(delivery.planned_at.as_micros())
        .bind(delivery.key.to_string())
        .execute(connection)
        .await?
    };
    Ok(taken.rows_affected() == 1)
}

pub(super) async fn finish(
    store: &Store,
    delivery: &ClaimedMessage,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let work = Arc::new((delivery.clone(), outcome.clone()));
    store
        .transaction(move |tx| {
            let work = Arc::clone(&work);
            Box::pin(async move { finish_in(tx.connection(), &work.0, &work.1, now).await })
        })
        .await
}

async fn finish_in(
    connection: &mut AnyConnection,
    delivery: &ClaimedMessage,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let (status, due_at, sent_at, message_id, reason, ambiguous) = match outcome {
        Outcome::Sent { message_id } => ("sent", now, Some(now), *message_id, None, false),
        Outcome::Retry {
            at,
            reason,
            ambiguous,
        } => ("planned", *at, None, None, Some(reason), *ambiguous),
        Outcome::HoldChat { until, reason } => ("planned", *until, None, None, Some(reason), false),
        Outcome::Undeliverable { reason } | Outcome::ChatSuspended { reason } => {
            ("undeliverable", now, None, None, Some(reason), false)
        }
    };
    let finished = sqlx::query(
        "update deliveries set status = ?, due_at = ?, sent_at = ?, message_id = ?, reason = ?, \
         ambiguous_sends = ambiguous_sends + ?, claimed_by = null, claimed_at = null \
         where id = ? and status = 'sending' and claimed_by = ? and attempts = ?",
    )
    .bind(status)
    .bind(due_at.as_micros())
    .bind(sent_at.map(Timestamp::as_micros))
    .bind(message_id)
    .bind(reason.map(|reason| reason.chars().take(MAX_REASON).collect::<String>()))
    .bind(i64::from(ambiguous))
    .bind(delivery.key.to_string())
    .bind(delivery.claimed_by.clone())
    .bind(i64::from(delivery.attempt))
    .execute(&mut *connection)
    .await?;
    if finished.rows_affected() == 0 {
        return Ok(false);
    }
    match outcome {
        Outcome::Sent { .. } => delivered(connection, delivery, Some(now), now).await?,
        // Whoever can't be reached is not reminded: there would be no end to it.
        Outcome::Undeliverable { .. } | Outcome::ChatSuspended { .. } => {
            delivered(connection, delivery, None, now).await?
        }
        Outcome::Retry { .. } | Outcome::HoldChat { .. } => {}
    }
    Ok(true)
}

/// Counts the time to the episode's next reminder from here, if it is still the same.
async fn delivered(
    connection: &mut AnyConnection,
    delivery: &ClaimedMessage,
    at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let interval: Option<i64> = sqlx::query("select reminder_interval_secs from users where id = ?")
        .bind(delivery.user_id.to_string())
        .fetch_optional(&mut *connection)
        .await?
        .and_then(|row| row.try_get("reminder_interval_secs").transpose())
        .transpose()?;
    let reminder = interval.and_then(|seconds| ReminderInterval::from_secs(seconds).ok());
    sqlx::query(
        "update episodes set last_delivered_at = ?, check_at = ? where rule_id = ? and episode_id = \
         (select d.episode_id from deliveries d where d.id = ? and d.kind <> ?)",
    )
    .bind(at.map(Timestamp::as_micros))
    .bind(now.plus(check_interval(reminder)).as_micros())
    .bind(delivery.items[0].rule_id.to_string())
    .bind(delivery.key.to_string())
    .bind(kind_text(DeliveryKind::BackInRange))
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn next_due(store: &Store) -> Result<Option<Timestamp>, StoreError> {
    let row = sqlx::query("select min(due_at) as next from deliveries where status = 'planned'")
        .fetch_one(store.primary())
        .await?;
    Reader("deliveries").optional_time(&row, "next")
}

pub(super) async fn release(store: &Store, message: &ClaimedMessage) -> Result<(), StoreError> {
    sqlx::query(
        "update deliveries set status = 'planned', attempts = attempts - 1, claimed_by = null, claimed_at = null \
         where id = ? and status = 'sending' and claimed_by = ? and attempts = ?",
    )
    .bind(message.key.to_string())
    .bind(message.claimed_by.clone())
    .bind(i64::from(message.attempt))
    .execute(&store.write)
    .await?;
    Ok(())
}
