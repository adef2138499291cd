//! How updates reach the bot, polled or pushed; and what else it sets and asks.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::answers::Refusal;
use super::arguments::Arguments;
use super::message::{BotCommand, Webhook};
use super::state::State;

/// What a poller is told when a newer one comes.
pub(super) const CONFLICT: &str =
    "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running";
const WEBHOOK_CONFLICT: &str = "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first";
/// Telegram waits longer; tests need not.
const PUSHED_AGAIN_AFTER: Duration = Duration::from_millis(200);

pub(super) async fn get(state: &Arc<State>, arguments: &Arguments) -> Result<Value, Refusal> {
    let offset = arguments.get("offset").as_i64().unwrap_or(0);
    let limit = arguments
        .get("limit")
        .as_u64()
        .map_or(100, |limit| usize::try_from(limit).unwrap_or(100).clamp(1, 100));
    let timeout = arguments.get("timeout").as_u64().unwrap_or(0).min(50);
    let deadline = Instant::now() + Duration::from_secs(timeout);
    let this_poll = {
        let mut inner = state.lock();
        if inner.webhook.is_some() {
            return Err(Refusal(409, WEBHOOK_CONFLICT.to_owned(), Value::Null));
        }
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
                return Err(Refusal(409, CONFLICT.to_owned(), Value::Null));
            }
            keep_wanted(&mut inner.updates, arguments);
            let waiting: Vec<Value> = inner.updates.iter().take(limit).cloned().collect();
            if !waiting.is_empty() || Instant::now() >= deadline {
                return Ok(json!(waiting));
            }
        }
        tokio::select! {
            () = changed => {}
            () = tokio::time::sleep_until(deadline) => {}
            () = state.shutdown.cancelled() => return Ok(json!([])),
        }
    }
}

/// Only updates of the kinds that the bot asks for are for it; it asks for all if it names none.
fn keep_wanted(updates: &mut std::collections::VecDeque<Value>, arguments: &Arguments) {
    if let Some(kinds) = arguments
        .get("allowed_updates")
        .as_array()
        .filter(|kinds| !kinds.is_empty())
    {
        updates.retain(|update| {
            kinds
                .iter()
                .filter_map(Value::as_str)
                .any(|kind| !update[kind].is_null())
        });
    }
}

/// Pushes updates to the webhook, one after the other, while there is one.
pub(super) async fn push(state: Arc<State>) {
    let client = reqwest::Client::new();
    while !state.shutdown.is_cancelled() {
        let changed = state.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let next = {
            let inner = state.lock();
            inner.webhook.clone().zip(inner.updates.front().cloned())
        };
        let Some((webhook, update)) = next else {
            tokio::select! {
                () = changed => continue,
                () = state.shutdown.cancelled() => return,
            }
        };
        let mut request = client
            .post(&webhook.url)
            .json(&update)
            .timeout(Duration::from_secs(10));
        if let Some(secret) = &webhook.secret {
            request = request.header("X-Telegram-Bot-Api-Secret-Token", secret);
        }
        let is_taken = request
            .send()
            .await
            .is_ok_and(|answer| answer.status().is_success());
        if is_taken {
            let mut inner = state.lock();
            if inner.updates.front() == Some(&update) {
                inner.updates.pop_front();
            }
        } else {
            tokio::time::sleep(PUSHED_AGAIN_AFTER).await;
        }
    }
}

pub(super) fn set_webhook(state: &State, arguments: &Arguments) -> Result<Value, Refusal> {
    let url = arguments.text("url").unwrap_or_default();
    let secret = arguments.text("secret_token").map(str::to_owned);
    let is_allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    if secret
        .as_ref()
        .is_some_and(|secret| !(1..=256).contains(&secret.len()) || !secret.chars().all(is_allowed))
    {
        return Err(Refusal::bad("secret token contains unallowed characters"));
    }
    let mut inner = state.lock();
    inner.webhook = (!url.is_empty()).then(|| Webhook {
        url: url.to_owned(),
        secret,
    });
    if arguments.get("drop_pending_updates") == true {
        inner.updates.clear();
    }
    drop(inner);
    state.changed.notify_waiters();
    Ok(json!(true))
}

pub(super) fn delete_webhook(state: &State, arguments: &Arguments) -> Result<Value, Refusal> {
    let mut inner = state.lock();
    inner.webhook = None;
    if arguments.get("drop_pending_updates") == true {
        inner.updates.clear();
    }
    Ok(json!(true))
}

pub(super) fn webhook_info(state: &State) -> Value {
    let inner = state.lock();
    let url = inner.webhook.as_ref().map_or("", |webhook| webhook.url.as_str());
    json!({"url": url, "has_custom_certificate": false, "pending_update_count": inner.updates.len()})
}

pub(super) fn get_file(state: &State, arguments: &Arguments) -> Result<Value, Refusal> {
    let file_id = arguments.text("file_id").unwrap_or_default();
    let inner = state.lock();
    let Some(bytes) = inner.files.get(file_id) else {
        return Err(Refusal::bad(
            "wrong file_id or the file is temporarily unavailable",
        ));
    };
    Ok(json!({
        "file_id": file_id, "file_unique_id": file_id, "file_size": bytes.len(), "file_path": file_id,
    }))
}

pub(super) fn set_commands(state: &State, arguments: &Arguments) -> Result<Value, Refusal> {
    let mut commands: Vec<BotCommand> = serde_json::from_value(arguments.get("commands").clone())
        .map_err(|_| Refusal::bad("can't parse commands list"))?;
    let is_allowed =
        |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_';
    for BotCommand { command, description } in &mut commands {
        // Some clients write it so.
        if let Some(name) = command.strip_prefix('/') {
            *command = name.to_owned();
        }
        if !(1..=32).contains(&command.len()) || !command.chars().all(is_allowed) {
            return Err(Refusal::bad("BOT_COMMAND_INVALID"));
        }
        if !(1..=256).contains(&description.chars().count()) {
            return Err(Refusal::bad("BOT_COMMAND_DESCRIPTION_INVALID"));
        }
    }
    state.lock().commands.insert(language(arguments), commands);
    Ok(json!(true))
}

pub(super) fn get_commands(state: &State, arguments: &Arguments) -> Result<Value, Refusal> {
    let commands = state.lock().commands.get(&language(arguments)).cloned();
    Ok(json!(commands.unwrap_or_default()))
}

pub(super) fn delete_commands(state: &State, arguments: &Arguments) -> Result<Value, Refusal> {
    state.lock().commands.remove(&language(arguments));
    Ok(json!(true))
}

/// Empty for the list that is for all languages without one of their own.
fn language(arguments: &Arguments) -> String {
    arguments.text("language_code").unwrap_or_default().to_owned()
}
