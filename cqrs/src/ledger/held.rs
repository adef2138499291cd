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
    sqlx::query(
        "update deliveries set due_at = ?, held = null where user_id = ? and status = 'planned' and held is not null",
    )
    .bind(now.as_micros())
    .bind(user.to_string())
    .execute(connection)
    .await?;
    Ok(())
}
