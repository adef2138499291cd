//! What the stub keeps of bots' calls.

use axum::body::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A message that a bot sent, as it is after its edits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentMessage {
    /// Its id, from 1; messages of users count too.
    pub message_id: i64,
    /// To whom.
    pub chat: i64,
    /// What a person reads: the text, or the caption of a photo or document, without markup.
    pub text: String,
    /// The text as it was sent, with markup.
    #[serde(default)]
    pub source: String,
    /// How the markup is written: `HTML`, or none.
    #[serde(default)]
    pub parse_mode: Option<String>,
    /// Buttons, or the wish for a reply, as sent.
    #[serde(default)]
    pub reply_markup: Option<Value>,
    /// The message that it answers.
    #[serde(default)]
    pub reply_to: Option<i64>,
    /// Whether it came without a sound.
    #[serde(default)]
    pub silent: bool,
    /// The photo or document in it.
    #[serde(default)]
    pub attachment: Option<Attachment>,
    /// How often it was edited.
    #[serde(default)]
    pub edits: u32,
    /// Whether the bot deleted it.
    #[serde(default)]
    pub deleted: bool,
    /// When it came: microseconds since the epoch.
    pub received_us: u64,
}

impl SentMessage {
    /// Its inline buttons, in reading order.
    #[must_use]
    pub fn buttons(&self) -> Vec<Button> {
        let markup = self.reply_markup.as_ref();
        let rows = markup.and_then(|markup| markup["inline_keyboard"].as_array());
        rows.into_iter()
            .flatten()
            .filter_map(Value::as_array)
            .flatten()
            .map(|button| Button {
                label: button["text"].as_str().unwrap_or_default().to_owned(),
                data: button["callback_data"].as_str().map(str::to_owned),
            })
            .collect()
    }

    /// Whether it asks for a reply.
    #[must_use]
    pub fn asks_for_reply(&self) -> bool {
        self.reply_markup
            .as_ref()
            .is_some_and(|markup| markup["force_reply"] == true)
    }
}

/// An inline button.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Button {
    /// What is on it.
    pub label: String,
    /// What the bot gets when it is pressed; none for a link.
    pub data: Option<String>,
}

/// A file in a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Photo or document.
    pub kind: AttachmentKind,
    /// Its name, where it has one.
    pub file_name: String,
    /// What is in it; not part of what `/control/messages` answers.
    #[serde(skip)]
    pub bytes: Bytes,
}

/// How a file is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttachmentKind {
    /// As a picture.
    Photo,
    /// As a file.
    Document,
}

/// A bot's answer to a pressed button.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ButtonAnswer {
    /// The id of the press.
    pub query_id: String,
    /// What is shown; empty for nothing.
    pub text: String,
    /// Whether it is shown until it is dismissed.
    pub alert: bool,
}

/// Where a bot wants its updates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// The address.
    pub url: String,
    /// What the header `X-Telegram-Bot-Api-Secret-Token` says.
    pub secret: Option<String>,
}

/// A command as users see it in the menu.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BotCommand {
    /// Its name, without the slash.
    pub command: String,
    /// What it does.
    pub description: String,
}
