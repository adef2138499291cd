//! What the bot does in return, before it is put into calls of the Bot API.

use crate::buttons::Keyboard;
use crate::text::rich::Text;

/// Something to send.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reply {
    /// A message.
    Text { text: Text, keyboard: Keyboard },
    /// A message that opens the field for an answer to it.
    Question { text: Text, placeholder: &'static str },
    /// A picture, as PNG.
    Photo {
        png: Vec<u8>,
        caption: Text,
        keyboard: Keyboard,
    },
    /// A file.
    File {
        name: &'static str,
        bytes: Vec<u8>,
        caption: Text,
    },
}

impl From<Text> for Reply {
    fn from(text: Text) -> Self {
        Self::Text {
            text,
            keyboard: Keyboard::none(),
        }
    }
}

/// What becomes of a pressed button.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Press {
    /// Shown over the chat for a moment.
    pub(super) notice: String,
    /// What becomes of the message that the button stands under.
    pub(super) change: Option<Change>,
    /// Sent besides.
    pub(super) replies: Vec<Reply>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// Other buttons.
    Buttons(Keyboard),
    /// Another text and other buttons.
    Message(Text, Keyboard),
}
