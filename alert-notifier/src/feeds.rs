//! The feeds topic.

use cqrs::domain::FeedChange;
use cqrs::{Ledger, StoreError};
use service::codec::{DecodeError, decode_feed};
use service::kafka::Record;
use service::topics::{self, Topic};

use crate::clock::Clock;
use crate::intake::Folding;

/// Folds what collectors say of their providers and of tickers into the ledger.
#[derive(Debug)]
pub(crate) struct Feeds(pub(crate) Ledger, pub(crate) Clock);

impl Folding for Feeds {
    type Change = FeedChange;

    const TOPIC: Topic = topics::FEEDS;
    const GROUP: &'static str = "alert-notifier-feeds";
    const FAILURE: &'static str = "feeds could not be folded";

    fn change_of(record: &Record) -> Result<Option<FeedChange>, DecodeError> {
        // Somebody tidied the topic up.
        let Some(payload) = &record.payload else {
            return Ok(None);
        };
        decode_feed(record.key.as_deref(), payload).map(Some)
    }

    async fn fold(&self, changes: &[FeedChange]) -> Result<u64, StoreError> {
        let folded = self.0.fold_feeds(changes, self.1.now()).await?;
        Ok(folded.planned)
    }
}
