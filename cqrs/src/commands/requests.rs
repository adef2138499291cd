//! Answers of commands that came with a request id, kept for 24 hours.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use sqlx::{Any, QueryBuilder, Row as _};

use super::{Caller, Idempotency};
use crate::domain::{Timestamp, UserId};
use crate::sizes::{self, push_in};
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

/// The answer of a request that was made before.
#[derive(Debug)]
pub(super) struct Stored {
    fingerprint: String,
    user_id: UserId,
    response: String,
}

/// The answer to a request, for its repeats: no secrets, no personal data.
#[derive(Debug)]
pub(super) struct Answer {
    key: Key,
    user_id: UserId,
    response: String,
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

    /// What names it, if it has an id.
    pub(super) fn hash(&self) -> Option<&str> {
        self.0.as_ref().map(|key| key.hash.as_str())
    }

    /// The user and answer of the request that this one repeats. `None`: it is the first, and must be answered
    /// ([`Self::answer`]) in this transaction.
    ///
    /// To be asked with what the command changes locked: a repeat that runs at the same time has waited for the first then,
    /// and sees its answer instead of what it did.
    ///
    /// # Errors
    /// [`CommandError::RequestIdReused`]: the first request was another.
    pub(super) async fn replay<T: DeserializeOwned>(
        &self,
        tx: &mut Tx,
        now: Timestamp,
    ) -> Result<Option<(UserId, T)>, CommandError> {
        let hash = Vec::from_iter(self.hash());
        match stored(tx, &hash, now).await?.into_values().next() {
            None => Ok(None),
            Some(stored) => Ok(Some((stored.user_id, self.read(&stored)?))),
        }
    }

    /// # Errors
    /// [`CommandError::RequestIdReused`]: the first request was another.
    pub(super) fn read<T: DeserializeOwned>(&self, stored: &Stored) -> Result<T, CommandError> {
        if self
            .0
            .as_ref()
            .is_none_or(|key| key.fingerprint != stored.fingerprint)
        {
            return Err(CommandError::RequestIdReused);
        }
        Ok(serde_json::from_str(&stored.response).map_err(|error| rows::corrupt("requests", error))?)
    }

    /// The answer as it is stored; none for a request without an id.
    pub(super) fn answered_with<T: Serialize>(
        &self,
        user_id: UserId,
        answer: &T,
    ) -> Result<Option<Answer>, StoreError> {
        let Some(key) = self.0.clone() else {
            return Ok(None);
        };
        let response = serde_json::to_string(answer).map_err(|error| rows::corrupt("requests", error))?;
        Ok(Some(Answer {
            key,
            user_id,
            response,
        }))
    }

    /// Stores the answer for repeats.
    pub(super) async fn answer<T: Serialize>(
        &self,
        tx: &mut Tx,
        user: UserId,
        answer: &T,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let answer = self.answered_with(user, answer)?;
        store(tx, answer.as_slice(), now).await
    }
}

/// The answers that those of the requests have which were made before, by [`Request::hash`].
pub(super) async fn stored(
    tx: &mut Tx,
    hashes: &[&str],
    now: Timestamp,
) -> Result<HashMap<String, Stored>, StoreError> {
    let (mut found, mut outdated) = (HashMap::new(), Vec::new());
    for portion in hashes.chunks(sizes::BATCH) {
        let mut select = QueryBuilder::<Any>::new(
            "select key_hash, fingerprint, user_id, response, created_at from requests where key_hash ",
        );
        push_in(&mut select, portion.iter().map(|hash| (*hash).to_owned()));
        for row in &select.build().fetch_all(tx.connection()).await? {
            let hash: String = row.try_get("key_hash")?;
            if rows::time(row, "created_at")?.plus(KEPT) <= now {
                outdated.push(hash);
                continue;
            }
            let stored = Stored {
                fingerprint: row.try_get("fingerprint")?,
                user_id: rows::text(row, "requests", "user_id")?,
                response: row.try_get("response")?,
            };
            found.insert(hash, stored);
        }
    }
    for hash in outdated {
        sqlx::query("delete from requests where key_hash = ?")
            .bind(hash)
            .execute(tx.connection())
            .await?;
    }
    Ok(found)
}

/// # Errors
/// [`StoreError::Overtaken`]: a repeat at the same time has been answered meanwhile. It was waited for.
pub(super) async fn store(tx: &mut Tx, answers: &[Answer], now: Timestamp) -> Result<(), StoreError> {
    for portion in sizes::portions(answers) {
        let mut insert = QueryBuilder::<Any>::new(format!(
            "{} requests (key_hash, fingerprint, user_id, response, created_at) ",
            tx.dialect.insert_ignore()
        ));
        insert.push_values(portion, |mut values, answer| {
            values
                .push_bind(answer.key.hash.clone())
                .push_bind(answer.key.fingerprint.clone())
                .push_bind(answer.user_id.to_string())
                .push_bind(answer.response.clone())
                .push_bind(now.as_micros());
        });
        let inserted = insert.build().execute(tx.connection()).await?.rows_affected();
        if usize::try_from(inserted) != Ok(portion.len()) {
            return Err(StoreError::Overtaken);
        }
    }
    Ok(())
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
