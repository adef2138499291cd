//! Gets what users write, on one instance at a time: Telegram allows a bot one poller.

use std::sync::Arc;
use std::time::Duration;

use cqrs::Leases;
use cqrs::domain::ChatId;
use teloxide::dispatching::{Dispatcher, HandlerExt as _, UpdateFilterExt as _, UpdateHandler};
use teloxide::payloads::SendMessageSetters as _;
use teloxide::prelude::{LoggingErrorHandler, Requester as _};
use teloxide::types::{LinkPreviewOptions, Message, Update};
use teloxide::update_listeners::Polling;
use teloxide::{Bot, RequestError, dptree};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::command::Command;
use super::{SharedDesk, without_token};

/// The name of the lease.
const LEASE: &str = "telegram-updates";
/// A killed poller is replaced within this time and one look.
const TTL: Duration = Duration::from_secs(10);
/// How often the poller renews its lease, and others look whether it is free.
const RENEW: Duration = Duration::from_secs(3);
/// How long one request waits for users to write something.
const LONG_POLL: Duration = Duration::from_secs(10);
/// How long commands in hand may take once polling shall end.
const DRAIN: Duration = Duration::from_secs(5);
/// Longest pause after a failed request.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Longest text of one of Telegram's messages, in characters.
const MAX_TEXT: usize = 4_096;

/// Answers users whenever this instance holds the lease, until shutdown. `holder` names the instance.
pub(crate) async fn poll(
    bot: Bot,
    desk: SharedDesk,
    leases: Leases,
    holder: String,
    shutdown: CancellationToken,
) {
    while !shutdown.is_cancelled() {
        match leases.acquire(LEASE, &holder, TTL).await {
            Ok(Some(_)) => {
                tracing::info!("this instance answers the bot's users");
                lead(&bot, &desk, &leases, &holder, &shutdown).await;
                if let Err(error) = leases.release(LEASE, &holder).await {
                    tracing::warn!(%error, "the lease on the bot's updates could not be given up and runs out by itself");
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the lease on the bot's updates could not be asked for"),
        }
        shutdown.run_until_cancelled(tokio::time::sleep(RENEW)).await;
    }
}

/// Polls until the lease is lost, shutdown, or an error.
async fn lead(bot: &Bot, desk: &SharedDesk, leases: &Leases, holder: &str, shutdown: &CancellationToken) {
    let mut dispatcher = Dispatcher::builder(bot.clone(), schema())
        .dependencies(dptree::deps![Arc::clone(desk)])
        // What the bot has no answer to: edits, channel posts, members coming and going, kinds yet unknown.
        .default_handler(|_| async {})
        .error_handler(LoggingErrorHandler::with_custom_text(
            "an update could not be answered",
        ))
        .build();
    let stop = dispatcher.shutdown_token();
    let listener = Polling::builder(bot.clone())
        .timeout(LONG_POLL)
        .backoff_strategy(Box::new(|failures: u32| {
            Duration::from_secs(1 << failures.min(5)).min(LONGEST_PAUSE)
        }))
        .build();
    let for_errors = bot.clone();
    let on_error = Arc::new(move |error: RequestError| {
        let error = without_token(&for_errors, &error);
        async move { tracing::warn!(error, "updates could not be got from Telegram; trying again") }
    });
    let dispatch = dispatcher.try_dispatch_with_listener(listener, on_error);
    tokio::pin!(dispatch);
    let ended = tokio::select! {
        ended = &mut dispatch => Some(ended),
        () = lease_lost(leases, holder) => None,
        () = shutdown.cancelled() => None,
    };
    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => {
            let error = without_token(bot, &error);
            tracing::warn!(error, "polling for updates could not begin; trying again");
        }
        None => {
            // Tells Telegram which updates were read, and lets their answers be finished.
            drop(stop.shutdown());
            if tokio::time::timeout(DRAIN, dispatch).await.is_err() {
                tracing::warn!("commands in hand were cut off; users may have to repeat them");
            }
        }
    }
}

/// Renews the lease; returns when it is another's, or may be.
async fn lease_lost(leases: &Leases, holder: &str) {
    let mut held_until = Instant::now() + TTL;
    loop {
        tokio::time::sleep(RENEW).await;
        let asked = Instant::now();
        match leases.acquire(LEASE, holder, TTL).await {
            Ok(Some(_)) => held_until = asked + TTL,
            Ok(None) => {
                tracing::warn!("another instance answers the bot's users now");
                return;
            }
            Err(error) if asked + RENEW < held_until => {
                tracing::warn!(%error, "the lease on the bot's updates could not be renewed; trying again");
            }
            Err(error) => {
                tracing::warn!(%error, "the lease on the bot's updates has run out");
                return;
            }
        }
    }
}

fn schema() -> UpdateHandler<String> {
    Update::filter_message()
        .branch(dptree::entry().filter_command::<Command>().endpoint(on_command))
        .branch(dptree::filter(|message: Message| message.chat.is_private()).endpoint(on_other))
}

async fn on_command(
    bot: Bot,
    desk: SharedDesk,
    update: Update,
    message: Message,
    command: Command,
) -> Result<(), String> {
    let answer = if message.chat.is_private() {
        desk.answer(ChatId::new(message.chat.id.0), update.id.0, &command)
            .await
    } else {
        // A group's members would all see, and change, what is one user's.
        "Please write to me in a private chat.".to_owned()
    };
    reply(&bot, &message, &answer).await
}

async fn on_other(bot: Bot, message: Message) -> Result<(), String> {
    // Pinned messages, a changed title and the like call for no answer.
    match message.text() {
        Some(text) => {
            let first: String = text
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .chars()
                .take(32)
                .collect();
            reply(
                &bot,
                &message,
                &format!("I do not understand \"{first}\". /help shows what you can write."),
            )
            .await
        }
        None => Ok(()),
    }
}

async fn reply(bot: &Bot, message: &Message, text: &str) -> Result<(), String> {
    for part in parts(text) {
        bot.send_message(message.chat.id, part)
            .link_preview_options(LinkPreviewOptions {
                is_disabled: true,
                url: None,
                prefer_small_media: false,
                prefer_large_media: false,
                show_above_text: false,
            })
            .await
            .map_err(|error| without_token(bot, &error))?;
    }
    Ok(())
}

/// The text in messages that Telegram takes, cut between lines.
fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut length = 0;
    for line in text.lines() {
        let line: String = line.chars().take(MAX_TEXT - 1).collect();
        let more = line.chars().count() + 1;
        if length + more > MAX_TEXT {
            parts.push(String::new());
            length = 0;
        }
        if let Some(part) = parts.last_mut() {
            part.push_str(&line);
            part.push('\n');
            length += more;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_answers_are_cut_between_lines() {
        let line = "ä".repeat(999);
        let text = [line.as_str(); 9].join("\n");
        let parts = parts(&text);
        assert_eq!(
            parts.iter().map(|part| part.chars().count()).collect::<Vec<_>>(),
            [4_000, 4_000, 1_000]
        );
        assert_eq!(parts.concat().trim_end(), text);
    }
}
