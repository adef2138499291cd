//! A chat that takes messages again.

use sqlx::{AnyConnection, Row as _};

use super::finish::end_planned;
use super::rows::{self, Reader};
use super::{Resumed, check_interval, settings};
use crate::dialect;
use crate::domain::{Timestamp, UserId};
use crate::transaction::Tx;
use crate::{Store, StoreError};

pub(super) async fn resume(
    store: &Store,
    user: UserId,
    now: Timestamp,
) -> Result<Option<Resumed>, StoreError> {
    store
        .transaction(move |tx| Box::pin(async move { resume_in(tx, user, now).await }))
        .await
}

/// As `Ledger::resume_chat`, in the transaction of the command that links a chat.
pub(crate) async fn resume_in(
    tx: &mut Tx,
    user: UserId,
    now: Timestamp,
) -> Result<Option<Resumed>, StoreError> {
    let select = format!(
        "select chat_suspended_at from users where id = ?{}",
        tx.dialect.for_update()
    );
    let connection = tx.connection();
    let row = dialect::query(select)
        .bind(user.to_string())
        .fetch_optional(&mut *connection)
        .await?;
    let since = match row {
        Some(row) => Reader("users").optional_time(&row, "chat_suspended_at")?,
        None => None,
    };
    let Some(since) = since else { return Ok(None) };
    // What was planned meanwhile was missed like the rest: the answer tells what is so now.
    end_planned(connection, user, now).await?;
    sqlx::query("update users set chat_suspended_at = null where id = ?")
        .bind(user.to_string())
        .execute(&mut *connection)
        .await?;
    let missed: i64 = sqlx::query(
        "select count(*) as missed from deliveries where user_id = ? and status = 'undeliverable' \
         and planned_at > 0 and due_at >= ? and kind in ('breach', 'jump', 'back')",
    )
    .bind(user.to_string())
    .bind(since.as_micros())
    .fetch_one(&mut *connection)
    .await?
    .try_get("missed")?;
    tell_open(connection, user, now).await?;
    Ok(Some(Resumed {
        missed: u64::try_from(missed).unwrap_or(0),
        open: rows::open_episodes(connection, user).await?,
    }))
}

/// What is open counts as told from here on, and the rest as over.
async fn tell_open(connection: &mut AnyConnection, user: UserId, now: Timestamp) -> Result<(), StoreError> {
    let chosen = settings::of_users(connection, std::iter::once(user)).await?;
    let reminder = chosen.get(&user).and_then(|chosen| chosen.reminder);
    sqlx::query(
        "update episodes set told_side = side, told_episode = episode_id, message_id = null, last_delivered_at = ?, \
         check_at = ? where user_id = ? and episode_id is not null",
    )
    .bind(now.as_micros())
    .bind(now.plus(check_interval(reminder)).as_micros())
    .bind(user.to_string())
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "update episodes set told_side = 'in', told_episode = null, message_id = null \
         where user_id = ? and episode_id is null",
    )
    .bind(user.to_string())
    .execute(connection)
    .await?;
    Ok(())
}
