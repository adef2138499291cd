use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sqlx::any::AnyRow;
use sqlx::{Any, QueryBuilder, Row as _};

use super::alert;
use crate::domain::{Alert, RuleId, UserId};
use crate::transaction::Tx;
use crate::{Caller, Store, StoreError, dialect, rows};

/// Users in one statement: below every database's limit on values.
const CHUNK: usize = 500;

/// Alerts numbered in one transaction: a long history is sorted but a few times, and the user's row is locked for no longer
/// than some hundred milliseconds.
const MOST_AT_ONCE: u32 = 5_000;

/// Alerts numbered in one statement.
const NUMBERED_TOGETHER: usize = 100;

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
            let users = Mutex::new(self.with_new_alerts(chunk).await?);
            // Four at the same time, each over a connection of its own: one long history keeps nobody else waiting.
            let next = || self.number_next(&users);
            tokio::try_join!(next(), next(), next(), next())?;
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

    /// Whether the caller has this rule, or ever had an alert of it.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn knows(&self, caller: Caller, rule: RuleId) -> Result<bool, StoreError> {
        for select in [
            "select user_id from rules where id = ? and user_id = ?",
            "select user_id from alerts where rule_id = ? and user_id = ? limit 1",
        ] {
            let found = sqlx::query(select)
                .bind(rule.to_string())
                .bind(caller.0.to_string())
                .fetch_optional(self.store.primary())
                .await?;
            if found.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
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
    async fn of_users(&self, select: &str, users: &[UserId]) -> Result<Vec<AnyRow>, StoreError> {
        let mut select = QueryBuilder::<Any>::new(select);
        let mut list = select.separated(", ");
        for user in users {
            list.push_bind(user.to_string());
        }
        select.push(")");
        let query = select.build().persistent(false);
        Ok(query.fetch_all(self.store.primary()).await?)
    }

    /// Until there are none left.
    async fn number_next(&self, users: &Mutex<Vec<UserId>>) -> Result<(), StoreError> {
        loop {
            let next = users.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(user) = next else { return Ok(()) };
            self.number_all(user).await?;
        }
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
    for portion in found.chunks(NUMBERED_TOGETHER) {
        number = set_numbers(tx, user, portion, number).await?;
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

/// The numbers after `before`, in the order of these rows. Returns the last one.
async fn set_numbers(tx: &mut Tx, user: UserId, found: &[AnyRow], before: i64) -> Result<i64, StoreError> {
    let mut number = before;
    let mut update = QueryBuilder::<Any>::new("update alerts set stream_number = case");
    for row in found {
        number += 1;
        update.push(" when ");
        push_key(&mut update, row)?;
        update.push(" then ").push_bind(number);
    }
    update
        .push(" end where user_id = ")
        .push_bind(user.to_string())
        .push(" and (");
    for (place, row) in found.iter().enumerate() {
        update.push(if place == 0 { "" } else { " or " });
        push_key(&mut update, row)?;
    }
    update.push(")");
    update.build().execute(tx.connection()).await?;
    Ok(number)
}

/// The condition that it is this row.
fn push_key(statement: &mut QueryBuilder<Any>, row: &AnyRow) -> Result<(), StoreError> {
    statement
        .push("(rule_id = ")
        .push_bind(row.try_get::<String, _>("rule_id")?);
    for (column, value) in [
        (" and rule_version = ", row.try_get::<i64, _>("rule_version")?),
        (" and log_generation = ", row.try_get("log_generation")?),
        (" and quote_offset = ", row.try_get("quote_offset")?),
    ] {
        statement.push(column).push_bind(value);
    }
    statement.push(")");
    Ok(())
}
