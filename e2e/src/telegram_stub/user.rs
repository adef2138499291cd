//! What users do, as updates for bots.

use axum::body::Bytes;
use serde_json::{Value, json};

use super::answers::{bot, message_json};
use super::state::{State, since_epoch};

impl State {
    /// A user writes; gives the message's id.
    pub(super) fn say(&self, chat: i64, text: &str, reply_to: Option<i64>) -> i64 {
        let (message_id, mut message) = self.user_message(chat);
        message["text"] = json!(text);
        if text.starts_with('/') {
            let length = text.split_whitespace().next().unwrap_or_default();
            let length = length.encode_utf16().count();
            message["entities"] = json!([{"offset": 0, "length": length, "type": "bot_command"}]);
        }
        let answered = reply_to.and_then(|answered| self.lock().message(answered).map(message_json));
        if let Some(answered) = answered {
            message["reply_to_message"] = answered;
        }
        self.push_update(json!({ "message": message }));
        message_id
    }

    /// A user changes the text of a message.
    pub(super) fn edit(&self, chat: i64, message_id: i64, text: &str) {
        let (_, mut message) = self.user_message(chat);
        message["message_id"] = json!(message_id);
        message["edit_date"] = message["date"].clone();
        message["text"] = json!(text);
        self.push_update(json!({ "edited_message": message }));
    }

    /// A user sends a file; gives the message's id.
    pub(super) fn upload(&self, chat: i64, file_name: &str, bytes: Bytes, caption: &str) -> i64 {
        let (message_id, mut message) = self.user_message(chat);
        let file_id = format!("upload-{message_id}");
        message["document"] = json!({
            "file_id": file_id, "file_unique_id": file_id, "file_name": file_name, "mime_type": "text/csv",
            "file_size": bytes.len(),
        });
        if !caption.is_empty() {
            message["caption"] = json!(caption);
        }
        self.lock().files.insert(file_id, bytes);
        self.push_update(json!({ "message": message }));
        message_id
    }

    /// A user presses a button of a message; gives the press's id. The message may be gone, or never have been.
    pub(super) fn press(&self, chat: i64, message_id: i64, data: &str) -> String {
        let user = self.user(chat);
        let mut inner = self.lock();
        inner.last_press += 1;
        let query_id = format!("press-{}", inner.last_press);
        inner.presses.insert(query_id.clone());
        let message = inner
            .message(message_id)
            .filter(|message| !message.deleted)
            // As Telegram tells of messages that are too old for it: where and which, and no date.
            .map_or_else(
                || json!({"message_id": message_id, "chat": chat_json(chat), "date": 0}),
                message_json,
            );
        drop(inner);
        self.push_update(json!({"callback_query": {
            "id": query_id, "from": user, "message": message, "chat_instance": chat.to_string(), "data": data,
        }}));
        query_id
    }

    /// A user blocks the bot or takes it back.
    pub(super) fn block(&self, chat: i64, is_blocked: bool) {
        let mut inner = self.lock();
        if is_blocked {
            inner.blocked.insert(chat);
        } else {
            inner.blocked.remove(&chat);
        }
        drop(inner);
        let status = |is_member: bool| {
            if is_member {
                json!({"user": bot(), "status": "member"})
            } else {
                json!({"user": bot(), "status": "kicked", "until_date": 0})
            }
        };
        self.push_update(json!({"my_chat_member": {
            "chat": chat_json(chat), "from": self.user(chat), "date": since_epoch().as_secs(),
            "old_chat_member": status(is_blocked), "new_chat_member": status(!is_blocked),
        }}));
    }

    fn user_message(&self, chat: i64) -> (i64, Value) {
        let message_id = self.lock().next_message_id();
        let message = json!({
            "message_id": message_id,
            "from": self.user(chat),
            "chat": chat_json(chat),
            "date": since_epoch().as_secs(),
        });
        (message_id, message)
    }

    fn user(&self, chat: i64) -> Value {
        // In a group, somebody whose id is like the group's.
        let mut user = json!({"id": chat.unsigned_abs(), "is_bot": false, "first_name": "Somebody"});
        if let Some(language) = self.lock().languages.get(&chat) {
            user["language_code"] = json!(language);
        }
        user
    }
}

/// Users have positive ids, groups negative ones, supergroups such below minus a billion.
pub(super) fn chat_json(chat: i64) -> Value {
    if chat > 0 {
        json!({"id": chat, "first_name": "Somebody", "type": "private"})
    } else if chat < -1_000_000_000_000 {
        json!({"id": chat, "title": "Group", "type": "supergroup"})
    } else {
        json!({"id": chat, "title": "Group", "type": "group"})
    }
}
