//! Connections: how many there may be, and for how long one may be silent.

use std::future::Future as _;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep};
use tokio_stream::Stream;
use tonic::codegen::http::Extensions;
use tonic::transport::server::{Connected, TlsConnectInfo};

use crate::SecurityArgs;
use crate::addresses::{RatesOfSources, SlotOfSource, SlotsOfSources, Source};
use crate::proxies::TrustedProxies;

/// A client sends its first bytes at once; who has sent nothing by then has nothing to say.
const GREETING: Duration = Duration::from_secs(10);

/// How long a connection may be open without a call in hand. Clients connect again by themselves.
pub(crate) const IDLE: Duration = Duration::from_secs(10 * 60);

/// The same where no call has shown a token yet: such a connection is likely only to take a place.
const IDLE_STRANGER: Duration = Duration::from_secs(60);

/// Which part of all connections may be such, and of one address's: a crowd of strangers costs a quarter of the memory, and
/// takes no place from callers who are known. Who comes with a token is one of them for a moment.
const PART_OF_STRANGERS: usize = 4;
const PART_OF_STRANGERS_OF_ONE: usize = 2;

/// How often one address may connect, beyond as many connections at once as it may have.
const CONNECTIONS_PER_SECOND: u32 = 50;

/// As how many connections one counts that was cut off before it was known whose it is: who breaks the protocol, or makes
/// calls only to give them up, would else come again many times a second.
const COST_OF_CUT_OFF: u32 = CONNECTIONS_PER_SECOND;

/// After a connection could not be taken, as where the process has no more file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// The API's port: takes connections as long as there is a place for them.
#[derive(Debug)]
pub(crate) struct Connections {
    listener: TcpListener,
    slots: SlotsOfSources,
    /// Of those where no call has shown a token yet.
    of_strangers: SlotsOfSources,
    arrivals: Arc<RatesOfSources>,
    /// Of those who stand for others.
    of_proxies: SlotsOfSources,
    proxies: TrustedProxies,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Connections {
    pub(crate) fn new(listener: TcpListener, security: &SecurityArgs) -> Self {
        let most = security.max_connections as usize;
        let of_one = security.max_connections_per_address as usize;
        Self {
            listener,
            slots: SlotsOfSources::new(most, of_one),
            of_strangers: SlotsOfSources::new(
                most.div_ceil(PART_OF_STRANGERS),
                of_one.div_ceil(PART_OF_STRANGERS_OF_ONE),
            ),
            arrivals: Arc::new(RatesOfSources::new(
                CONNECTIONS_PER_SECOND,
                Duration::from_secs(1),
                security.max_connections_per_address,
            )),
            of_proxies: SlotsOfSources::new(most, most),
            proxies: security.trusted_proxies.clone(),
            pause: None,
        }
    }

    /// A place, and one among strangers for as long as it is theirs.
    fn places(&self, address: IpAddr) -> Option<(SlotOfSource, Option<Stranger>)> {
        let source = Source::of(address);
        if self.proxies.contains(address) {
            return Some((self.of_proxies.take(source).ok()?, None));
        }
        self.arrivals.take(source, std::time::Instant::now()).ok()?;
        let place = self.slots.take(source).ok()?;
        let stranger = Stranger {
            _place: self.of_strangers.take(source).ok()?,
            source,
            arrivals: Arc::clone(&self.arrivals),
        };
        Some((place, Some(stranger)))
    }
}

impl Stream for Connections {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(context));
                self.pause = None;
            }
            let (stream, peer) = match ready!(self.listener.poll_accept(context)) {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    self.pause = Some(Box::pin(tokio::time::sleep(ACCEPT_PAUSE)));
                    continue;
                }
            };
            let address = peer.ip();
            let Some((place, stranger)) = self.places(address) else {
                metrics::counter!("stockalert_grpc_connections_refused_total").increment(1);
                continue;
            };
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection was gone before it was taken");
                continue;
            }
            return Poll::Ready(Some(Ok(Connection::new(stream, address, place, stranger))));
        }
    }
}

/// One connection, with its place.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    peer: Peer,
    greeted: bool,
    check: Pin<Box<Sleep>>,
    /// The other side said that it goes, or is gone.
    left: bool,
    _place: SlotOfSource,
}

