//! The stub does what Telegram does, as far as the bot relies on it.

use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::post;
use e2e::telegram_stub::{AttachmentKind, Fault, PlannedFault, TelegramStub};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(30);

async fn stub() -> TelegramStub {
    TelegramStub::start("127.0.0.1:0".parse().unwrap()).await.unwrap()
}

/// The status and the body.
async fn call(stub: &TelegramStub, method: &str, arguments: Value) -> (u16, Value) {
    let url = format!("{}/bot1:x/{method}", stub.url());
    let answer = reqwest::Client::new()
        .post(url)
        .json(&arguments)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn ok(stub: &TelegramStub, method: &str, arguments: Value) -> Value {
    let (status, body) = call(stub, method, arguments).await;
    assert_eq!((status, &body["ok"]), (200, &json!(true)), "{body}");
    body["result"].clone()
}

async fn refused(stub: &TelegramStub, method: &str, arguments: Value) -> String {
    let (status, body) = call(stub, method, arguments).await;
    assert_eq!((status, &body["ok"]), (400, &json!(false)), "{body}");
    body["description"].as_str().unwrap().to_owned()
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "waited in vain until {what}");
}

fn buttons(data: &str) -> Value {
    json!({"inline_keyboard": [[{"text": "Snooze 1h", "callback_data": data}]]})
}

#[tokio::test]
async fn a_pressed_button_reaches_the_bot_with_its_message_and_is_answered_once() {
    let stub = stub().await;
    let message = json!({"chat_id": 42, "text": "<b>AAPL</b> 201", "parse_mode": "HTML", "reply_markup": buttons("z:1")});
    let sent = ok(&stub, "SendMessage", message).await;
    assert_eq!(sent["text"], "AAPL 201");
    let id = sent["message_id"].as_i64().unwrap();
    let press = stub.press_labelled(id, "Snooze").unwrap();
    let updates = ok(&stub, "getUpdates", json!({})).await;
    let query = &updates[0]["callback_query"];
    assert_eq!(
        (query["data"].as_str(), query["id"].as_str()),
        (Some("z:1"), Some(press.as_str()))
    );
    assert_eq!(query["message"]["reply_markup"], buttons("z:1"));
    let answer = json!({"callback_query_id": press, "text": "Snoozed"});
    ok(&stub, "answerCallbackQuery", answer.clone()).await;
    assert_eq!(stub.button_answer(&press).unwrap().text, "Snoozed");
    assert!(
        refused(&stub, "answerCallbackQuery", answer)
            .await
            .contains("query is too old")
    );

    let edit = json!({"chat_id": 42, "message_id": id, "text": "Snoozed"});
    ok(&stub, "editMessageText", edit.clone()).await;
    assert!(
        refused(&stub, "editMessageText", edit)
            .await
            .contains("is not modified")
    );
    assert_eq!(
        (
            stub.message(id).unwrap().text.as_str(),
            stub.message(id).unwrap().buttons().len()
        ),
        ("Snoozed", 0)
    );

    // A message that never was: only its place is told.
    stub.press(42, 9_999, "z:1");
    let updates = ok(&stub, "getUpdates", json!({"offset": 2})).await;
    assert_eq!(updates[0]["callback_query"]["message"]["date"], 0);
}

#[tokio::test]
async fn a_photo_is_kept_with_its_caption_and_a_users_file_can_be_downloaded() {
    let stub = stub().await;
    let picture = b"\x89PNG\r\n\x1a\nrest";
    let mut body = b"--x\r\nContent-Disposition: form-data; name=\"chat_id\"\r\n\r\n42\r\n--x\r\nContent-Disposition: form-data; \
        name=\"caption\"\r\n\r\nAAPL, 1 day\r\n--x\r\nContent-Disposition: form-data; name=\"photo\"\r\n\r\nattach://one\r\n--x\r\n\
        Content-Disposition: form-data; name=\"one\"; filename=\"chart.png\"\r\n\r\n"
        .to_vec();
    body.extend_from_slice(picture);
    body.extend_from_slice(b"\r\n--x--\r\n");
    let answer = reqwest::Client::new()
        .post(format!("{}/bot1:x/SendPhoto", stub.url()))
        .header("content-type", "multipart/form-data; boundary=x")
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let sent = &stub.messages_to(42)[0];
    let photo = sent.attachment.as_ref().unwrap();
    assert_eq!(
        (sent.text.as_str(), photo.kind),
        ("AAPL, 1 day", AttachmentKind::Photo)
    );
    assert_eq!(
        (photo.file_name.as_str(), &photo.bytes[..]),
        ("chart.png", &picture[..])
    );

    stub.upload(42, "rules.csv", "ticker,low,high\n", "/import");
    let updates = ok(&stub, "getUpdates", json!({})).await;
    let message = &updates[0]["message"];
    assert_eq!(message["caption"], "/import");
    let file = ok(
        &stub,
        "getFile",
        json!({"file_id": message["document"]["file_id"]}),
    )
    .await;
    let url = format!(
        "{}/file/bot1:x/{}",
        stub.url(),
        file["file_path"].as_str().unwrap()
    );
    assert_eq!(
        reqwest::get(url).await.unwrap().text().await.unwrap(),
        "ticker,low,high\n"
    );
}

