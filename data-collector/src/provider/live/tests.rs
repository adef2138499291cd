mod faults;

use std::net::SocketAddr;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::*;

type Peer = WebSocketStream<TcpStream>;

/// The provider's side.
struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    async fn accept(&self) -> Peer {
        let (stream, _) = self.listener.accept().await.unwrap();
        tokio_tungstenite::accept_async(stream).await.unwrap()
    }

    fn live(&self, timing: Timing) -> Live {
        let url = format!("ws://{}/ws", self.address).parse().unwrap();
        Live::start(Arc::new(BinanceWire::new(url)), timing)
    }
}

fn quick() -> Timing {
    Timing {
        connect: Duration::from_secs(5),
        ping: Duration::from_millis(100),
        silence: Duration::from_millis(350),
        again: (Duration::from_millis(20), Duration::from_millis(100)),
        unwanted: Duration::from_secs(60),
    }
}

/// The next text that the client sends; its pings are answered meanwhile.
async fn text(peer: &mut Peer) -> String {
    let next = async {
        loop {
            if let Message::Text(text) = peer.next().await.unwrap().unwrap() {
                return text.as_str().to_owned();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), next).await.unwrap()
}

async fn trade(peer: &mut Peer, symbol: &str, price: &str, millis: i64) {
    let text = format!(r#"{{"e":"24hrMiniTicker","E":{millis},"s":"{symbol}","c":"{price}"}}"#);
    peer.send(Message::text(text)).await.unwrap();
}

fn ticker(text: &str) -> Ticker {
    text.parse().unwrap()
}

/// Asks until the answer is as wanted.
async fn until(live: &Live, name: &str, is_wanted: impl Fn(&Result<String, ProviderError>) -> bool) {
    let asking = async {
        loop {
            let answer = live.fetch(&ticker(name)).await;
            let answer = answer.map(|fetched| fetched.quote.price.to_string());
            if is_wanted(&answer) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), asking)
        .await
        .unwrap();
}

fn is_unavailable(answer: &Result<String, ProviderError>) -> bool {
    matches!(answer, Err(ProviderError::Unavailable { .. }))
}

fn is_without(answer: &Result<String, ProviderError>) -> bool {
    matches!(answer, Err(ProviderError::NoPrice { .. }))
}

#[tokio::test]
async fn what_is_asked_for_is_subscribed_to_and_answered_with_its_last_trade() {
    let server = Server::start().await;
    let live = server.live(quick());
    assert!(live.fetch(&ticker("BTC-USD")).await.is_err(), "not connected yet");
    let mut peer = server.accept().await;
    assert!(text(&mut peer).await.contains("btcusdt@miniTicker"));
    until(&live, "BTC-USD", is_without).await;
    trade(&mut peer, "BTCUSDT", "97000.5", 1_700_000_000_100).await;
    until(&live, "BTC-USD", |answer| answer.as_deref() == Ok("97000.5")).await;
    trade(&mut peer, "BTCUSDT", "1", 1_700_000_000_050).await;
    trade(&mut peer, "BTCUSDT", "97001", 1_700_000_000_100).await;
    until(&live, "BTC-USD", |answer| answer.as_deref() == Ok("97001")).await;
    let fetched = live.fetch(&ticker("BTC-USD")).await.unwrap();
    assert_eq!(fetched.quote.event_time.as_micros(), 1_700_000_000_100_000);
    assert_eq!(
        (fetched.quote.currency.as_str(), fetched.quote.source.as_str()),
        ("USDT", "binance")
    );
    until(&live, "ETH-BTC", is_without).await;
    let second = text(&mut peer).await;
    assert!(
        second.contains("ethbtc") && !second.contains("btcusdt"),
        "{second}"
    );
    assert!(!live.covers(&ticker("AAPL")));
}

#[tokio::test]
async fn after_a_cut_it_connects_again_subscribes_again_and_forgets_what_it_had() {
    let server = Server::start().await;
    let live = server.live(quick());
    until(&live, "BTC-USD", is_unavailable).await;
    for round in 1..4 {
        let mut peer = server.accept().await;
        assert!(text(&mut peer).await.contains("btcusdt@miniTicker"));
        until(&live, "BTC-USD", is_without).await;
        trade(&mut peer, "BTCUSDT", &round.to_string(), 1_700_000_000_000).await;
        until(&live, "BTC-USD", |answer| {
            answer.as_deref() == Ok(&*round.to_string())
        })
        .await;
        if round == 2 {
            // As a server does it once a day.
            peer.close(None).await.unwrap();
        }
        drop(peer);
        until(&live, "BTC-USD", is_unavailable).await;
    }
}

#[tokio::test]
async fn a_connection_on_which_nothing_is_heard_is_given_up() {
    let server = Server::start().await;
    let live = server.live(quick());
    // Reads nothing, and so answers no ping.
    let silent = server.accept().await;
    until(&live, "BTC-USD", is_without).await;
    let mut peer = tokio::time::timeout(Duration::from_secs(10), server.accept())
        .await
        .unwrap();
    drop(silent);
    text(&mut peer).await;
    until(&live, "BTC-USD", is_without).await;
    for _ in 0..100 {
        // Reading answers pings: without a trade, it stays.
        let _: Result<_, _> = tokio::time::timeout(Duration::from_millis(10), peer.next()).await;
    }
    until(&live, "BTC-USD", is_without).await;
}

#[tokio::test]
async fn a_message_that_is_not_understood_is_passed_over() {
    let server = Server::start().await;
    let live = server.live(quick());
    until(&live, "BTC-USD", is_unavailable).await;
    let mut peer = server.accept().await;
    text(&mut peer).await;
    for text in ["", "<html>", r#"{"code":2,"msg":"Invalid request","id":1}"#] {
        peer.send(Message::text(text)).await.unwrap();
    }
    peer.send(Message::binary(vec![0xff])).await.unwrap();
    trade(&mut peer, "BTCUSDT", "5", 1_700_000_000_000).await;
    until(&live, "BTC-USD", |answer| answer.as_deref() == Ok("5")).await;
}

#[tokio::test]
async fn what_nobody_asks_for_is_given_up() {
    let server = Server::start().await;
    let timing = Timing {
        unwanted: Duration::from_millis(400),
        ..quick()
    };
    let live = server.live(timing);
    until(&live, "ETH-BTC", is_unavailable).await;
    let mut peer = server.accept().await;
    assert!(text(&mut peer).await.contains("ethbtc"));
    let keeping = until(&live, "BTC-USD", |answer| answer.as_deref() == Ok("5"));
    let serving = async {
        assert!(text(&mut peer).await.contains("\"SUBSCRIBE\""));
        let given_up = text(&mut peer).await;
        assert!(
            given_up.contains("UNSUBSCRIBE") && given_up.contains("ethbtc"),
            "{given_up}"
        );
        trade(&mut peer, "BTCUSDT", "5", 1_700_000_000_000).await;
    };
    tokio::join!(keeping, serving);
}

#[tokio::test]
async fn a_server_that_refuses_is_tried_again_and_the_token_is_told_to_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let live = Live::start(
        Arc::new(FinnhubWire::new(url, &"SECRET-key".parse().unwrap())),
        quick(),
    );
    for _ in 0..3 {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 1024];
        let length = tokio::io::AsyncReadExt::read(&mut stream, &mut buffer)
            .await
            .unwrap();
        assert!(String::from_utf8_lossy(&buffer[..length]).contains("token=SECRET-key"));
        let refusal = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, refusal)
            .await
            .unwrap();
    }
    let error = live.fetch(&ticker("AAPL")).await.unwrap_err();
    assert!(!error.to_string().contains("SECRET"), "{error}");
    assert!(!format!("{live:?}").contains("SECRET"));
}

#[tokio::test]
async fn a_secure_address_is_spoken_to_in_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://localhost:{}", listener.local_addr().unwrap().port())
        .parse()
        .unwrap();
    let live = Live::start(Arc::new(BinanceWire::new(url)), quick());
    let accepting = tokio::time::timeout(Duration::from_secs(10), listener.accept());
    let (mut stream, _) = accepting.await.unwrap().unwrap();
    let mut first = [0];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut first)
        .await
        .unwrap();
    assert_eq!(first, [0x16], "the beginning of a TLS handshake");
    drop(stream);
    until(&live, "BTC-USD", is_unavailable).await;
}
