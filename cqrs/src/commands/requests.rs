//! Answers of commands that came with a request id, kept for 24 hours.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use sqlx::Row as _;

use super::{Caller, Idempotency};
use crate::domain::{Timestamp, UserId};
use crate::transaction::Tx;
use crate::{CommandError, StoreError, dialect, rows};

/// How long a repeated request gets the first one's answer.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// A request that may be a repeat. Without an id it never is.
#[derive(Debug, Clone)]
pub(super) struct Request(Option<Key>);

#[derive(Debug, Clone)]
struct Key {
    hash: String,
    fingerprint: String,
}

impl Request {
    /// A request of somebody who is no user yet.
    pub(super) fn of_anybody(idempotency: Option<Idempotency>) -> Self {
        Self::scoped("register", idempotency)
    }

    /// A user's request: the ids of different users have nothing to do with one another.
    pub(super) fn of(caller: Caller, idempotency: Option<Idempotency>) -> Self {
        Self::scoped(&caller.0.to_string(), idempotency)
    }

    fn scoped(scope: &str, idempotency: Option<Idempotency>) -> Self {
        Self(idempotency.map(|idempotency| Key {
            hash: hex::encode(Sha256::digest(format!("{scope}:{}", idempotency.request_id))),
            fingerprint: hex::encode(Sha256::digest(idempotency.fingerprint)),
        }))
    }

    /// The user and answer of the request that this one repeats. `None`: it is the first, and must be answered
    /// ([`Self::answer`]) in this transaction. A repeat that runs at the same time waits here for the first to end.
    ///
    /// # Errors
    /// [`CommandError::RequestIdReused`]: the first request was another.
    pub(super) async fn replay<T: DeserializeOwned>(
        &self,
        tx: &mut Tx,
        now: Timestamp,
    ) -> Result<Option<(UserId, T)>, CommandError> {
        let Some(key) = &self.0 else { return Ok(None) };
        let claim = format!(
            "{} requests (key_hash, fingerprint, user_id, response, created_at) values (?, ?, '', '', ?)",
            tx.dialect.insert_ignore()
        );
        let claimed = dialect::query(claim)
            .bind(key.hash.clone())
            .bind(key.fingerprint.clone())
            .bind(now.as_micros())
            .execute(tx.connection())
            .await?;
        if claimed.rows_affected() == 1 {
            return Ok(None);
        }
        // Not for update: the insert that found the row has a shared lock on it, as have all repeats that waited with this one.
        // Each would wait for the others to let go of theirs, and all but one be killed.
        let row =
            sqlx::query("select fingerprint, user_id, response, created_at from requests where key_hash = ?")
                .bind(key.hash.clone())
                .fetch_optional(tx.connection())
                .await?;
        // Swept away between the two statements: rare enough to let the caller repeat it.
        let row = row.ok_or(StoreError::Interrupted)?;
        if rows::time(&row, "created_at")?.plus(KEPT) <= now {
            sqlx::query("update requests set fingerprint = ?, created_at = ? where key_hash = ?")
                .bind(key.fingerprint.clone())
                .bind(now.as_micros())
                .bind(key.hash.clone())
                .execute(tx.connection())
                .await?;
            return Ok(None);
        }
        if row.try_get::<String, _>("fingerprint")? != key.fingerprint {
            return Err(CommandError::RequestIdReused);
        }
        let response: String = row.try_get("response")?;
        let answer = serde_json::from_str(&response).map_err(|error| rows::corrupt("requests", error))?;
        Ok(Some((rows::text(&row, "requests", "user_id")?, answer)))
    }

    /// Stores the answer for repeats: no secrets, no personal data.
    pub(super) async fn answer<T: Serialize>(
        &self,
        tx: &mut Tx,
        user: UserId,
        answer: &T,
    ) -> Result<(), StoreError> {
        let Some(key) = &self.0 else { return Ok(()) };
        let response = serde_json::to_string(answer).map_err(|error| rows::corrupt("requests", error))?;
        sqlx::query("update requests set user_id = ?, response = ? where key_hash = ?")
            .bind(user.to_string())
            .bind(response)
            .bind(key.hash.clone())
            .execute(tx.connection())
            .await?;
        Ok(())
    }
}

/// Removes up to `limit` answers that are kept no longer.
pub(super) async fn sweep(tx: &mut Tx, now: Timestamp, limit: u32) -> Result<(), StoreError> {
    let select = format!(
        "select key_hash from requests where created_at <= ? order by created_at limit ?{}",
        tx.dialect.for_update_skip_locked()
    );
    let found = dialect::query(select)
        .bind(now.minus(KEPT).as_micros())
        .bind(i64::from(limit))
        .fetch_all(tx.connection())
        .await?;
    for row in found {
        sqlx::query("delete from requests where key_hash = ?")
            .bind(row.try_get::<String, _>("key_hash")?)
            .execute(tx.connection())
            .await?;
    }
    Ok(())
}
