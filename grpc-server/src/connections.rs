//! Connections: how many there may be, and for how long one may be silent.

use std::future::Future as _;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep};
use tokio_stream::Stream;
use tonic::codegen::http::Extensions;
use tonic::transport::server::{Connected, TlsConnectInfo};

use crate::SecurityArgs;
use crate::addresses::{SlotOfSource, SlotsOfSources, Source};
use crate::proxies::TrustedProxies;

/// A client sends its first bytes at once; who has sent nothing by then has nothing to say.
const GREETING: Duration = Duration::from_secs(10);

/// How long a connection may be open without a call in hand. Clients connect again by themselves.
pub(crate) const IDLE: Duration = Duration::from_secs(10 * 60);

/// The same where no call has shown a token yet: such a connection is likely only to take a place.
const IDLE_STRANGER: Duration = Duration::from_secs(60);

/// After a connection could not be taken, as where the process has no more file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// The API's port: takes connections as long as there is a place for them.
#[derive(Debug)]
pub(crate) struct Connections {
    listener: TcpListener,
    slots: SlotsOfSources,
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
            of_proxies: SlotsOfSources::new(most, most),
            proxies: security.trusted_proxies.clone(),
            pause: None,
        }
    }

    fn place(&self, address: IpAddr) -> Option<SlotOfSource> {
        let slots = if self.proxies.contains(address) {
            &self.of_proxies
        } else {
            &self.slots
        };
        slots.take(Source::of(address)).ok()
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
            let Some(place) = self.place(address) else {
                metrics::counter!("stockalert_grpc_connections_refused_total").increment(1);
                continue;
            };
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection was gone before it was taken");
                continue;
            }
            return Poll::Ready(Some(Ok(Connection::new(stream, address, place))));
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
    _place: SlotOfSource,
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
}

/// A call in hand, until dropped.
#[derive(Debug)]
pub(crate) struct Call(Arc<Calls>);

impl Connection {
    fn new(stream: TcpStream, address: IpAddr, place: SlotOfSource) -> Self {
        let calls = Calls {
            opened: Instant::now(),
            in_hand: AtomicUsize::new(0),
            last_ended: AtomicU64::new(0),
            known: AtomicBool::new(false),
        };
        Self {
            stream,
            peer: Peer {
                address,
                calls: Arc::new(calls),
            },
            greeted: false,
            check: Box::pin(tokio::time::sleep(GREETING)),
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
        self.calls.known.store(true, Ordering::Release);
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
        let result = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
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
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_stream::StreamExt as _;

    use super::*;

    /// Both ends of a connection.
    async fn pair() -> (TcpStream, Connection) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut connections = Connections::new(listener, &SecurityArgs::default());
        let client = TcpStream::connect(address).await.unwrap();
        (client, connections.next().await.unwrap().unwrap())
    }

    async fn seconds_until_left(connection: &mut Connection) -> u64 {
        let start = Instant::now();
        let error = connection.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        start.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_left_soon() {
        let (_client, mut connection) = pair().await;
        assert_eq!(seconds_until_left(&mut connection).await, GREETING.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn who_makes_no_call_is_left_later_and_who_has_one_in_hand_never() {
        let (mut client, mut connection) = pair().await;
        client.write_all(b"P").await.unwrap();
        assert_eq!(connection.read_u8().await.unwrap(), b'P');
        let call = connection.connect_info().begins_call();
        connection.connect_info().is_known();
        let ended = async {
            tokio::time::sleep(IDLE * 3).await;
            drop(call);
        };
        let (seconds, ()) = tokio::join!(seconds_until_left(&mut connection), ended);
        assert_eq!(seconds, IDLE.as_secs() * 4);
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_shows_a_token_is_left_sooner() {
        let (mut client, mut connection) = pair().await;
        client.write_all(b"P").await.unwrap();
        connection.read_u8().await.unwrap();
        drop(connection.connect_info().begins_call());
        assert_eq!(seconds_until_left(&mut connection).await, IDLE_STRANGER.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_call_ends_later_than_the_first() {
        let (mut client, mut connection) = pair().await;
        client.write_all(b"P").await.unwrap();
        connection.read_u8().await.unwrap();
        let peer = connection.connect_info();
        peer.is_known();
        let calls = async {
            for _ in 0..3 {
                tokio::time::sleep(IDLE / 2).await;
                drop(peer.begins_call());
            }
        };
        let (seconds, ()) = tokio::join!(seconds_until_left(&mut connection), calls);
        assert_eq!(seconds, IDLE.as_secs() * 5 / 2);
    }
}
