use std::time::Duration;

use proto::v1;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::super::{Session, rule};
use super::follow::News;
use super::picture::Picture;
use crate::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::screen::Screen;

/// The picture is drawn anew this often at most; and once a second, for the ages in it and the terminal's size.
const FRAME: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);

/// Rules change seldom, and with each alert.
const RULES_INTERVAL: Duration = Duration::from_secs(10);

/// Takes the whole terminal, and gives it back with its content when it is dropped.
struct Stage<'a>(&'a Screen);

impl<'a> Stage<'a> {
    fn enter(screen: &'a Screen) -> Result<Self, Failure> {
        // The alternate screen, and no cursor.
        screen.print("\u{1b}[?1049h\u{1b}[?25l")?;
        Ok(Self(screen))
    }

    /// Over the picture before, line by line, so that nothing flickers.
    fn show(&self, lines: &[String]) -> Result<(), Failure> {
        let mut text = "\u{1b}[H".to_owned();
        for (index, line) in lines.iter().enumerate() {
            if index > 0 {
                text.push_str("\r\n");
            }
            text.push_str(line);
            text.push_str("\u{1b}[K");
        }
        text.push_str("\u{1b}[J");
        self.0.print(&text)
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        let _ = self.0.print("\u{1b}[?25h\u{1b}[?1049l");
    }
}

/// Draws until the news end. No line is longer than the terminal is wide, or the picture would not stay where it is.
pub(super) async fn run(
    session: &Session,
    connection: &Connection,
    mut news: mpsc::Receiver<News>,
) -> Result<(), Failure> {
    let mut picture = Picture::default();
    let mut rules_read = read_rules(connection, &mut picture).await?;
    let stage = Stage::enter(&session.screen)?;
    let mut seconds = tokio::time::interval(SECOND);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            new = news.recv() => match new {
                Some(new) => take(&mut picture, &mut rules_read, new),
                None => return Ok(()),
            },
            _ = seconds.tick() => {}
        }
        while let Ok(new) = news.try_recv() {
            take(&mut picture, &mut rules_read, new);
        }
        if rules_read.is_none_or(|read| read.elapsed() >= RULES_INTERVAL) && picture.away.is_none() {
            rules_read = read_rules(connection, &mut picture).await?;
        }
        let (screen, height) = session.screen.measured();
        stage.show(&picture.draw(&screen, &session.server, height, jiff::Timestamp::now()))?;
        tokio::time::sleep(FRAME).await;
    }
}

fn take(picture: &mut Picture, rules_read: &mut Option<Instant>, news: News) {
    match news {
        News::Quote(quote) => picture.quote(quote),
        News::Alert(alert) => {
            picture.alert(alert);
            *rules_read = None;
        }
        News::Away(why) => picture.away = Some(why),
        News::Back => {
            picture.away = None;
            *rules_read = None;
        }
    }
}

/// When they were read; none: the server is away, and the old ones stay.
async fn read_rules(connection: &Connection, picture: &mut Picture) -> Result<Option<Instant>, Failure> {
    match rule::all(connection, v1::ListRulesRequest::default()).await {
        Ok(rules) => {
            picture.rules = rules;
            Ok(Some(Instant::now()))
        }
        Err(status) => match connection.failure(&status) {
            failure if failure.exit == Exit::Unavailable => Ok(None),
            failure => Err(failure),
        },
    }
}
