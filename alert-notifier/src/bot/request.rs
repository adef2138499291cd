//! What somebody wants who wrote something. Pure.

use super::command::{Command, Written, read};
use super::incoming::Document;
use super::parse::code_in;
use super::text::transfer::QUESTION;

/// Most characters of a message: Telegram's own limit, which its clients keep.
pub(super) const MAX_CHARACTERS: usize = 4_096;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    /// A command with what follows it.
    Command(Command, String),
    /// New thresholds for the rule with this code.
    Edit { code: String, text: String },
    /// Rules as a table.
    Table(Table),
    /// A file without a word.
    BareFile,
    /// So many characters.
    TooLong(usize),
    /// None of these.
    Unclear(String),
}

/// Where a table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Table {
    Text(String),
    File(Document),
}

/// `me` is the bot's name.
pub(super) fn request(
    text: &str,
    in_answer_to: Option<&str>,
    document: Option<&Document>,
    me: &str,
) -> Request {
    let characters = text.chars().count();
    if characters > MAX_CHARACTERS {
        return Request::TooLong(characters);
    }
    let asked_for_table = in_answer_to.is_some_and(|question| question.trim_end().ends_with(QUESTION));
    let table = |text: &str| match document {
        Some(file) => Table::File(file.clone()),
        None => Table::Text(text.to_owned()),
    };
    match read(text, me) {
        Written::Command(Command::Import, rest) if document.is_some() || !rest.is_empty() => {
            Request::Table(table(rest))
        }
        Written::Command(command, rest) => Request::Command(command, rest.to_owned()),
        Written::Unknown(_) | Written::ForAnother => Request::Unclear(text.to_owned()),
        Written::Plain if asked_for_table => Request::Table(table(text)),
        Written::Plain if document.is_some() => Request::BareFile,
        Written::Plain => match in_answer_to.and_then(code_in) {
            Some(code) => Request::Edit {
                code: code.to_owned(),
                text: text.to_owned(),
            },
            None => Request::Unclear(text.to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use teloxide::types::FileId;

    use super::*;

    fn file() -> Document {
        Document {
            file: FileId("F".into()),
            bytes: 12,
        }
    }

    #[test]
    fn what_is_wanted_shows_in_the_text_the_quotation_and_the_file() {
        let edit = Some("New thresholds?\n#2e3f4a5b");
        let import = Some("Which table?\n#import");
        let a_file = file();
        let command = |command, rest: &str| Request::Command(command, rest.into());
        for (text, quoted, document, wanted) in [
            ("/list", None, None, command(Command::List, "")),
            // A command is one even where a question was asked.
            ("/list AAPL", edit, None, command(Command::List, "AAPL")),
            (
                "170 200",
                edit,
                None,
                Request::Edit {
                    code: "#2e3f4a5b".into(),
                    text: "170 200".into(),
                },
            ),
            (
                "170 200",
                Some("Good morning"),
                None,
                Request::Unclear("170 200".into()),
            ),
            ("hello", None, None, Request::Unclear("hello".into())),
            ("/nonsense", None, None, Request::Unclear("/nonsense".into())),
            (
                "/list@other_bot",
                None,
                None,
                Request::Unclear("/list@other_bot".into()),
            ),
            ("/import", None, None, command(Command::Import, "")),
            (
                "/import\na,b",
                None,
                None,
                Request::Table(Table::Text("a,b".into())),
            ),
            (
                "/import",
                None,
                Some(&a_file),
                Request::Table(Table::File(file())),
            ),
            ("", import, Some(&a_file), Request::Table(Table::File(file()))),
            ("a,b", import, None, Request::Table(Table::Text("a,b".into()))),
            ("", None, Some(&a_file), Request::BareFile),
            ("/list", None, Some(&a_file), command(Command::List, "")),
        ] {
            assert_eq!(request(text, quoted, document, "me"), wanted, "{text} {quoted:?}");
        }
        let long = "/watch ".to_owned() + &"x".repeat(10_000);
        assert_eq!(request(&long, None, None, "me"), Request::TooLong(10_007));
    }
}
