//! From the feeds topic into the ledger: whose prices stopped, and who is to hear of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, QueryBuilder, Row as _};

use super::episode::{self, Episode};
use super::reasons::CAME_AGAIN;
use super::rows::{PlannedDelivery, Reader, insert_deliveries};
use super::{DeliveryKind, FoldedFeeds};
use crate::dialect::{self, Dialect};
use crate::domain::{DeliveryId, FeedChange, FeedState, RuleId, Ticker, TickerFeed, Timestamp, UserId};
use crate::sizes::push_in;
use crate::transaction::Tx;
use crate::{Store, StoreError};

/// Changes in one transaction.
pub(super) const MAX_CHANGES: usize = 100;
/// Rules or users named in one statement: below every database's limit.
const CHUNK: usize = 1_000;
/// A collector that said nothing for so long is gone.
const FORGET_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) async fn fold(
    store: &Store,
    changes: &[FeedChange],
    now: Timestamp,
) -> Result<FoldedFeeds, StoreError> {
    let changes: Arc<[FeedChange]> = changes.into();
    store
        .transaction(move |tx| {
            let changes = Arc::clone(&changes);
            Box::pin(async move { fold_in(tx, &changes, now).await })
        })
        .await
}

async fn fold_in(tx: &mut Tx, changes: &[FeedChange], now: Timestamp) -> Result<FoldedFeeds, StoreError> {
    let dialect = tx.dialect;
    let connection = tx.connection();
    let mut folded = FoldedFeeds::default();
    for change in changes {
        match change {
            FeedChange::Provider(state) => provider(connection, dialect, state).await?,
            FeedChange::Ticker(feed) => {
                folded.planned += ticker(connection, dialect, feed, now).await?;
            }
            // Takes transactions of its own: see `restating`.
            FeedChange::Restated(_) => {}
        }
    }
    sqlx::query("delete from feeds where updated_at < ?")
        .bind(now.minus(FORGET_AFTER).as_micros())
        .execute(connection)
        .await?;
    Ok(folded)
}

async fn provider(
    connection: &mut AnyConnection,
    dialect: Dialect,
    state: &FeedState,
) -> Result<(), StoreError> {
    let insert = format!(
        "{} feeds (provider, instance, breaker, reason, tickers, last_success_at, updated_at) \
         values (?, ?, 'closed', null, 0, null, ?)",
        dialect.insert_ignore()
    );
    dialect::query(insert)
        .bind(state.provider.clone())
        .bind(state.instance.clone())
        .bind(i64::MIN)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "update feeds set breaker = ?, reason = ?, tickers = ?, last_success_at = ?, updated_at = ? \
         where provider = ? and instance = ? and updated_at < ?",
    )
    .bind(state.breaker.as_str())
    .bind(state.reason.clone())
    .bind(i64::try_from(state.tickers).unwrap_or(i64::MAX))
    .bind(state.last_success_at.map(Timestamp::as_micros))
    .bind(state.updated_at.as_micros())
    .bind(state.provider.clone())
    .bind(state.instance.clone())
    .bind(state.updated_at.as_micros())
    .execute(connection)
    .await?;
    Ok(())
}

/// How many notices were planned.
async fn ticker(
    connection: &mut AnyConnection,
    dialect: Dialect,
    feed: &TickerFeed,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let Some(known) = lock(connection, dialect, &feed.ticker).await? else {
        return Ok(0);
    };
    if known.updated_at >= feed.updated_at {
        return Ok(0);
    }
    // A time without prices keeps its name until prices come.
    let period = feed
        .stale_since
        .map(|_| known.period.unwrap_or_else(DeliveryId::generate));
    sqlx::query("update stale_tickers set stale_since = ?, period = ?, updated_at = ? where ticker = ?")
        .bind(feed.stale_since.map(Timestamp::as_micros))
        .bind(period.map(|period| period.to_string()))
        .bind(feed.updated_at.as_micros())
        .bind(feed.ticker.to_string())
        .execute(&mut *connection)
        .await?;
    let notices = match (known.period, period, feed.stale_since) {
        (None, Some(period), Some(since)) => began(connection, dialect, feed, period, since, now).await?,
        (Some(period), None, _) => ended(connection, dialect, feed, period, now).await?,
        _ => Vec::new(),
    };
    insert_deliveries(connection, &notices).await
}

/// What is known of a ticker, whose row is locked.
struct Known {
    period: Option<DeliveryId>,
    updated_at: Timestamp,
}

async fn lock(
    connection: &mut AnyConnection,
    dialect: Dialect,
    ticker: &Ticker,
) -> Result<Option<Known>, StoreError> {
    let insert = format!(
        "{} stale_tickers (ticker, stale_since, period, updated_at) values (?, null, null, ?)",
        dialect.insert_ignore()
    );
    dialect::query(insert)
        .bind(ticker.to_string())
        .bind(i64::MIN)
        .execute(&mut *connection)
        .await?;
    let select = format!(
        "select period, updated_at from stale_tickers where ticker = ?{}",
        dialect.for_update()
    );
    let row = dialect::query(select)
        .bind(ticker.to_string())
        .fetch_optional(connection)
        .await?;
    let read = Reader("stale_tickers");
    row.map(|row| {
        Ok(Known {
            period: read.optional_id(&row, "period")?,
            updated_at: read.time(&row, "updated_at")?,
        })
    })
    .transpose()
}

