//! What callers follow: alerts and prices. One poll of the database, twice a second, serves all streams of this server, so
//! that a thousand streams cost no more than ten. Nothing is kept for a stream but where it is: alerts wait in the database
//! until their reader takes them, and of prices a slow reader gets the newest.

mod alerts;
mod cursor;
mod heads;
mod prices;
mod quotes;

use std::sync::Arc;
use std::time::Duration;

use cqrs::domain::UserId;
use cqrs::{AlertFeed, Holder, Queries, Store, StoreError};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::codegen::BoxStream;
use tonic::{Code, Response, Status};

pub(crate) use self::alerts::watch as watch_alerts;
pub(crate) use self::quotes::watch as watch_quotes;
use crate::guard::too_many_streams;
use crate::slots::{Slot, Slots};
use crate::status::{of_store, refusal};
use heads::Heads;
use prices::Prices;

/// How long what is new may wait: below what people notice, and nothing for a database.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// A stream without news says so this often, which tells a caller from a dead connection; and its token is looked at again.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Most streams of this server: each holds some KiB and a part of every poll.
const MOST_STREAMS: usize = 2_000;

/// Most streams of one user: a page, a phone and some programs, and nobody takes all.
const MOST_STREAMS_OF_A_USER: usize = 20;

/// What all streams of this server share. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Streams(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    feed: AlertFeed,
    queries: Queries,
    heads: Heads,
    prices: Prices,
    places: Slots<UserId>,
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
            places: Slots::new(MOST_STREAMS, MOST_STREAMS_OF_A_USER),
            shutdown,
        }));
        // Each by itself: alerts that take long to number keep no price waiting, and what fails of one fails of one.
        let (of_alerts, of_prices) = (streams.clone(), streams.clone());
        tokio::spawn(streams.clone().poll("alerts", move || {
            let streams = of_alerts.clone();
            async move { streams.0.heads.poll(&streams.0.feed).await }
        }));
        tokio::spawn(streams.clone().poll("prices", move || {
            let streams = of_prices.clone();
            async move { streams.0.prices.poll(&streams.0.queries).await }
        }));
        streams
    }

    /// A place for one more stream of this user.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED if the user has, or all have, as many as there may be.
    fn place(&self, user: UserId) -> Result<Place, Status> {
        let slot = self.0.places.take(user).map_err(too_many_streams)?;
        metrics::gauge!("stockalert_grpc_streams").increment(1.0);
        Ok(Place { _slot: slot })
    }

    async fn poll<F>(self, what: &'static str, look: impl Fn() -> F)
    where
        F: Future<Output = Result<(), StoreError>>,
    {
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! {
                () = self.0.shutdown.cancelled() => return,
                _ = ticks.tick() => {}
            }
            match look().await {
                Ok(()) => failing = false,
                Err(error) if failing => tracing::debug!(%error, what, "streams still stand"),
                Err(error) => {
                    failing = true;
                    tracing::warn!(%error, what, "streams stand until the database answers again");
                }
            }
        }
    }
}

/// An open stream's place, given back when dropped.
#[derive(Debug)]
struct Place {
    _slot: Slot<UserId>,
}

impl Drop for Place {
    fn drop(&mut self) {
        metrics::gauge!("stockalert_grpc_streams").decrement(1.0);
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
