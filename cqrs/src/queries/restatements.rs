use sqlx::{Any, QueryBuilder};

use super::Queries;
use crate::domain::{Restatement, Ticker, Timestamp};
use crate::rows::{self, RESTATEMENT_COLUMNS};
use crate::sizes::push_in;
use crate::{StoreError, dialect};

/// Tickers in one statement: below every database's limit on values.
const CHUNK: usize = 500;

impl Queries {
    /// When and how prices of these tickers were counted anew, oldest first.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn restatements(&self, tickers: &[Ticker]) -> Result<Vec<Restatement>, StoreError> {
        let mut restatements = Vec::new();
        for chunk in tickers.chunks(CHUNK) {
            let mut select = QueryBuilder::<Any>::new(format!(
                "select {RESTATEMENT_COLUMNS} from restatements where ticker "
            ));
            push_in(&mut select, chunk.iter().map(ToString::to_string));
            for row in &select.build().fetch_all(&self.store.read).await? {
                restatements.push(rows::restatement(row)?);
            }
        }
        restatements
            .sort_by(|one, other| (one.restated_at, &one.ticker).cmp(&(other.restated_at, &other.ticker)));
        Ok(restatements)
    }

    /// The tickers whose prices were counted anew since then, the newest first, at most `limit`.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn recent_restatements(
        &self,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<Restatement>, StoreError> {
        let select = format!(
            "select {RESTATEMENT_COLUMNS} from restatements where restated_at >= ? \
             order by restated_at desc, ticker limit ?"
        );
        let found = dialect::query(select)
            .bind(since.as_micros())
            .bind(i64::from(limit))
            .fetch_all(&self.store.read)
            .await?;
        found.iter().map(rows::restatement).collect()
    }
}