/// Notices for those who were told that a rule of the ticker is out of range: its state is frozen now.
async fn began(
    connection: &mut AnyConnection,
    dialect: Dialect,
    feed: &TickerFeed,
    period: DeliveryId,
    since: Timestamp,
    now: Timestamp,
) -> Result<Vec<PlannedDelivery>, StoreError> {
    let rows = sqlx::query(
        "select user_id, min(rule_id) as rule_id from episodes \
         where ticker = ? and episode_id is not null and told_episode = episode_id group by user_id",
    )
    .bind(feed.ticker.to_string())
    .fetch_all(&mut *connection)
    .await?;
    notices(connection, dialect, &rows, |episode| {
        notice(episode, DeliveryKind::FeedStale, period, since, now)
    })
    .await
}

/// Notices for those who got the one that prices stopped; who did not is not told of either.
async fn ended(
    connection: &mut AnyConnection,
    dialect: Dialect,
    feed: &TickerFeed,
    period: DeliveryId,
    now: Timestamp,
) -> Result<Vec<PlannedDelivery>, StoreError> {
    let select = format!(
        "select user_id, status, opened_at from deliveries where episode_id = ? and kind = 'feed-stale'{}",
        dialect.for_update()
    );
    let rows = dialect::query(select)
        .bind(period.to_string())
        .fetch_all(&mut *connection)
        .await?;
    sqlx::query(
        "update deliveries set status = 'superseded', reason = ?, due_at = ? \
         where episode_id = ? and kind = 'feed-stale' and status = 'planned'",
    )
    .bind(CAME_AGAIN)
    .bind(now.as_micros())
    .bind(period.to_string())
    .execute(&mut *connection)
    .await?;
    let read = Reader("deliveries");
    let mut told: HashMap<UserId, Timestamp> = HashMap::new();
    for row in &rows {
        let status: String = row.try_get("status")?;
        if matches!(status.as_str(), "sent" | "sending") {
            told.insert(read.parsed(row, "user_id")?, read.time(row, "opened_at")?);
        }
    }
    let users: Vec<UserId> = told.keys().copied().collect();
    let mut rules = Vec::new();
    for users in users.chunks(CHUNK) {
        // The rule that the first notice was of may be gone: any other of the ticker stands for it.
        let mut select =
            QueryBuilder::new("select user_id, min(rule_id) as rule_id from episodes where ticker = ");
        select.push_bind(feed.ticker.to_string()).push(" and user_id ");
        push_in(&mut select, users.iter().map(ToString::to_string));
        select.push(" group by user_id");
        rules.extend(select.build().fetch_all(&mut *connection).await?);
    }
    notices(connection, dialect, &rules, |episode| {
        let since = told.get(&episode.user_id).copied().unwrap_or(feed.updated_at);
        let mut notice = notice(episode, DeliveryKind::FeedBack, period, since, now);
        notice.quote_time = feed.updated_at;
        notice
    })
    .await
}

/// One for each rule in `rows`, with their rows locked.
async fn notices(
    connection: &mut AnyConnection,
    dialect: Dialect,
    rows: &[AnyRow],
    notice: impl Fn(&Episode) -> PlannedDelivery,
) -> Result<Vec<PlannedDelivery>, StoreError> {
    let read = Reader("episodes");
    let mut notices = Vec::with_capacity(rows.len());
    for rows in rows.chunks(CHUNK) {
        let rules = rows
            .iter()
            .map(|row| read.parsed(row, "rule_id"))
            .collect::<Result<Vec<RuleId>, _>>()?;
        let episodes = episode::lock(connection, dialect, rules).await?;
        notices.extend(episodes.values().map(&notice));
    }
    Ok(notices)
}

fn notice(
    episode: &Episode,
    kind: DeliveryKind,
    period: DeliveryId,
    since: Timestamp,
    now: Timestamp,
) -> PlannedDelivery {
    PlannedDelivery {
        id: DeliveryId::generate(),
        user_id: episode.user_id,
        rule_id: episode.rule_id,
        position: episode.position,
        episode_id: period,
        kind,
        planned_at: now,
        ticker: episode.ticker.clone(),
        side: episode.side,
        price: episode.price,
        threshold: episode.threshold,
        currency: episode.currency.clone(),
        quote_time: since,
        quote_ingest_time: since,
        already_outside: false,
        opened_at: since,
        after_quiet: None,
    }
}

/// Those of the tickers whose prices stopped.
pub(super) async fn stale<'a>(
    connection: &mut AnyConnection,
    tickers: impl Iterator<Item = &'a Ticker>,
) -> Result<std::collections::HashSet<Ticker>, StoreError> {
    let mut select =
        QueryBuilder::new("select ticker from stale_tickers where stale_since is not null and ticker ");
    push_in(&mut select, tickers.map(ToString::to_string));
    let read = Reader("stale_tickers");
    let rows = select.build().fetch_all(connection).await?;
    rows.iter().map(|row| read.parsed(row, "ticker")).collect()
}
