use super::{Email, Language, QuietHours, ReminderInterval, TimeZone, Timestamp, UserId};

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
    /// Chosen by the user; none: as the messenger says.
    pub chosen_language: Option<Language>,
    /// As the messenger last said.
    pub messenger_language: Option<Language>,
    /// Times are shown in it.
    pub time_zone: TimeZone,
    /// When messages wait.
    pub quiet_hours: Option<QuietHours>,
    /// Since when no message reaches them: the linked chat takes none, or there is none any more. None: the chat takes them, or
    /// there never was one.
    pub chat_suspended_at: Option<Timestamp>,
    /// When they registered.
    pub created_at: Timestamp,
}

impl User {
    /// What they are written to in.
    #[must_use]
    pub fn language(&self) -> Language {
        self.chosen_language
            .or(self.messenger_language)
            .unwrap_or_default()
    }
}
