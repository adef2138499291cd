//! A Bot API that is not Telegram: keeps what bots send, says what users say, and fails when told to.
//!
//! Bots reach it at `/botTOKEN/METHOD` with any token. Other processes control it over HTTP:
//!
//! | request | what it does |
//! |---|---|
//! | `POST /control/say` | `{"chat": 42, "text": "/start"}`: a user writes to the bot in a private chat |
//! | `POST /control/updates` | any update, without `update_id` |
//! | `POST /control/faults` | a [`PlannedFault`] |
//! | `GET /control/messages` | [`SentMessage`]s, in the order they came |

mod answers;
mod control;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::routing::{any, get, post};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A message that a bot sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentMessage {
    /// Its id, from 1.
    pub message_id: i64,
    /// To whom.
    pub chat: i64,
    /// What it says.
    pub text: String,
    /// When it came: microseconds since the epoch.
    pub received_us: u64,
}

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// 429 with this `retry_after`, in seconds.
    TooManyRequests(u64),
    /// 403: the user blocked the bot.
    Blocked,
    /// 400: no such chat.
    ChatNotFound,
    /// 400: the group became a supergroup with this id.
    Migrated(i64),
    /// 401: the token is wrong.
    Unauthorized,
    /// 502 with a page of HTML, as a proxy answers.
    BadGateway,
    /// 200 with what is no JSON. The message is kept.
    Garbage,
    /// The connection ends without an answer; the message is not kept.
    DropBefore,
    /// The connection ends without an answer; the message is kept.
    DropAfter,
    /// The answer is right but comes this many milliseconds late.
    Delay(u64),
}

/// A fault of calls to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFault {
    /// How they go wrong.
    pub fault: Fault,
    /// How many.
    #[serde(default = "once")]
    pub times: u32,
    /// Only calls of this method; `sendMessage` unless said otherwise.
    #[serde(default = "send_message")]
    pub method: String,
    /// Only to this chat.
    #[serde(default)]
    pub chat: Option<i64>,
}

const fn once() -> u32 {
    1
}

fn send_message() -> String {
    "sendMessage".to_owned()
}

impl PlannedFault {
    /// For the next `times` messages, to whomever.
    #[must_use]
    pub fn of_messages(fault: Fault, times: u32) -> Self {
        Self {
            fault,
            times,
            method: send_message(),
            chat: None,
        }
    }

    /// For messages to this chat only.
    #[must_use]
    pub fn to_chat(mut self, chat: i64) -> Self {
        self.chat = Some(chat);
        self
    }

    /// For calls of another method.
    #[must_use]
    pub fn of_method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }
}

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
            .route("/control/updates", post(control::update))
            .route("/control/faults", post(control::fault))
            .route("/control/messages", get(control::messages))
            .route("/{bot}/{method}", any(answers::call))
            .with_state(Arc::clone(&state));
        let ended = shutdown.clone().cancelled_owned();
        tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(ended).await {
                tracing::error!(%error, "the Bot API stub failed");
            }
        });
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

    /// A user writes to the bot in a private chat.
    pub fn say(&self, chat: i64, text: &str) {
        self.state.push_update(private_message(chat, text));
    }

    /// Any update; its `update_id` is set here.
    pub fn update(&self, update: Value) {
        self.state.push_update(update);
    }

    /// Lets calls to come go wrong; faults are used up in the order given.
    pub fn fault(&self, fault: PlannedFault) {
        self.state.lock().faults.push_back(fault);
    }

    /// What bots sent, in the order it came.
    #[must_use]
    pub fn messages(&self) -> Vec<SentMessage> {
        self.state.lock().messages.clone()
    }

    /// The texts that one chat got.
    #[must_use]
    pub fn texts(&self, chat: i64) -> Vec<String> {
        let inner = self.state.lock();
        inner
            .messages
            .iter()
            .filter(|message| message.chat == chat)
            .map(|message| message.text.clone())
            .collect()
    }

    /// Calls of `method` so far, those that went wrong included.
    #[must_use]
    pub fn calls(&self, method: &str) -> usize {
        self.state
            .lock()
            .calls
            .iter()
            .filter(|call| call.as_str() == method)
            .count()
    }

    /// How often one poller of updates got in the way of another.
    #[must_use]
    pub fn conflicts(&self) -> u32 {
        self.state.lock().conflicts
    }

    /// Messages from now on, as they come.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<SentMessage> {
        self.state.sent.subscribe()
    }
}

#[derive(Debug)]
struct State {
    inner: Mutex<Inner>,
    /// Something changed that a poller waits for.
    changed: Notify,
    sent: broadcast::Sender<SentMessage>,
    shutdown: CancellationToken,
}

#[derive(Debug, Default)]
struct Inner {
    messages: Vec<SentMessage>,
    updates: VecDeque<Value>,
    last_update_id: i64,
    faults: VecDeque<PlannedFault>,
    calls: Vec<String>,
    /// Counts getUpdates calls: a newer one ends those before, as Telegram does it.
    polls: u64,
    conflicts: u32,
}

impl State {
    fn new(shutdown: CancellationToken) -> Self {
        Self {
            inner: Mutex::default(),
            changed: Notify::new(),
            sent: broadcast::channel(1024).0,
            shutdown,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push_update(&self, mut update: Value) {
        let mut inner = self.lock();
        inner.last_update_id += 1;
        update["update_id"] = json!(inner.last_update_id);
        inner.updates.push_back(update);
        drop(inner);
        self.changed.notify_waiters();
    }

    fn keep_message(&self, chat: i64, text: &str) -> SentMessage {
        let mut inner = self.lock();
        let message = SentMessage {
            message_id: i64::try_from(inner.messages.len())
                .unwrap_or(i64::MAX)
                .saturating_add(1),
            chat,
            text: text.to_owned(),
            received_us: u64::try_from(since_epoch().as_micros()).unwrap_or(u64::MAX),
        };
        inner.messages.push(message.clone());
        drop(inner);
        // Nobody may be listening.
        let _ = self.sent.send(message.clone());
        message
    }

    /// Notes the call; gives the fault planned for it.
    fn take_fault(&self, method: &str, chat: Option<i64>) -> Option<Fault> {
        let mut inner = self.lock();
        inner.calls.push(method.to_owned());
        let planned = inner.faults.iter_mut().find(|planned| {
            planned.times > 0 && planned.method == method && (planned.chat.is_none() || planned.chat == chat)
        })?;
        planned.times -= 1;
        Some(planned.fault)
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// As Telegram sends it: commands are marked as such.
fn private_message(chat: i64, text: &str) -> Value {
    let mut message = json!({
        "message_id": 1,
        "from": {"id": chat, "is_bot": false, "first_name": "Somebody"},
        "chat": {"id": chat, "first_name": "Somebody", "type": "private"},
        "date": since_epoch().as_secs(),
        "text": text,
    });
    if text.starts_with('/') {
        let length = text
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .encode_utf16()
            .count();
        message["entities"] = json!([{"offset": 0, "length": length, "type": "bot_command"}]);
    }
    json!({ "message": message })
}
