//! What bots call.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Fault, State, since_epoch};

/// The bot's id at the stub.
const BOT_ID: i64 = 1_000_000;

/// Longest text of a message, in characters.
const MAX_TEXT: usize = 4_096;

pub(super) async fn call(
    Shared(state): Shared<Arc<State>>,
    Path((bot, method)): Path<(String, String)>,
    body: Bytes,
) -> Response {
    let method = canonical(method);
    if !bot.starts_with("bot") {
        return refusal(404, "Not Found", &json!({}));
    }
    let arguments: Value = if body.is_empty() {
        json!({})
    } else {
        match serde_json::from_slice(&body) {
            Ok(arguments) => arguments,
            Err(_) => return refusal(400, "Bad Request: this stub reads JSON only", &json!({})),
        }
    };
    let chat = arguments["chat_id"].as_i64();
    match state.take_fault(&method, chat) {
        None => answer(&state, &method, &arguments).await,
        Some(fault) => fail(&state, fault, &method, &arguments).await,
    }
}

/// Telegram takes method names in any case, and some clients write `GetMe`.
fn canonical(method: String) -> String {
    let known = [
        "getMe",
        "getUpdates",
        "sendMessage",
        "setMyCommands",
        "deleteWebhook",
    ];
    known
        .iter()
        .find(|known| known.eq_ignore_ascii_case(&method))
        .map_or(method, |known| (*known).to_owned())
}

async fn fail(state: &Arc<State>, fault: Fault, method: &str, arguments: &Value) -> Response {
    match fault {
        Fault::TooManyRequests(seconds) => refusal(
            429,
            &format!("Too Many Requests: retry after {seconds}"),
            &json!({ "retry_after": seconds }),
        ),
        Fault::Blocked => refusal(403, "Forbidden: bot was blocked by the user", &json!({})),
        Fault::ChatNotFound => refusal(400, "Bad Request: chat not found", &json!({})),
        Fault::Migrated(to) => refusal(
            400,
            "Bad Request: group chat was upgraded to a supergroup chat",
            &json!({ "migrate_to_chat_id": to }),
        ),
        Fault::Unauthorized => refusal(401, "Unauthorized", &json!({})),
        Fault::BadGateway => {
            let page = "<html><head><title>502 Bad Gateway</title></head><body>try later</body></html>";
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
        Fault::DropBefore => dropped(),
        Fault::DropAfter => {
            answer(state, method, arguments).await;
            dropped()
        }
        Fault::Delay(milliseconds) => {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            answer(state, method, arguments).await
        }
    }
}

/// A body that fails before its first byte: the server can only end the connection.
fn dropped() -> Response {
    let failing = futures::stream::once(async {
        Err::<Bytes, _>(std::io::Error::other("told to drop the connection"))
    });
    Body::from_stream(failing).into_response()
}

async fn answer(state: &Arc<State>, method: &str, arguments: &Value) -> Response {
    match method {
        "getMe" => success(&json!({
            "id": BOT_ID, "is_bot": true, "first_name": "Stock Alerts", "username": "stock_alerts_stub_bot",
            "can_join_groups": false, "can_read_all_group_messages": false, "supports_inline_queries": false,
            "can_connect_to_business": false, "has_main_web_app": false,
        })),
        "getUpdates" => get_updates(state, arguments).await,
        "sendMessage" => send_message(state, arguments),
        "setMyCommands" | "deleteWebhook" => success(&json!(true)),
        _ => refusal(404, "Not Found", &json!({})),
    }
}

fn send_message(state: &State, arguments: &Value) -> Response {
    let (Some(chat), Some(text)) = (arguments["chat_id"].as_i64(), arguments["text"].as_str()) else {
        return refusal(400, "Bad Request: chat_id and text are needed", &json!({}));
    };
    if text.trim().is_empty() {
        return refusal(400, "Bad Request: message text is empty", &json!({}));
    }
    if text.chars().count() > MAX_TEXT {
        return refusal(400, "Bad Request: message is too long", &json!({}));
    }
    let message = state.keep_message(chat, text);
    success(&json!({
        "message_id": message.message_id,
        "from": {"id": BOT_ID, "is_bot": true, "first_name": "Stock Alerts", "username": "stock_alerts_stub_bot"},
        "chat": {"id": chat, "first_name": "Somebody", "type": "private"},
        "date": since_epoch().as_secs(),
        "text": text,
    }))
}

async fn get_updates(state: &Arc<State>, arguments: &Value) -> Response {
    let offset = arguments["offset"].as_i64().unwrap_or(0);
    let limit = arguments["limit"]
        .as_u64()
        .map_or(100, |limit| usize::try_from(limit).unwrap_or(100).clamp(1, 100));
    let deadline = Instant::now() + Duration::from_secs(arguments["timeout"].as_u64().unwrap_or(0).min(50));
    let this_poll = {
        let mut inner = state.lock();
        inner.polls += 1;
        // An offset confirms the updates before it.
        inner
            .updates
            .retain(|update| update["update_id"].as_i64() >= Some(offset));
        inner.polls
    };
    state.changed.notify_waiters();
    loop {
        // Before looking, so that nothing that comes in between is missed.
        let changed = state.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        {
            let mut inner = state.lock();
            if inner.polls != this_poll {
                inner.conflicts += 1;
                let reason = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running";
                return refusal(409, reason, &json!({}));
            }
            let waiting: Vec<Value> = inner.updates.iter().take(limit).cloned().collect();
            if !waiting.is_empty() || Instant::now() >= deadline {
                return success(&json!(waiting));
            }
        }
        tokio::select! {
            () = changed => {}
            () = tokio::time::sleep_until(deadline) => {}
            () = state.shutdown.cancelled() => return success(&json!([])),
        }
    }
}

fn success(result: &Value) -> Response {
    axum::Json(json!({ "ok": true, "result": result })).into_response()
}

fn refusal(code: u16, description: &str, parameters: &Value) -> Response {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut body = json!({ "ok": false, "error_code": code, "description": description });
    if parameters
        .as_object()
        .is_some_and(|parameters| !parameters.is_empty())
    {
        body["parameters"] = parameters.clone();
    }
    (status, axum::Json(body)).into_response()
}
