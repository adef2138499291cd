use std::env;
use std::io::{self, IsTerminal as _, Write as _};

use jiff::tz::TimeZone;
use serde::Serialize;

use crate::failure::Failure;
use crate::table::Table;

/// Where results go: a terminal with its width and colours, a pipe, or a program that reads JSON.
#[derive(Debug, Clone)]
pub(crate) struct Screen {
    pub json: bool,
    /// Columns of the terminal; none: not a terminal, lines are as long as they are.
    pub width: Option<usize>,
    pub colour: bool,
    /// The cursor can be moved: a picture can be drawn over the one before.
    pub can_draw: bool,
    pub zone: TimeZone,
}

/// How a piece of text looks, where colours are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Strong,
    Faint,
    Green,
    Red,
    Cyan,
}

impl Screen {
    /// Standard output as it is.
    pub(crate) fn detect(json: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        let width = terminal
            .then(terminal_size::terminal_size)
            .flatten()
            .map(|(terminal_size::Width(width), _)| usize::from(width));
        Self {
            json,
            width,
            can_draw: width.is_some() && set("TERM") && !dumb,
            colour: terminal && !json && !dumb && !set("NO_COLOR"),
            zone: TimeZone::system(),
        }
    }

    /// The same screen at its present size, and its lines: people resize terminals.
    pub(crate) fn measured(&self) -> (Self, usize) {
        let mut screen = self.clone();
        let mut lines = 24;
        if let Some((terminal_size::Width(width), terminal_size::Height(height))) =
            terminal_size::terminal_size()
        {
            screen.width = Some(usize::from(width));
            lines = usize::from(height);
        }
        (screen, lines)
    }

    /// Writes one JSON document on a line, or the text.
    pub(crate) fn result<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if self.json {
            let mut line =
                serde_json::to_string(value).map_err(|error| Failure::output(&io::Error::other(error)))?;
            line.push('\n');
            self.print(&line)
        } else {
            self.print(&text())
        }
    }

    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|error| Failure::output(&error))
    }

    pub(crate) fn render(&self, table: &Table) -> String {
        table.render(self.width, self.colour)
    }

    pub(crate) fn paint(&self, text: &str, style: Style) -> String {
        paint(text, style, self.colour)
    }

    /// A moment as people near this terminal read it.
    pub(crate) fn time(&self, time: jiff::Timestamp) -> String {
        short_time(time, jiff::Timestamp::now(), &self.zone)
    }
}

/// The clock's time today, day and time this year, the date otherwise.
fn short_time(time: jiff::Timestamp, now: jiff::Timestamp, zone: &TimeZone) -> String {
    let (time, now) = (time.to_zoned(zone.clone()), now.to_zoned(zone.clone()));
    let format = if time.date() == now.date() {
        "%H:%M:%S"
    } else if time.year() == now.year() {
        "%-d %b %H:%M"
    } else {
        "%Y-%m-%d"
    };
    time.strftime(format).to_string()
}

pub(crate) fn paint(text: &str, style: Style, colour: bool) -> String {
    let code = match style {
        Style::Plain => return text.to_owned(),
        Style::Strong => "1",
        Style::Faint => "2",
        Style::Green => "32",
        Style::Red => "31",
        Style::Cyan => "36",
    };
    if colour {
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

/// Texts from a server must not steer the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_short_as_their_distance_allows() {
        let zone = TimeZone::get("Europe/Berlin").unwrap_or_else(|_| TimeZone::fixed(jiff::tz::offset(1)));
        let now = "2026-01-31T23:30:00Z".parse().unwrap();
        for (time, shown) in [
            ("2026-01-31T23:05:09Z", "00:05:09"),
            ("2026-01-31T22:05:09Z", "31 Jan 23:05"),
            ("2026-02-09T08:00:00Z", "9 Feb 09:00"),
            ("2025-12-31T22:00:00Z", "2025-12-31"),
        ] {
            assert_eq!(short_time(time.parse().unwrap(), now, &zone), shown);
        }
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\r\nc"), "a\u{fffd}[2Jb\u{fffd}\nc");
    }
}
