//! What a person types.

use std::path::PathBuf;

use e2e::telegram_stub::{Fault, PlannedFault};

/// Shown at the start and by `:help`.
pub(crate) const HELP: &str = "\
What you type goes to the bot; after a question of the bot, as the reply to it. Lines with a colon are for the stub:
  :3                 press button [3], of any message shown so far
  :chat 42           be the user of chat 42 (a negative number: somebody in a group)
  :lang it           have this language in Telegram (en, it, ...)
  :send FILE [TEXT]  send a file, with a caption
  :edit TEXT         change your last message
  :block  :unblock   block the bot, take it back
  :menu              the bot's commands, as your menu shows them
  :fault NAME [N]    let the next N messages to you go wrong (1): too_many_requests, blocked, chat_not_found, unauthorized,
                     bad_gateway, garbage, drop_before, drop_after, cut_answer, slow, hold
  :release           let what :fault hold holds go on
  :quit              or Ctrl-C";

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Say(String),
    Press(usize),
    Chat(i64),
    Language(String),
    Send { file: PathBuf, caption: String },
    Edit(String),
    Block(bool),
    Menu,
    Fault(PlannedFault),
    Release,
    Help,
    Quit,
}

/// What the line asks for, or what is wrong with it.
pub(crate) fn understand(line: &str) -> Result<Line, String> {
    let Some(command) = line.strip_prefix(':') else {
        return Ok(Line::Say(line.to_owned()));
    };
    let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let rest = rest.trim();
    if let Ok(number) = name.parse() {
        return Ok(Line::Press(number));
    }
    match name {
        "chat" => match rest.parse() {
            Ok(chat) if chat != 0 => Ok(Line::Chat(chat)),
            _ => Err(format!(
                "\"{rest}\" is not the number of a chat; write one such as :chat 42"
            )),
        },
        "lang" if !rest.is_empty() => Ok(Line::Language(rest.to_owned())),
        "send" if !rest.is_empty() => {
            let (file, caption) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            Ok(Line::Send {
                file: PathBuf::from(file),
                caption: caption.trim().to_owned(),
            })
        }
        "edit" if !rest.is_empty() => Ok(Line::Edit(rest.to_owned())),
        "block" => Ok(Line::Block(true)),
        "unblock" => Ok(Line::Block(false)),
        "menu" => Ok(Line::Menu),
        "fault" => fault(rest).map(Line::Fault),
        "release" => Ok(Line::Release),
        "help" => Ok(Line::Help),
        "quit" => Ok(Line::Quit),
        _ => Err(format!(
            "\":{command}\" is not understood; :help shows what you can write"
        )),
    }
}

fn fault(words: &str) -> Result<PlannedFault, String> {
    let (name, times) = words.split_once(char::is_whitespace).unwrap_or((words, "1"));
    let fault = match name {
        "too_many_requests" => Fault::TooManyRequests(5),
        "blocked" => Fault::Blocked,
        "chat_not_found" => Fault::ChatNotFound,
        "unauthorized" => Fault::Unauthorized,
        "bad_gateway" => Fault::BadGateway,
        "garbage" => Fault::Garbage,
        "drop_before" => Fault::DropBefore,
        "drop_after" => Fault::DropAfter,
        "cut_answer" => Fault::CutAnswer,
        "slow" => Fault::Delay(3_000),
        "hold" => Fault::HoldAfter,
        _ => return Err(format!("\"{name}\" is not a fault; :help shows which there are")),
    };
    let times = times.trim().parse();
    let times = times.map_err(|_| format!("\"{words}\" does not end with how often, a number"))?;
    Ok(PlannedFault::of_messages(fault, times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_a_colon_are_for_the_stub_and_all_others_for_the_bot() {
        for (line, meaning) in [
            ("/watch AAPL 170 200", Ok(Line::Say("/watch AAPL 170 200".into()))),
            ("5", Ok(Line::Say("5".into()))),
            (":5", Ok(Line::Press(5))),
            (":chat -42", Ok(Line::Chat(-42))),
            (":lang it", Ok(Line::Language("it".into()))),
            (
                ":send /tmp/rules.csv /import now",
                Ok(Line::Send {
                    file: "/tmp/rules.csv".into(),
                    caption: "/import now".into(),
                }),
            ),
            (
                ":fault blocked 3",
                Ok(Line::Fault(PlannedFault::of_messages(Fault::Blocked, 3))),
            ),
            (
                ":chat me",
                Err("\"me\" is not the number of a chat; write one such as :chat 42"),
            ),
            (
                ":fault rain",
                Err("\"rain\" is not a fault; :help shows which there are"),
            ),
            (
                ":edit",
                Err("\":edit\" is not understood; :help shows what you can write"),
            ),
        ] {
            assert_eq!(understand(line), meaning.map_err(str::to_owned), "{line}");
        }
    }
}
