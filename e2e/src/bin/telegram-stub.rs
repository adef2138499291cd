//! The Bot API stub as a process: prints what bots send, and lets a person answer with lines such as
//! `chat 42: /start TOKEN`.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::net::SocketAddr;

use clap::Parser;
use e2e::telegram_stub::{Event, SentMessage, TelegramStub};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::broadcast::error::RecvError;

/// A Bot API that is not Telegram, for trying the bot without an account.
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
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let stub = TelegramStub::start(arguments.listen).await?;
    println!("TELEGRAM_API_URL={}", stub.url());
    println!("write to the bot with lines such as: chat 42: /start TOKEN");
    let mut messages = stub.subscribe();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut typing = true;
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Ok(Event::Sent(SentMessage { chat, text, .. })) => println!("--> chat {chat}\n{text}\n"),
                Ok(Event::Changed(_) | Event::ButtonAnswered(_)) => {}
                Err(RecvError::Lagged(missed)) => println!("({missed} messages not shown)"),
                Err(RecvError::Closed) => return Ok(()),
            },
            line = lines.next_line(), if typing => match line? {
                None => typing = false,
                Some(line) if line.trim().is_empty() => {}
                Some(line) => match said(&line) {
                    Some((chat, text)) => { stub.say(chat, text); }
                    None => println!("\"{line}\" is not understood; write a line such as: chat 42: /help"),
                },
            },
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

/// `chat 42: /help`
fn said(line: &str) -> Option<(i64, &str)> {
    let (chat, text) = line.trim().strip_prefix("chat")?.split_once(':')?;
    Some((chat.trim().parse().ok()?, text.trim()))
}
