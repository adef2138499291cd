use std::time::Duration;

use proto::v1;
use tokio::sync::mpsc;
use tonic::{Code, Response, Status, Streaming};

use crate::connection::Connection;
use crate::failure::{Failure, no_answer};
use crate::view;

/// Between two tries to open a stream again: a server that restarts is back within seconds.
const PAUSE: Duration = Duration::from_secs(1);

/// What a person who watches is to see.
#[derive(Debug)]
pub(super) enum News {
    Alert(view::Alert),
    Quote(view::Quote),
    /// The server can't be heard, and why.
    Away(String),
    Back,
}

/// What a stream's answer says: where the stream is, and what is new, if anything.
type Answer = (String, Option<News>);

/// Follows alerts and prices, over any number of connections, until the server refuses.
pub(super) async fn run(connection: &Connection, news: mpsc::Sender<News>) -> Failure {
    let streams = connection.without_deadline();
    let alerts = follow(
        |cursor| {
            let mut client = streams.alerts();
            let rule_id = String::new();
            async move {
                client
                    .watch_alerts(v1::WatchAlertsRequest { cursor, rule_id })
                    .await
            }
        },
        |answer| (answer.cursor, answer.alert.map(|alert| News::Alert(alert.into()))),
        Some(&news),
        &news,
    );
    let quotes = follow(
        |cursor| {
            let mut client = streams.quotes();
            let tickers = Vec::new();
            async move {
                client
                    .watch_quotes(v1::WatchQuotesRequest { tickers, cursor })
                    .await
            }
        },
        |answer| (answer.cursor, answer.quote.map(|quote| News::Quote(quote.into()))),
        // The alerts' stream says so.
        None,
        &news,
    );
    let status = tokio::select! {
        status = alerts => status,
        status = quotes => status,
    };
    connection.failure(&status)
}

/// Opens the stream where it was, again and again. Returns what the server refuses it with.
async fn follow<T, F>(
    open: impl Fn(String) -> F,
    read: impl Fn(T) -> Answer,
    says_when_away: Option<&mpsc::Sender<News>>,
    news: &mpsc::Sender<News>,
) -> Status
where
    F: Future<Output = Result<Response<Streaming<T>>, Status>>,
{
    let (mut cursor, mut away) = (String::new(), false);
    loop {
        let ended = match open(cursor.clone()).await {
            Ok(stream) => {
                let mut stream = stream.into_inner();
                loop {
                    match stream.message().await {
                        Ok(Some(answer)) => {
                            if std::mem::take(&mut away) {
                                say(says_when_away, News::Back).await;
                            }
                            let (at, new) = read(answer);
                            if let Some(new) = new {
                                say(Some(news), new).await;
                            }
                            cursor = at;
                        }
                        Ok(None) => break Status::unavailable("the stream ended"),
                        Err(status) => break status,
                    }
                }
            }
            Err(status) => status,
        };
        if !may_come_back(&ended) {
            return ended;
        }
        if !std::mem::replace(&mut away, true) {
            let why = format!("the server is away ({})", ended.message());
            say(says_when_away, News::Away(why)).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A stream that breaks says so in many ways, also as an internal error.
fn may_come_back(status: &Status) -> bool {
    no_answer(status)
        || matches!(
            status.code(),
            Code::Internal | Code::Unknown | Code::ResourceExhausted
        )
}

async fn say(to: Option<&mpsc::Sender<News>>, news: News) {
    if let Some(to) = to {
        // Nobody looks any more: the program ends.
        let _ = to.send(news).await;
    }
}