#[tokio::test]
async fn what_telegram_refuses_is_refused() {
    let stub = stub().await;
    let html = |text: &str| json!({"chat_id": 42, "text": text, "parse_mode": "HTML"});
    assert!(
        refused(&stub, "sendMessage", html("1 < 2"))
            .await
            .contains("can't parse entities")
    );
    assert!(
        refused(&stub, "sendMessage", html(&"x".repeat(4_097)))
            .await
            .contains("too long")
    );
    // Markup and escapes do not count, characters outside the basic plane count twice.
    ok(
        &stub,
        "sendMessage",
        html(&format!("<b>{}</b>", "&amp;".repeat(4_096))),
    )
    .await;
    assert!(
        refused(&stub, "sendMessage", html(&"\u{1f4c8}".repeat(2_049)))
            .await
            .contains("too long")
    );
    let long = json!({"chat_id": 42, "text": "x", "reply_markup": buttons(&"d".repeat(65))});
    assert_eq!(
        refused(&stub, "sendMessage", long).await,
        "Bad Request: BUTTON_DATA_INVALID"
    );
    let reply = json!({"chat_id": 42, "text": "x", "reply_parameters": {"message_id": 77}});
    assert!(
        refused(&stub, "sendMessage", reply)
            .await
            .contains("message to be replied not found")
    );
    let reply = json!({"chat_id": 42, "text": "x", "reply_parameters": {"message_id": 77, "allow_sending_without_reply": true}});
    ok(&stub, "sendMessage", reply).await;
    let menu = json!({"commands": [{"command": "Watch", "description": "x"}]});
    assert_eq!(
        refused(&stub, "setMyCommands", menu).await,
        "Bad Request: BOT_COMMAND_INVALID"
    );
    stub.block(43);
    let (status, _) = call(&stub, "sendMessage", json!({"chat_id": 43, "text": "x"})).await;
    assert_eq!(status, 403);
    stub.enforce_limits();
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let (status, body) = call(&stub, "sendMessage", json!({"chat_id": 44, "text": "x"})).await;
        statuses.push((status, body["parameters"]["retry_after"].as_u64().is_some()));
    }
    assert_eq!(statuses, [(200, false), (200, false), (429, true)]);
}

#[tokio::test]
async fn a_held_call_is_carried_out_before_or_after_as_planned_and_not_for_a_caller_that_went_away() {
    let stub = stub().await;
    stub.fault(PlannedFault::of_messages(Fault::HoldBefore, 2));
    stub.fault(PlannedFault::of_messages(Fault::HoldAfter, 1));
    let send = |text: &'static str| {
        let stub = stub.clone();
        tokio::spawn(async move { call(&stub, "sendMessage", json!({"chat_id": 42, "text": text})).await })
    };
    let gone = send("gone");
    until("the first is held", || stub.held() == 1).await;
    gone.abort();
    until("the first has gone", || stub.held() == 0).await;
    let before = send("before");
    until("the second is held", || stub.held() == 1).await;
    assert!(stub.texts(42).is_empty());
    let after = send("after");
    until("the third is held", || stub.held() == 2).await;
    assert_eq!(stub.texts(42), ["after"]);
    stub.release();
    assert_eq!((before.await.unwrap().0, after.await.unwrap().0), (200, 200));
    assert_eq!(stub.texts(42), ["after", "before"]);
}

/// How far a call got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Got {
    Nothing,
    Connection,
    Start(u16),
    Answer(u16),
}

