//! The bot: what users write to it, and its answers.

mod answers;
mod command;
mod poller;

use std::sync::Arc;
use std::time::Duration;

use cqrs::Ledger;
use secrecy::{ExposeSecret as _, SecretString};
use teloxide::Bot;
use teloxide::prelude::Requester as _;
use teloxide::utils::command::BotCommands as _;
use tokio_util::sync::CancellationToken;

pub(crate) use answers::Desk;
use command::Command;
pub(crate) use poller::poll;

/// Between two tries to introduce the bot; doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The bot with this token, at this Bot API.
pub(crate) fn connect(token: &SecretString, api_url: &reqwest::Url) -> Bot {
    Bot::new(token.expose_secret()).set_api_url(api_url.clone())
}

/// Learns the bot's name, for the links that registrations answer, and shows its commands in Telegram's menu.
pub(crate) async fn introduce(bot: &Bot, ledger: &Ledger, shutdown: &CancellationToken) {
    let mut pause = FIRST_PAUSE;
    loop {
        let introduced = async {
            let me = bot.get_me().await?;
            // With a webhook set, Telegram gives no updates to pollers. (teloxide's own way to see to that logs the token
            // when it fails.)
            bot.delete_webhook().await?;
            bot.set_my_commands(Command::bot_commands()).await?;
            Ok(me)
        };
        match introduced.await {
            Ok(me) => match ledger.set_bot_username(me.username()).await {
                Ok(()) => {
                    tracing::info!(bot.username = me.username(), "the bot is known to Telegram");
                    return;
                }
                Err(error) => tracing::warn!(%error, "the bot's name could not be stored; trying again"),
            },
            Err(error) => {
                let error = without_token(bot, &error);
                tracing::warn!(
                    error,
                    "the bot could not introduce itself to Telegram; trying again"
                );
            }
        }
        if shutdown
            .run_until_cancelled(tokio::time::sleep(pause))
            .await
            .is_none()
        {
            return;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// An error's text without the bot's token, which is part of every URL of the Bot API.
fn without_token(bot: &Bot, error: &teloxide::RequestError) -> String {
    error.to_string().replace(bot.token(), "TOKEN")
}

/// What the handlers of updates share.
type SharedDesk = Arc<Desk>;
