//! Messages: sent, edited, deleted; and the answers to pressed buttons.

use axum::body::Bytes;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::answers::{Refusal, message_json, too_many};
use super::arguments::Arguments;
use super::markup;
use super::message::{Attachment, AttachmentKind, ButtonAnswer, SentMessage};
use super::state::{Event, State, since_epoch};

// In UTF-16 code units, after markup is read.
const MAX_TEXT: usize = 4_096;
const MAX_CAPTION: usize = 1_024;
const MAX_BUTTON_ANSWER: usize = 200;
/// In bytes.
const MAX_CALLBACK_DATA: usize = 64;
/// The first bytes of PNG and JPEG files.
const PICTURES: [&[u8]; 2] = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"];

pub(super) fn send_text(state: &State, arguments: &Arguments) -> Result<Value, Refusal> {
    let text = Text::of(arguments, "text", MAX_TEXT)?;
    if text.visible.is_empty() {
        return Err(Refusal::bad("message text is empty"));
    }
    keep(state, arguments, text, None)
}

pub(super) fn send_file(
    state: &State,
    arguments: &Arguments,
    kind: AttachmentKind,
) -> Result<Value, Refusal> {
    let field = match kind {
        AttachmentKind::Photo => "photo",
        AttachmentKind::Document => "document",
    };
    let Some((file_name, bytes)) = arguments.file(field) else {
        return Err(Refusal::bad(&format!("there is no {field} in the request")));
    };
    if bytes.is_empty() {
        return Err(Refusal::bad("file must be non-empty"));
    }
    if kind == AttachmentKind::Photo && !is_picture(&bytes) {
        return Err(Refusal::bad("IMAGE_PROCESS_FAILED"));
    }
    let caption = Text::of(arguments, "caption", MAX_CAPTION)?;
    let attachment = Attachment {
        kind,
        file_name,
        bytes,
    };
    keep(state, arguments, caption, Some(attachment))
}

fn is_picture(bytes: &Bytes) -> bool {
    PICTURES.iter().any(|start| bytes.starts_with(start))
}

fn keep(
    state: &State,
    arguments: &Arguments,
    text: Text,
    attachment: Option<Attachment>,
) -> Result<Value, Refusal> {
    let Some(chat) = arguments.chat() else {
        return Err(Refusal::bad("chat_id is empty"));
    };
    let reply_markup = markup_of(arguments)?;
    let reply_to = arguments.get("reply_parameters")["message_id"]
        .as_i64()
        .or_else(|| arguments.get("reply_to_message_id").as_i64());
    let may_be_missing = arguments.get("reply_parameters")["allow_sending_without_reply"] == true
        || arguments.get("allow_sending_without_reply") == true;
    let mut inner = state.lock();
    if inner.blocked.contains(&chat) {
        let description = "Forbidden: bot was blocked by the user".to_owned();
        return Err(Refusal(403, description, Value::Null));
    }
    if let Some(limits) = &mut inner.limits {
        limits.take(chat, Instant::now()).map_err(too_many)?;
    }
    // Users' messages are not kept; only what can't have been is refused.
    let is_there = |id: i64| {
        (1..=inner.last_message_id).contains(&id)
            && inner
                .message(id)
                .is_none_or(|message| !message.deleted && message.chat == chat)
    };
    let found = reply_to.filter(|id| is_there(*id));
    if found.is_none() && reply_to.is_some() && !may_be_missing {
        return Err(Refusal::bad("message to be replied not found"));
    }
    let message = SentMessage {
        message_id: inner.next_message_id(),
        chat,
        text: text.visible,
        source: text.source,
        parse_mode: text.parse_mode,
        reply_markup,
        reply_to: found,
        silent: arguments.get("disable_notification") == true,
        attachment,
        edits: 0,
        deleted: false,
        received_us: u64::try_from(since_epoch().as_micros()).unwrap_or(u64::MAX),
    };
    inner.keep(message.clone());
    let mut shown = message_json(&message);
    if let Some(answered) = found.and_then(|id| inner.message(id)) {
        shown["reply_to_message"] = message_json(answered);
    }
    drop(inner);
    state.tell(Event::Sent(message));
    Ok(shown)
}

