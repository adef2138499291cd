use std::time::Duration;

use super::Queries;
use crate::commands::REPEATABLE;
use crate::domain::{Timestamp, TokenHash};
use crate::{Caller, StoreError, rows};

/// How long a token that became too old still lets its user replace it.
const GRACE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What a token that lets in no more still is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LateToken {
    /// It only became too old, and not long ago: its user may have another, or go.
    TooOld(Caller),
    /// It was replaced a moment ago: it may repeat the request that replaced it, which the command makes sure of.
    Replaced(Caller),
}

impl Queries {
    /// What this token still is, which [`Self::authenticate`] does not know (any more). From the write server, as there.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn late_token(&self, token: &TokenHash) -> Result<Option<LateToken>, StoreError> {
        let now = Timestamp::now();
        if let Some(lifetime) = self.api_token_lifetime {
            let oldest = now.minus(lifetime).minus(GRACE);
            let select = "select user_id from api_tokens where token_hash = ? and created_at > ?";
            if let Some(caller) = self.holder_of(select, token, oldest).await? {
                return Ok(Some(LateToken::TooOld(caller)));
            }
        }
        let select = "select user_id from replaced_tokens where token_hash = ? and replaced_at > ?";
        let replaced = self.holder_of(select, token, now.minus(REPEATABLE)).await?;
        Ok(replaced.map(LateToken::Replaced))
    }

    async fn holder_of(
        &self,
        select: &'static str,
        token: &TokenHash,
        since: Timestamp,
    ) -> Result<Option<Caller>, StoreError> {
        let row = sqlx::query(select)
            .bind(token.as_str().to_owned())
            .bind(since.as_micros())
            .fetch_optional(self.store.primary())
            .await?;
        row.map(|row| rows::text(&row, "api_tokens", "user_id").map(Caller))
            .transpose()
    }
}