#[tokio::test]
async fn each_fault_looks_to_the_caller_as_it_does_at_telegram() {
    let stub = stub().await;
    let url = format!("{}/bot1:x/sendMessage", stub.url());
    // One with connections that are used again, as a bot's are.
    let clients = [usize::MAX, 0].map(|idle| {
        let client = reqwest::Client::builder().pool_max_idle_per_host(idle);
        client.build().unwrap()
    });
    let send = async |client: &reqwest::Client| {
        let message = json!({"chat_id": 42, "text": "x"});
        match client.post(&url).json(&message).send().await {
            Err(error) if error.is_connect() => Got::Nothing,
            Err(_) => Got::Connection,
            Ok(answer) => {
                let status = answer.status().as_u16();
                let body = answer.bytes().await;
                body.map_or(Got::Start(status), |_| Got::Answer(status))
            }
        }
    };
    for (fault, expected, kept) in [
        (Fault::None, Got::Answer(200), 1),
        (Fault::TooManyRequests(7), Got::Answer(429), 0),
        (Fault::Conflict, Got::Answer(409), 0),
        (Fault::BadGateway, Got::Answer(502), 0),
        (Fault::Garbage, Got::Answer(200), 1),
        (Fault::DropUnread, Got::Connection, 0),
        (Fault::DropBefore, Got::Connection, 0),
        (Fault::DropAfter, Got::Connection, 1),
        (Fault::CutAnswer, Got::Start(200), 1),
    ] {
        for client in &clients {
            stub.fault(PlannedFault::of_messages(fault, 1));
            let before = stub.texts(42).len();
            let got = send(client).await;
            assert_eq!(
                (got, stub.texts(42).len() - before),
                (expected, kept),
                "{fault:?}"
            );
        }
    }
    for client in &clients {
        stub.leave().await;
        assert_eq!(send(client).await, Got::Nothing);
        stub.come_back().await;
        assert_eq!(send(client).await, Got::Answer(200));
    }
}

#[tokio::test]
async fn a_connection_ends_before_or_after_the_body_is_read_as_planned() {
    let stub = stub().await;
    let (head, body) = (
        "POST /bot1:x/sendMessage HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 25\r\n\r\n",
        r#"{"chat_id":42,"text":"x"}"#,
    );
    for (fault, is_read) in [(Fault::DropUnread, false), (Fault::DropBefore, true)] {
        stub.fault(PlannedFault::of_messages(fault, 1));
        let mut connection = TcpStream::connect(stub.url().strip_prefix("http://").unwrap())
            .await
            .unwrap();
        connection.write_all(head.as_bytes()).await.unwrap();
        if is_read {
            until("the head is read", || stub.calls("sendMessage") == 2).await;
            assert_eq!(stub.faults_to_come().len(), 1, "it waits for the body");
            connection.write_all(body.as_bytes()).await.unwrap();
        }
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, connection.read_to_end(&mut answer)).await;
        // Whether it ended in order does not matter.
        let _ = ended.expect("the connection ends");
        assert_eq!((answer, stub.faults_to_come()), (vec![], vec![]), "{fault:?}");
    }
}

#[tokio::test]
async fn updates_are_pushed_to_a_webhook_with_its_secret_until_they_are_taken() {
    let stub = stub().await;
    let (pushed, mut received) = mpsc::unbounded_channel();
    let mut attempts = 0;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let take = std::sync::Mutex::new(move |headers: HeaderMap, body: String| {
        attempts += 1;
        let secret = headers
            .get("x-telegram-bot-api-secret-token")
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        pushed
            .send((secret, serde_json::from_str::<Value>(&body).unwrap()))
            .unwrap();
        if attempts == 1 {
            axum::http::StatusCode::BAD_GATEWAY
        } else {
            axum::http::StatusCode::OK
        }
    });
    let take = std::sync::Arc::new(take);
    let router = Router::new().route(
        "/",
        post(async move |headers: HeaderMap, body: String| (take.lock().unwrap())(headers, body)),
    );
    tokio::spawn(async move { axum::serve(listener, router).await });
    ok(&stub, "setWebhook", json!({"url": url, "secret_token": "s3cret"})).await;
    let (status, _) = call(&stub, "getUpdates", json!({})).await;
    assert_eq!(status, 409);
    stub.say(42, "/list");
    for _ in 0..2 {
        let (secret, update) = tokio::time::timeout(PATIENCE, received.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (secret.as_str(), update["message"]["text"].as_str()),
            ("s3cret", Some("/list"))
        );
    }
    until("the update is taken", || stub.waiting_updates() == 0).await;
}
