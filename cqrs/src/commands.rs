use crate::domain::{
    ChatId, Email, NewRule, Note, Price, ReminderInterval, Rule, RuleId, Timestamp, Token, User, UserId,
};
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
        Self { rules_per_user: 200, rules_in_all: None }
    }
}

/// Makes a repeated command harmless for 24 hours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The caller's `request_id`.
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
}

/// Writes on behalf of users. Each command is one transaction, run in a task of its own so that a caller who goes away
/// can't leave it half done; when it returns `Ok`, it is durable and its outbox row with it.
#[derive(Debug, Clone)]
pub struct Commands {
    store: Store,
    limits: Limits,
}

impl Commands {
    pub(crate) fn new(store: Store, limits: Limits) -> Self {
        Self { store, limits }
    }

    /// Registers a user with their first rules: all or nothing.
    pub async fn register_user(
        &self,
        email: Email,
        rules: Vec<NewRule>,
        idempotency: Option<Idempotency>,
    ) -> Result<Registration, CommandError> {
        todo!()
    }

    pub async fn update_user(
        &self,
        caller: Caller,
        edit: UserEdit,
        idempotency: Option<Idempotency>,
    ) -> Result<User, CommandError> {
        todo!()
    }

    /// Deletes the user and all that is theirs; each rule's deletion goes through the outbox.
    pub async fn delete_user(&self, caller: Caller) -> Result<(), CommandError> {
        todo!()
    }

    pub async fn create_link(&self, caller: Caller) -> Result<IssuedLink, CommandError> {
        todo!()
    }

    pub async fn rotate_token(&self, caller: Caller) -> Result<Token, CommandError> {
        todo!()
    }

    /// Binds a chat to the user the link token was made for; the token is used up. A chat has one user: one linked to
    /// another user before is moved to this one. Returns the user.
    pub async fn link_chat(&self, token: &Token, chat: ChatId) -> Result<User, CommandError> {
        todo!()
    }

    pub async fn create_rule(
        &self,
        caller: Caller,
        rule: NewRule,
        idempotency: Option<Idempotency>,
    ) -> Result<Rule, CommandError> {
        todo!()
    }

    pub async fn update_rule(
        &self,
        caller: Caller,
        rule: RuleId,
        edit: RuleEdit,
        idempotency: Option<Idempotency>,
    ) -> Result<Rule, CommandError> {
        todo!()
    }

    pub async fn delete_rule(
        &self,
        caller: Caller,
        rule: RuleId,
        idempotency: Option<Idempotency>,
    ) -> Result<(), CommandError> {
        todo!()
    }

    /// Marks up to `limit` rules whose time has passed as expired (a new version each). Returns how many.
    pub async fn expire_rules(&self, now: Timestamp, limit: u32) -> Result<usize, CommandError> {
        todo!()
    }
}
