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

#[tokio::test]
async fn strangers_have_a_quarter_of_the_places_and_give_them_back_when_they_are_known() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let security = SecurityArgs {
        max_connections: 16,
        max_connections_per_address: 8,
        ..SecurityArgs::default()
    };
    let mut connections = Connections::new(listener, &security);
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(TcpStream::connect(address).await.unwrap());
    }
    let mut taken = Vec::new();
    let next = Duration::from_millis(200);
    while let Ok(connection) = tokio::time::timeout(next, connections.next()).await {
        taken.push(connection.unwrap().unwrap());
    }
    assert_eq!(taken.len(), 4);
    taken[0].connect_info().is_known();
    taken[0].connect_info().is_known();
    for _ in 0..2 {
        clients.push(TcpStream::connect(address).await.unwrap());
    }
    while let Ok(connection) = tokio::time::timeout(next, connections.next()).await {
        taken.push(connection.unwrap().unwrap());
    }
    assert_eq!(taken.len(), 5, "one place came back");
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

#[tokio::test]
async fn who_is_cut_off_as_a_stranger_may_not_come_again_at_once_and_who_leaves_may() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let security = SecurityArgs {
        max_connections_per_address: 2 * COST_OF_CUT_OFF,
        ..SecurityArgs::default()
    };
    let mut connections = Connections::new(listener, &security);
    let mut come = async || {
        let mut client = TcpStream::connect(address).await.unwrap();
        tokio::select! {
            connection = connections.next() => Some((client, connection.unwrap().unwrap())),
            // It was closed.
            _ = client.read_u8() => None,
        }
    };
    for _ in 0..20 {
        let (client, mut connection) = come().await.unwrap();
        drop(client);
        assert!(connection.read_u8().await.is_err());
        let (mut client, connection) = come().await.unwrap();
        client.write_all(b"P").await.unwrap();
        connection.connect_info().is_known();
        drop((connection, client));
    }
    let mut cut_off = 0;
    while let Some((mut client, connection)) = come().await {
        client.write_all(b"P").await.unwrap();
        drop((connection, client));
        cut_off += 1;
        assert!(cut_off < 10, "they may come again and again");
    }
    assert!(cut_off > 0);
}
