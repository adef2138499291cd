mod chats;
mod requests;
mod restated;
mod rules;
mod snoozing;
mod users;

pub use chats::Linked;
pub use restated::{HoldAnswer, Released};

use crate::Store;
use crate::domain::{
    Email, Language, Note, Price, QuietHours, ReminderInterval, Rule, TimeZone, Timestamp, Token, User,
    UserId,
};

/// The user on whose behalf a command runs; made by `Queries::authenticate` or from a linked chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller(pub UserId);

/// How much one installation allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rules of one user.
    pub rules_per_user: u32,
    /// Rules in all; none: no limit. Set for the embedded log.
    pub rules_in_all: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rules_per_user: 200,
            rules_in_all: None,
        }
    }
}

/// Makes a repeated command harmless for 24 hours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The caller's `request_id`. For a registration it must be hard to guess: who repeats one gets a fresh API token.
    pub request_id: String,
    /// Hash over the request without its id (SHA-256, hexadecimal), with the method's name: tells another body.
    pub fingerprint: String,
}

/// What a registration answers.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The new user.
    pub user: User,
    /// Shown once.
    pub api_token: Token,
    /// Links a chat, once.
    pub link: IssuedLink,
    /// In the order given.
    pub rules: Vec<Rule>,
}

/// A one-time token that binds a chat to a user.
#[derive(Debug, Clone)]
pub struct IssuedLink {
    /// For `/start`.
    pub token: Token,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// The bot's user name as the notifier stored it (`Ledger::set_bot_username`), if one has run.
    pub bot_username: Option<String>,
}

/// Which fields of a rule change; `None` leaves one as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleEdit {
    /// `Some(None)` clears it.
    pub low: Option<Option<Price>>,
    /// `Some(None)` clears it.
    pub high: Option<Option<Price>>,
    /// New text.
    pub note: Option<Note>,
    /// Pause or resume.
    pub paused: Option<bool>,
    /// `Some(None)` clears it.
    pub expires_at: Option<Option<Timestamp>>,
}

/// Which fields of a user change; `None` leaves one as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserEdit {
    /// New address.
    pub email: Option<Email>,
    /// `Some(None)`: no reminders.
    pub reminder_interval: Option<Option<ReminderInterval>>,
    /// `Some(None)`: as the messenger says.
    pub language: Option<Option<Language>>,
    /// Times are shown in it, and quiet hours meant in it.
    pub time_zone: Option<TimeZone>,
    /// `Some(None)`: none.
    pub quiet_hours: Option<Option<QuietHours>>,
}

/// Writes on behalf of users. Each command is one transaction, run in a task of its own so that a caller who goes away
/// can't leave it half done; when it returns `Ok`, it is durable and its outbox row with it.
///
/// Any of them may return [`CommandError::Store`](crate::CommandError::Store); the outcome is unknown then, and known
/// after the command was repeated with the same [`Idempotency`].
#[derive(Debug, Clone)]
pub struct Commands {
    store: Store,
    limits: Limits,
}

impl Commands {
    pub(crate) fn new(store: Store, limits: Limits) -> Self {
        Self { store, limits }
    }
}
