//! What tests in other processes call.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State as Shared;
use serde::Deserialize;
use serde_json::Value;

use super::faults::{FaultMix, Mixer, PlannedFault};
use super::message::{ButtonAnswer, SentMessage};
use super::state::State;

#[derive(Debug, Deserialize)]
pub(super) struct Say {
    chat: i64,
    text: String,
    #[serde(default)]
    reply_to: Option<i64>,
    #[serde(default)]
    language: Option<String>,
}

pub(super) async fn say(Shared(state): Shared<Arc<State>>, Json(say): Json<Say>) {
    if let Some(language) = say.language {
        state.lock().languages.insert(say.chat, language);
    }
    state.say(say.chat, &say.text, say.reply_to);
}

#[derive(Debug, Deserialize)]
pub(super) struct Press {
    chat: i64,
    message_id: i64,
    data: String,
}

pub(super) async fn press(Shared(state): Shared<Arc<State>>, Json(press): Json<Press>) {
    state.press(press.chat, press.message_id, &press.data);
}

#[derive(Debug, Deserialize)]
pub(super) struct Upload {
    chat: i64,
    file_name: String,
    content: String,
    #[serde(default)]
    caption: String,
}

pub(super) async fn upload(Shared(state): Shared<Arc<State>>, Json(upload): Json<Upload>) {
    let bytes = Bytes::from(upload.content);
    state.upload(upload.chat, &upload.file_name, bytes, &upload.caption);
}

pub(super) async fn update(Shared(state): Shared<Arc<State>>, Json(update): Json<Value>) {
    state.push_update(update);
}

pub(super) async fn fault(Shared(state): Shared<Arc<State>>, Json(fault): Json<PlannedFault>) {
    state.lock().faults.push_back(fault);
}

pub(super) async fn fault_mix(Shared(state): Shared<Arc<State>>, Json(mix): Json<FaultMix>) {
    state.lock().mixer = Some(Mixer::new(mix));
}

pub(super) async fn release(Shared(state): Shared<Arc<State>>) {
    state.releases.send_modify(|releases| *releases += 1);
}

pub(super) async fn messages(Shared(state): Shared<Arc<State>>) -> Json<Vec<SentMessage>> {
    Json(state.lock().messages.clone())
}

pub(super) async fn answers(Shared(state): Shared<Arc<State>>) -> Json<Vec<ButtonAnswer>> {
    Json(state.lock().answers.clone())
}
