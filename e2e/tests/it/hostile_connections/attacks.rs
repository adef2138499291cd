//! Attackers, from many addresses, on a thread of their own. It only gets what the others leave of the processors:
//! attackers have machines of their own, and what they compute themselves must not slow the server down.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proto::v1;
use proto::v1::alert_service_client::AlertServiceClient;
use proto::v1::quote_service_client::QuoteServiceClient;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tonic::Status;
use tonic::transport::Channel;

use super::frames;
use crate::api_run::{PATIENCE, User, channel};

/// Below the most connections of one address.
const OF_ONE_ADDRESS: u32 = 200;
/// Between two bytes of headers.
const SLOW: Duration = Duration::from_millis(100);
/// So many calls are begun and given up in one go.
const RESETS: u32 = 50;

/// One attack, until it is ended.
pub(super) struct Attack {
    runtime: std::sync::Mutex<Option<Runtime>>,
    tally: Arc<Tally>,
    /// Those who must have arrived, whatever became of them.
    crowd: u64,
    what: &'static str,
}

#[derive(Default)]
struct Tally {
    kept: AtomicU64,
    refused: AtomicU64,
    /// Frames and calls sent.
    sent: AtomicU64,
    /// Connections that the server ended.
    ended: AtomicU64,
    /// What was said of the last call that was refused.
    refusal: std::sync::Mutex<Option<Status>>,
}

impl Tally {
    fn refuse(&self, status: Status) {
        one_more(&self.refused);
        *self.refusal.lock().unwrap() = Some(status);
    }
}

fn one_more(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

impl Attack {
    fn start(crowd: u64, what: &'static str) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .on_thread_start(|| {
                rustix::process::nice(19).unwrap();
            })
            .enable_all()
            .build();
        Self {
            runtime: std::sync::Mutex::new(Some(runtime.unwrap())),
            tally: Arc::default(),
            crowd,
            what,
        }
    }

    fn spawn<F: Future<Output = ()> + Send + 'static>(&self, attacker: impl FnOnce(Arc<Tally>) -> F) {
        let runtime = self.runtime.lock().unwrap();
        runtime.as_ref().unwrap().spawn(attacker(Arc::clone(&self.tally)));
    }

    /// Connections that greet and then only show that they are still there.
    pub(super) fn idle(server: &str, count: u32) -> Self {
        let attack = Self::start(count.into(), "connections are open");
        let server = server.parse().unwrap();
        for number in 0..count {
            attack.spawn(async move |tally| {
                let Some(mut stream) = connect(server, number / OF_ONE_ADDRESS).await else {
                    return one_more(&tally.refused);
                };
                if stream.write_all(frames::GREETING).await.is_err() {
                    return one_more(&tally.refused);
                }
                let mut arrived = false;
                while let Some(answer) = frames::read(&mut stream).await {
                    if !std::mem::replace(&mut arrived, true) {
                        one_more(&tally.kept);
                    }
                    if stream.write_all(&answer).await.is_err() {
                        break;
                    }
                }
                one_more(if arrived { &tally.ended } else { &tally.refused });
            });
        }
        attack
    }

    /// Headers that come a byte at a time and never end, in one frame or in many. Who is sent away comes again.
    pub(super) fn slow_headers(server: &str, count: u32) -> Self {
        let attack = Self::start(count.into(), "connections send headers without end");
        let server = server.parse().unwrap();
        for number in 0..count {
            attack.spawn(async move |tally| {
                loop {
                    if let Some(stream) = connect(server, number / OF_ONE_ADDRESS).await {
                        one_more(&tally.kept);
                        send_slowly(stream, number.is_multiple_of(2), &tally).await;
                    } else {
                        one_more(&tally.refused);
                    }
                    tokio::time::sleep(SLOW).await;
                }
            });
        }
        attack
    }

    /// Calls that are begun and given up at once, as many as go, with a token that is nobody's. Who is sent away comes again
    /// at once. Each has an address of its own.
    pub(super) fn rapid_resets(server: &str, count: u32) -> Self {
        let attack = Self::start(count.into(), "connections reset streams");
        let server = server.parse().unwrap();
        for number in 0..count {
            attack.spawn(async move |tally| {
                loop {
                    if let Some(stream) = connect(server, number).await {
                        one_more(&tally.kept);
                        reset_without_end(stream, &tally).await;
                    } else {
                        one_more(&tally.refused);
                        tokio::time::sleep(SLOW).await;
                    }
                }
            });
        }
        attack
    }

    /// Users who follow prices and alerts, each as often as one may.
    pub(super) fn streams(server: &str, users: Vec<User>, of_each: usize) -> Self {
        let attack = Self::start((users.len() * of_each) as u64, "streams are open");
        for user in users {
            // Made on the attackers' thread, where it does its work.
            let server = server.to_owned();
            attack.spawn(async move |tally| {
                let channel = channel(&server);
                let mut streams = Vec::new();
                // One after the other, as nobody is let in who begins many at once.
                for number in 0..of_each {
                    let opened = if number.is_multiple_of(2) {
                        follow_prices(channel.clone(), &user).await
                    } else {
                        follow_alerts(channel.clone(), &user).await
                    };
                    match opened {
                        Ok(stream) => {
                            one_more(&tally.kept);
                            streams.push(stream);
                        }
                        Err(status) => tally.refuse(status),
                    }
                }
                let open = streams.into_iter().map(async |stream| {
                    stream.await;
                    one_more(&tally.ended);
                });
                futures::future::join_all(open).await;
            });
        }
        attack
    }

    /// Waits until the whole crowd has been there.
    pub(super) async fn is_there(&self) {
        let start = Instant::now();
        while self.kept() + self.refused() < self.crowd {
            assert!(start.elapsed() < PATIENCE, "{self}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What is open now.
    pub(super) fn open(&self) -> u64 {
        self.kept() - self.tally.ended.load(Ordering::Relaxed)
    }

    /// What the server let in.
    fn kept(&self) -> u64 {
        self.tally.kept.load(Ordering::Relaxed)
    }

    pub(super) fn refused(&self) -> u64 {
        self.tally.refused.load(Ordering::Relaxed)
    }

    pub(super) fn end(&self) {
        if let Some(runtime) = self.runtime.lock().unwrap().take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "of {} that came, {} {}, {} were refused, {} ended by the server, {} frames sent",
            self.crowd,
            self.kept(),
            self.what,
            self.refused(),
            self.tally.ended.load(Ordering::Relaxed),
            self.tally.sent.load(Ordering::Relaxed)
        )?;
        match &*self.tally.refusal.lock().unwrap() {
            Some(refusal) => write!(f, "; one was told {:?} {}", refusal.code(), refusal.message()),
            None => Ok(()),
        }
    }
}

/// From the address of this number.
async fn connect(server: SocketAddr, address: u32) -> Option<TcpStream> {
    let (high, low) = (
        u8::try_from(address / 250).ok()?,
        u8::try_from(address % 250).ok()?,
    );
    let (high, low) = (high + 1, low + 1);
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind((Ipv4Addr::new(127, 0, high, low), 0).into()).ok()?;
    socket.connect(server).await.ok()
}

async fn send_slowly(mut stream: TcpStream, in_one_frame: bool, tally: &Tally) {
    let (first, next) = if in_one_frame {
        (frames::endless_headers(), frames::BYTE.to_vec())
    } else {
        (frames::unended_headers(), frames::continuation())
    };
    let (mut reader, mut writer) = stream.split();
    let writing = async {
        writer.write_all(frames::GREETING).await?;
        writer.write_all(&first).await?;
        loop {
            writer.write_all(&next).await?;
            one_more(&tally.sent);
            tokio::time::sleep(SLOW).await;
        }
        #[expect(
            unreachable_code,
            reason = "it ends by an error, and this says which type that has"
        )]
        Ok::<(), std::io::Error>(())
    };
    let reading = async {
        let mut answer = [0; 256];
        while reader.read(&mut answer).await.is_ok_and(|bytes| bytes > 0) {}
    };
    tokio::select! {
        _ = writing => {}
        () = reading => {}
    }
    one_more(&tally.ended);
}

