//! What comes from Telegram, reduced to what the bot looks at. Pure.

use cqrs::domain::{ChatId, Language};
use teloxide::types::{
    self, CallbackQuery, CallbackQueryId, FileId, InlineKeyboardButtonKind, MessageId, Update, UpdateKind,
    User,
};

use crate::buttons::{Button, Keyboard};

/// An update that calls for something.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Incoming {
    /// Its number: the same update is not carried out twice.
    pub(super) update: u32,
    /// Where answers go.
    pub(super) chat: ChatId,
    /// What the sender's Telegram is set to, if it is known here.
    pub(super) language: Option<Language>,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    /// Written in a private chat.
    Said {
        text: String,
        /// The bot's message that it answers.
        in_answer_to: Option<String>,
        document: Option<Document>,
    },
    /// A button in a private chat.
    Pressed {
        query: CallbackQueryId,
        data: String,
        /// What it stands under, unless Telegram does not know it any more.
        message: Option<Message>,
    },
    /// A message changed after it was sent, in a private chat.
    Edited(String),
    /// Written where others read along.
    InGroup(String),
    /// A button where others read along, or of nobody knows where.
    PressedElsewhere(CallbackQueryId),
}

/// One of the bot's own messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) id: MessageId,
    pub(super) keyboard: Keyboard,
}

/// A file that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) file: FileId,
    pub(super) bytes: u64,
}

/// None: nothing to do. Messages of bots, of channels and without a sender are among these, and all kinds yet unknown.
pub(super) fn incoming(update: &Update) -> Option<Incoming> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "of all kinds, these are asked for")]
    let (chat, sender, what) = match &update.kind {
        UpdateKind::Message(message) => said(message)?,
        UpdateKind::EditedMessage(message) => {
            let (chat, sender) = private(message)?;
            let text = message.text().or(message.caption())?;
            (chat, sender, What::Edited(text.to_owned()))
        }
        UpdateKind::CallbackQuery(query) => pressed(query),
        _ => return None,
    };
    Some(Incoming {
        update: update.id.0,
        chat,
        language: sender.language_code.as_deref().and_then(Language::of_tag),
        what,
    })
}

fn said(message: &types::Message) -> Option<(ChatId, &User, What)> {
    let text = message.text().or(message.caption()).unwrap_or_default();
    if !message.chat.is_private() {
        let sender = message.from.as_ref().filter(|sender| !sender.is_bot)?;
        let group = message.chat.is_group() || message.chat.is_supergroup();
        return (group && !text.is_empty()).then(|| {
            (
                ChatId::new(message.chat.id.0),
                sender,
                What::InGroup(text.to_owned()),
            )
        });
    }
    let (chat, sender) = private(message)?;
    let document = message.document().map(|document| Document {
        file: document.file.id.clone(),
        bytes: u64::from(document.file.size),
    });
    // Pictures without words, pinned messages and the like call for no answer.
    if text.is_empty() && document.is_none() {
        return None;
    }
    let in_answer_to = message
        .reply_to_message()
        .filter(|quoted| quoted.from.as_ref().is_some_and(|author| author.is_bot))
        .and_then(|quoted| quoted.text())
        .map(str::to_owned);
    let what = What::Said {
        text: text.to_owned(),
        in_answer_to,
        document,
    };
    Some((chat, sender, what))
}

fn pressed(query: &CallbackQuery) -> (ChatId, &User, What) {
    let owner = i64::try_from(query.from.id.0).unwrap_or(0);
    // A private chat has its person's number.
    let in_private = query
        .message
        .as_ref()
        .is_some_and(|message| message.chat().id.0 == owner);
    let what = match &query.data {
        Some(data) if in_private => What::Pressed {
            query: query.id.clone(),
            data: data.clone(),
            message: query
                .message
                .as_ref()
                .and_then(|message| message.regular_message())
                .map(|message| Message {
                    id: message.id,
                    keyboard: keyboard(message),
                }),
        },
        Some(_) | None => What::PressedElsewhere(query.id.clone()),
    };
    (ChatId::new(owner), &query.from, what)
}

/// The buttons under a message, those that are known here.
fn keyboard(message: &types::Message) -> Keyboard {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the bot makes no others")]
    let button = |button: &types::InlineKeyboardButton| match &button.kind {
        InlineKeyboardButtonKind::CallbackData(data) => {
            Some(Button::new(button.text.clone(), data.parse().ok()?))
        }
        _ => None,
    };
    let rows = message
        .reply_markup()
        .map(|markup| markup.inline_keyboard.as_slice());
    rows.unwrap_or_default()
        .iter()
        .fold(Keyboard::none(), |keyboard, row| {
            keyboard.row(row.iter().filter_map(button))
        })
}

