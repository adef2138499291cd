//! Secrets that let users in: tokens of the API, and links for chats.

use std::time::Duration;

use sqlx::Row as _;

use super::requests::Request;
use super::users::lock_user;
use super::{Caller, Commands, Idempotency, IssuedLink};
use crate::domain::{Timestamp, Token, TokenHash, UserId};
use crate::queries::TRUST;
use crate::transaction::Tx;
use crate::{CommandError, StoreError};

/// How long a link waits to be used.
const LINK_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// How long a replaced token repeats the request that replaced it: longer than anybody tries again by themselves.
pub(crate) const REPEATABLE: Duration = Duration::from_secs(10 * 60);

/// A user, and the token that they showed. What gives or takes secrets makes sure, with the user locked, that the token is
/// still theirs: it may have been replaced or revoked after it let them in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Who it is.
    pub caller: Caller,
    /// None: they came another way, such as from a linked chat.
    pub token: Option<TokenHash>,
}

impl From<Caller> for Holder {
    fn from(caller: Caller) -> Self {
        Self { caller, token: None }
    }
}

impl Commands {
    /// A new one-time link to bind a chat, valid for 15 minutes; earlier ones stop working.
    ///
    /// # Errors
    /// `UserNotFound`, `TokenInvalid`.
    pub async fn create_link(&self, holder: impl Into<Holder>) -> Result<IssuedLink, CommandError> {
        let holder = holder.into();
        self.transaction(move |tx| {
            let holder = holder.clone();
            Box::pin(async move {
                lock_holder(tx, &holder).await?;
                Ok(replace_link(tx, holder.caller.0, Timestamp::now()).await?)
            })
        })
        .await
    }

    /// A new API token; the old one stops working at once, and so do links that were not used yet, and repeats of the
    /// registration. A repeat with the same request id answers a fresh token, which replaces the first answer's: for ten
    /// minutes the replaced token is good for that, and for nothing else. So the id must be hard to guess.
    ///
    /// # Errors
    /// `UserNotFound`, `TokenInvalid`, `RequestIdReused`.
    pub async fn rotate_token(
        &self,
        holder: impl Into<Holder>,
        idempotency: Option<Idempotency>,
    ) -> Result<Token, CommandError> {
        let holder = holder.into();
        let request = Request::of(holder.caller, idempotency);
        let rotating = self.transaction(move |tx| {
            let (holder, request) = (holder.clone(), request.clone());
            Box::pin(async move { rotate(tx, &holder, &request, Timestamp::now()).await })
        });
        answered_when_noticed(rotating).await
    }

    /// Takes the API token away, and with it every way to get one by repeating an earlier request, and links that were not
    /// used yet.
    ///
    /// # Errors
    /// `UserNotFound`, `TokenInvalid`.
    pub async fn revoke_token(&self, holder: impl Into<Holder>) -> Result<(), CommandError> {
        let holder = holder.into();
        let revoking = self.transaction(move |tx| {
            let holder = holder.clone();
            Box::pin(async move { revoke(tx, &holder).await })
        });
        answered_when_noticed(revoking).await
    }
}

/// To be [`answered_when_noticed`].
pub(crate) async fn revoke(tx: &mut Tx, holder: &Holder) -> Result<(), CommandError> {
    lock_holder(tx, holder).await?;
    for delete in [
        "delete from api_tokens where user_id = ?",
        "delete from replaced_tokens where user_id = ?",
        "delete from link_tokens where user_id = ?",
        "delete from requests where user_id = ?",
    ] {
        sqlx::query(delete)
            .bind(holder.caller.0.to_string())
            .execute(tx.connection())
            .await?;
    }
    Ok(count_revocation(tx).await?)
}

/// What came of a transaction that takes a token away, [`until_noticed`]. Also where it failed: it may have been committed, or
/// another may have done the same.
pub(crate) async fn answered_when_noticed<T>(transaction: impl Future<Output = T>) -> T {
    let outcome = transaction.await;
    until_noticed().await;
    outcome
}

/// Waits until no server lets a token in any more that was taken away: each asks the database within that time.
pub(super) async fn until_noticed() {
    tokio::time::sleep(TRUST).await;
}

