//! What bots call.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use serde_json::{Value, json};

use super::arguments::Arguments;
use super::faults::Fault;
use super::message::{AttachmentKind, SentMessage};
use super::state::State;
use super::user::chat_json;
use super::{messages, updates};

/// The bot's id at the stub.
const BOT_ID: i64 = 1_000_000;

/// Telegram takes method names in any case, and some clients write `GetMe`.
const METHODS: [&str; 18] = [
    "answerCallbackQuery",
    "deleteMessage",
    "deleteMyCommands",
    "deleteWebhook",
    "editMessageReplyMarkup",
    "editMessageText",
    "getFile",
    "getMe",
    "getMyCommands",
    "getUpdates",
    "getWebhookInfo",
    "logOut",
    "sendChatAction",
    "sendDocument",
    "sendMessage",
    "sendPhoto",
    "setMyCommands",
    "setWebhook",
];

/// A call that is refused: the status, what the description says, and its parameters.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) u16, pub(super) String, pub(super) Value);

impl Refusal {
    pub(super) fn bad(description: &str) -> Self {
        Self(400, format!("Bad Request: {description}"), Value::Null)
    }
}

pub(super) async fn call(
    Shared(state): Shared<Arc<State>>,
    Path((bot, method)): Path<(String, String)>,
    request: Request,
) -> Response {
    let known = METHODS.iter().find(|known| known.eq_ignore_ascii_case(&method));
    let (Some(method), true) = (known, bot.starts_with("bot")) else {
        return refusal(Refusal(404, "Not Found".to_owned(), Value::Null));
    };
    let drawn = state.note_call(method);
    if drawn == Some(Fault::DropUnread) {
        end_connection();
    }
    let arguments = match Arguments::of(request).await {
        Ok(arguments) => arguments,
        Err(reason) => return refusal(Refusal::bad(&reason)),
    };
    let fault = state.take_fault(method, arguments.chat()).or(drawn);
    tokio::select! {
        response = carry_out(&state, fault.unwrap_or(Fault::None), method, &arguments) => response,
        () = state.left() => end_connection(),
    }
}

/// `/file/botTOKEN/PATH`: the path is the file's id.
pub(super) async fn file(
    Shared(state): Shared<Arc<State>>,
    Path((_bot, path)): Path<(String, String)>,
) -> Response {
    let drawn = state.note_call("file");
    if let Some(fault) = state.take_fault("file", None).or(drawn) {
        return carry_out(&state, fault, "file", &Arguments::default()).await;
    }
    let bytes = state.lock().files.get(&path).cloned();
    match bytes {
        Some(bytes) => bytes.into_response(),
        None => refusal(Refusal(404, "Not Found".to_owned(), Value::Null)),
    }
}

async fn carry_out(state: &Arc<State>, fault: Fault, method: &str, arguments: &Arguments) -> Response {
    let refuse =
        |code, description: &str, parameters| refusal(Refusal(code, description.to_owned(), parameters));
    match fault {
        Fault::None => answer(state, method, arguments).await,
        Fault::TooManyRequests(seconds) => refusal(too_many(seconds)),
        Fault::Blocked => refuse(403, "Forbidden: bot was blocked by the user", Value::Null),
        Fault::ChatNotFound => refuse(400, "Bad Request: chat not found", Value::Null),
        Fault::Migrated(to) => refuse(
            400,
            "Bad Request: group chat was upgraded to a supergroup chat",
            json!({ "migrate_to_chat_id": to }),
        ),
        Fault::Unauthorized => refuse(401, "Unauthorized", Value::Null),
        Fault::Conflict => refuse(409, updates::CONFLICT, Value::Null),
        Fault::BadGateway => {
            let page = "<html>\n<head><title>502 Bad Gateway</title></head>\n<body>\n<center><h1>502 Bad Gateway</h1></center>\n\
                        <hr><center>nginx/1.18.0</center>\n</body>\n</html>\n";
            (
                StatusCode::BAD_GATEWAY,
                [(header::CONTENT_TYPE, "text/html")],
                page,
            )
                .into_response()
        }
        Fault::Garbage => {
            answer(state, method, arguments).await;
            (StatusCode::OK, "{\"ok\":tr").into_response()
        }
        Fault::DropUnread | Fault::DropBefore => end_connection(),
        Fault::DropAfter => {
            answer(state, method, arguments).await;
            end_connection()
        }
        Fault::CutAnswer => {
            answer(state, method, arguments).await;
            cut("{\"ok\":true,\"result\":{\"message_id\":1")
        }
        Fault::Delay(milliseconds) => {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            answer(state, method, arguments).await
        }
        Fault::HoldBefore => {
            state.hold().await;
            answer(state, method, arguments).await
        }
        Fault::HoldAfter => {
            let response = answer(state, method, arguments).await;
            state.hold().await;
            response
        }
    }
}

