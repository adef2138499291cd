//! Who takes messages to people.

mod telegram;
mod terminal;

use std::future::Future;
use std::time::Duration;

use cqrs::Pace;
use cqrs::domain::ChatId;

pub use telegram::TelegramSender;
pub use terminal::TerminalSender;

use crate::text::alerts::Outgoing;

/// Takes a message to its reader.
pub trait Sender: Send + Sync + 'static {
    /// Sends a message; gives its id, where it gets one. `chat`: none if the user has linked none. `reply_to`: the id of the
    /// message that this one answers; it goes without if that one is gone.
    fn send(
        &self,
        chat: Option<ChatId>,
        message: &Outgoing,
        reply_to: Option<i64>,
    ) -> impl Future<Output = Result<Option<i64>, SendError>> + Send;

    /// Whether messages could be sent now.
    fn check(&self) -> impl Future<Output = Result<(), SendError>> + Send;

    /// How often it takes messages.
    fn pace(&self) -> Pace;
}

/// Why a message was not sent. No variant holds the bot's token or a chat's id, so all may be logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The user has linked no chat.
    #[error("no chat linked")]
    NoChat,
    /// Too much was sent to this chat.
    #[error("the messenger asks to wait {} s", retry_after.as_secs())]
    TooManyRequests {
        /// How long to wait.
        retry_after: Duration,
    },
    /// The chat now has another id.
    #[error("the chat was moved")]
    Moved {
        /// The new one.
        to: ChatId,
    },
    /// The user does not want to be written to.
    #[error("the chat takes no messages: {0}")]
    Blocked(String),
    /// The messenger refuses this message for good.
    #[error("the messenger refuses the message: {0}")]
    Refused(String),
    /// The messenger refuses the bot.
    #[error("the messenger refuses the bot's token; set TELEGRAM_BOT_TOKEN to one that @BotFather shows")]
    Unauthorized,
    /// The messenger can't be reached: it surely has not got the message.
    #[error("the messenger can't be reached: {0}")]
    NotConnected(String),
    /// No answer that can be understood: it may have sent the message.
    #[error("the messenger gave no clear answer: {0}")]
    Unclear(String),
}
