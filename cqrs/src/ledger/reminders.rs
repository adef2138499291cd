//! Open episodes whose time has come: reminders, and repair of what a lost log will never tell.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use sqlx::{AnyConnection, QueryBuilder, Row as _};

use super::episode::{self, Episode};
use super::fold::end_snoozes;
use super::hold::{AFTER_QUIET, quiet_ended, quiet_until};
use super::rows::{PlannedDelivery, Reader, insert_deliveries};
use super::settings::{self, Settings};
use super::{Checked, DeliveryKind, check_interval, feeds};
use crate::dialect::Dialect;
use crate::domain::{
    DeliveryId, Price, Range, ReminderInterval, RuleId, RuleVersion, Side, Snooze, Ticker, Timestamp, UserId,
};
use crate::sizes::push_in;
use crate::transaction::Tx;
use crate::{Store, StoreError, rows};

/// How long to hold a reminder back when the latest price no longer bears it out: the alert that says so is on its way.
const HOLD_BACK: Duration = Duration::from_secs(5);

/// How often to look whether the prices of a ticker come again.
const STALE_LOOK: Duration = Duration::from_secs(30);
/// Reminders that are planned so soon after the user's quiet hours waited for their end, and go with what else did.
const JUST_AFTER_QUIET: Duration = Duration::from_secs(60);

/// What the database knows of an episode's rule now.
#[derive(Debug, Clone, Copy)]
struct CurrentRule {
    version: RuleVersion,
    range: Range,
    active: bool,
    snooze: Option<Snooze>,
}

/// The latest quote of a ticker.
#[derive(Debug, Clone)]
struct Latest {
    price: Price,
    currency: String,
    event_time: Timestamp,
    ingest_time: Timestamp,
}

/// Which log the alerts come from now.
#[derive(Debug, Clone, Copy)]
struct Log {
    generation: i64,
    started_at: Timestamp,
}

/// What to do about an episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    /// The rule is not what it was: end the episode without a word.
    Close,
    /// The price went back while the log was lost: end it and say so.
    Repair,
    /// Plan a reminder.
    Remind,
    /// Look again then.
    Wait(Timestamp),
}

/// All that a decision rests on.
#[derive(Debug, Clone, Copy)]
struct Facts<'a> {
    rule: Option<CurrentRule>,
    latest: Option<&'a Latest>,
    log: Log,
    reminder: Option<ReminderInterval>,
    /// A message of the episode waits to be sent.
    under_way: bool,
    /// Reminders wait until then.
    held_until: Option<Timestamp>,
}

fn decide(episode: &Episode, facts: Facts<'_>, now: Timestamp) -> Decision {
    let Some(rule) = facts
        .rule
        .filter(|rule| rule.active && rule.version == episode.position.version)
    else {
        return Decision::Close;
    };
    // A latest quote that is older than the episode's own is the recorder lagging behind.
    if let Some(latest) = facts
        .latest
        .filter(|latest| latest.event_time >= episode.quote_time)
    {
        let side = rule.range.side_of(latest.price);
        let log_was_lost = episode.position.generation < facts.log.generation;
        if side == Side::In && log_was_lost && latest.ingest_time > facts.log.started_at {
            return Decision::Repair;
        }
        if side != episode.side {
            return Decision::Wait(now.plus(HOLD_BACK));
        }
    }
    let again = now.plus(check_interval(facts.reminder));
    // Nobody is reminded of what they were not told of.
    let told = episode
        .last_delivered_at
        .filter(|_| episode.told.episode == episode.episode_id);
    match (facts.reminder, told) {
        (Some(interval), Some(delivered)) if !facts.under_way => {
            let due = delivered.plus(interval.duration());
            match facts.held_until {
                _ if due > now => Decision::Wait(due),
                Some(until) => Decision::Wait(until),
                None => Decision::Remind,
            }
        }
        _ => Decision::Wait(again),
    }
}

/// Until when reminders of a rule wait, if they do.
fn held_until(
    user: Option<&Settings>,
    rule: Option<&CurrentRule>,
    stale: bool,
    now: Timestamp,
) -> Option<Timestamp> {
    let user = user?;
    let again = now.plus(check_interval(user.reminder));
    if user.suspended {
        return Some(again);
    }
    if let Some(end) = quiet_until(user.quiet_hours, &user.time_zone, now) {
        return Some(end);
    }
    match rule.and_then(|rule| rule.snooze) {
        Some(Snooze::Until(end)) if now < end => return Some(end),
        Some(Snooze::UntilBack) => return Some(again),
        Some(Snooze::Until(_)) | None => {}
    }
    // What is said of a frozen state is the notice that it is.
    stale.then(|| now.plus(STALE_LOOK).min(again))
}