/// The chat and its person: nobody else writes there.
fn private(message: &types::Message) -> Option<(ChatId, &User)> {
    let sender = message.from.as_ref().filter(|sender| !sender.is_bot)?;
    let is_theirs = i64::try_from(sender.id.0) == Ok(message.chat.id.0);
    (message.chat.is_private() && is_theirs).then(|| (ChatId::new(message.chat.id.0), sender))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(kind: Value) -> Option<Incoming> {
        let mut update = kind;
        update["update_id"] = json!(7);
        // From text, as it comes: teloxide reads no update from a value.
        incoming(&serde_json::from_str(&update.to_string()).unwrap())
    }

    fn ada() -> Value {
        json!({"id": 42, "is_bot": false, "first_name": "Ada", "language_code": "it-CH"})
    }

    fn message(more: &Value) -> Value {
        let mut message = json!({
            "message_id": 1, "date": 1_700_000_000, "from": ada(),
            "chat": {"id": 42, "first_name": "Ada", "type": "private"},
        });
        for (name, value) in more.as_object().unwrap() {
            if value.is_null() {
                message.as_object_mut().unwrap().remove(name);
            } else {
                message[name] = value.clone();
            }
        }
        message
    }

    #[test]
    fn what_people_write_in_private_is_taken_with_its_quotation() {
        let bot = json!({"id": 1, "is_bot": true, "first_name": "Bot"});
        let question = message(&json!({"from": bot, "text": "Which? #2e3f4a5b"}));
        let said =
            read(json!({"message": message(&json!({"text": "1 2", "reply_to_message": question}))})).unwrap();
        assert_eq!(
            (said.update, said.chat, said.language),
            (7, ChatId::new(42), Some(Language::It))
        );
        assert_eq!(
            said.what,
            What::Said {
                text: "1 2".into(),
                in_answer_to: Some("Which? #2e3f4a5b".into()),
                document: None
            }
        );
        // What a person wrote is no question of the bot's.
        let own = message(&json!({"text": "#2e3f4a5b"}));
        let said =
            read(json!({"message": message(&json!({"text": "1 2", "reply_to_message": own}))})).unwrap();
        assert!(matches!(
            said.what,
            What::Said {
                in_answer_to: None,
                ..
            }
        ));
    }

    #[test]
    fn files_come_with_their_caption() {
        let file = json!({"file_id": "F", "file_unique_id": "U", "file_size": 12, "file_name": "rules.csv"});
        let said =
            read(json!({"message": message(&json!({"document": file, "caption": "/import"}))})).unwrap();
        let What::Said { text, document, .. } = said.what else {
            panic!("{said:?}")
        };
        assert_eq!((text.as_str(), document.unwrap().bytes), ("/import", 12));
    }

    #[test]
    fn buttons_count_where_their_person_is() {
        let query = |message: Value| json!({"callback_query": {"id": "9", "from": ada(), "chat_instance": "c", "data": "no", "message": message}});
        let here = read(query(message(&json!({"text": "x"})))).unwrap();
        assert!(matches!(here.what, What::Pressed { message: Some(_), .. }));
        // Telegram gives little of old messages.
        let old = read(query(
            json!({"message_id": 1, "date": 0, "chat": {"id": 42, "first_name": "Ada", "type": "private"}}),
        ))
        .unwrap();
        assert!(matches!(old.what, What::Pressed { message: None, .. }), "{old:?}");
        let group = json!({"id": -5, "title": "All", "type": "supergroup"});
        let elsewhere = read(query(message(&json!({"text": "x", "chat": group})))).unwrap();
        assert!(matches!(elsewhere.what, What::PressedElsewhere(_)));
    }

    #[test]
    fn everything_else_is_nothing() {
        let group = json!({"id": -5, "title": "All", "type": "supergroup"});
        let channel = json!({"id": -9, "title": "News", "type": "channel"});
        for kind in [
            json!({"kind_of_the_future": {"some": "field"}}),
            json!({"message": {"of": "the future"}}),
            json!({"channel_post": message(&json!({"chat": channel, "from": null, "text": "/list"}))}),
            json!({"message": message(&json!({"from": null, "text": "/list"}))}),
            json!({"message": message(&json!({"chat": group, "from": null, "text": "/list"}))}),
            json!({"message": message(&json!({"from": {"id": 43, "is_bot": false, "first_name": "Eve"}, "text": "/list"}))}),
            json!({"message": message(&json!({"from": {"id": 42, "is_bot": true, "first_name": "Bot"}, "text": "/list"}))}),
            json!({"message": message(&json!({"photo": []}))}),
            json!({"message": message(&json!({"chat": group, "new_chat_title": "Ours"}))}),
        ] {
            assert_eq!(read(kind.clone()), None, "{kind}");
        }
        let edited =
            read(json!({"edited_message": message(&json!({"text": "/list", "edit_date": 1_700_000_001}))}))
                .unwrap();
        assert_eq!(edited.what, What::Edited("/list".into()));
        let grouped = read(json!({"message": message(&json!({"chat": group, "text": "/list"}))})).unwrap();
        assert_eq!(grouped.what, What::InGroup("/list".into()));
    }
}
