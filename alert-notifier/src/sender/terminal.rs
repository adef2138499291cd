use std::io::Write as _;
use std::time::Duration;

use cqrs::Pace;
use cqrs::domain::ChatId;

use super::{SendError, Sender};
use crate::text::alerts::Outgoing;

/// Writes messages to standard output, for whoever runs the process: the main job shows without an account anywhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct TerminalSender;

impl Sender for TerminalSender {
    async fn send(
        &self,
        _: Option<ChatId>,
        message: &Outgoing,
        _: Option<i64>,
    ) -> Result<Option<i64>, SendError> {
        let block = block(&message.text.plain(), &jiff::Zoned::now());
        let mut out = std::io::stdout().lock();
        out.write_all(block.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|error| {
                SendError::NotConnected(format!("standard output can't be written to: {error}"))
            })?;
        Ok(None)
    }

    async fn check(&self) -> Result<(), SendError> {
        Ok(())
    }

    fn pace(&self) -> Pace {
        Pace {
            per_chat: Duration::ZERO,
            per_second: 1_000,
            per_group: Duration::ZERO,
        }
    }
}

/// The message under its time of day, set off from log lines around it.
fn block(text: &str, now: &jiff::Zoned) -> String {
    let mut block = format!("\n+-- {}\n", now.strftime("%H:%M:%S"));
    for line in text.lines() {
        block.push_str("| ");
        block.push_str(line);
        block.push('\n');
    }
    block.push_str("+--\n");
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_stands_under_its_local_time() {
        let now = jiff::civil::date(2026, 1, 31)
            .at(14, 30, 5, 0)
            .to_zoned(jiff::tz::TimeZone::UTC)
            .unwrap();
        insta::assert_snapshot!(block("▲ AAPL is above 200\nPrice 201", &now), @"

        +-- 14:30:05
        | ▲ AAPL is above 200
        | Price 201
        +--
        ");
    }
}
