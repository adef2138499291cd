//! How much one caller may do, and that others notice nothing of it.

use std::time::Duration;

use proto::v1;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::app::{App, Caller, Database, PATIENCE, no_broker, some_email};
use crate::refusal::refusal_of;
use crate::tokens::Withheld;

/// When the refused call may be made again; fails if it was refused for something else.
fn wait_of(status: &Status, reason: &str) -> Duration {
    let refusal = refusal_of(status);
    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (Code::ResourceExhausted, reason)
    );
    let info = status.get_details_retry_info().expect("a RetryInfo");
    info.retry_delay.expect("a delay")
}

async fn get_user(app: &App, caller: &Caller) -> Result<(), Status> {
    let request = caller.asks(v1::GetUserRequest {});
    app.users().get_user(request).await.map(drop)
}

#[tokio::test]
async fn a_user_who_calls_too_often_is_told_when_to_try_again_and_others_go_on() {
    let database = Database::sqlite();
    let app = App::start_with(&database, &no_broker(), |config| {
        config.security.calls_per_second = 1;
    })
    .await;
    let (hasty, other) = (app.register().await, app.register().await);
    get_user(&app, &hasty).await.unwrap();
    get_user(&app, &hasty).await.unwrap();
    let wait = wait_of(&get_user(&app, &hasty).await.unwrap_err(), "TOO_MANY_CALLS");
    assert!(
        wait > Duration::ZERO && wait <= Duration::from_millis(1_001),
        "{wait:?}"
    );
    get_user(&app, &other).await.unwrap();
    tokio::time::sleep(wait).await;
    get_user(&app, &hasty).await.unwrap();
    app.stop().await;
}

async fn register(app: &App, forwarded_for: Option<&str>) -> Result<(), Status> {
    let mut request = Request::new(v1::RegisterUserRequest {
        email: some_email(),
        ..Default::default()
    });
    if let Some(address) = forwarded_for {
        request
            .metadata_mut()
            .insert("x-forwarded-for", address.parse().unwrap());
    }
    app.users().register_user(request).await.map(drop)
}

#[tokio::test]
async fn registrations_are_counted_by_address_whatever_a_caller_says_of_it() {
    let database = Database::sqlite();
    let app = App::start_with(&database, &no_broker(), |config| {
        config.security.registrations_per_hour = 6;
    })
    .await;
    register(&app, None).await.unwrap();
    register(&app, Some("1.2.3.4")).await.unwrap();
    for forwarded_for in [None, Some("1.2.3.5")] {
        let wait = wait_of(
            &register(&app, forwarded_for).await.unwrap_err(),
            "TOO_MANY_CALLS",
        );
        assert!(
            wait > Duration::from_secs(500) && wait <= Duration::from_secs(601),
            "{wait:?}"
        );
    }
    app.stop().await;
}

#[tokio::test]
async fn a_trusted_proxy_says_whose_registration_it_is() {
    let database = Database::sqlite();
    let app = App::start_with(&database, &no_broker(), |config| {
        config.security.registrations_per_hour = 1;
        config.security.trusted_proxies = "127.0.0.0/8".parse().unwrap();
    })
    .await;
    register(&app, Some("1.2.3.4")).await.unwrap();
    register(&app, Some("1.2.3.4")).await.unwrap_err();
    register(&app, Some("1.2.3.5")).await.unwrap();
    // What a caller wrote before the proxy did is not believed.
    register(&app, Some("9.9.9.9, 1.2.3.5")).await.unwrap_err();
    app.stop().await;
}

/// Whether the server keeps a new connection: it answers the greeting of HTTP/2, or closes.
async fn is_kept(address: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The preface and an empty SETTINGS frame.
    let greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    stream.write_all(greeting).await.ok()?;
    let mut answer = [0; 9];
    let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer))
        .await
        .unwrap();
    read.ok().map(|_| stream)
}

#[tokio::test]
async fn strangers_connections_beyond_the_limit_of_an_address_are_closed_and_those_before_go_on() {
    let database = Database::sqlite();
    let app = App::start_with(&database, &no_broker(), |config| {
        config.security.max_connections_per_address = 8;
    })
    .await;
    let address = app.address.to_string();
    let caller = app.register().await;
    // Known from here on: half of the places are for who is not.
    get_user(&app, &caller).await.unwrap();
    let mut kept = Vec::new();
    for _ in 0..4 {
        kept.push(is_kept(&address).await.expect("there is a place"));
    }
    for _ in 0..100 {
        assert!(
            is_kept(&address).await.is_none(),
            "the address has all the places of strangers"
        );
    }
    get_user(&app, &caller).await.unwrap();
    kept.pop();
    let again = async {
        while is_kept(&address).await.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again)
        .await
        .expect("a place is given back");
    app.stop().await;
}

