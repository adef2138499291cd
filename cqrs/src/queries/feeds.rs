use sqlx::Row as _;

use super::Queries;
use crate::StoreError;
use crate::domain::{FeedState, TickerFeed, Timestamp};
use crate::rows;

impl Queries {
    /// How each data collector gets on with its provider, by provider and instance. Those that ended are among them for a
    /// while: look at `updated_at`.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn feeds(&self) -> Result<Vec<FeedState>, StoreError> {
        const TABLE: &str = "feeds";
        let found = sqlx::query(
            "select provider, instance, breaker, reason, tickers, last_success_at, updated_at from feeds
             order by provider, instance",
        )
        .fetch_all(&self.store.read)
        .await?;
        found
            .iter()
            .map(|row| {
                let tickers: i64 = row.try_get("tickers")?;
                Ok(FeedState {
                    provider: row.try_get("provider")?,
                    instance: row.try_get("instance")?,
                    breaker: rows::text(row, TABLE, "breaker")?,
                    reason: row.try_get("reason")?,
                    tickers: u64::try_from(tickers).map_err(|error| rows::corrupt(TABLE, error))?,
                    last_success_at: row
                        .try_get::<Option<i64>, _>("last_success_at")?
                        .map(Timestamp::from_micros),
                    updated_at: rows::time(row, "updated_at")?,
                })
            })
            .collect()
    }

    /// The tickers whose prices do not come although their market is open, the longest first, at most `limit`.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn stale_tickers(&self, limit: u32) -> Result<Vec<TickerFeed>, StoreError> {
        let found = sqlx::query(
            "select ticker, stale_since, updated_at from stale_tickers where stale_since is not null
             order by stale_since, ticker limit ?",
        )
        .bind(i64::from(limit))
        .fetch_all(&self.store.read)
        .await?;
        found
            .iter()
            .map(|row| {
                Ok(TickerFeed {
                    ticker: rows::text(row, "stale_tickers", "ticker")?,
                    stale_since: Some(rows::time(row, "stale_since")?),
                    updated_at: rows::time(row, "updated_at")?,
                })
            })
            .collect()
    }
}