/// Ends the connection without a byte of an answer: its task unwinds as in a panic, but says nothing. Handlers have no other
/// way not to answer.
fn end_connection() -> ! {
    std::panic::resume_unwind(Box::new("told to end the connection"))
}

/// The connection ends after these first bytes of the body.
fn cut(sent: &'static str) -> Response {
    let first = futures::stream::once(async move { Ok(Bytes::from_static(sent.as_bytes())) });
    let failing = first.chain(futures::stream::once(async {
        // So that what came before is on its way.
        tokio::time::sleep(Duration::from_millis(5)).await;
        Err::<Bytes, _>(std::io::Error::other("told to cut the answer"))
    }));
    Body::from_stream(failing).into_response()
}

async fn answer(state: &Arc<State>, method: &str, arguments: &Arguments) -> Response {
    let result = match method {
        "getMe" => Ok(bot_in_full()),
        "getUpdates" => updates::get(state, arguments).await,
        "sendMessage" => messages::send_text(state, arguments),
        "sendPhoto" => messages::send_file(state, arguments, AttachmentKind::Photo),
        "sendDocument" => messages::send_file(state, arguments, AttachmentKind::Document),
        "editMessageText" => messages::edit(state, arguments, true),
        "editMessageReplyMarkup" => messages::edit(state, arguments, false),
        "deleteMessage" => messages::delete(state, arguments),
        "answerCallbackQuery" => messages::answer_press(state, arguments),
        "getFile" => updates::get_file(state, arguments),
        "setMyCommands" => updates::set_commands(state, arguments),
        "getMyCommands" => updates::get_commands(state, arguments),
        "deleteMyCommands" => updates::delete_commands(state, arguments),
        "setWebhook" => updates::set_webhook(state, arguments),
        "deleteWebhook" => updates::delete_webhook(state, arguments),
        "getWebhookInfo" => Ok(updates::webhook_info(state)),
        _ => Ok(json!(true)),
    };
    match result {
        Ok(result) => axum::Json(json!({ "ok": true, "result": result })).into_response(),
        Err(refused) => refusal(refused),
    }
}

pub(super) fn too_many(seconds: u64) -> Refusal {
    Refusal(
        429,
        format!("Too Many Requests: retry after {seconds}"),
        json!({ "retry_after": seconds }),
    )
}

fn refusal(Refusal(code, description, parameters): Refusal) -> Response {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut body = json!({ "ok": false, "error_code": code, "description": description });
    if parameters.is_object() {
        body["parameters"] = parameters;
    }
    (status, axum::Json(body)).into_response()
}

pub(super) fn bot() -> Value {
    json!({"id": BOT_ID, "is_bot": true, "first_name": "Stock Alerts", "username": "stock_alerts_stub_bot"})
}

fn bot_in_full() -> Value {
    let mut bot = bot();
    for ability in [
        "can_join_groups",
        "can_read_all_group_messages",
        "supports_inline_queries",
        "can_connect_to_business",
        "has_main_web_app",
    ] {
        bot[ability] = json!(false);
    }
    bot
}

/// A bot's message as Telegram shows it in answers and updates.
pub(super) fn message_json(message: &SentMessage) -> Value {
    let mut shown = json!({
        "message_id": message.message_id,
        "from": bot(),
        "chat": chat_json(message.chat),
        "date": message.received_us / 1_000_000,
    });
    if message.edits > 0 {
        shown["edit_date"] = shown["date"].clone();
    }
    // Only inline buttons belong to the message; other markup is for the reader's keyboard.
    if let Some(markup) = &message.reply_markup
        && markup["inline_keyboard"].is_array()
    {
        shown["reply_markup"] = markup.clone();
    }
    let Some(attachment) = &message.attachment else {
        shown["text"] = json!(message.text);
        return shown;
    };
    if !message.text.is_empty() {
        shown["caption"] = json!(message.text);
    }
    let id = format!("sent-{}", message.message_id);
    let size = attachment.bytes.len();
    match attachment.kind {
        AttachmentKind::Photo => {
            shown["photo"] =
                json!([{"file_id": id, "file_unique_id": id, "width": 1, "height": 1, "file_size": size}]);
        }
        AttachmentKind::Document => {
            shown["document"] = json!({
                "file_id": id, "file_unique_id": id, "file_name": attachment.file_name, "file_size": size,
            });
        }
    }
    shown
}