/// Says that this transaction takes a token away. The last thing that it does: others who take tokens away wait for its end.
/// To be [`answered_when_noticed`].
pub(super) async fn count_revocation(tx: &mut Tx) -> Result<(), StoreError> {
    sqlx::query("update token_revocations set number = number + 1 where id = 1")
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Keeps the user from changing until the transaction ends, and makes sure that the token still is theirs.
///
/// # Errors
/// `UserNotFound`; `TokenInvalid`: it was replaced or revoked meanwhile.
pub(super) async fn lock_holder(tx: &mut Tx, holder: &Holder) -> Result<(), CommandError> {
    lock_user(tx, holder.caller).await?;
    if is_current(tx, holder).await? {
        Ok(())
    } else {
        Err(CommandError::TokenInvalid)
    }
}

async fn is_current(tx: &mut Tx, holder: &Holder) -> Result<bool, StoreError> {
    let Some(token) = &holder.token else {
        return Ok(true);
    };
    let found = sqlx::query("select user_id from api_tokens where token_hash = ? and user_id = ?")
        .bind(token.as_str().to_owned())
        .bind(holder.caller.0.to_string())
        .fetch_optional(tx.connection())
        .await?;
    Ok(found.is_some())
}

async fn rotate(
    tx: &mut Tx,
    holder: &Holder,
    request: &Request,
    now: Timestamp,
) -> Result<Token, CommandError> {
    let user = holder.caller.0;
    lock_user(tx, holder.caller).await?;
    if !is_current(tx, holder).await? && !repeats(tx, holder, request, now).await? {
        return Err(CommandError::TokenInvalid);
    }
    if request.replay::<()>(tx, now).await?.is_none() {
        request.answer(tx, user, &(), now).await?;
    }
    end_other_repeats(tx, user, request).await?;
    if let Some(hash) = request.hash() {
        sqlx::query(
            "insert into replaced_tokens (token_hash, user_id, request_hash, replaced_at)
             select token_hash, user_id, ?, ? from api_tokens where user_id = ?",
        )
        .bind(hash.to_owned())
        .bind(now.as_micros())
        .bind(user.to_string())
        .execute(tx.connection())
        .await?;
    }
    sqlx::query("delete from link_tokens where user_id = ?")
        .bind(user.to_string())
        .execute(tx.connection())
        .await?;
    Ok(replace_api_token(tx, user, now).await?)
}

/// Whether the token was replaced by this very request, not long ago.
async fn repeats(
    tx: &mut Tx,
    holder: &Holder,
    request: &Request,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let (Some(token), Some(hash)) = (&holder.token, request.hash()) else {
        return Ok(false);
    };
    let found = sqlx::query(
        "select replaced_at from replaced_tokens
         where token_hash = ? and user_id = ? and request_hash = ? and replaced_at > ?",
    )
    .bind(token.as_str().to_owned())
    .bind(holder.caller.0.to_string())
    .bind(hash.to_owned())
    .bind(now.minus(REPEATABLE).as_micros())
    .fetch_optional(tx.connection())
    .await?;
    Ok(found.is_some())
}

/// Forgets tokens that were replaced too long ago for their request to be repeated.
pub(super) async fn sweep(tx: &mut Tx, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("delete from replaced_tokens where replaced_at <= ?")
        .bind(now.minus(REPEATABLE).as_micros())
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// No earlier request gives secrets any more: neither an earlier rotation nor the registration.
async fn end_other_repeats(tx: &mut Tx, user: UserId, request: &Request) -> Result<(), StoreError> {
    sqlx::query("delete from replaced_tokens where user_id = ? and request_hash <> ?")
        .bind(user.to_string())
        .bind(request.hash().unwrap_or_default().to_owned())
        .execute(tx.connection())
        .await?;
    let registration: Option<String> = sqlx::query("select registration_request from users where id = ?")
        .bind(user.to_string())
        .fetch_one(tx.connection())
        .await?
        .try_get("registration_request")?;
    if let Some(registration) = registration {
        sqlx::query("delete from requests where key_hash = ?")
            .bind(registration)
            .execute(tx.connection())
            .await?;
    }
    Ok(())
}

/// The last thing that a transaction does ([`count_revocation`]), unless it is a new user's first token.
pub(super) async fn replace_api_token(
    tx: &mut Tx,
    user: UserId,
    now: Timestamp,
) -> Result<Token, StoreError> {
    let token = Token::generate_api();
    let replaced = sqlx::query("delete from api_tokens where user_id = ?")
        .bind(user.to_string())
        .execute(tx.connection())
        .await?
        .rows_affected();
    sqlx::query("insert into api_tokens (token_hash, user_id, created_at) values (?, ?, ?)")
        .bind(token.hash().as_str().to_owned())
        .bind(user.to_string())
        .bind(now.as_micros())
        .execute(tx.connection())
        .await?;
    if replaced > 0 {
        count_revocation(tx).await?;
    }
    Ok(token)
}

pub(super) async fn replace_link(
    tx: &mut Tx,
    user: UserId,
    now: Timestamp,
) -> Result<IssuedLink, StoreError> {
    let (token, expires_at) = (Token::generate_link(), now.plus(LINK_LIFETIME));
    sqlx::query("delete from link_tokens where user_id = ?")
        .bind(user.to_string())
        .execute(tx.connection())
        .await?;
    sqlx::query("insert into link_tokens (token_hash, user_id, expires_at) values (?, ?, ?)")
        .bind(token.hash().as_str().to_owned())
        .bind(user.to_string())
        .bind(expires_at.as_micros())
        .execute(tx.connection())
        .await?;
    let bot_username = sqlx::query_scalar("select value from service_state where name = 'bot_username'")
        .fetch_optional(tx.connection())
        .await?;
    Ok(IssuedLink {
        token,
        expires_at,
        bot_username,
    })
}
