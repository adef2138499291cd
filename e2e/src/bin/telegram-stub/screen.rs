//! What a person sees of the bot.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use e2e::telegram_stub::{AttachmentKind, ButtonAnswer, SentMessage, for_terminal};

/// A button that was shown: where it is and what it sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) message_id: i64,
    pub(crate) data: String,
}

/// Everything shown so far that can still be used.
#[derive(Debug)]
pub(crate) struct Screen {
    colours: bool,
    folder: PathBuf,
    /// In the order of their numbers, from 1.
    buttons: Vec<Shown>,
}

impl Screen {
    pub(crate) fn new(colours: bool, folder: &Path) -> Self {
        Self {
            colours,
            folder: folder.to_owned(),
            buttons: Vec::new(),
        }
    }

    pub(crate) fn button(&self, number: usize) -> Option<&Shown> {
        self.buttons.get(number.checked_sub(1)?)
    }

    /// A message as it is now. Files are kept in the folder.
    pub(crate) fn message(&mut self, message: &SentMessage, changed: bool) -> String {
        let id = message.message_id;
        if message.deleted {
            return format!("(message {id} is deleted)\n");
        }
        let mut shown = format!("--- chat {}, message {id}", message.chat);
        if changed {
            shown.push_str(", changed");
        }
        if let Some(answered) = message.reply_to {
            let _ = write!(shown, ", reply to {answered}");
        }
        if message.silent {
            shown.push_str(", without a sound");
        }
        shown.push('\n');
        if !changed && let Some(file) = self.keep_file(message) {
            let _ = writeln!(shown, "{file}");
        }
        if !message.text.is_empty() {
            let is_marked_up = self.colours && message.parse_mode.is_some();
            let text = if is_marked_up {
                for_terminal(&message.source)
            } else {
                message.text.clone()
            };
            let _ = writeln!(shown, "{}", text.trim());
        }
        for row in rows(message) {
            let labels: Vec<String> = row
                .into_iter()
                .map(|(label, data)| {
                    self.buttons.push(Shown { message_id: id, data });
                    format!("[{}] {label}", self.buttons.len())
                })
                .collect();
            let _ = writeln!(shown, "    {}", labels.join("   "));
        }
        if message.asks_for_reply() {
            shown.push_str("    (your next line is the reply)\n");
        }
        shown
    }

    pub(crate) fn button_answer(answer: &ButtonAnswer) -> Option<String> {
        (!answer.text.is_empty()).then(|| format!("    ({})\n", answer.text))
    }

    fn keep_file(&self, message: &SentMessage) -> Option<String> {
        let attachment = message.attachment.as_ref()?;
        // A bot could name it like a path.
        let name = Path::new(&attachment.file_name).file_name();
        let name = name.map_or_else(|| "file".into(), |name| name.to_string_lossy());
        let name = match attachment.kind {
            AttachmentKind::Photo => format!("{}.png", message.message_id),
            AttachmentKind::Document => format!("{}-{name}", message.message_id),
        };
        let path = self.folder.join(name);
        let kept =
            std::fs::create_dir_all(&self.folder).and_then(|()| std::fs::write(&path, &attachment.bytes));
        Some(match kept {
            Ok(()) => format!("({} bytes: {})", attachment.bytes.len(), path.display()),
            Err(error) => format!("({} could not be kept: {error})", path.display()),
        })
    }
}

fn rows(message: &SentMessage) -> Vec<Vec<(String, String)>> {
    let mut buttons = message.buttons().into_iter();
    let markup = message.reply_markup.as_ref();
    let rows = markup.and_then(|markup| markup["inline_keyboard"].as_array());
    let lengths = rows
        .into_iter()
        .flatten()
        .map(|row| row.as_array().map_or(0, Vec::len));
    lengths
        .map(|length| {
            let row = buttons.by_ref().take(length);
            row.map(|button| (button.label, button.data.unwrap_or_default()))
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_button_has_a_number_of_its_own_for_good() {
        let mut screen = Screen::new(false, Path::new("."));
        let message: SentMessage = serde_json::from_value(serde_json::json!({
            "message_id": 7, "chat": 42, "text": "AAPL 201", "received_us": 0, "reply_to": 3,
            "reply_markup": {"inline_keyboard": [
                [{"text": "Snooze 1h", "callback_data": "a"}, {"text": "Edit", "callback_data": "b"}],
                [{"text": "Chart", "callback_data": "c"}],
            ]},
        }))
        .unwrap();
        let text =
            "--- chat 42, message 7, reply to 3\nAAPL 201\n    [1] Snooze 1h   [2] Edit\n    [3] Chart\n";
        assert_eq!(screen.message(&message, false), text);
        assert!(
            screen
                .message(&message, true)
                .contains("[4] Snooze 1h   [5] Edit")
        );
        assert_eq!(screen.button(2).unwrap().data, "b");
        assert_eq!((screen.button(0), screen.button(7)), (None, None));
    }
}