pub(super) fn edit(state: &State, arguments: &Arguments, with_text: bool) -> Result<Value, Refusal> {
    let text = if with_text {
        let text = Text::of(arguments, "text", MAX_TEXT)?;
        if text.visible.is_empty() {
            return Err(Refusal::bad("message text is empty"));
        }
        Some(text)
    } else {
        None
    };
    let reply_markup = markup_of(arguments)?;
    let mut inner = state.lock();
    let message_id = arguments.get("message_id").as_i64().unwrap_or(0);
    let message = inner
        .message_mut(message_id)
        .filter(|message| Some(message.chat) == arguments.chat() && !message.deleted)
        .ok_or_else(|| Refusal::bad("message to edit not found"))?;
    if with_text && message.attachment.is_some() {
        return Err(Refusal::bad("there is no text in the message to edit"));
    }
    let same_text = text
        .as_ref()
        .is_none_or(|text| text.source == message.source && text.parse_mode == message.parse_mode);
    if same_text && message.reply_markup == reply_markup {
        return Err(Refusal::bad(
            "message is not modified: specified new message content and reply markup are exactly the same as a current \
             content and reply markup of the message",
        ));
    }
    if let Some(text) = text {
        message.text = text.visible;
        message.source = text.source;
        message.parse_mode = text.parse_mode;
    }
    message.reply_markup = reply_markup;
    message.edits += 1;
    let message = message.clone();
    drop(inner);
    let shown = message_json(&message);
    state.tell(Event::Changed(message));
    Ok(shown)
}

pub(super) fn delete(state: &State, arguments: &Arguments) -> Result<Value, Refusal> {
    let mut inner = state.lock();
    let message = inner
        .message_mut(arguments.get("message_id").as_i64().unwrap_or(0))
        .filter(|message| Some(message.chat) == arguments.chat() && !message.deleted)
        .ok_or_else(|| Refusal::bad("message to delete not found"))?;
    message.deleted = true;
    let message = message.clone();
    drop(inner);
    state.tell(Event::Changed(message));
    Ok(json!(true))
}

pub(super) fn answer_press(state: &State, arguments: &Arguments) -> Result<Value, Refusal> {
    let query_id = arguments.text("callback_query_id").unwrap_or_default();
    let text = arguments.text("text").unwrap_or_default();
    if text.encode_utf16().count() > MAX_BUTTON_ANSWER {
        return Err(Refusal::bad("MESSAGE_TOO_LONG"));
    }
    let mut inner = state.lock();
    if !inner.presses.remove(query_id) {
        return Err(Refusal::bad(
            "query is too old and response timeout expired or query ID is invalid",
        ));
    }
    let answer = ButtonAnswer {
        query_id: query_id.to_owned(),
        text: text.to_owned(),
        alert: arguments.get("show_alert") == true,
    };
    inner.answers.push(answer.clone());
    drop(inner);
    state.tell(Event::ButtonAnswered(answer));
    Ok(json!(true))
}

struct Text {
    visible: String,
    source: String,
    parse_mode: Option<String>,
}

impl Text {
    fn of(arguments: &Arguments, field: &str, longest: usize) -> Result<Self, Refusal> {
        let source = arguments.text(field).unwrap_or_default().to_owned();
        let parse_mode = arguments.text("parse_mode").map(str::to_owned);
        let visible = match parse_mode.as_deref() {
            None => source.clone(),
            Some(mode) if mode.eq_ignore_ascii_case("html") => markup::visible(&source)
                .map_err(|reason| Refusal::bad(&format!("can't parse entities: {reason}")))?,
            Some(_) => return Err(Refusal::bad("unsupported parse_mode")),
        };
        let visible = visible.trim().to_owned();
        if visible.encode_utf16().count() > longest {
            let what = if field == "text" {
                "message"
            } else {
                "message caption"
            };
            return Err(Refusal::bad(&format!("{what} is too long")));
        }
        Ok(Self {
            visible,
            source,
            parse_mode,
        })
    }
}

/// The buttons, as Telegram checks them.
fn markup_of(arguments: &Arguments) -> Result<Option<Value>, Refusal> {
    let markup = arguments.get("reply_markup");
    let rows = markup["inline_keyboard"].as_array();
    for button in rows.into_iter().flatten().filter_map(Value::as_array).flatten() {
        if button["text"]
            .as_str()
            .is_none_or(|label| label.trim().is_empty())
        {
            return Err(Refusal::bad(
                "can't parse inline keyboard button: Text must be non-empty",
            ));
        }
        match button["callback_data"].as_str() {
            Some(data) if data.is_empty() || data.len() > MAX_CALLBACK_DATA => {
                return Err(Refusal::bad("BUTTON_DATA_INVALID"));
            }
            None if button["url"].as_str().is_none() => {
                return Err(Refusal::bad(
                    "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard",
                ));
            }
            Some(_) | None => {}
        }
    }
    // An empty keyboard takes the buttons away.
    let is_empty = markup.is_null()
        || rows.is_some_and(|rows| rows.iter().all(|row| row.as_array().is_none_or(Vec::is_empty)));
    Ok((!is_empty).then(|| markup.clone()))
}