pub(super) async fn check(store: &Store, now: Timestamp, limit: u32) -> Result<Checked, StoreError> {
    let rows =
        sqlx::query("select rule_id from episodes where check_at <= ? order by check_at, rule_id limit ?")
            .bind(now.as_micros())
            .bind(i64::from(limit))
            .fetch_all(store.primary())
            .await?;
    let read = Reader("episodes");
    let due = rows
        .iter()
        .map(|row| read.parsed(row, "rule_id"))
        .collect::<Result<Vec<RuleId>, _>>()?;
    if due.is_empty() {
        return Ok(Checked::default());
    }
    let due: Arc<[RuleId]> = due.into();
    store
        .transaction(move |tx| {
            let due = Arc::clone(&due);
            Box::pin(async move { check_in(tx, &due, now).await })
        })
        .await
}

async fn check_in(tx: &mut Tx, due: &[RuleId], now: Timestamp) -> Result<Checked, StoreError> {
    let dialect = tx.dialect;
    let connection = tx.connection();
    let rules = lock_rules(connection, dialect, due).await?;
    let mut episodes: Vec<Episode> = episode::lock(connection, dialect, due.iter().copied())
        .await?
        .into_values()
        .collect();
    // Another instance may have looked at them in the meantime.
    episodes.retain(|episode| episode.check_at.is_some_and(|at| at <= now));
    let latest = latest_quotes(connection, &episodes).await?;
    let users = settings::of_users(connection, episodes.iter().map(|episode| episode.user_id)).await?;
    let stale = feeds::stale(connection, episodes.iter().map(|episode| &episode.ticker)).await?;
    let under_way = under_way(connection, &episodes).await?;
    let log = current_log(connection).await?;

    let mut checked = Checked {
        episodes: episodes.len() as u64,
        ..Checked::default()
    };
    let mut planned = Vec::new();
    for episode in &mut episodes {
        let Some(episode_id) = episode.episode_id else {
            episode.close();
            continue;
        };
        let latest = latest.get(&episode.ticker);
        let user = users.get(&episode.user_id);
        let reminder = user.and_then(|user| user.reminder);
        let rule = rules.get(&episode.rule_id);
        let facts = Facts {
            held_until: held_until(user, rule, stale.contains(&episode.ticker), now),
            rule: rule.copied(),
            latest,
            log,
            reminder,
            under_way: under_way.contains(&episode_id),
        };
        match decide(episode, facts, now) {
            Decision::Close => {
                episode.close();
                checked.closed += 1;
            }
            Decision::Repair => {
                planned.push(message(
                    episode,
                    episode_id,
                    DeliveryKind::BackInRange,
                    latest,
                    now,
                ));
                episode.close();
                checked.repaired += 1;
            }
            Decision::Remind => {
                let mut reminder_message = message(episode, episode_id, DeliveryKind::Reminder, latest, now);
                reminder_message.after_quiet = user.and_then(|user| after_quiet(user, now));
                planned.push(reminder_message);
                episode.check_at = Some(now.plus(check_interval(reminder)));
                checked.reminders += 1;
            }
            Decision::Wait(at) => episode.check_at = Some(at),
        }
    }
    episode::save(connection, dialect, &episodes).await?;
    insert_deliveries(connection, &planned).await?;
    end_snoozes(connection, &planned).await?;
    Ok(checked)
}

/// When a reminder goes that waited for the end of the user's quiet hours. None: it did not.
fn after_quiet(user: &Settings, now: Timestamp) -> Option<Timestamp> {
    quiet_ended(user.quiet_hours, &user.time_zone, now, JUST_AFTER_QUIET)
        .map(|end| end.plus(AFTER_QUIET).max(now))
}

