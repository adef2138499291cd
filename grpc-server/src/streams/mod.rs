//! What callers follow: alerts and prices. One poll of the database, twice a second, serves all streams of this server, so
//! that a thousand streams cost no more than ten. Nothing is kept for a stream but where it is: alerts wait in the database
//! until their reader takes them, and of prices a slow reader gets the newest.

mod alerts;
mod cursor;
mod heads;
mod places;
mod prices;
mod quotes;

use std::sync::Arc;
use std::time::Duration;

use cqrs::{AlertFeed, Holder, Queries, Store};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::codegen::BoxStream;
use tonic::{Code, Response, Status};

pub(crate) use self::alerts::watch as watch_alerts;
pub(crate) use self::quotes::watch as watch_quotes;
use crate::status::{of_store, refusal};
use heads::Heads;
use places::Places;
use prices::Prices;

/// How long what is new may wait: below what people notice, and nothing for a database.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// A stream without news says so this often, which tells a caller from a dead connection; and its token is looked at again.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What all streams of this server share. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Streams(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    feed: AlertFeed,
    queries: Queries,
    heads: Heads,
    prices: Prices,
    places: Arc<Places>,
    shutdown: CancellationToken,
}

impl Streams {
    /// Polls until shutdown, which also ends all streams. `queries` say which tokens are good.
    pub(crate) fn start(store: &Store, queries: Queries, shutdown: CancellationToken) -> Self {
        let streams = Self(Arc::new(Shared {
            feed: store.alert_feed(),
            queries,
            heads: Heads::default(),
            prices: Prices::default(),
            places: Arc::default(),
            shutdown,
        }));
        tokio::spawn(streams.clone().poll());
        streams
    }

    async fn poll(self) {
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! {
                () = self.0.shutdown.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let polled = async {
                self.0.heads.poll(&self.0.feed).await?;
                self.0.prices.poll(&self.0.queries).await
            };
            match polled.await {
                Ok(()) => failing = false,
                Err(error) if failing => tracing::debug!(%error, "streams still stand"),
                Err(error) => {
                    failing = true;
                    tracing::warn!(%error, "streams stand until the database answers again");
                }
            }
        }
    }
}

/// Sends what `follow` finds until it ends with a status, the caller goes away, or the process ends.
fn spawn<T, F, Fut>(streams: &Streams, buffer: usize, follow: F) -> Response<BoxStream<T>>
where
    T: Send + 'static,
    F: FnOnce(mpsc::Sender<Result<T, Status>>) -> Fut,
    Fut: Future<Output = Status> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(buffer);
    let following = follow(sender.clone());
    let shutdown = streams.0.shutdown.clone();
    tokio::spawn(async move {
        let status = tokio::select! {
            status = following => status,
            () = shutdown.cancelled() => ending(),
            () = sender.closed() => return,
        };
        // Who does not read it finds the stream at its end.
        let _ = tokio::time::timeout(HEARTBEAT, sender.send(Err(status))).await;
    });
    Response::new(Box::pin(ReceiverStream::new(receiver)))
}

/// The token that a stream was opened with. It may be revoked while the stream is open.
#[derive(Debug)]
struct Authority {
    holder: Holder,
    queries: Queries,
    looked: Instant,
}

impl Authority {
    fn new(holder: Holder, queries: Queries) -> Self {
        Self {
            holder,
            queries,
            looked: Instant::now(),
        }
    }

    /// Looks, if it is time to.
    async fn check(&mut self) -> Result<(), Status> {
        if self.looked.elapsed() < HEARTBEAT {
            return Ok(());
        }
        self.looked = Instant::now();
        let Some(token) = &self.holder.token else {
            return Err(gone());
        };
        match self.queries.authenticate(token).await {
            Ok(Some(caller)) if caller == self.holder.caller => Ok(()),
            Ok(_) => Err(gone()),
            Err(error) => Err(of_store(&error)),
        }
    }
}

fn gone() -> Status {
    refusal(
        Code::Unauthenticated,
        "UNAUTHENTICATED",
        "the token that this stream was opened with is not valid any more",
    )
}

fn ending() -> Status {
    refusal(
        Code::Unavailable,
        "SERVER_ENDING",
        "this server ends; go on at another with the cursor of the last answer",
    )
}
