use std::time::Duration;

use proto::v1;
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, sleep, timeout};
use tonic::Code;

use super::super::{Session, rule};
use super::follow::{News, may_come_back, pause, why_away};
use super::picture::Picture;
use super::signals::{self, Suspension};
use crate::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::screen::Screen;
use crate::view;

/// The picture is drawn anew this often at most; and once a second, for the ages in it and the terminal's size.
const FRAME: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);

/// Rules change seldom: alerts say themselves which rule is out of range.
const RULES_INTERVAL: Duration = Duration::from_secs(10);

/// The rules, or why those that are shown may be old.
type Rules = Result<Vec<view::Rule>, String>;

/// Takes the whole terminal, and gives it back with its content when it is dropped.
struct Stage<'a>(&'a Screen);

impl<'a> Stage<'a> {
    fn enter(screen: &'a Screen) -> Result<Self, Failure> {
        let stage = Self(screen);
        stage.take()?;
        Ok(stage)
    }

    fn take(&self) -> Result<(), Failure> {
        // The alternate screen, and no cursor.
        self.0.print("\u{1b}[?1049h\u{1b}[?25l")
    }

    fn give_back(&self) -> Result<(), Failure> {
        self.0.print("\u{1b}[?25h\u{1b}[?1049l")
    }

    /// Leaves the terminal to its shell until that continues the program.
    fn suspend(&self) -> Result<(), Failure> {
        self.give_back()?;
        signals::stop();
        self.take()
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
        let _ = self.give_back();
    }
}

/// Draws until the news end.
pub(super) async fn run(
    session: &Session,
    connection: &Connection,
    news: mpsc::Receiver<News>,
) -> Result<(), Failure> {
    let (sender, rules) = mpsc::channel(1);
    let again = Notify::new();
    tokio::select! {
        failure = keep_reading(connection, &again, sender) => Err(failure),
        drawn = draw(session, news, rules, &again) => drawn,
    }
}

/// No line is longer than the terminal is wide, or the picture would not stay where it is.
async fn draw(
    session: &Session,
    mut news: mpsc::Receiver<News>,
    mut rules: mpsc::Receiver<Rules>,
    again: &Notify,
) -> Result<(), Failure> {
    let mut picture = Picture::default();
    // A server that refuses is heard of before the terminal is taken.
    if let Ok(Some(first)) = timeout(SECOND, rules.recv()).await {
        picture.rules(first);
    }
    let mut suspension = Suspension::caught()
        .map_err(|error| Failure::new(Exit::Internal, format!("signals can't be waited for: {error}")))?;
    let stage = Stage::enter(&session.screen)?;
    let mut seconds = tokio::time::interval(SECOND);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            new = news.recv() => match new {
                Some(new) => take(&mut picture, again, new),
                None => return Ok(()),
            },
            Some(read) = rules.recv() => picture.rules(read),
            () = suspension.asked() => stage.suspend()?,
            _ = seconds.tick() => {}
        }
        while let Ok(new) = news.try_recv() {
            take(&mut picture, again, new);
        }
        let (screen, height) = session.screen.measured();
        stage.show(&picture.draw(&screen, &session.server, height, jiff::Timestamp::now()))?;
        sleep(FRAME).await;
    }
}

fn take(picture: &mut Picture, again: &Notify, news: News) {
    match news {
        News::Quote(quote) => picture.quote(quote),
        News::Alert(alert) => picture.alert(alert),
        News::Away(stream, why) => {
            picture.absence.begins(stream, &why);
        }
        News::Back(stream) => {
            if picture.absence.ends(stream) {
                again.notify_one();
            }
        }
    }
}

/// Reads the rules now and then, and at once when the server is back. Returns what the server refuses it with.
async fn keep_reading(connection: &Connection, again: &Notify, rules: mpsc::Sender<Rules>) -> Failure {
    loop {
        let read = rule::all(connection, v1::ListRulesRequest::default()).await;
        // A server without room is not asked before the time that it says, whatever else there is.
        let (read, wait, may_be_sooner) = match read {
            Ok(read) => (Ok(read), RULES_INTERVAL, true),
            Err(status) if may_come_back(&status) => {
                let full = status.code() == Code::ResourceExhausted;
                (Err(why_away(&status)), pause(&status), !full)
            }
            Err(status) => return connection.failure(&status),
        };
        // Nobody looks any more: the program ends.
        let _ = rules.send(read).await;
        if may_be_sooner {
            tokio::select! {
                () = sleep(wait) => {}
                () = again.notified() => {}
            }
        } else {
            sleep(wait).await;
        }
    }
}
