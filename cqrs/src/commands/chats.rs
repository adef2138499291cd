use sqlx::Row as _;

use super::{Caller, Commands};
use crate::domain::{ChatId, Language, Timestamp, Token, User, UserId};
use crate::ledger::{Resumed, resume_in};
use crate::rows::{self, USER_COLUMNS};
use crate::transaction::Tx;
use crate::{CommandError, StoreError, dialect};

/// A user whose chat was linked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linked {
    /// As they are now.
    pub user: User,
    /// What happened while no message reached them; none: they were reached all the while.
    pub resumed: Option<Resumed>,
}

impl Commands {
    /// Binds a private chat to the user the link token was made for; the token is used up. A chat has one user: one linked
    /// to another user before is moved to this one. `language` is what the messenger says that the person speaks. From here
    /// on the user is taken for told of what is open, as by `Ledger::resume_chat`: the caller tells them.
    ///
    /// # Errors
    /// `PrivateChatsOnly`: the chat is a group, and the token is still good. `LinkInvalid`: the token is unknown, used or
    /// expired.
    pub async fn link_chat(
        &self,
        token: &Token,
        chat: ChatId,
        language: Option<Language>,
    ) -> Result<Linked, CommandError> {
        if !chat.is_private() {
            return Err(CommandError::PrivateChatsOnly);
        }
        let hash = token.hash();
        self.transaction(move |tx| {
            let hash = hash.as_str().to_owned();
            Box::pin(async move {
                let now = Timestamp::now();
                let user = use_link(tx, hash, now).await?;
                bind(tx, &user, chat, language, now).await?;
                let id: UserId = user.parse().map_err(|error| rows::corrupt("users", error))?;
                let resumed = resume_in(tx, id, now).await?;
                let select = format!("select {USER_COLUMNS} from users where id = ?");
                let row = dialect::query(select)
                    .bind(user)
                    .fetch_one(tx.connection())
                    .await?;
                let user = rows::user(&row)?;
                Ok(Linked { user, resumed })
            })
        })
        .await
    }

    /// Lets go of the caller's chat: they get no more messages, and their rules stay. Without a chat nothing changes.
    ///
    /// # Errors
    /// Only the store's.
    pub async fn unlink_chat(&self, caller: Caller) -> Result<(), CommandError> {
        self.transaction(move |tx| {
            Box::pin(async move {
                let now = Timestamp::now().as_micros();
                sqlx::query(
                    "update users set chat_suspended_at = coalesce(chat_suspended_at, ?), chat_id = null,
                         updated_at = ? where id = ? and chat_id is not null",
                )
                .bind(now)
                .bind(now)
                .bind(caller.0.to_string())
                .execute(tx.connection())
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Remembers what the messenger says that the caller speaks; none: nothing that is known here. Writes only what is
    /// new, so it may be called with each message from the user.
    ///
    /// # Errors
    /// Only the store's.
    pub async fn note_messenger_language(
        &self,
        caller: Caller,
        language: Option<Language>,
    ) -> Result<(), CommandError> {
        let code = language.map(Language::code);
        let known: Option<Option<String>> =
            sqlx::query_scalar("select messenger_language from users where id = ?")
                .bind(caller.0.to_string())
                .fetch_optional(self.store.primary())
                .await?;
        if known.is_none_or(|known| known.as_deref() == code) {
            return Ok(());
        }
        self.transaction(move |tx| {
            Box::pin(async move {
                sqlx::query("update users set messenger_language = ? where id = ?")
                    .bind(code)
                    .bind(caller.0.to_string())
                    .execute(tx.connection())
                    .await?;
                Ok(())
            })
        })
        .await
    }
}

/// Whose link it is; it works no more.
async fn use_link(tx: &mut Tx, hash: String, now: Timestamp) -> Result<String, CommandError> {
    let select = format!(
        "select user_id, expires_at from link_tokens where token_hash = ?{}",
        tx.dialect.for_update()
    );
    let row = dialect::query(select)
        .bind(hash)
        .fetch_optional(tx.connection())
        .await?;
    let row = row.ok_or(CommandError::LinkInvalid)?;
    if rows::time(&row, "expires_at")? <= now {
        return Err(CommandError::LinkInvalid);
    }
    let user: String = row.try_get("user_id")?;
    sqlx::query("delete from link_tokens where user_id = ?")
        .bind(user.clone())
        .execute(tx.connection())
        .await?;
    Ok(user)
}

async fn bind(
    tx: &mut Tx,
    user: &str,
    chat: ChatId,
    language: Option<Language>,
    now: Timestamp,
) -> Result<(), StoreError> {
    // Another transaction that binds the same chat to another user is invisible until it commits, and then the chat's
    // key is there already: take it from that user too. Only people who link one chat at the same moment get here.
    let mut attempts = 10;
    loop {
        sqlx::query(
            "update users set chat_suspended_at = coalesce(chat_suspended_at, ?), chat_id = null, updated_at = ?
             where chat_id = ? and id <> ?",
        )
        .bind(now.as_micros())
        .bind(now.as_micros())
        .bind(chat.get())
        .bind(user.to_owned())
        .execute(tx.connection())
        .await?;
        // Whoever never had a chat was not reached since they registered. (First: MySQL assigns from left to right.)
        let bound = sqlx::query(
            "update users set chat_suspended_at = case when chat_id is null then coalesce(chat_suspended_at, created_at)
             else chat_suspended_at end, chat_id = ?, messenger_language = ?, updated_at = ? where id = ?",
        )
        .bind(chat.get())
        .bind(language.map(Language::code))
        .bind(now.as_micros())
        .bind(user.to_owned())
        .execute(tx.connection())
        .await;
        attempts -= 1;
        match bound {
            Ok(_) => return Ok(()),
            Err(error)
                if attempts > 0
                    && error
                        .as_database_error()
                        .is_some_and(|error| error.is_unique_violation()) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
