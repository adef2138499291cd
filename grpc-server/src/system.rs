use std::time::Duration;

use cqrs::domain::Timestamp;
use proto::v1;
use proto::v1::system_service_server::SystemService;
use tonic::{Request, Response, Status};

use crate::api::Api;
use crate::status::of_store;
use crate::wire;

/// A collector that said nothing for so long is gone: it says something every 15 s.
const GONE: Duration = Duration::from_secs(60);
/// How far back restatements are shown.
const RECENT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Most stale tickers, and most restatements: enough to see what is the matter, and a message of a few KiB.
const MOST: u32 = 100;

#[tonic::async_trait]
impl SystemService for Api {
    async fn get_status(
        &self,
        _: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let now = Timestamp::now();
        let (feeds, stale, restatements) = tokio::try_join!(
            self.queries.feeds(),
            self.queries.stale_tickers(MOST),
            self.queries.recent_restatements(now.minus(RECENT), MOST),
        )
        .map_err(|error| of_store(&error))?;
        let feeds = feeds.into_iter().map(|feed| {
            let gone = now.since(feed.updated_at) > GONE;
            wire::feed(feed, gone)
        });
        Ok(Response::new(v1::GetStatusResponse {
            feeds: feeds.collect(),
            stale_tickers: stale.iter().map(wire::stale_ticker).collect(),
            restatements: restatements.iter().map(wire::restatement).collect(),
        }))
    }
}
