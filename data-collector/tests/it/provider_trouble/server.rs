//! A provider of which one call meets a fault, byte by byte.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::{Compression, write::GzEncoder};
use reqwest::Url;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// One of the calls that a provider may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Yahoo's page that sets a cookie.
    Cookie,
    /// Yahoo's crumb.
    Crumb,
    /// The prices.
    Prices,
    /// Binance's second call, for all pairs, after one that is not known.
    OnceMore,
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Hang,
    SlowHead,
    EndlessHead,
    HalfHead,
    HangAfterHead,
    SlowBody,
    HalfBody,
    EndlessBody,
    BadChunk,
    Reset,
    NoHttp,
    GzipCutOff,
    GzipGarbage,
    GzipBomb,
    TenMebibytes,
    Empty,
    Page,
    WrongType,
    RedirectLoop,
    RedirectToFile,
}

#[derive(Debug, Clone)]
pub(super) struct Server {
    url: Url,
    good: &'static str,
    fault: Arc<Mutex<Option<(Stage, Fault)>>>,
    met: Arc<AtomicUsize>,
}

impl Server {
    /// With this answer for prices.
    pub(super) async fn start(good: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Self {
            url: url.parse().unwrap(),
            good,
            fault: Arc::default(),
            met: Arc::default(),
        };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = serving.clone();
                // A client that goes away is part of the game.
                tokio::spawn(async move { server.serve(stream).await.ok() });
            }
        });
        server
    }

    pub(super) fn url(&self) -> Url {
        self.url.clone()
    }

    pub(super) fn fails(&self, stage: Stage, fault: Fault) {
        *self.fault.lock().unwrap() = Some((stage, fault));
    }

    pub(super) fn is_well(&self) {
        *self.fault.lock().unwrap() = None;
    }

    /// How many calls met the fault.
    pub(super) fn met(&self) -> usize {
        self.met.load(Ordering::SeqCst)
    }

    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut buffer = [0; 1024];
            match stream.read(&mut buffer).await? {
                0 => return Ok(()),
                read => request.extend_from_slice(&buffer[..read]),
            }
        }
        let request = String::from_utf8_lossy(&request);
        let path = request.split(' ').nth(1).unwrap_or_default();
        let stage = match path {
            _ if path.starts_with("/cookie") => Stage::Cookie,
            _ if path.starts_with("/v1/test/getcrumb") => Stage::Crumb,
            _ if path.starts_with("/api/v3/") && !path.contains("symbols=") => Stage::OnceMore,
            _ => Stage::Prices,
        };
        let fault = *self.fault.lock().unwrap();
        match fault {
            Some((at, fault)) if at == stage || path.starts_with("/round") => {
                self.met.fetch_add(1, Ordering::SeqCst);
                fail(fault, stage, self.good, stream).await
            }
            // So that there is a second call.
            Some((Stage::OnceMore, _)) if stage == Stage::Prices => {
                let refusal = r#"{"code":-1121,"msg":"Invalid symbol."}"#;
                answer(&mut stream, "400 Bad Request", "", refusal.as_bytes()).await
            }
            Some(_) | None => match stage {
                Stage::Cookie => {
                    answer(&mut stream, "404 Not Found", "set-cookie: A3=x; Path=/\r\n", b"").await
                }
                Stage::Crumb => answer(&mut stream, "200 OK", "", b"a/b.c").await,
                Stage::Prices | Stage::OnceMore => {
                    answer(&mut stream, "200 OK", "", self.good.as_bytes()).await
                }
            },
        }
    }
}

async fn answer(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await
}

/// Until the client has gone.
async fn again_and_again(stream: &mut TcpStream, bytes: &[u8], pause: Duration) -> std::io::Result<()> {
    loop {
        stream.write_all(bytes).await?;
        tokio::time::sleep(pause).await;
    }
}

async fn fail(fault: Fault, stage: Stage, good: &str, mut stream: TcpStream) -> std::io::Result<()> {
    let stream = &mut stream;
    let good = if stage == Stage::Crumb { "a/b.c" } else { good };
    let pause = Duration::from_millis(20);
    match fault {
        Fault::Hang => std::future::pending().await,
        Fault::SlowHead => {
            for byte in b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-more: y\r\nx-more: y\r\n\r\n"
            {
                again_and_wait(stream, *byte).await?;
            }
            Ok(())
        }
        Fault::EndlessHead => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nx-long: ").await?;
            again_and_again(stream, b"y", pause).await
        }
        Fault::HalfHead => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").await,
        Fault::HangAfterHead => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n")
                .await?;
            std::future::pending().await
        }
        Fault::SlowBody => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
                .await?;
            again_and_again(stream, b" ", pause).await
        }
        Fault::HalfBody => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", good.len());
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&good.as_bytes()[..good.len() / 2]).await
        }
        Fault::EndlessBody => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                .await?;
            let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
            again_and_again(stream, chunk.as_bytes(), Duration::ZERO).await
        }
        Fault::BadChunk => {
            let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnot a number\r\n";
            stream.write_all(head).await
        }
        Fault::Reset => stream.set_zero_linger(),
        Fault::NoHttp => stream.write_all(b"\x00\xffSSH-2.0-OpenSSH_9.2\r\n\r\n").await,
        Fault::GzipCutOff => {
            let packed = packed(good.as_bytes(), 0);
            packed_answer(stream, &packed[..packed.len() / 2]).await
        }
        Fault::GzipGarbage => packed_answer(stream, good.as_bytes()).await,
        Fault::GzipBomb => packed_answer(stream, &packed(good.as_bytes(), 200)).await,
        Fault::TenMebibytes => {
            let body = format!("{good}{}", " ".repeat(10 * 1024 * 1024));
            answer(stream, "200 OK", "", body.as_bytes()).await
        }
        Fault::Empty => answer(stream, "200 OK", "", b"").await,
        Fault::Page => {
            answer(
                stream,
                "200 OK",
                "content-type: text/html\r\n",
                b"<html><body>7.5</body></html>",
            )
            .await
        }
        Fault::WrongType => answer(stream, "200 OK", "content-type: image/png\r\n", good.as_bytes()).await,
        Fault::RedirectLoop => answer(stream, "302 Found", "location: /round\r\n", b"").await,
        Fault::RedirectToFile => answer(stream, "302 Found", "location: file:///etc/passwd\r\n", b"").await,
    }
}

async fn again_and_wait(stream: &mut TcpStream, byte: u8) -> std::io::Result<()> {
    stream.write_all(&[byte]).await?;
    tokio::time::sleep(Duration::from_millis(50)).await;
    Ok(())
}

async fn packed_answer(stream: &mut TcpStream, body: &[u8]) -> std::io::Result<()> {
    answer(stream, "200 OK", "content-encoding: gzip\r\n", body).await
}

/// With so many MiB of spaces behind it, which pack to a thousandth.
fn packed(body: &[u8], mebibytes: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    let spaces = vec![b' '; 1024 * 1024];
    for _ in 0..mebibytes {
        encoder.write_all(&spaces).unwrap();
    }
    encoder.finish().unwrap()
}