/// Who has not shown a token yet.
#[derive(Debug)]
struct Stranger {
    _place: SlotOfSource,
    source: Source,
    arrivals: Arc<RatesOfSources>,
}

/// The other side of a connection, as its calls see it.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    calls: Arc<Calls>,
}

#[derive(Debug)]
struct Calls {
    opened: Instant,
    in_hand: AtomicUsize,
    /// When the last one ended, in milliseconds since the connection was opened.
    last_ended: AtomicU64,
    /// Whether one of them showed a token that let it in.
    known: AtomicBool,
    /// Until then.
    stranger: Mutex<Option<Stranger>>,
}

/// A call in hand, until dropped.
#[derive(Debug)]
pub(crate) struct Call(Arc<Calls>);

impl Connection {
    fn new(stream: TcpStream, address: IpAddr, place: SlotOfSource, stranger: Option<Stranger>) -> Self {
        let calls = Calls {
            opened: Instant::now(),
            in_hand: AtomicUsize::new(0),
            last_ended: AtomicU64::new(0),
            known: AtomicBool::new(false),
            stranger: Mutex::new(stranger),
        };
        Self {
            stream,
            peer: Peer {
                address,
                calls: Arc::new(calls),
            },
            greeted: false,
            check: Box::pin(tokio::time::sleep(GREETING)),
            left: false,
            _place: place,
        }
    }

    /// Whether it has been silent for too long; if not, this is asked again when it may be.
    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            ready!(self.check.as_mut().poll(context));
            if !self.greeted {
                return Poll::Ready(silent("said nothing"));
            }
            let (idle, most) = (self.peer.calls.idle(), self.peer.calls.most_idle());
            if idle >= most {
                return Poll::Ready(silent("made no call for a long time"));
            }
            self.check.as_mut().reset(Instant::now() + (most - idle));
        }
    }
}

fn silent(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("the client {what}"))
}

impl Calls {
    fn take_stranger(&self) -> Option<Stranger> {
        self.stranger
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn most_idle(&self) -> Duration {
        if self.known.load(Ordering::Acquire) {
            IDLE
        } else {
            IDLE_STRANGER
        }
    }

    fn idle(&self) -> Duration {
        if self.in_hand.load(Ordering::Acquire) > 0 {
            return Duration::ZERO;
        }
        let last_ended = Duration::from_millis(self.last_ended.load(Ordering::Acquire));
        self.opened.elapsed().saturating_sub(last_ended)
    }
}

impl Peer {
    /// The peer of a call; none where the server was not given these connections.
    pub(crate) fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get::<Self>().or_else(|| {
            extensions
                .get::<TlsConnectInfo<Self>>()
                .map(TlsConnectInfo::get_ref)
        })
    }

    /// Marks that a call showed a token that let it in.
    pub(crate) fn is_known(&self) {
        if !self.calls.known.swap(true, Ordering::AcqRel) {
            drop(self.calls.take_stranger());
        }
    }

    /// Marks that a call is in hand.
    pub(crate) fn begins_call(&self) -> Call {
        self.calls.in_hand.fetch_add(1, Ordering::AcqRel);
        Call(Arc::clone(&self.calls))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let now = u64::try_from(self.0.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.last_ended.store(now, Ordering::Release);
        self.0.in_hand.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // It may have gone at the same time, as who says goodbye and goes.
        let left = self.left
            || match self.stream.try_read(&mut [0]) {
                Ok(bytes) => bytes == 0,
                Err(error) => error.kind() != io::ErrorKind::WouldBlock,
            };
        if let Some(stranger) = self.peer.calls.take_stranger().filter(|_| !left) {
            let now = std::time::Instant::now();
            stranger.arrivals.charge(stranger.source, COST_OF_CUT_OFF, now);
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(error) = self.poll_silence(context) {
            return Poll::Ready(Err(error));
        }
        let (room, read) = (buffer.remaining(), buffer.filled().len());
        let result = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        self.left |= result.is_err() || (room > 0 && buffer.filled().len() == read);
        if !self.greeted && !buffer.filled().is_empty() {
            self.greeted = true;
            let most = self.peer.calls.most_idle();
            self.check.as_mut().reset(Instant::now() + most);
            // Registers the new time.
            if let Poll::Ready(error) = self.poll_silence(context) {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
