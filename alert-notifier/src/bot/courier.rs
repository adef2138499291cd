//! Takes updates to the desk, and what it answers to Telegram.

use std::io::Cursor;
use std::time::Duration;

use cqrs::domain::{ChatId, Language};
use cqrs::{Ledger, Pace};
use teloxide::net::Download as _;
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

use super::command::{Written, read};
use super::incoming::{Document, Incoming, Message, What};
use super::reply::{Change, Press, Reply};
use super::request::{Request, Table, request};
use super::text::refusals;
use super::{Desk, reason};
use crate::buttons::Keyboard;
use crate::text::rich::Text;

/// How long one update may take, with all that is sent in return.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// How long its user may be told that it took longer.
const EXCUSE_LIMIT: Duration = Duration::from_secs(10);
/// How often an answer is sent, or a message changed, that does not get through.
const TRIES: u32 = 3;
/// Longest that Telegram's "too many" is waited for: its user would write again by then.
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// Largest file with rules: 10,000 of them take less.
const MAX_FILE: u64 = 1_024 * 1_024;

/// Handles updates.
#[derive(Debug)]
pub(crate) struct Courier {
    bot: Bot,
    /// The bot's name.
    me: String,
    desk: Desk,
    /// Answers take their places in the same stream as alerts.
    ledger: Ledger,
    pace: Pace,
}

impl Courier {
    pub(crate) const fn new(bot: Bot, me: String, desk: Desk, ledger: Ledger, pace: Pace) -> Self {
        Self {
            bot,
            me,
            desk,
            ledger,
            pace,
        }
    }

