use std::time::Duration;

use proto::v1;
use tokio::sync::mpsc;
use tonic::{Code, Response, Status, Streaming};

use crate::connection::Connection;
use crate::failure::{Failure, no_answer, retry_delay};
use crate::view;

/// Between two tries to open a stream again: a server that restarts is back within seconds.
const PAUSE: Duration = Duration::from_secs(1);

/// Where the server has no room and does not say for how long.
const PAUSE_WITHOUT_ROOM: Duration = Duration::from_secs(10);

/// A server that asks for more is asked again all the same: a person looks on.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// A stream that is open for so long is open, although it brings nothing.
const STEADY: Duration = Duration::from_secs(1);

/// What a person who watches is to see.
#[derive(Debug)]
pub(super) enum News {
    Alert(view::Alert),
    Quote(view::Quote),
    /// This stream can't be heard, and why.
    Away(Stream, String),
    Back(Stream),
}

/// What is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Alerts,
    Prices,
}

/// Which streams can't be heard, and why. They mostly go and come back together, which is said once.
#[derive(Debug, Default)]
pub(super) struct Absence {
    alerts: Option<String>,
    prices: Option<String>,
}

impl Absence {
    /// Whether nothing was away before.
    pub(super) fn begins(&mut self, stream: Stream, why: &str) -> bool {
        let first = self.why().is_none();
        *self.of(stream) = Some(why.to_owned());
        first
    }

    /// Whether everything is back by this.
    pub(super) fn ends(&mut self, stream: Stream) -> bool {
        self.of(stream).take().is_some() && self.why().is_none()
    }

    pub(super) fn why(&self) -> Option<&str> {
        self.alerts.as_deref().or(self.prices.as_deref())
    }

    fn of(&mut self, stream: Stream) -> &mut Option<String> {
        match stream {
            Stream::Alerts => &mut self.alerts,
            Stream::Prices => &mut self.prices,
        }
    }
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
        Stream::Alerts,
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
        Stream::Prices,
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
    name: Stream,
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
                    let next = if away {
                        tokio::time::timeout(STEADY, stream.message()).await
                    } else {
                        Ok(stream.message().await)
                    };
                    let Ok(next) = next else {
                        away = false;
                        say(news, News::Back(name)).await;
                        continue;
                    };
                    match next {
                        Ok(Some(answer)) => {
                            if std::mem::take(&mut away) {
                                say(news, News::Back(name)).await;
                            }
                            let (at, new) = read(answer);
                            if let Some(new) = new {
                                say(news, new).await;
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
            say(news, News::Away(name, why_away(&ended))).await;
        }
        tokio::time::sleep(pause(&ended)).await;
    }
}

/// How long to wait before the next try; a server that wants another time says so.
pub(super) fn pause(status: &Status) -> Duration {
    let of_its_own = if status.code() == Code::ResourceExhausted {
        PAUSE_WITHOUT_ROOM
    } else {
        PAUSE
    };
    retry_delay(status)
        .unwrap_or(of_its_own)
        .clamp(PAUSE, LONGEST_PAUSE)
}

pub(super) fn why_away(status: &Status) -> String {
    if status.code() == Code::ResourceExhausted {
        format!("the server has no room ({})", status.message())
    } else {
        // What follows is what to do, which this program does.
        let reason = status.message().split(';').next().unwrap_or_default();
        format!("the server is away ({reason})")
    }
}

/// A stream that breaks says so in many ways, also as an internal error.
pub(super) fn may_come_back(status: &Status) -> bool {
    no_answer(status)
        || matches!(
            status.code(),
            Code::Internal | Code::Unknown | Code::ResourceExhausted
        )
}

async fn say(to: &mpsc::Sender<News>, news: News) {
    // Nobody looks any more: the program ends.
    let _ = to.send(news).await;
}