/// A message with the latest price; with the alert's own if there is none, or only an older one.
fn message(
    episode: &mut Episode,
    episode_id: DeliveryId,
    kind: DeliveryKind,
    latest: Option<&Latest>,
    now: Timestamp,
) -> PlannedDelivery {
    let own = Latest {
        price: episode.price,
        currency: episode.currency.clone(),
        event_time: episode.quote_time,
        ingest_time: episode.quote_time,
    };
    let latest = latest
        .filter(|latest| latest.event_time >= episode.quote_time)
        .cloned()
        .unwrap_or(own);
    PlannedDelivery {
        id: DeliveryId::generate(),
        user_id: episode.user_id,
        rule_id: episode.rule_id,
        position: episode.position,
        episode_id,
        kind,
        planned_at: episode.next_planned_at(now),
        ticker: episode.ticker.clone(),
        side: if kind == DeliveryKind::BackInRange {
            Side::In
        } else {
            episode.side
        },
        price: latest.price,
        threshold: episode.threshold,
        currency: latest.currency,
        quote_time: latest.event_time,
        quote_ingest_time: latest.ingest_time,
        already_outside: false,
        opened_at: episode.opened_at,
        after_quiet: None,
    }
}

pub(super) async fn next_check(store: &Store) -> Result<Option<Timestamp>, StoreError> {
    let row = sqlx::query("select min(check_at) as next from episodes")
        .fetch_one(store.primary())
        .await?;
    Reader("episodes").optional_time(&row, "next")
}

/// For the command that changes a user's interval, in its transaction: counts it from the last delivered message of each
/// open episode.
pub(crate) async fn reschedule(
    connection: &mut AnyConnection,
    user: UserId,
    reminder: Option<ReminderInterval>,
) -> Result<(), StoreError> {
    let interval = i64::try_from(check_interval(reminder).as_micros()).unwrap_or(i64::MAX);
    sqlx::query(
        "update episodes set check_at = last_delivered_at + ? where user_id = ? and last_delivered_at is not null",
    )
    .bind(interval)
    .bind(user.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

async fn lock_rules(
    connection: &mut AnyConnection,
    dialect: Dialect,
    rules: &[RuleId],
) -> Result<HashMap<RuleId, CurrentRule>, StoreError> {
    let mut select = QueryBuilder::new(
        "select id, version, low, high, paused, expired, restated_at, snoozed_until, snoozed_until_back from rules where id ",
    );
    push_in(&mut select, rules.iter().map(ToString::to_string));
    select.push(" order by id").push(dialect.for_update());
    let read = Reader("rules");
    let mut current = HashMap::new();
    for row in select.build().fetch_all(connection).await? {
        let rule = CurrentRule {
            version: read.version(&row, "version")?,
            range: rows::range(&row, "rules")?,
            active: read.active(&row)?,
            snooze: rows::snooze(&row)?,
        };
        current.insert(read.parsed(&row, "id")?, rule);
    }
    Ok(current)
}

async fn latest_quotes(
    connection: &mut AnyConnection,
    episodes: &[Episode],
) -> Result<HashMap<Ticker, Latest>, StoreError> {
    let tickers: HashSet<&Ticker> = episodes.iter().map(|episode| &episode.ticker).collect();
    let mut select = QueryBuilder::new(
        "select ticker, price, currency, event_time, ingest_time from latest_quotes where ticker ",
    );
    push_in(&mut select, tickers.iter().map(ToString::to_string));
    let read = Reader("latest_quotes");
    let rows = select.build().fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            let latest = Latest {
                price: read.price(row, "price")?,
                currency: row.try_get("currency")?,
                event_time: read.time(row, "event_time")?,
                ingest_time: read.time(row, "ingest_time")?,
            };
            Ok((read.parsed(row, "ticker")?, latest))
        })
        .collect()
}

/// Which of the episodes have messages that are not yet sent.
async fn under_way(
    connection: &mut AnyConnection,
    episodes: &[Episode],
) -> Result<HashSet<DeliveryId>, StoreError> {
    let mut select = QueryBuilder::new(
        "select distinct episode_id from deliveries where status in ('planned', 'sending') and episode_id ",
    );
    push_in(
        &mut select,
        episodes
            .iter()
            .filter_map(|episode| episode.episode_id)
            .map(|id| id.to_string()),
    );
    let read = Reader("deliveries");
    let rows = select.build().fetch_all(connection).await?;
    rows.iter().map(|row| read.parsed(row, "episode_id")).collect()
}

async fn current_log(connection: &mut AnyConnection) -> Result<Log, StoreError> {
    let row = sqlx::query("select generation, started_at from log_state where id = 1")
        .fetch_one(connection)
        .await?;
    Ok(Log {
        generation: row.try_get("generation")?,
        started_at: Reader("log_state").time(&row, "started_at")?,
    })
}
