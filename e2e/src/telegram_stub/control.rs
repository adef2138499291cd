//! What tests in other processes call.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use serde::Deserialize;
use serde_json::Value;

use super::{PlannedFault, SentMessage, State, private_message};

#[derive(Debug, Deserialize)]
pub(super) struct Say {
    chat: i64,
    text: String,
}

pub(super) async fn say(Shared(state): Shared<Arc<State>>, Json(say): Json<Say>) {
    state.push_update(private_message(say.chat, &say.text));
}

pub(super) async fn update(Shared(state): Shared<Arc<State>>, Json(update): Json<Value>) {
    state.push_update(update);
}

pub(super) async fn fault(Shared(state): Shared<Arc<State>>, Json(fault): Json<PlannedFault>) {
    state.lock().faults.push_back(fault);
}

pub(super) async fn messages(Shared(state): Shared<Arc<State>>) -> Json<Vec<SentMessage>> {
    Json(state.lock().messages.clone())
}
