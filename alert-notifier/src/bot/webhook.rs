//! Takes what users write from Telegram's own calls, on any number of instances: the alternative to polling.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use cqrs::domain::ChatId;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use teloxide::types::Update;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::Courier;
use super::incoming::incoming;

/// Where Telegram puts the secret.
const HEADER: &str = "x-telegram-bot-api-secret-token";
/// Largest update, in bytes: a message has 4,096 characters.
const MAX_UPDATE: usize = 1_024 * 1_024;
/// Chats share this many queues.
const LANES: u64 = 64;

/// Where Telegram calls, and how it shows that it is Telegram.
#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    pub(super) url: reqwest::Url,
    pub(super) secret: SecretString,
}

impl Webhook {
    /// `secret`: none derives one from the bot's token, the same on all instances.
    pub(crate) fn new(url: reqwest::Url, secret: Option<SecretString>, token: &SecretString) -> Self {
        let secret = secret.unwrap_or_else(|| {
            let named = format!("stock alerts webhook\n{}", token.expose_secret());
            SecretString::from(hex::encode(Sha256::digest(named)))
        });
        Self { url, secret }
    }

    /// Answers users until shutdown. A call is answered after its update was handled: what a killed instance had in hand,
    /// Telegram sends again.
    ///
    /// # Errors
    /// If the listener fails.
    pub(crate) async fn serve(
        &self,
        listener: TcpListener,
        courier: Arc<Courier>,
        shutdown: CancellationToken,
    ) -> std::io::Result<()> {
        let desk = Arc::new(Reception {
            courier,
            secret: self.secret.clone(),
            lanes: (0..LANES).map(|_| Mutex::default()).collect(),
        });
        let router = Router::new()
            .route(self.url.path(), post(take))
            .layer(DefaultBodyLimit::max(MAX_UPDATE))
            .with_state(desk);
        tracing::info!("this instance takes the bot's updates from Telegram's calls");
        axum::serve(listener, router)
            .with_graceful_shutdown(shutdown.cancelled_owned())
            .await
    }
}

struct Reception {
    courier: Arc<Courier>,
    secret: SecretString,
    /// Updates of one chat wait for one another.
    lanes: Vec<Mutex<()>>,
}

async fn take(State(reception): State<Arc<Reception>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let shown = headers.get(HEADER).map_or(&b""[..], |value| value.as_bytes());
    // How long it takes tells nothing of the secret.
    let is_telegram: bool = shown.ct_eq(reception.secret.expose_secret().as_bytes()).into();
    if !is_telegram {
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(update) = serde_json::from_slice::<Update>(&body) else {
        // An error would only make Telegram send it again.
        tracing::warn!("an update could not be read and was dropped");
        return StatusCode::OK;
    };
    let Some(incoming) = incoming(&update) else {
        return StatusCode::OK;
    };
    // In a task of its own: whoever calls may hang up, and what was begun is finished.
    let handled = tokio::spawn(async move {
        let _turn = match reception.lane(incoming.chat) {
            Some(lane) => Some(lane.lock().await),
            None => None,
        };
        reception.courier.handle(&incoming).await;
    });
    if handled.await.is_err() {
        tracing::error!("an update could not be handled");
    }
    StatusCode::OK
}

impl Reception {
    fn lane(&self, chat: ChatId) -> Option<&Mutex<()>> {
        let mut hasher = DefaultHasher::new();
        chat.hash(&mut hasher);
        self.lanes.get(usize::try_from(hasher.finish() % LANES).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_is_not_set_comes_from_the_token() {
        let url: reqwest::Url = "https://example.org/hook".parse().unwrap();
        let secret = |set: Option<&str>, token: &str| {
            Webhook::new(url.clone(), set.map(SecretString::from), &token.into())
                .secret
                .expose_secret()
                .to_owned()
        };
        assert_eq!(secret(Some("mine"), "1:a"), "mine");
        assert_eq!(secret(None, "1:a"), secret(None, "1:a"));
        assert_ne!(secret(None, "1:a"), secret(None, "1:b"));
        // Telegram takes 1 to 256 of A-Z, a-z, 0-9, _ and -.
        assert_eq!(secret(None, "1:a").len(), 64);
    }
}
