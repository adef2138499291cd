//! What a websocket's other side can do wrong: it costs the connection at most, which is made again, and never gives a price.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// A frame's first bytes.
const TEXT: u8 = 0x81;
const PING: u8 = 0x89;

/// A connection that was upgraded and subscribed, for bytes of any kind.
async fn upgraded(server: &Server) -> TcpStream {
    let mut peer = server.accept().await;
    text(&mut peer).await;
    peer.into_inner()
}

/// The client connects anew, subscribes again and gets prices.
async fn is_well_again(server: &Server, live: &Live) {
    let accepting = tokio::time::timeout(Duration::from_secs(30), server.accept());
    let mut peer = accepting.await.expect("it connects again");
    assert!(text(&mut peer).await.contains("btcusdt@miniTicker"));
    trade(&mut peer, "BTCUSDT", "5", 1_700_000_000_000).await;
    until(live, "BTC-USD", |answer| answer.as_deref() == Ok("5")).await;
}

#[tokio::test]
async fn a_connection_that_ends_within_a_frame_or_speaks_no_websocket_is_made_again() {
    let price = br#"{"e":"24hrMiniTicker","E":1700000000000,"s":"BTCUSDT","c":"666"}"#;
    let length = u8::try_from(price.len()).unwrap();
    let half = [&[TEXT, length], &price[..price.len() / 2]].concat();
    let no_utf8 = vec![TEXT, 2, 0xff, 0xfe];
    let reserved = vec![0xf1, 0];
    let unknown_kind = vec![0x83, 0];
    let masked = vec![TEXT, 0x81, 1, 2, 3, 4, 5];
    let goes_on_with_nothing = vec![0x80, 1, b'x'];
    let long_ping = [&[PING, 126, 0, 200][..], &[0; 200]].concat();
    let huge = vec![TEXT, 127, 0, 0, 0, 1, 0, 0, 0, 0];
    let noise: Vec<u8> = (0..4_096_u32).map(|n| (n * 151 % 251).to_le_bytes()[0]).collect();
    for bytes in [
        half,
        no_utf8,
        reserved,
        unknown_kind,
        masked,
        goes_on_with_nothing,
        long_ping,
        huge,
        noise,
    ] {
        let server = Server::start().await;
        let live = server.live(quick());
        until(&live, "BTC-USD", is_unavailable).await;
        let mut peer = upgraded(&server).await;
        peer.write_all(&bytes).await.unwrap();
        peer.shutdown().await.unwrap();
        is_well_again(&server, &live).await;
    }
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_the_connection_also_in_pieces() {
    for pieces in [1, 64] {
        let server = Server::start().await;
        let live = server.live(quick());
        until(&live, "BTC-USD", is_unavailable).await;
        let mut peer = upgraded(&server).await;
        let piece = vec![b' '; 4 * 1024 * 1024 / pieces];
        for number in 0..pieces {
            let first = if number == 0 { 0x01 } else { 0x00 };
            let last = if number == pieces - 1 { 0x80 } else { 0 };
            let length = u64::try_from(piece.len()).unwrap().to_be_bytes();
            let frame = [&[first | last, 127][..], &length, &piece].concat();
            if peer.write_all(&frame).await.is_err() {
                break;
            }
        }
        is_well_again(&server, &live).await;
    }
}

#[tokio::test]
async fn a_handshake_that_hangs_or_never_ends_is_given_up() {
    let server = Server::start().await;
    let timing = Timing {
        connect: Duration::from_millis(300),
        ..quick()
    };
    let live = server.live(timing);
    until(&live, "BTC-USD", is_unavailable).await;
    let (silent, _) = server.listener.accept().await.unwrap();
    let (mut endless, _) = server.listener.accept().await.unwrap();
    let writing = tokio::spawn(async move {
        endless
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nx-long: ")
            .await?;
        loop {
            endless.write_all(b"y").await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        #[expect(unreachable_code, reason = "its type")]
        std::io::Result::Ok(())
    });
    is_well_again(&server, &live).await;
    drop(silent);
    writing.abort();
}

#[tokio::test]
async fn a_server_that_only_pings_gives_no_price_and_keeps_nobody_waiting() {
    let server = Server::start().await;
    let live = server.live(quick());
    until(&live, "BTC-USD", is_unavailable).await;
    let mut peer = server.accept().await;
    text(&mut peer).await;
    let pinging = async {
        for _ in 0..2_000 {
            peer.send(Message::Ping(Default::default())).await.unwrap();
            // Reads the answers.
            let _: Result<_, _> = tokio::time::timeout(Duration::from_micros(100), peer.next()).await;
        }
    };
    pinging.await;
    until(&live, "BTC-USD", is_without).await;
    trade(&mut peer, "BTCUSDT", "5", 1_700_000_000_000).await;
    until(&live, "BTC-USD", |answer| answer.as_deref() == Ok("5")).await;
}

#[tokio::test]
async fn a_server_that_writes_pings_and_reads_nothing_is_left() {
    let server = Server::start().await;
    let live = server.live(quick());
    until(&live, "BTC-USD", is_unavailable).await;
    let mut peer = upgraded(&server).await;
    let flooding = tokio::spawn(async move {
        let ping = [&[PING, 125][..], &[b'x'; 125]].concat();
        let pings = ping.repeat(1_000);
        while peer.write_all(&pings).await.is_ok() {}
        // All that was answered, at last.
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).await.ok();
    });
    is_well_again(&server, &live).await;
    flooding.abort();
}
