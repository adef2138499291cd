//! Takes updates to the desk, and what it answers to Telegram.

use std::io::Cursor;
use std::time::Duration;

use cqrs::domain::{ChatId, Language};
use cqrs::{Ledger, Pace};
use teloxide::net::Download as _;
use teloxide::prelude::Requester as _;
use teloxide::types::CallbackQueryId;
use teloxide::{Bot, RequestError};

use super::channel::Channel;
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
/// Largest file with rules: 10,000 of them take less.
const MAX_FILE: u64 = 1_024 * 1_024;

/// Handles updates.
#[derive(Debug)]
pub(crate) struct Courier {
    bot: Bot,
    /// The bot's name.
    me: String,
    desk: Desk,
    channel: Channel,
}

impl Courier {
    pub(crate) fn new(bot: Bot, me: String, desk: Desk, ledger: Ledger, pace: Pace) -> Self {
        Self {
            channel: Channel::new(bot.clone(), ledger, pace),
            bot,
            me,
            desk,
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
            self.channel.send_all(incoming.chat, &[text.into()]).await
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
                self.channel.send_all(incoming.chat, &replies).await
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
                    self.channel
                        .send_all(incoming.chat, &[refusals::edited(language).into()])
                        .await
                }
                Written::ForAnother | Written::Plain => Ok(()),
            },
            What::InGroup(text) => match read(text, &self.me) {
                // A group's members would all see, and change, what is one user's.
                Written::Command(..) => {
                    let language = incoming.language.unwrap_or_default();
                    self.channel
                        .send_all(incoming.chat, &[refusals::private_only(language).into()])
                        .await
                }
                Written::ForAnother | Written::Unknown(_) | Written::Plain => Ok(()),
            },
            What::PressedElsewhere(query) => {
                let notice = refusals::old_button(incoming.language.unwrap_or_default());
                self.channel.notice(query, notice).await
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
        if let Err(error) = self.channel.notice(query, &press.notice).await {
            let error = reason(&error);
            tracing::debug!(error, "a pressed button could not be acknowledged");
        }
        match (press.change, message) {
            (Some(change), Some(message)) => {
                match (self.channel.change(chat, message.id, &change).await, change) {
                    (Err(RequestError::Api(_)), Change::Message(text, keyboard)) => {
                        self.channel
                            .send_all(chat, &[Reply::Text { text, keyboard }])
                            .await?;
                    }
                    // The notice has said what was done.
                    (Err(RequestError::Api(_)), Change::Buttons(_)) => {
                        tracing::debug!("buttons could not be changed");
                    }
                    (changed, _) => changed?,
                }
            }
            // What was to be seen in a message that Telegram does not know or change any more comes anew.
            (Some(Change::Message(text, keyboard)), None) => {
                self.channel
                    .send_all(chat, &[Reply::Text { text, keyboard }])
                    .await?;
            }
            (Some(Change::Buttons(_)) | None, _) => {}
        }
        self.channel.send_all(chat, &press.replies).await
    }
}

/// A file that a request came with.
enum Fetched {
    Nothing,
    File(Vec<u8>),
    /// It is not read, for this reason.
    Refused(Reply),
}