#[tokio::test]
async fn streams_that_are_reset_at_once_end_the_connection_and_nobody_elses() {
    let database = Database::sqlite();
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    let mut attacker = is_kept(&app.address.to_string()).await.unwrap();
    // HEADERS (POST /x, indexed and literal fields) and RST_STREAM, again and again.
    let headers = b"\x83\x86\x04\x02/x\x01\x01a";
    let length = u8::try_from(headers.len()).unwrap();
    let flood = async {
        for number in 0..20_000u32 {
            let id = (number * 2 + 1).to_be_bytes();
            let mut frames = vec![0, 0, length, 1, 4];
            frames.extend(id);
            frames.extend(headers);
            frames.extend([0, 0, 4, 3, 0]);
            frames.extend(id);
            frames.extend([0, 0, 0, 8]);
            if attacker.write_all(&frames).await.is_err() {
                return;
            }
        }
        // All was taken: then the server has said goodbye, or is about to.
        let mut rest = Vec::new();
        let _ = attacker.read_to_end(&mut rest).await;
    };
    let others = async {
        for _ in 0..200 {
            get_user(&app, &caller).await.unwrap();
        }
    };
    let both = async { tokio::join!(flood, others) };
    tokio::time::timeout(PATIENCE, both)
        .await
        .expect("the attacker is shown out");
    app.stop().await;
}

#[tokio::test]
async fn headers_beyond_the_limit_are_refused() {
    let database = Database::sqlite();
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    let mut request = caller.asks(v1::GetUserRequest {});
    request
        .metadata_mut()
        .insert("x-large", "x".repeat(17 * 1024).parse().unwrap());
    assert!(app.users().get_user(request).await.is_err());
    // The connection goes on.
    get_user(&app, &caller).await.unwrap();
    app.stop().await;
}

#[tokio::test]
async fn only_some_streams_that_need_no_token_stay_open_for_one_address() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    let database = Database::sqlite();
    let app = App::start(&database, &no_broker()).await;
    let mut open = Vec::new();
    let mut client = HealthClient::<Channel>::new(app.channel.clone());
    let refused = loop {
        match client.watch(HealthCheckRequest::default()).await {
            Ok(stream) => open.push(stream),
            Err(status) => break status,
        }
        assert!(open.len() < 100, "there is no limit");
    };
    wait_of(&refused, "TOO_MANY_STREAMS");
    assert_eq!(open.len(), 16);
    // Those who have a token are not concerned.
    let caller = app.register().await;
    get_user(&app, &caller).await.unwrap();
    drop(open);
    let again = async {
        while client.watch(HealthCheckRequest::default()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again)
        .await
        .expect("places are given back");
    app.stop().await;
}

#[tokio::test]
async fn open_streams_end_with_the_server_and_say_so() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    let database = Database::sqlite();
    let app = App::start(&database, &no_broker()).await;
    let mut client = HealthClient::<Channel>::new(app.channel.clone());
    let mut stream = client
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    app.context.shutdown.cancel();
    let ends = async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ended without a word"),
                Err(status) => break status,
            }
        }
    };
    let status = tokio::time::timeout(PATIENCE, ends)
        .await
        .expect("it ends with the server");
    let refusal = refusal_of(&status);
    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (Code::Unavailable, "STREAM_ENDED")
    );
    app.stop().await;
}

#[tokio::test]
async fn who_says_nothing_without_a_token_is_told_so_soon_and_takes_no_users_place() {
    let database = Database::sqlite();
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    let paths = [
        "/grpc.health.v1.Health/Check",
        "/stockalert.v1.UserService/RegisterUser",
    ];
    let silent: Vec<_> = (0..160)
        .map(|n| Withheld::begin(&app.channel, paths[n % 2], None))
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    get_user(&app, &caller).await.unwrap();
    let (mut busy, mut unread) = (0, 0);
    for call in silent {
        let status = call.answer().await.unwrap_err();
        match refusal_of(&status).reason.as_str() {
            "SERVER_BUSY" => busy += 1,
            "REQUEST_UNREAD" => unread += 1,
            other => panic!("{other}: {status:?}"),
        }
    }
    assert!(busy > 0 && unread >= 32, "{busy} {unread}");
    register(&app, None).await.unwrap();
    app.stop().await;
}

#[tokio::test]
async fn wrong_tokens_are_looked_for_at_a_pace_and_what_is_no_token_never() {
    let database = Database::sqlite();
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    let wrong = |token: String| {
        let request = crate::app::with_token(v1::GetUserRequest {}, &token);
        let mut users = app.users();
        async move { users.get_user(request).await.unwrap_err() }
    };
    for _ in 0..300 {
        let status = wrong("A".repeat(42)).await;
        assert_eq!(status.code(), Code::Unauthenticated);
    }
    let refused = async {
        for number in 0.. {
            let status = wrong(format!("{number:A>43}")).await;
            if status.code() != Code::Unauthenticated {
                return status;
            }
        }
        unreachable!()
    };
    let status = tokio::time::timeout(PATIENCE, refused).await.unwrap();
    let wait = wait_of(&status, "TOO_MANY_CALLS");
    tokio::time::sleep(wait).await;
    get_user(&app, &caller).await.unwrap();
    app.stop().await;
}
