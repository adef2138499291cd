use std::sync::Arc;

use crate::domain::{RuleId, Ticker, Timestamp};

/// The store could not do its work. Not the caller's fault; trying again may help.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A setting can't work.
    #[error("{0}")]
    Setting(String),
    /// The database answered with an error or not at all.
    #[error("the database failed: {0}")]
    Database(sqlx::Error),
    /// The database refused a row for what is in it.
    #[error(
        "the database refused a row (error {code}; its message is left out, as it may quote personal data)"
    )]
    RowRefused {
        /// SQLSTATE (MySQL) or extended result code (SQLite).
        code: String,
    },
    /// The page token was not made by this list.
    #[error(
        "\"{value}\" is not a page token; give next_page_token as the answer before had it, or none for the first page"
    )]
    PageToken {
        /// What was given, cut to 64 characters.
        value: String,
    },
    /// The schema could not be brought up to date.
    #[error("the database's schema could not be brought up to date: {0}")]
    Migration(sqlx::migrate::MigrateError),
    /// A row holds what this program never writes.
    #[error("the table {table} holds a row that this program can't read: {reason}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// What is wrong with the row.
        reason: String,
    },
    /// Another transaction answered the same request meanwhile: what this one found out is no longer so. Transactions that
    /// meet it begin again, so that hardly anybody sees it.
    #[error("the same request was answered at the same time; send it again")]
    Overtaken,
    /// What was done for several callers at once failed.
    #[error(transparent)]
    Shared(Arc<StoreError>),
    /// The task that ran a transaction died.
    #[error("a database task ended early")]
    Interrupted,
}

impl StoreError {
    /// Whether the database, or what it holds, refused the work, so that nothing of it was done; other failures leave it open
    /// what was done, or would meet the same work again.
    pub(crate) const fn is_refusal(&self) -> bool {
        match self {
            Self::Database(error) => matches!(error, sqlx::Error::Database(_)),
            Self::RowRefused { .. } | Self::Corrupt { .. } | Self::Overtaken => true,
            Self::Setting(_)
            | Self::PageToken { .. }
            | Self::Migration(_)
            | Self::Shared(_)
            | Self::Interrupted => false,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::error::ErrorKind;

        // MySQL quotes the value that violates a key or does not fit a column, and errors are logged.
        let refused = error.as_database_error().and_then(|error| {
            let code = error.code().map(|code| code.into_owned()).unwrap_or_default();
            let is_constraint = !matches!(error.kind(), ErrorKind::Other);
            // SQLSTATE classes: 22 is data that does not fit, 23 a constraint.
            (is_constraint || (code.len() == 5 && (code.starts_with("22") || code.starts_with("23"))))
                .then_some(code)
        });
        match refused {
            Some(code) => Self::RowRefused { code },
            None => Self::Database(error),
        }
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        Self::Migration(error)
    }
}

/// A command was refused, or the store failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No such rule, or not the caller's.
    #[error("there is no rule {0}; list your rules to see their ids")]
    RuleNotFound(RuleId),
    /// No such user any more.
    #[error("there is no such user any more")]
    UserNotFound,
    /// The API token let the caller in, and was replaced or revoked since.
    #[error("the token is not valid any more")]
    TokenInvalid,
    /// The edit would leave a rule that makes no sense.
    #[error(transparent)]
    Range(#[from] crate::domain::RangeError),
    /// The rule would never be evaluated.
    #[error("the expiry time {expires_at} has passed; give one in the future, or none")]
    ExpiryInPast {
        /// As given.
        expires_at: Timestamp,
    },
    /// The caller has as many rules as allowed.
    #[error("you have {limit} rules, the most allowed; delete one first")]
    TooManyRules {
        /// How many are allowed for one user.
        limit: u32,
    },
    /// The embedded log can't hold more.
    #[error(
        "the embedded log holds at most {limit} rules in all; delete some, or run on Kafka (KAFKA_BOOTSTRAP_SERVERS)"
    )]
    EmbeddedLogFull {
        /// How many rules fit.
        limit: u32,
    },
    /// The same request id came with another body before.
    #[error("this request_id was used for another request in the last 24 hours; make a new one")]
    RequestIdReused,
    /// It is not any more as the caller saw it.
    #[error("the {what} was changed since its etag was read; read it again and decide anew")]
    Changed {
        /// "rule" or "user".
        what: &'static str,
    },
    /// The one-time token is unknown, used or expired.
    #[error("this link was used before, has expired or never existed; ask for a new one")]
    LinkInvalid,
    /// The chat is a group or a channel.
    #[error("alerts are for one person; open the link in a private chat with the bot, not in a group")]
    PrivateChatsOnly,
    /// The rule is not out of range, so there is no return to wait for.
    #[error("{ticker} is in its range now; snooze it for a time instead, such as 1h")]
    RuleInRange {
        /// What the rule watches.
        ticker: Ticker,
    },
    /// The answer is to what is not so any more.
    #[error("the prices of {ticker} were counted anew once more; look at its rules again")]
    RestatedAgain {
        /// Whose rules are on hold.
        ticker: Ticker,
    },
    /// The snooze would be over at once.
    #[error("the end of the snooze, {until}, has passed; give one in the future")]
    SnoozeInPast {
        /// As given.
        until: Timestamp,
    },
    /// The ticker is not known (kept for texts that suggest one).
    #[error("nothing is known of {0}")]
    UnknownTicker(Ticker),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for CommandError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}
