//! A Bot API that is not Telegram: keeps what bots send, says what users say, and fails when told to.
//!
//! Bots reach it at `/botTOKEN/METHOD` with any token, in any of the ways that the Bot API takes, and files at
//! `/file/botTOKEN/PATH`. It refuses what Telegram refuses: markup that does not parse, texts and button data that are too
//! long, edits that change nothing, answers to buttons nobody pressed, and, if told to, messages that come too fast. It
//! pushes updates to a webhook while one is set. Other processes control it over HTTP:
//!
//! | request | what it does |
//! |---|---|
//! | `POST /control/say` | `{"chat": 42, "text": "/start"}`: a user writes to the bot; `reply_to`, `language` if wanted |
//! | `POST /control/press` | `{"chat": 42, "message_id": 7, "data": "x"}`: a user presses a button |
//! | `POST /control/upload` | `{"chat": 42, "file_name": "x.csv", "content": "..."}`: a user sends a file; `caption` if wanted |
//! | `POST /control/updates` | any update, without `update_id` |
//! | `POST /control/faults` | a [`PlannedFault`] |
//! | `POST /control/fault-mix` | a [`FaultMix`] |
//! | `POST /control/release` | lets held calls go on |
//! | `GET /control/messages` | [`SentMessage`]s, in the order they came |
//! | `GET /control/answers` | [`ButtonAnswer`]s, in the order they came |

mod answers;
mod arguments;
mod control;
mod faults;
mod limits;
mod markup;
mod message;
mod messages;
mod serving;
mod state;
mod updates;
mod user;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, get, post};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use faults::{Fault, FaultMix, PlannedFault};
pub use markup::for_terminal;
pub use message::{Attachment, AttachmentKind, BotCommand, Button, ButtonAnswer, SentMessage, Webhook};
pub use state::Event;

use faults::Mixer;
use limits::Limits;
use state::State;

/// Most bytes of one request; Telegram takes documents of 50 MB.
const MAX_REQUEST: usize = 50_000_000;

/// The running stub; ends when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct TelegramStub {
    address: SocketAddr,
    state: Arc<State>,
    _guard: Arc<DropGuard>,
}

impl TelegramStub {
    /// Listens on `listen` (port 0: any free one).
    ///
    /// # Errors
    /// If the address can't be listened on.
    pub async fn start(listen: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let shutdown = CancellationToken::new();
        let state = Arc::new(State::new(shutdown.clone()));
        let router = Router::new()
            .route("/control/say", post(control::say))
            .route("/control/press", post(control::press))
            .route("/control/upload", post(control::upload))
            .route("/control/updates", post(control::update))
            .route("/control/faults", post(control::fault))
            .route("/control/fault-mix", post(control::fault_mix))
            .route("/control/release", post(control::release))
            .route("/control/messages", get(control::messages))
            .route("/control/answers", get(control::answers))
            .route("/file/{bot}/{*path}", get(answers::file))
            .route("/{bot}/{method}", any(answers::call))
            .layer(DefaultBodyLimit::max(MAX_REQUEST))
            .with_state(Arc::clone(&state));
        let serving = serving::serve(listener, address, router, Arc::clone(&state));
        tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the Bot API stub failed");
            }
        });
        tokio::spawn(updates::push(Arc::clone(&state)));
        Ok(Self {
            address,
            state,
            _guard: Arc::new(shutdown.drop_guard()),
        })
    }

    /// What bots take as `TELEGRAM_API_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// What users do.
impl TelegramStub {
    /// A user writes to the bot, in a private chat or, with a negative id, in a group. Gives the message's id.
    pub fn say(&self, chat: i64, text: &str) -> i64 {
        self.state.say(chat, text, None)
    }

    /// A user answers a message of the bot.
    pub fn reply(&self, chat: i64, to: i64, text: &str) -> i64 {
        self.state.say(chat, text, Some(to))
    }

    /// A user changes a message written before.
    pub fn edit(&self, chat: i64, message_id: i64, text: &str) {
        self.state.edit(chat, message_id, text);
    }

    /// A user sends a file. Gives the message's id.
    pub fn upload(&self, chat: i64, file_name: &str, content: impl Into<Bytes>, caption: &str) -> i64 {
        self.state.upload(chat, file_name, content.into(), caption)
    }

    /// A user presses the button with this data; the message may be one that never was. Gives the press's id.
    pub fn press(&self, chat: i64, message_id: i64, data: &str) -> String {
        self.state.press(chat, message_id, data)
    }

    /// A user presses the button whose label contains `label`. None if the message has no such button.
    pub fn press_labelled(&self, message_id: i64, label: &str) -> Option<String> {
        let message = self.message(message_id)?;
        let button = message
            .buttons()
            .into_iter()
            .find(|button| button.label.contains(label))?;
        Some(self.press(message.chat, message_id, &button.data?))
    }

    /// What the user of this chat has as language, from now on; none until it is set.
    pub fn speaks(&self, chat: i64, language_code: &str) {
        let languages = &mut self.state.lock().languages;
        languages.insert(chat, language_code.to_owned());
    }

