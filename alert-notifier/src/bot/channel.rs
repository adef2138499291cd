//! What goes to Telegram in answer to its users.

use std::time::Duration;

use cqrs::domain::ChatId;
use cqrs::{Ledger, Pace};
use teloxide::payloads::{
    AnswerCallbackQuerySetters as _, EditMessageReplyMarkupSetters as _, EditMessageTextSetters as _,
    SendDocumentSetters as _, SendMessageSetters as _, SendPhotoSetters as _,
};
use teloxide::prelude::Requester as _;
use teloxide::types::{
    CallbackQueryId, ForceReply, InlineKeyboardButton, InlineKeyboardMarkup, InputFile, LinkPreviewOptions,
    MessageId, ParseMode, Recipient, ReplyMarkup,
};
use teloxide::{ApiError, Bot, RequestError};

use super::reply::{Change, Reply};
use crate::buttons::Keyboard;

/// How often an answer is sent, or a message changed, that does not get through.
const TRIES: u32 = 3;
/// Longest that Telegram's "too many" is waited for: its user would write again by then.
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// Sends answers, at their places in the same stream as alerts.
#[derive(Debug)]
pub(super) struct Channel {
    bot: Bot,
    ledger: Ledger,
    pace: Pace,
}

impl Channel {
    pub(super) const fn new(bot: Bot, ledger: Ledger, pace: Pace) -> Self {
        Self { bot, ledger, pace }
    }

    pub(super) async fn notice(&self, query: &CallbackQueryId, notice: &str) -> Result<(), RequestError> {
        let answer = self.bot.answer_callback_query(query.clone());
        if notice.is_empty() {
            answer.await?;
        } else {
            answer.text(notice).await?;
        }
        Ok(())
    }

    /// Waits for a place in the messenger's stream.
    async fn turn(&self) {
        match self.ledger.place_for_answer(self.pace).await {
            Ok(wait) => tokio::time::sleep(wait).await,
            // Telegram itself says when it is too much.
            Err(error) => tracing::debug!(%error, "an answer goes without a place in the stream"),
        }
    }

    pub(super) async fn change(
        &self,
        chat: ChatId,
        message: MessageId,
        change: &Change,
    ) -> Result<(), RequestError> {
        let mut tries = 1;
        while let Err(error) = self.try_change(chat, message, change).await {
            let Some(wait) = wait_after(&error, tries) else {
                return Err(error);
            };
            tokio::time::sleep(wait).await;
            tries += 1;
        }
        Ok(())
    }

    async fn try_change(
        &self,
        chat: ChatId,
        message: MessageId,
        change: &Change,
    ) -> Result<(), RequestError> {
        self.turn().await;
        let to = Recipient::from(teloxide::types::ChatId(chat.get()));
        let changed = match change {
            Change::Buttons(keyboard) => self
                .bot
                .edit_message_reply_markup(to, message)
                .reply_markup(markup(keyboard))
                .await
                .map(drop),
            Change::Message(text, keyboard) => self
                .bot
                .edit_message_text(to, message, text.html())
                .parse_mode(ParseMode::Html)
                .link_preview_options(no_preview())
                .reply_markup(markup(keyboard))
                .await
                .map(drop),
        };
        match changed {
            // Pressed twice.
            Err(RequestError::Api(ApiError::MessageNotModified)) => Ok(()),
            changed => changed,
        }
    }

    pub(super) async fn send_all(&self, chat: ChatId, replies: &[Reply]) -> Result<(), RequestError> {
        for reply in replies {
            let mut tries = 1;
            while let Err(error) = self.send(chat, reply).await {
                let Some(wait) = wait_after(&error, tries) else {
                    return Err(error);
                };
                tokio::time::sleep(wait).await;
                tries += 1;
            }
        }
        Ok(())
    }

    async fn send(&self, chat: ChatId, reply: &Reply) -> Result<(), RequestError> {
        self.turn().await;
        let to = teloxide::types::ChatId(chat.get());
        match reply {
            Reply::Text { text, keyboard } => {
                let mut message = self
                    .bot
                    .send_message(to, text.html())
                    .parse_mode(ParseMode::Html)
                    .link_preview_options(no_preview());
                if !keyboard.is_empty() {
                    message = message.reply_markup(markup(keyboard));
                }
                message.await?;
            }
            Reply::Question { text, placeholder } => {
                let field = ForceReply::new().input_field_placeholder((*placeholder).to_owned());
                self.bot
                    .send_message(to, text.html())
                    .parse_mode(ParseMode::Html)
                    .link_preview_options(no_preview())
                    .reply_markup(ReplyMarkup::ForceReply(field))
                    .await?;
            }
            Reply::Photo {
                png,
                caption,
                keyboard,
            } => {
                let file = InputFile::memory(png.clone()).file_name("chart.png");
                let mut photo = self
                    .bot
                    .send_photo(to, file)
                    .caption(caption.caption_html())
                    .parse_mode(ParseMode::Html);
                if !keyboard.is_empty() {
                    photo = photo.reply_markup(markup(keyboard));
                }
                photo.await?;
            }
            Reply::File { name, bytes, caption } => {
                let file = InputFile::memory(bytes.clone()).file_name(*name);
                self.bot
                    .send_document(to, file)
                    .caption(caption.caption_html())
                    .parse_mode(ParseMode::Html)
                    .await?;
            }
        }
        Ok(())
    }
}

/// How long to wait before the next try. None: there is none.
fn wait_after(error: &RequestError, tries: u32) -> Option<Duration> {
    let wait = match error {
        RequestError::RetryAfter(wait) => wait.duration(),
        RequestError::Network(_) | RequestError::InvalidJson { .. } => Duration::from_secs(1),
        RequestError::Api(_) | RequestError::MigrateToChatId(_) | RequestError::Io(_) => return None,
    };
    (tries < TRIES && wait <= LONGEST_WAIT).then_some(wait)
}

fn markup(keyboard: &Keyboard) -> InlineKeyboardMarkup {
    InlineKeyboardMarkup::new(keyboard.rows().iter().map(|row| {
        row.iter()
            .map(|button| InlineKeyboardButton::callback(button.label.clone(), button.action.to_string()))
            .collect::<Vec<_>>()
    }))
}

const fn no_preview() -> LinkPreviewOptions {
    LinkPreviewOptions {
        is_disabled: true,
        url: None,
        prefer_small_media: false,
        prefer_large_media: false,
        show_above_text: false,
    }
}