    /// Does what the update calls for, in bounded time. All that goes wrong ends here.
    pub(super) async fn handle(&self, incoming: &Incoming) {
        // On the heap: it holds all that any command does.
        let handled = tokio::time::timeout(TIME_LIMIT, Box::pin(self.handle_incoming(incoming))).await;
        match handled {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let refused = matches!(error, RequestError::Api(_));
                let error = reason(&error);
                tracing::warn!(error, "an answer did not reach its user");
                // Perhaps a picture that Telegram does not take: a few words it may.
                if refused {
                    self.excuse(incoming, refusals::broken).await;
                }
            }
            Err(_) => {
                tracing::warn!("an update took too long and was given up");
                match incoming.what {
                    What::Said { .. } | What::Pressed { .. } => {
                        self.excuse(incoming, refusals::too_slow).await;
                    }
                    // Nothing would have been done.
                    What::Edited(_) | What::InGroup(_) | What::PressedElsewhere(_) => {}
                }
            }
        }
    }

    /// Tells the user that this update, and what came after it, is not done, as there were too many. In bounded time.
    pub(super) async fn refuse(&self, incoming: &Incoming) {
        tracing::warn!("a chat sent more than could be handled; the last of it was dropped");
        match incoming.what {
            What::Said { .. } | What::Pressed { .. } | What::Edited(_) | What::PressedElsewhere(_) => {
                self.excuse(incoming, refusals::too_many).await;
            }
            // Nothing would have been done, and all would see it.
            What::InGroup(_) => {}
        }
    }

    async fn excuse(&self, incoming: &Incoming, text: fn(Language) -> Text) {
        let told = tokio::time::timeout(EXCUSE_LIMIT, async {
            let text = text(self.desk.language(incoming).await);
            self.send_all(incoming.chat, &[text.into()]).await
        });
        match told.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let error = reason(&error);
                tracing::warn!(error, "a user could not be told what was not done");
            }
            Err(_) => tracing::warn!("a user could not be told in time what was not done"),
        }
    }

    async fn handle_incoming(&self, incoming: &Incoming) -> Result<(), RequestError> {
        match &incoming.what {
            What::Said {
                text,
                in_answer_to,
                document,
            } => {
                let request = request(text, in_answer_to.as_deref(), document.as_ref(), &self.me);
                let replies = match self.file(incoming, &request).await? {
                    Fetched::Nothing => self.desk.answer(incoming, &request, None).await,
                    Fetched::File(file) => self.desk.answer(incoming, &request, Some(&file)).await,
                    Fetched::Refused(reply) => vec![reply],
                };
                self.send_all(incoming.chat, &replies).await
            }
            What::Pressed { query, data, message } => {
                let none = Keyboard::none();
                let keyboard = message.as_ref().map_or(&none, |message| &message.keyboard);
                let press = self.desk.press(incoming, data, keyboard).await;
                self.pressed(incoming.chat, query, message.as_ref(), press).await
            }
            What::Edited(text) => match read(text, &self.me) {
                Written::Command(..) | Written::Unknown(_) => {
                    let language = self.desk.language(incoming).await;
                    self.send_all(incoming.chat, &[refusals::edited(language).into()])
                        .await
                }
                Written::ForAnother | Written::Plain => Ok(()),
            },
            What::InGroup(text) => match read(text, &self.me) {
                // A group's members would all see, and change, what is one user's.
                Written::Command(..) => {
                    let language = incoming.language.unwrap_or_default();
                    self.send_all(incoming.chat, &[refusals::private_only(language).into()])
                        .await
                }
                Written::ForAnother | Written::Unknown(_) | Written::Plain => Ok(()),
            },
            What::PressedElsewhere(query) => {
                let notice = refusals::old_button(incoming.language.unwrap_or_default());
                self.notice(query, notice).await
            }
        }
    }

    /// The file that the request is about.
    async fn file(&self, incoming: &Incoming, request: &Request) -> Result<Fetched, RequestError> {
        let document = match request {
            Request::Table(Table::File(document)) => document,
            Request::Table(Table::Text(_))
            | Request::Command(..)
            | Request::Edit { .. }
            | Request::BareFile
            | Request::TooLong(_)
            | Request::Unclear(_) => return Ok(Fetched::Nothing),
        };
        // Nothing is got for strangers: the desk tells them that they are.
        let Some(language) = self.desk.users_language(incoming).await else {
            return Ok(Fetched::Nothing);
        };
        if document.bytes > MAX_FILE {
            let refused = refusals::too_large(document.bytes, MAX_FILE, language);
            return Ok(Fetched::Refused(refused.into()));
        }
        Ok(match self.fetch(document).await? {
            Some(file) => Fetched::File(file),
            None => Fetched::Refused(refusals::broken(language).into()),
        })
    }

    /// None: it could not be had.
    async fn fetch(&self, document: &Document) -> Result<Option<Vec<u8>>, RequestError> {
        let file = match self.bot.get_file(document.file.clone()).await {
            Ok(file) => file,
            Err(error) => {
                let error = reason(&error);
                tracing::warn!(error, "Telegram did not say where a file is");
                return Ok(None);
            }
        };
        let mut buffer = vec![0; usize::try_from(MAX_FILE).unwrap_or(usize::MAX)];
        // A slice: what is longer than was said does not fit.
        let mut place = Cursor::new(buffer.as_mut_slice());
        let fetched = self.bot.download_file(&file.path, &mut place).await;
        let length = usize::try_from(place.position()).unwrap_or(0);
        // The error's text would hold the token.
        if fetched.is_err() {
            tracing::warn!("a file could not be got from Telegram");
            return Ok(None);
        }
        buffer.truncate(length);
        Ok(Some(buffer))
    }

    async fn pressed(
        &self,
        chat: ChatId,
        query: &CallbackQueryId,
        message: Option<&Message>,
        press: Press,
    ) -> Result<(), RequestError> {
        // Of a query that is too old for a notice, everything else is done all the same.
        if let Err(error) = self.notice(query, &press.notice).await {
            let error = reason(&error);
            tracing::debug!(error, "a pressed button could not be acknowledged");
        }
        match (press.change, message) {
            (Some(change), Some(message)) => match (self.change(chat, message.id, &change).await, change) {
                (Err(RequestError::Api(_)), Change::Message(text, keyboard)) => {
                    self.send_all(chat, &[Reply::Text { text, keyboard }]).await?;
                }
                // The notice has said what was done.
                (Err(RequestError::Api(_)), Change::Buttons(_)) => {
                    tracing::debug!("buttons could not be changed");
                }
                (changed, _) => changed?,
            },
            // What was to be seen in a message that Telegram does not know or change any more comes anew.
            (Some(Change::Message(text, keyboard)), None) => {
                self.send_all(chat, &[Reply::Text { text, keyboard }]).await?;
            }
            (Some(Change::Buttons(_)) | None, _) => {}
        }
        self.send_all(chat, &press.replies).await
    }

    async fn notice(&self, query: &CallbackQueryId, notice: &str) -> Result<(), RequestError> {
        let answer = self.bot.answer_callback_query(query.clone());
        if notice.is_empty() {
            answer.await?;
        } else {
            answer.text(notice).await?;
        }
        Ok(())
    }

    /// Waits for a place in the messenger's stream.
    async fn turn(&self, chat: ChatId) {
        match self.ledger.place_for_answer(chat, self.pace).await {
            Ok(wait) => tokio::time::sleep(wait).await,
            // Telegram itself says when it is too much.
            Err(error) => tracing::debug!(%error, "an answer goes without a place in the stream"),
        }
    }

    async fn change(&self, chat: ChatId, message: MessageId, change: &Change) -> Result<(), RequestError> {
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
        self.turn(chat).await;
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

    async fn send_all(&self, chat: ChatId, replies: &[Reply]) -> Result<(), RequestError> {
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
        self.turn(chat).await;
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

/// A file that a request came with.
enum Fetched {
    Nothing,
    File(Vec<u8>),
    /// It is not read, for this reason.
    Refused(Reply),
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
