//! Reads that many callers make at the same time, each of one row by its key: one statement for all of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use sqlx::any::AnyRow;
use sqlx::{Any, AnyPool, QueryBuilder, Row as _};

use super::Queries;
use super::owners::Owners;
use super::recent::RecentQuotes;
use crate::batches::Batches;
use crate::domain::{Quote, Ticker, Timestamp, TokenHash};
use crate::rows::{self, QUOTE_COLUMNS};
use crate::sizes::{self, push_in};
use crate::{Caller, Store, StoreError};

pub(super) type Found<V> = Result<Option<V>, Arc<StoreError>>;

#[derive(Debug, Clone)]
pub(super) struct Together {
    owners: Owners,
    latest_quotes: Batches<String, Found<Quote>>,
    recent_quotes: Arc<RecentQuotes>,
}

impl Together {
    pub(super) fn new(store: &Store) -> Self {
        let pool = store.read.clone();
        let latest_quotes = Batches::new(sizes::BATCH, move |tickers: Vec<String>| {
            let pool = pool.clone();
            async move {
                let select = format!("select {QUOTE_COLUMNS} from latest_quotes where ticker ");
                outcomes(
                    &tickers,
                    by_key(&pool, &select, "ticker", tickers.clone(), rows::quote).await,
                )
            }
        });
        Self {
            owners: Owners::new(store.primary().clone()),
            latest_quotes,
            recent_quotes: Arc::default(),
        }
    }
}

impl Queries {
    /// Whose API token this is, if it is not too old. None any more when its revocation was answered, by whatever server.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn authenticate(&self, token: &TokenHash) -> Result<Option<Caller>, StoreError> {
        let owner = self.together.owners.of(token).await?;
        let lives = |made_at: Timestamp| {
            self.api_token_lifetime
                .is_none_or(|lifetime| made_at > Timestamp::now().minus(lifetime))
        };
        Ok(owner
            .filter(|(_, made_at)| lives(*made_at))
            .map(|(user, _)| Caller(user)))
    }

    /// The recorded quote of this ticker with the newest (event time, offset), or what that was half a second ago. `None`: none
    /// was recorded.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn latest_quote(&self, ticker: &Ticker) -> Result<Option<Quote>, StoreError> {
        let together = &self.together;
        let read = async || found(together.latest_quotes.put(ticker.to_string()).await);
        together.recent_quotes.get(ticker, Instant::now(), read).await
    }
}

pub(super) fn found<V>(outcome: Option<Found<V>>) -> Result<Option<V>, StoreError> {
    outcome
        .ok_or(StoreError::Interrupted)?
        .map_err(StoreError::Shared)
}

/// Rows by their key, each by itself: one that can't be read is the trouble of who asked for it.
pub(super) type Rows<V> = HashMap<String, Result<V, Arc<StoreError>>>;

/// What those who asked for these keys are answered.
pub(super) fn outcomes<V: Clone>(keys: &[String], rows: Result<Rows<V>, StoreError>) -> Vec<Found<V>> {
    match rows {
        Ok(rows) => keys
            .iter()
            .map(|key| rows.get(key).cloned().transpose())
            .collect(),
        Err(error) => {
            let error = Arc::new(error);
            keys.iter().map(|_| Err(Arc::clone(&error))).collect()
        }
    }
}

/// The rows that these keys have. `select` is this program's text up to the keys.
pub(super) async fn by_key<V>(
    pool: &AnyPool,
    select: &str,
    key: &str,
    keys: Vec<String>,
    read: impl Fn(&AnyRow) -> Result<V, StoreError>,
) -> Result<Rows<V>, StoreError> {
    let mut statement = QueryBuilder::<Any>::new(select);
    push_in(&mut statement, keys);
    let rows = statement.build().fetch_all(pool).await?;
    let rows = rows
        .iter()
        .filter_map(|row| Some((row.try_get(key).ok()?, read(row).map_err(Arc::new))));
    Ok(rows.collect())
}
