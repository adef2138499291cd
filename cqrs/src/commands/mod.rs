mod changes;
mod chats;
mod creation;
mod requests;
mod restated;
mod rules;
mod snoozing;
mod tokens;
mod trials;
mod users;

use changes::RuleBatches;

pub use chats::Linked;
pub use creation::RuleRefusal;
pub use restated::{HoldAnswer, Released};
pub use tokens::Holder;
pub(crate) use tokens::{REPEATABLE, answered_when_noticed, revoke};

use crate::domain::{
    Email, Etag, Language, Note, Price, QuietHours, ReminderInterval, Rule, TimeZone, Timestamp, Token, User,
    UserId,
};
use crate::transaction::{Ending, Tx, TxFuture};
use crate::{CommandError, Store};

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
    /// Changes nothing: the edit is refused where the rule is another than this by now.
    pub etag: Option<Etag>,
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
    /// Changes nothing: the edit is refused where the user is another than this by now.
    pub etag: Option<Etag>,
}

/// Writes on behalf of users. Each command is one transaction, or with others in one where it changes a single rule, run
/// in a task of its own so that a caller who goes away can't leave it half done; when it returns `Ok`, it is durable and
/// its outbox row with it. Clones share the batches.
///
/// Any of them may return [`CommandError::Store`](crate::CommandError::Store); the outcome is unknown then, and known
/// after the command was repeated with the same [`Idempotency`].
#[derive(Debug, Clone)]
pub struct Commands {
    store: Store,
    limits: Limits,
    ending: Ending,
    batches: RuleBatches,
}

impl Commands {
    pub(crate) fn new(store: Store, limits: Limits) -> Self {
        Self {
            batches: changes::batches(store.clone(), limits),
            store,
            limits,
            ending: Ending::Commits,
        }
    }

    /// The same commands for those who only want to know what would come of one: each does all its work and answers as
    /// it would, and then all of it is taken back.
    #[must_use]
    pub fn rehearsing(&self) -> Self {
        Self {
            ending: Ending::RollsBack,
            ..self.clone()
        }
    }

    /// The one way of a command to the store.
    async fn transaction<T, F>(&self, work: F) -> Result<T, CommandError>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx) -> TxFuture<'t, T, CommandError> + Send + Sync + 'static,
    {
        self.store.transaction_that(self.ending, work).await
    }
}
