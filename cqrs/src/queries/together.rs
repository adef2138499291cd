//! Reads that many callers make at the same time, each of one row by its key: one statement for all of them.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::any::AnyRow;
use sqlx::{Any, AnyPool, QueryBuilder, Row as _};

use super::Queries;
use crate::batches::Batches;
use crate::domain::{Quote, Ticker, Timestamp, TokenHash, UserId};
use crate::rows::{self, QUOTE_COLUMNS};
use crate::sizes::{self, push_in};
use crate::{Caller, Store, StoreError};

type Found<V> = Result<Option<V>, Arc<StoreError>>;

/// A token's owner, and when it was made.
type Owner = (UserId, Timestamp);

#[derive(Debug, Clone)]
pub(super) struct Together {
    owners: Batches<String, Found<Owner>>,
    latest_quotes: Batches<String, Found<Quote>>,
}

impl Together {
    pub(super) fn new(store: &Store) -> Self {
        let owners = "select token_hash, user_id, created_at from api_tokens where token_hash ";
        let quotes = format!("select {QUOTE_COLUMNS} from latest_quotes where ticker ");
        Self {
            owners: batches(store.primary().clone(), owners.to_owned(), "token_hash", |row| {
                let owner = rows::text(row, "api_tokens", "user_id")?;
                Ok((owner, rows::time(row, "created_at")?))
            }),
            latest_quotes: batches(store.read.clone(), quotes, "ticker", rows::quote),
        }
    }
}

impl Queries {
    /// Whose API token this is, if it is not too old. Read from the write server, and after it was asked: a revoked token
    /// must stop at once.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn authenticate(&self, token: &TokenHash) -> Result<Option<Caller>, StoreError> {
        let owner = found(self.together.owners.put(token.as_str().to_owned()).await)?;
        let lives = |made_at: Timestamp| {
            self.api_token_lifetime
                .is_none_or(|lifetime| made_at > Timestamp::now().minus(lifetime))
        };
        Ok(owner
            .filter(|(_, made_at)| lives(*made_at))
            .map(|(user, _)| Caller(user)))
    }

    /// The recorded quote of this ticker with the newest (event time, offset). `None`: none was recorded.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn latest_quote(&self, ticker: &Ticker) -> Result<Option<Quote>, StoreError> {
        found(self.together.latest_quotes.put(ticker.to_string()).await)
    }
}

fn found<V>(outcome: Option<Found<V>>) -> Result<Option<V>, StoreError> {
    outcome
        .ok_or(StoreError::Interrupted)?
        .map_err(StoreError::Shared)
}

/// Rows by their key. `select` is this program's text up to the keys.
fn batches<V, R>(pool: AnyPool, select: String, key: &'static str, read: R) -> Batches<String, Found<V>>
where
    V: Clone + Send + 'static,
    R: Fn(&AnyRow) -> Result<V, StoreError> + Clone + Send + Sync + 'static,
{
    Batches::new(sizes::BATCH, move |keys: Vec<String>| {
        let (pool, select, read) = (pool.clone(), select.clone(), read.clone());
        async move {
            let mut statement = QueryBuilder::<Any>::new(select);
            push_in(&mut statement, keys.iter().cloned());
            match statement.build().fetch_all(&pool).await {
                Ok(rows) => {
                    // Each by itself: a row that can't be read is the trouble of who asked for it.
                    let rows: HashMap<String, _> = rows
                        .iter()
                        .filter_map(|row| Some((row.try_get(key).ok()?, read(row).map_err(Arc::new))))
                        .collect();
                    let found = keys.iter().map(|key| rows.get(key).cloned().transpose());
                    found.collect()
                }
                Err(error) => {
                    let error = Arc::new(StoreError::from(error));
                    keys.iter().map(|_| Err(Arc::clone(&error))).collect()
                }
            }
        }
    })
}
