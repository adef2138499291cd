use std::collections::HashMap;

use sqlx::{Any, QueryBuilder, Row as _};

use super::alert;
use crate::domain::{Alert, UserId};
use crate::transaction::Tx;
use crate::{Caller, Store, StoreError, dialect, rows};

/// Users in one statement: below every database's limit on values.
const CHUNK: usize = 500;

/// Alerts numbered in one transaction: the user's row is locked for some milliseconds only.
const MOST_AT_ONCE: u32 = 100;

/// Users' alerts in an order that only grows at its end, so that a reader can go on where it was and misses none.
///
/// Neither times nor keys give such an order, as transactions commit in another one than they began in. So alerts are
/// numbered after they were committed, by whoever asks first, while the user's row is locked: a number becomes visible when
/// all below it are. From the write server throughout: a replica may be behind.
#[derive(Debug, Clone)]
pub struct AlertFeed {
    store: Store,
}

/// An alert and its place among its user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedAlert {
    /// From 1 on, without gaps.
    pub number: i64,
    /// What was raised.
    pub alert: Alert,
}

impl AlertFeed {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// The number of each user's newest alert, 0 if there is none. Those without a number get one. Users who are gone are
    /// left out.
    ///
    /// # Errors
    /// If the store fails. Some alerts may have got their numbers then.
    pub async fn heads(&self, users: &[UserId]) -> Result<HashMap<UserId, i64>, StoreError> {
        let mut heads = HashMap::with_capacity(users.len());
        for chunk in users.chunks(CHUNK) {
            for user in self.with_new_alerts(chunk).await? {
                self.number_all(user).await?;
            }
            let select = "select id, alerts_numbered from users where id in (";
            for row in self.of_users(select, chunk).await? {
                heads.insert(rows::text(&row, "users", "id")?, row.try_get("alerts_numbered")?);
            }
        }
        Ok(heads)
    }

    /// The caller's alerts with higher numbers than `after`, at most `limit`, as far as they have numbers.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn after(
        &self,
        caller: Caller,
        after: i64,
        limit: u32,
    ) -> Result<Vec<NumberedAlert>, StoreError> {
        let found = sqlx::query(
            "select stream_number, rule_id, rule_version, log_generation, quote_offset, user_id, ticker, side, price,
                    threshold, currency, quote_time, quote_ingest_time, raised_at, already_outside
             from alerts where user_id = ? and stream_number > ? order by stream_number limit ?",
        )
        .bind(caller.0.to_string())
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(self.store.primary())
        .await?;
        found
            .iter()
            .map(|row| {
                Ok(NumberedAlert {
                    number: row.try_get("stream_number")?,
                    alert: alert(row)?,
                })
            })
            .collect()
    }

    async fn with_new_alerts(&self, users: &[UserId]) -> Result<Vec<UserId>, StoreError> {
        let select = "select distinct user_id from alerts where stream_number is null and user_id in (";
        let found = self.of_users(select, users).await?;
        found
            .iter()
            .map(|row| rows::text(row, "alerts", "user_id"))
            .collect()
    }

    /// A statement that ends with a list of users.
    async fn of_users(&self, select: &str, users: &[UserId]) -> Result<Vec<sqlx::any::AnyRow>, StoreError> {
        let mut select = QueryBuilder::<Any>::new(select);
        let mut list = select.separated(", ");
        for user in users {
            list.push_bind(user.to_string());
        }
        select.push(")");
        let query = select.build().persistent(false);
        Ok(query.fetch_all(self.store.primary()).await?)
    }

    async fn number_all(&self, user: UserId) -> Result<(), StoreError> {
        loop {
            let numbered = self
                .store
                .transaction(move |tx| Box::pin(async move { number_some(tx, user).await }))
                .await?;
            if numbered < i64::from(MOST_AT_ONCE) {
                return Ok(());
            }
        }
    }
}

/// Returns how many alerts got a number.
async fn number_some(tx: &mut Tx, user: UserId) -> Result<i64, StoreError> {
    let select = format!(
        "select alerts_numbered from users where id = ?{}",
        tx.dialect.for_update()
    );
    let row = dialect::query(select)
        .bind(user.to_string())
        .fetch_optional(tx.connection())
        .await?;
    // Deleted meanwhile, and the alerts with it.
    let Some(row) = row else { return Ok(0) };
    let before: i64 = row.try_get("alerts_numbered")?;
    // By time, but one rule's alerts always in their own order: the clocks of two alert systems may differ.
    let found = sqlx::query(
        "select rule_id, rule_version, log_generation, quote_offset,
                max(raised_at) over (partition by rule_id order by rule_version, log_generation, quote_offset)
                    as not_before
         from alerts where user_id = ? and stream_number is null
         order by not_before, rule_id, rule_version, log_generation, quote_offset limit ?",
    )
    .bind(user.to_string())
    .bind(i64::from(MOST_AT_ONCE))
    .fetch_all(tx.connection())
    .await?;
    let mut number = before;
    for row in &found {
        number += 1;
        sqlx::query(
            "update alerts set stream_number = ?
             where rule_id = ? and rule_version = ? and log_generation = ? and quote_offset = ?",
        )
        .bind(number)
        .bind(row.try_get::<String, _>("rule_id")?)
        .bind(row.try_get::<i64, _>("rule_version")?)
        .bind(row.try_get::<i64, _>("log_generation")?)
        .bind(row.try_get::<i64, _>("quote_offset")?)
        .execute(tx.connection())
        .await?;
    }
    if number > before {
        sqlx::query("update users set alerts_numbered = ? where id = ?")
            .bind(number)
            .bind(user.to_string())
            .execute(tx.connection())
            .await?;
    }
    Ok(number - before)
}
