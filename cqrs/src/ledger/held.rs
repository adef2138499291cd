//! Messages held back by what a user chose.

use sqlx::AnyConnection;

use crate::StoreError;
use crate::domain::{Timestamp, UserId};

/// For the commands that change what holds a user's messages back, in their transaction: the messages are looked at again
/// at once.
pub(crate) async fn release_held(
    connection: &mut AnyConnection,
    user: UserId,
    now: Timestamp,
) -> Result<(), StoreError> {
    // `held` stays: it says why they come late. `planned_at > 0` names the rest of the index by user for SQLite.
    sqlx::query(
        "update deliveries set due_at = ? where user_id = ? and status = 'planned' and planned_at > 0 \
         and held is not null and due_at > ?",
    )
    .bind(now.as_micros())
    .bind(user.to_string())
    .bind(now.as_micros())
    .execute(&mut *connection)
    .await?;
    // A look at a reminder's time waits for the same holds.
    sqlx::query(
        "update episodes set check_at = ? where user_id = ? and last_delivered_at is not null and check_at > ?",
    )
    .bind(now.as_micros())
    .bind(user.to_string())
    .bind(now.as_micros())
    .execute(connection)
    .await?;
    Ok(())
}
