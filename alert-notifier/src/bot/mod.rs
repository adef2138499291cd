//! The bot: what users write to it, and its answers.
//!
//! [`poller`] (with a [`backlog`]) or [`webhook`] gets updates, [`incoming`] reduces them to what counts, [`request`] and [`parse`] say what is
//! wanted, [`answer`] does it and finds the words in [`text`], and [`courier`] takes these back to Telegram.

mod answer;
mod backlog;
mod channel;
mod command;
mod courier;
mod incoming;
mod parse;
mod poller;
mod reply;
mod request;
mod standing;
mod text;
mod webhook;

use std::time::Duration;

use cqrs::Ledger;
use cqrs::domain::Language;
use secrecy::{ExposeSecret as _, SecretString};
use teloxide::payloads::{SetMyCommandsSetters as _, SetWebhookSetters as _};
use teloxide::prelude::Requester as _;
use teloxide::types::{AllowedUpdate, BotCommand};
use teloxide::{Bot, RequestError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use answer::Desk;
use command::Command;
pub(crate) use courier::Courier;
pub(crate) use poller::poll;
pub(crate) use standing::Standing;
pub(crate) use webhook::Webhook;

/// Between two tries to introduce the bot; doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Longest wait for an answer, that of a long poll included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// What the bot wants to hear of.
const UPDATES: [AllowedUpdate; 3] = [
    AllowedUpdate::Message,
    AllowedUpdate::EditedMessage,
    AllowedUpdate::CallbackQuery,
];

/// The bot with this token, at this Bot API.
///
/// # Errors
/// If the HTTP client can't be made.
pub(crate) fn connect(token: &SecretString, api_url: &reqwest::Url) -> Result<Bot, reqwest::Error> {
    let client = reqwest::Client::builder()
        .timeout(REQUEST_TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT)
        // The token is part of the path: nobody else may get it.
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    Ok(Bot::with_client(token.expose_secret(), client).set_api_url(api_url.clone()))
}

/// Learns the bot's name, for the links that registrations answer, and shows its commands in Telegram's menu. With a webhook
/// Telegram is told of it, without one it is told that there is none: it gives updates only one way. Returns the name; none:
/// shutdown came first.
pub(crate) async fn introduce(
    bot: &Bot,
    ledger: &Ledger,
    webhook: Option<&Webhook>,
    standing: &mut Standing,
    shutdown: &CancellationToken,
) -> Option<String> {
    let mut pause = FIRST_PAUSE;
    loop {
        match introduced(bot, webhook).await {
            Ok(name) => {
                standing.good();
                match ledger.set_bot_username(&name).await {
                    Ok(()) => {
                        tracing::info!(bot.username = name, "the bot is known to Telegram");
                        return Some(name);
                    }
                    Err(error) => tracing::warn!(%error, "the bot's name could not be stored; trying again"),
                }
            }
            Err(error) => {
                standing.failed(&error, Instant::now());
                let error = reason(&error);
                tracing::warn!(
                    error,
                    "the bot could not introduce itself to Telegram; trying again"
                );
            }
        }
        shutdown.run_until_cancelled(tokio::time::sleep(pause)).await?;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn introduced(bot: &Bot, webhook: Option<&Webhook>) -> Result<String, RequestError> {
    let me = bot.get_me().await?;
    match webhook {
        Some(webhook) => {
            bot.set_webhook(webhook.url.clone())
                .secret_token(webhook.secret.expose_secret())
                .allowed_updates(UPDATES)
                .await?;
        }
        None => {
            bot.delete_webhook().await?;
        }
    }
    bot.set_my_commands(menu(Language::default())).await?;
    for language in Language::ALL {
        bot.set_my_commands(menu(language))
            .language_code(language.code())
            .await?;
    }
    // Every bot has one.
    Ok(me.user.username.unwrap_or_default())
}

fn menu(language: Language) -> Vec<BotCommand> {
    Command::ALL
        .into_iter()
        .map(|command| BotCommand::new(command.name(), text::help::description(command, language)))
        .collect()
}

/// An error's text for logs: without the bot's token, which is part of every URL of the Bot API, and without what Telegram
/// said, where that may hold chats' ids.
fn reason(error: &RequestError) -> String {
    match error {
        RequestError::Api(error) => format!("Telegram refused: {error}"),
        RequestError::MigrateToChatId(_) => "the group has become a supergroup".to_owned(),
        RequestError::RetryAfter(wait) => format!("Telegram asks to wait for {} s", wait.seconds()),
        RequestError::Network(error) if error.is_timeout() => "no answer in time".to_owned(),
        RequestError::Network(error) if error.is_connect() => "no connection".to_owned(),
        RequestError::Network(_) => "the connection broke".to_owned(),
        RequestError::InvalidJson { .. } => "the answer is not the Bot API's".to_owned(),
        RequestError::Io(error) => format!("reading failed: {}", error.kind()),
    }
}
