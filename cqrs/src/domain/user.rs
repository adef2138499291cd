use super::{Email, ReminderInterval, Timestamp, UserId};

/// A person who owns rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Their name in this system.
    pub id: UserId,
    /// Their address.
    pub email: Email,
    /// Whether a Telegram chat is linked.
    pub telegram_linked: bool,
    /// How often to remind; none: only the breach and the return are told.
    pub reminder_interval: Option<ReminderInterval>,
    /// When they registered.
    pub created_at: Timestamp,
}