async fn reset_without_end(mut stream: TcpStream, tally: &Tally) {
    let (mut reader, mut writer) = stream.split();
    let writing = async {
        if writer.write_all(frames::GREETING).await.is_err() {
            return;
        }
        for first in (1..u32::MAX / 4).step_by(RESETS as usize * 2) {
            let calls = (0..RESETS).flat_map(|call| frames::reset_call(first + call * 2));
            if writer.write_all(&calls.collect::<Vec<_>>()).await.is_err() {
                return;
            }
            tally.sent.fetch_add(RESETS.into(), Ordering::Relaxed);
        }
    };
    // What it says is not listened to, but that it goes.
    let reading = async {
        let mut answer = [0; 4_096];
        while reader.read(&mut answer).await.is_ok_and(|bytes| bytes > 0) {}
    };
    tokio::select! {
        () = writing => {}
        () = reading => {}
    }
    one_more(&tally.ended);
}

/// Ends when the stream does.
type Stream = futures::future::BoxFuture<'static, ()>;

async fn follow_prices(channel: Channel, user: &User) -> Result<Stream, Status> {
    let request = v1::WatchQuotesRequest {
        tickers: vec!["AAPL".to_owned(), "MSFT".to_owned()],
        cursor: String::new(),
    };
    let mut client = QuoteServiceClient::new(channel);
    let mut stream = client.watch_quotes(user.request(request)).await?.into_inner();
    Ok(Box::pin(async move {
        while let Ok(Some(_)) = stream.message().await {}
    }))
}

async fn follow_alerts(channel: Channel, user: &User) -> Result<Stream, Status> {
    let mut client = AlertServiceClient::new(channel);
    let request = user.request(v1::WatchAlertsRequest::default());
    let mut stream = client.watch_alerts(request).await?.into_inner();
    Ok(Box::pin(async move {
        while let Ok(Some(_)) = stream.message().await {}
    }))
}
