//! What happens now, until Ctrl-C: lines for a pipe or a program, a picture on a terminal.

mod bar;
mod follow;
mod lines;
mod live;
mod picture;
mod signals;

use tokio::sync::mpsc;

use super::Session;
use crate::failure::{Exit, Failure};
use crate::screen::printable;
use follow::{Absence, News};
use lines::Lines;

/// News that wait to be shown; beyond that the streams wait, and the server keeps the newest prices and all alerts.
const BUFFER: usize = 256;

/// Shows what is new until Ctrl-C. A server that goes away is waited for, and no alert of the time between is left out.
pub(super) async fn run(session: &Session, lines: bool) -> Result<(), Failure> {
    let connection = session.connect().await?;
    let (sender, news) = mpsc::channel(BUFFER);
    let following = follow::run(&connection, sender);
    let live = !lines && !session.screen.json && session.screen.can_draw;
    let showing = async {
        if live {
            live::run(session, &connection, news).await
        } else {
            by_lines(session, news).await
        }
    };
    // What is not taken is dropped, and with it the picture, which gives the terminal back.
    tokio::select! {
        ended = signals::end(live) => ended.map_err(|error| {
            Failure::new(Exit::Internal, format!("signals can't be waited for: {error}"))
        }),
        failure = following => Err(failure),
        shown = showing => shown,
    }
}

async fn by_lines(session: &Session, mut news: mpsc::Receiver<News>) -> Result<(), Failure> {
    let mut lines = Lines::new(&session.screen);
    let mut absence = Absence::default();
    while let Some(news) = news.recv().await {
        match news {
            News::Alert(alert) => lines.alert(alert)?,
            News::Quote(quote) => lines.quote(quote)?,
            News::Away(stream, why) => {
                if absence.begins(stream, &why) {
                    note(&format!("{why}; trying again until Ctrl-C"));
                }
            }
            News::Back(stream) => {
                if absence.ends(stream) {
                    note("the server is back");
                }
            }
        }
    }
    Ok(())
}

#[allow(
    clippy::print_stderr,
    reason = "remarks for the person at the terminal, beside the results"
)]
fn note(text: &str) {
    eprintln!("{}", printable(text));
}
