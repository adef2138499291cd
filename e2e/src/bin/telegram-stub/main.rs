//! The Bot API stub as a process: a chat with the bot in the terminal, without Telegram and without an account.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

mod line;
mod screen;

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use e2e::telegram_stub::{Event, SentMessage, TelegramStub};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::broadcast::error::RecvError;

use line::{HELP, Line, understand};
use screen::Screen;

/// A Bot API that is not Telegram, for trying the bot in the terminal.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to listen.
    #[arg(
        long,
        env = "TELEGRAM_STUB_LISTEN",
        value_name = "IP:PORT",
        default_value = "127.0.0.1:8081"
    )]
    listen: SocketAddr,
    /// The chat to begin with.
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 1,
        allow_negative_numbers = true
    )]
    chat: i64,
    /// The language that its user has in Telegram.
    #[arg(long, value_name = "CODE", default_value = "en")]
    lang: String,
    /// Where photos and documents are kept.
    #[arg(long, value_name = "FOLDER", default_value_os_t = std::env::temp_dir().join("telegram-stub"))]
    files: PathBuf,
    /// Refuse messages that come faster than Telegram takes them.
    #[arg(long)]
    enforce_limits: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let stub = TelegramStub::start(arguments.listen).await?;
    if arguments.enforce_limits {
        stub.enforce_limits();
    }
    stub.speaks(arguments.chat, &arguments.lang);
    println!(
        "TELEGRAM_API_URL={} TELEGRAM_BOT_TOKEN=1:any\n\n{HELP}\n",
        stub.url()
    );
    let mut events = stub.subscribe();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut typing = true;
    let mut person = Person {
        chat: arguments.chat,
        last_message: 0,
        question: None,
        screen: Screen::new(std::io::stdout().is_terminal(), &arguments.files),
        stub,
    };
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(event) => println!("{}", person.see(&event)),
                Err(RecvError::Lagged(missed)) => println!("({missed} messages not shown)"),
                Err(RecvError::Closed) => return Ok(()),
            },
            line = lines.next_line(), if typing => match line? {
                None => typing = false,
                Some(line) if line.trim().is_empty() => {}
                Some(line) => match understand(line.trim()) {
                    Ok(Line::Quit) => return Ok(()),
                    Ok(line) => println!("{}", person.act(line)),
                    Err(reason) => println!("{reason}"),
                },
            },
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
        std::io::stdout().flush()?;
    }
}

/// Who sits before the terminal.
struct Person {
    chat: i64,
    /// Their own last message.
    last_message: i64,
    /// The bot's message that asks for a reply.
    question: Option<SentMessage>,
    screen: Screen,
    stub: TelegramStub,
}

impl Person {
    fn see(&mut self, event: &Event) -> String {
        match event {
            Event::Sent(message) => {
                if message.asks_for_reply() {
                    self.question = Some(message.clone());
                }
                self.screen.message(message, false)
            }
            Event::Changed(message) => self.screen.message(message, true),
            Event::ButtonAnswered(answer) => Screen::button_answer(answer).unwrap_or_default(),
        }
    }

    /// Does it; gives what there is to say about it.
    fn act(&mut self, line: Line) -> String {
        match line {
            Line::Say(text) => self.say(&text),
            Line::Press(number) => return self.press(number),
            Line::Chat(chat) => {
                self.chat = chat;
                return format!("You are the user of chat {chat} now.");
            }
            Line::Language(code) => {
                self.stub.speaks(self.chat, &code);
                return format!("Your next messages come with the language {code}.");
            }
            Line::Send { file, caption } => {
                let name = file
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                match std::fs::read(&file) {
                    Ok(bytes) => self.last_message = self.stub.upload(self.chat, &name, bytes, &caption),
                    Err(error) => return format!("{} can't be read: {error}", file.display()),
                }
            }
            Line::Edit(text) => self.stub.edit(self.chat, self.last_message, &text),
            Line::Block(true) => self.stub.block(self.chat),
            Line::Block(false) => self.stub.unblock(self.chat),
            Line::Menu => return self.menu(),
            Line::Fault(fault) => self.stub.fault(fault.to_chat(self.chat)),
            Line::Release => self.stub.release(),
            Line::Help => return HELP.to_owned(),
            Line::Quit => {}
        }
        String::new()
    }

    fn say(&mut self, text: &str) {
        let question = self.question.take_if(|question| question.chat == self.chat);
        self.last_message = match question {
            Some(question) => self.stub.reply(self.chat, question.message_id, text),
            None => self.stub.say(self.chat, text),
        };
    }

    fn press(&self, number: usize) -> String {
        match self.screen.button(number) {
            Some(button) => {
                self.stub.press(self.chat, button.message_id, &button.data);
                String::new()
            }
            None => format!("There is no button [{number}]."),
        }
    }

    /// As Telegram chooses it: the language's own, or the one for all others.
    fn menu(&self) -> String {
        let language = self.stub.language(self.chat).unwrap_or_default();
        let own = self.stub.commands(&language);
        let menu = if own.is_empty() {
            self.stub.commands("")
        } else {
            own
        };
        let lines = menu
            .iter()
            .map(|entry| format!("/{}  {}\n", entry.command, entry.description));
        lines.collect()
    }
}
