//! What users chose about their messages.

use std::collections::{BTreeSet, HashMap};

use sqlx::{AnyConnection, QueryBuilder, Row as _};

use super::rows::Reader;
use crate::domain::{QuietHours, ReminderInterval, TimeZone, UserId};
use crate::sizes::push_in;
use crate::{StoreError, rows};

/// What one user chose.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) reminder: Option<ReminderInterval>,
    pub(super) quiet_hours: Option<QuietHours>,
    /// Read only where there are quiet hours: looking a zone up takes its time.
    pub(super) time_zone: TimeZone,
    /// The chat takes no messages.
    pub(super) suspended: bool,
}

/// Of those of the users that there are.
pub(super) async fn of_users(
    connection: &mut AnyConnection,
    users: impl Iterator<Item = UserId>,
) -> Result<HashMap<UserId, Settings>, StoreError> {
    let users: BTreeSet<UserId> = users.collect();
    let mut select = QueryBuilder::new(
        "select id, reminder_interval_secs, quiet_from, quiet_to, time_zone, chat_suspended_at from users where id ",
    );
    push_in(&mut select, users.iter().map(ToString::to_string));
    let read = Reader("users");
    let mut settings = HashMap::new();
    for row in select.build().fetch_all(connection).await? {
        let seconds: Option<i64> = row.try_get("reminder_interval_secs")?;
        let quiet_hours = rows::quiet_hours(&row)?;
        let of_user = Settings {
            reminder: seconds
                .map(ReminderInterval::from_secs)
                .transpose()
                .map_err(|error| rows::corrupt("users", error))?,
            time_zone: match quiet_hours {
                Some(_) => rows::text(&row, "users", "time_zone")?,
                None => TimeZone::UTC,
            },
            quiet_hours,
            suspended: row.try_get::<Option<i64>, _>("chat_suspended_at")?.is_some(),
        };
        settings.insert(read.parsed(&row, "id")?, of_user);
    }
    Ok(settings)
}
