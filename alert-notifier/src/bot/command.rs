//! What users can write to the bot.

/// The bot's commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Start,
    Watch,
    List,
    Price,
    Chart,
    Set,
    Unset,
    Snooze,
    Unsnooze,
    Quiet,
    Lang,
    History,
    Status,
    Test,
    Export,
    Import,
    Settings,
    Stop,
    Help,
}

impl Command {
    /// In the order of help and menu: what is used most comes first.
    pub(super) const ALL: [Self; 19] = [
        Self::Watch,
        Self::List,
        Self::Price,
        Self::Chart,
        Self::Set,
        Self::Unset,
        Self::Snooze,
        Self::Unsnooze,
        Self::Quiet,
        Self::History,
        Self::Status,
        Self::Test,
        Self::Export,
        Self::Import,
        Self::Settings,
        Self::Lang,
        Self::Start,
        Self::Stop,
        Self::Help,
    ];

    /// As it is written after the slash.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Watch => "watch",
            Self::List => "list",
            Self::Price => "price",
            Self::Chart => "chart",
            Self::Set => "set",
            Self::Unset => "unset",
            Self::Snooze => "snooze",
            Self::Unsnooze => "unsnooze",
            Self::Quiet => "quiet",
            Self::Lang => "lang",
            Self::History => "history",
            Self::Status => "status",
            Self::Test => "test",
            Self::Export => "export",
            Self::Import => "import",
            Self::Settings => "settings",
            Self::Stop => "stop",
            Self::Help => "help",
        }
    }
}

/// A text, as far as its first word tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written<'a> {
    /// A command and what follows it, without space around.
    Command(Command, &'a str),
    /// A command that this bot does not have.
    Unknown(&'a str),
    /// A command to another bot.
    ForAnother,
    /// No command.
    Plain,
}

/// Reads the first word: `/list`, `/list@name_of_the_bot`, in any case. `me` is the bot's name.
pub(super) fn read<'a>(text: &'a str, me: &str) -> Written<'a> {
    let text = text.trim();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (first, rest) = text.split_at(end);
    let Some(word) = first.strip_prefix('/') else {
        return Written::Plain;
    };
    let (name, addressee) = word.split_once('@').unwrap_or((word, me));
    if !addressee.eq_ignore_ascii_case(me) {
        return Written::ForAnother;
    }
    Command::ALL
        .into_iter()
        .find(|command| command.name().eq_ignore_ascii_case(name))
        .map_or(Written::Unknown(first), |command| {
            Written::Command(command, rest.trim())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_with_and_without_the_bots_name() {
        for (text, written) in [
            ("/start", Written::Command(Command::Start, "")),
            ("/start AbC-1_2", Written::Command(Command::Start, "AbC-1_2")),
            (" /Set\n 5m ", Written::Command(Command::Set, "5m")),
            ("/list@Alerts_Bot", Written::Command(Command::List, "")),
            (
                "/watch aapl  1 2\nmsft 3 4",
                Written::Command(Command::Watch, "aapl  1 2\nmsft 3 4"),
            ),
            ("/list@other_bot", Written::ForAnother),
            ("/nonsense 1", Written::Unknown("/nonsense")),
            ("/", Written::Unknown("/")),
            ("/@alerts_bot", Written::Unknown("/@alerts_bot")),
            ("/lıst", Written::Unknown("/lıst")),
            ("list", Written::Plain),
            ("", Written::Plain),
        ] {
            assert_eq!(read(text, "alerts_bot"), written, "{text}");
        }
    }

    #[test]
    fn every_command_is_there_once_and_telegram_takes_its_name() {
        for (place, command) in Command::ALL.into_iter().enumerate() {
            let name = command.name();
            assert!(
                name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_lowercase()),
                "{name}"
            );
            assert_eq!(read(&format!("/{name}"), "me"), Written::Command(command, ""));
            assert_eq!(
                Command::ALL.iter().position(|other| *other == command),
                Some(place)
            );
        }
    }
}
