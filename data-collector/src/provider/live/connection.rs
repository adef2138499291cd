//! One connection, kept: made again after it ends, with everything subscribed to again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use rand::RngExt as _;
use secrecy::ExposeSecret as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::Shared;
use super::wire::{Frame, Trade, Wire};

/// Largest message that is read.
const MAX_MESSAGE: usize = 1024 * 1024;
/// Between two messages that are sent: Binance ends a connection that sends more than five a second.
const PACE: Duration = Duration::from_millis(250);

/// How long things may take.
#[derive(Debug, Clone)]
pub struct Timing {
    /// Until there is a connection.
    pub connect: Duration,
    /// Between two pings.
    pub ping: Duration,
    /// Without a word from the other side, whose answers to pings count. Longer than between two pings.
    pub silence: Duration,
    /// Before it connects again: at first, and at most. Doubles each time, and starts anew after a connection that has lasted
    /// longer than the longest.
    pub again: (Duration, Duration),
    /// For how long a ticker is subscribed to that nobody asks for.
    pub unwanted: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            ping: Duration::from_secs(20),
            silence: Duration::from_secs(50),
            again: (Duration::from_secs(1), Duration::from_secs(60)),
            unwanted: Duration::from_secs(10 * 60),
        }
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Keeps a connection for ever.
pub(super) async fn keep(wire: Arc<dyn Wire>, shared: Arc<Shared>, timing: Timing) {
    let mut pause = timing.again.0;
    loop {
        let started_at = Instant::now();
        let reason = match timeout(timing.connect, Box::pin(connect(&*wire))).await {
            Ok(Ok(socket)) => {
                tracing::info!(quote.source = wire.name(), "live prices are connected");
                shared.up();
                let reason = talk(socket, &*wire, &shared, &timing).await;
                if started_at.elapsed() > timing.again.1 {
                    pause = timing.again.0;
                }
                reason
            }
            Ok(Err(reason)) => reason,
            Err(_) => format!("no connection within {:?}", timing.connect),
        };
        tracing::warn!(quote.source = wire.name(), again_in = ?pause, "no live prices: {reason}");
        shared.down(reason);
        // Not all at once, where many were cut off together.
        let jitter = rand::rng().random_range(0.5..1.0);
        sleep(pause.mul_f64(jitter)).await;
        pause = (pause * 2).min(timing.again.1);
    }
}

async fn connect(wire: &dyn Wire) -> Result<Socket, String> {
    let mut url = wire.url().clone();
    if let Some((name, secret)) = wire.secret() {
        url.query_pairs_mut().append_pair(name, secret.expose_secret());
    }
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    // Its errors do not hold the address.
    let (socket, _) = connect_async_with_config(url.as_str(), Some(config), false)
        .await
        .map_err(|error| error.to_string())?;
    Ok(socket)
}

/// Until the connection ends. Gives back why.
async fn talk(mut socket: Socket, wire: &dyn Wire, shared: &Shared, timing: &Timing) -> String {
    let mut subscribed = BTreeSet::new();
    let mut outbox: Vec<String> = Vec::new();
    let mut pings = interval(timing.ping);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard_at = Instant::now();
    shared.wanted.notify_one();
    loop {
        let sent = tokio::select! {
            message = socket.next() => match message {
                Some(Ok(message)) => {
                    heard_at = Instant::now();
                    if let Err(reason) = hear(&message, wire, shared) {
                        return reason;
                    }
                    // Answers to pings that the library made.
                    within(timing, socket.flush()).await
                }
                Some(Err(error)) => return error.to_string(),
                None => return "the connection ended".into(),
            },
            () = shared.wanted.notified() => {
                outbox.extend(changes(wire, shared, &mut subscribed, timing));
                Ok(())
            }
            _ = pace.tick(), if !outbox.is_empty() => {
                within(timing, socket.send(Message::text(outbox.remove(0)))).await
            }
            _ = pings.tick() => {
                if heard_at.elapsed() > timing.silence {
                    return format!("nothing was heard for {:?}", timing.silence);
                }
                shared.wanted.notify_one();
                within(timing, socket.send(Message::Ping(Default::default()))).await
            }
        };
        if let Err(reason) = sent {
            return reason;
        }
    }
}

/// Sends. The other side may have stopped reading, and then nothing else would be done here.
async fn within(timing: &Timing, sending: impl Future<Output = Result<(), WsError>>) -> Result<(), String> {
    match timeout(timing.silence, sending).await {
        Ok(sent) => sent.map_err(|error| error.to_string()),
        Err(_) => Err(format!("nothing was taken for {:?}", timing.silence)),
    }
}

/// What is to be sent so that all that is wanted, and nothing else, is subscribed to.
fn changes(
    wire: &dyn Wire,
    shared: &Shared,
    subscribed: &mut BTreeSet<String>,
    timing: &Timing,
) -> Vec<String> {
    let wanted = shared.wanted(wire.capacity(), timing.unwanted);
    let given_up: Vec<String> = subscribed.difference(&wanted).cloned().collect();
    let new: Vec<String> = wanted.difference(subscribed).cloned().collect();
    *subscribed = wanted;
    let mut messages = Vec::new();
    if !given_up.is_empty() {
        messages.extend(wire.unsubscribe(&given_up));
    }
    if !new.is_empty() {
        messages.extend(wire.subscribe(&new));
    }
    messages
}

/// Takes in what was said.
///
/// # Errors
/// That the other side ends it.
fn hear(message: &Message, wire: &dyn Wire, shared: &Shared) -> Result<(), String> {
    match message {
        Message::Text(text) => match wire.read(text.as_str()) {
            Ok(Frame::Trades(trades)) => shared.traded(trades),
            Ok(Frame::Nothing) => {}
            // One message that is not understood is no reason to miss the next.
            Err(error) => tracing::debug!(quote.source = wire.name(), "{error}"),
        },
        Message::Close(_) => return Err("the other side closed the connection".into()),
        Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
    }
    Ok(())
}

impl Shared {
    fn up(&self) {
        self.lock().down = None;
    }

    fn down(&self, reason: String) {
        let mut state = self.lock();
        state.down = Some(reason);
        for symbol in state.symbols.values_mut() {
            symbol.last = None;
        }
    }

    /// What is asked for, as far as it fits: the same ones each time. What nobody asks for any more is forgotten.
    fn wanted(&self, capacity: usize, unwanted: Duration) -> BTreeSet<String> {
        let mut state = self.lock();
        state
            .symbols
            .retain(|_, symbol| symbol.asked_at.elapsed() < unwanted);
        state.symbols.keys().take(capacity).cloned().collect()
    }

    fn traded(&self, trades: Vec<Trade>) {
        let mut state = self.lock();
        for trade in trades {
            if let Some(symbol) = state.symbols.get_mut(&trade.symbol)
                && symbol.last.as_ref().is_none_or(|last| last.at <= trade.at)
            {
                symbol.last = Some(trade);
            }
        }
    }
}