    /// What [`TelegramStub::speaks`] set.
    #[must_use]
    pub fn language(&self, chat: i64) -> Option<String> {
        self.state.lock().languages.get(&chat).cloned()
    }

    /// A user blocks the bot: messages are refused until [`TelegramStub::unblock`].
    pub fn block(&self, chat: i64) {
        self.state.block(chat, true);
    }

    /// A user takes the bot back.
    pub fn unblock(&self, chat: i64) {
        self.state.block(chat, false);
    }

    /// Any update; its `update_id` is set here.
    pub fn update(&self, update: Value) {
        self.state.push_update(update);
    }
}

/// How things go wrong.
impl TelegramStub {
    /// Lets calls to come go wrong; faults are used up in the order given.
    pub fn fault(&self, fault: PlannedFault) {
        self.state.lock().faults.push_back(fault);
    }

    /// Lets a share of all messages go wrong that have no planned fault; none: no longer.
    pub fn fault_mix(&self, mix: Option<FaultMix>) {
        self.state.lock().mixer = mix.map(Mixer::new);
    }

    /// Forgets all faults that have not happened yet.
    pub fn no_more_faults(&self) {
        let mut inner = self.state.lock();
        inner.faults.clear();
        inner.mixer = None;
    }

    /// Planned faults that have not happened yet.
    #[must_use]
    pub fn faults_to_come(&self) -> Vec<PlannedFault> {
        self.state.lock().faults.iter().cloned().collect()
    }

    /// Nobody is there any more: connections end, new ones are refused. Returns when that is so.
    pub async fn leave(&self) {
        serving::be_reachable(&self.state, false).await;
    }

    /// Listens again, at the same address. Returns when that is so.
    pub async fn come_back(&self) {
        serving::be_reachable(&self.state, true).await;
    }

    /// Refuses messages that come faster than Telegram takes them, with 429.
    pub fn enforce_limits(&self) {
        self.state.lock().limits = Some(Limits::default());
    }

    /// Messages refused because they came too fast.
    #[must_use]
    pub fn too_fast(&self) -> u32 {
        self.state
            .lock()
            .limits
            .as_ref()
            .map_or(0, |limits| limits.refused)
    }

    /// Calls that are held now, by [`Fault::HoldBefore`] or [`Fault::HoldAfter`], and whose callers are still there.
    #[must_use]
    pub fn held(&self) -> usize {
        self.state.lock().held
    }

    /// Lets all calls that are held now go on.
    pub fn release(&self) {
        self.state.releases.send_modify(|releases| *releases += 1);
    }
}

/// What bots did.
impl TelegramStub {
    /// What bots sent, in the order it came.
    #[must_use]
    pub fn messages(&self) -> Vec<SentMessage> {
        self.state.lock().messages.clone()
    }

    /// What one chat got.
    #[must_use]
    pub fn messages_to(&self, chat: i64) -> Vec<SentMessage> {
        let inner = self.state.lock();
        let messages = inner.messages.iter().filter(|message| message.chat == chat);
        messages.cloned().collect()
    }

    /// One message.
    #[must_use]
    pub fn message(&self, message_id: i64) -> Option<SentMessage> {
        self.state.lock().message(message_id).cloned()
    }

    /// The texts that one chat got, as a person reads them.
    #[must_use]
    pub fn texts(&self, chat: i64) -> Vec<String> {
        self.messages_to(chat)
            .into_iter()
            .map(|message| message.text)
            .collect()
    }

    /// Answers to pressed buttons, in the order they came.
    #[must_use]
    pub fn button_answers(&self) -> Vec<ButtonAnswer> {
        self.state.lock().answers.clone()
    }

    /// The answer to this press.
    #[must_use]
    pub fn button_answer(&self, query_id: &str) -> Option<ButtonAnswer> {
        let inner = self.state.lock();
        let mut answers = inner.answers.iter();
        answers.find(|answer| answer.query_id == query_id).cloned()
    }

    /// The menu for this language; an empty one is the menu for all others.
    #[must_use]
    pub fn commands(&self, language_code: &str) -> Vec<BotCommand> {
        let inner = self.state.lock();
        inner.commands.get(language_code).cloned().unwrap_or_default()
    }

    /// Where updates are pushed to.
    #[must_use]
    pub fn webhook(&self) -> Option<Webhook> {
        self.state.lock().webhook.clone()
    }

    /// Updates that the bot has not taken yet.
    #[must_use]
    pub fn waiting_updates(&self) -> usize {
        self.state.lock().updates.len()
    }

    /// Calls of `method` so far, those that went wrong included; `file` for downloads.
    #[must_use]
    pub fn calls(&self, method: &str) -> usize {
        self.state.lock().calls.get(method).copied().unwrap_or_default()
    }

    /// How often one poller of updates got in the way of another.
    #[must_use]
    pub fn conflicts(&self) -> u32 {
        self.state.lock().conflicts
    }

    /// What bots do from now on, as it comes.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.state.sent.subscribe()
    }
}
