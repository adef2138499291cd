//! What the stub remembers.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;

use super::faults::{Fault, Mixer, PlannedFault};
use super::limits::Limits;
use super::message::{BotCommand, ButtonAnswer, SentMessage, Webhook};

#[derive(Debug)]
pub(super) struct State {
    inner: Mutex<Inner>,
    /// Something changed that those wait for who hand out updates.
    pub(super) changed: Notify,
    pub(super) sent: broadcast::Sender<Event>,
    /// Counts the releases of held calls.
    pub(super) releases: watch::Sender<u64>,
    /// Whether it is to be reached.
    pub(super) reachable: watch::Sender<bool>,
    /// Whether its port is listened on.
    pub(super) listening: watch::Sender<bool>,
    pub(super) shutdown: CancellationToken,
}

/// What a bot did that its users see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It sent a message.
    Sent(SentMessage),
    /// It changed or deleted one.
    Changed(SentMessage),
    /// It answered a pressed button.
    ButtonAnswered(ButtonAnswer),
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) messages: Vec<SentMessage>,
    /// Places in `messages`, by id.
    pub(super) places: HashMap<i64, usize>,
    pub(super) last_message_id: i64,
    pub(super) updates: VecDeque<Value>,
    pub(super) last_update_id: i64,
    pub(super) faults: VecDeque<PlannedFault>,
    pub(super) mixer: Option<Mixer>,
    pub(super) limits: Option<Limits>,
    pub(super) calls: HashMap<String, usize>,
    /// Calls that wait for their release now.
    pub(super) held: usize,
    /// Counts getUpdates calls: a newer one ends those before, as Telegram does it.
    pub(super) polls: u64,
    pub(super) conflicts: u32,
    pub(super) webhook: Option<Webhook>,
    pub(super) languages: HashMap<i64, String>,
    pub(super) blocked: BTreeSet<i64>,
    /// Presses of buttons that have no answer yet.
    pub(super) presses: BTreeSet<String>,
    pub(super) last_press: u64,
    pub(super) answers: Vec<ButtonAnswer>,
    pub(super) commands: HashMap<String, Vec<BotCommand>>,
    /// What users sent, by file id.
    pub(super) files: HashMap<String, Bytes>,
}

impl State {
    pub(super) fn new(shutdown: CancellationToken) -> Self {
        Self {
            inner: Mutex::default(),
            changed: Notify::new(),
            sent: broadcast::channel(1024).0,
            releases: watch::Sender::default(),
            reachable: watch::Sender::new(true),
            listening: watch::Sender::new(true),
            shutdown,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push_update(&self, mut update: Value) {
        let mut inner = self.lock();
        inner.last_update_id += 1;
        update["update_id"] = json!(inner.last_update_id);
        inner.updates.push_back(update);
        drop(inner);
        self.changed.notify_waiters();
    }

    pub(super) fn tell(&self, event: Event) {
        // Nobody may be listening.
        let _ = self.sent.send(event);
    }

    /// Notes a call of which only the method is known. Gives the fault that it has if none is planned for its chat:
    /// [`Fault::DropUnread`] if that is planned, or one of the mix.
    pub(super) fn note_call(&self, method: &str) -> Option<Fault> {
        let mut inner = self.lock();
        *inner.calls.entry(method.to_owned()).or_default() += 1;
        let place = inner.faults.iter().position(|planned| planned.fits(method, None));
        if let Some(place) = place
            && inner.faults.get(place)?.fault == Fault::DropUnread
        {
            return inner.use_fault(place);
        }
        let mixer = inner.mixer.as_mut().filter(|_| method == "sendMessage");
        mixer.and_then(Mixer::draw)
    }

    /// The fault planned for the call.
    pub(super) fn take_fault(&self, method: &str, chat: Option<i64>) -> Option<Fault> {
        let mut inner = self.lock();
        let place = inner
            .faults
            .iter()
            .position(|planned| planned.fits(method, chat))?;
        inner.use_fault(place)
    }

    /// Until the stub is to be reached no more.
    pub(super) async fn left(&self) {
        // Its sender lives as long as this.
        let _ = self.reachable.subscribe().wait_for(|reachable| !reachable).await;
    }

    /// Waits for the next release.
    pub(super) async fn hold(&self) {
        struct Held<'a>(&'a State);
        impl Drop for Held<'_> {
            // Also when the caller went away.
            fn drop(&mut self) {
                self.0.lock().held -= 1;
            }
        }
        let mut releases = self.releases.subscribe();
        self.lock().held += 1;
        let _held = Held(self);
        tokio::select! {
            _ = releases.changed() => {}
            () = self.shutdown.cancelled() => {}
        }
    }
}

impl Inner {
    fn use_fault(&mut self, place: usize) -> Option<Fault> {
        let planned = self.faults.get_mut(place)?;
        let fault = planned.fault;
        planned.times = planned.times.saturating_sub(1);
        if planned.times == 0 {
            self.faults.remove(place);
        }
        Some(fault)
    }

    pub(super) fn next_message_id(&mut self) -> i64 {
        self.last_message_id += 1;
        self.last_message_id
    }

    pub(super) fn message(&self, message_id: i64) -> Option<&SentMessage> {
        self.messages.get(*self.places.get(&message_id)?)
    }

    pub(super) fn message_mut(&mut self, message_id: i64) -> Option<&mut SentMessage> {
        self.messages.get_mut(*self.places.get(&message_id)?)
    }

    pub(super) fn keep(&mut self, message: SentMessage) {
        self.places.insert(message.message_id, self.messages.len());
        self.messages.push(message);
    }
}

pub(super) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
