use std::fmt;

/// A Telegram chat. Its `Debug` hides it, so that no log shows it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChatId(i64);

impl ChatId {
    /// As Telegram gave it.
    #[must_use]
    pub const fn new(id: i64) -> Self {
        Self(id)
    }

    /// For Telegram and the database.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Whether it is a chat with one person: groups and channels have negative ids.
    #[must_use]
    pub const fn is_private(self) -> bool {
        self.0 > 0
    }
}

impl fmt::Debug for ChatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChatId(hidden)")
    }
}
