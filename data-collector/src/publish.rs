//! Quotes into the quotes topic, and how they come into the feeds topic.

use std::future::Future;
use std::time::Duration;

use cqrs::domain::{FeedChange, Quote, Restatement};
use service::TraceParent;
use service::codec::{encode_feed, encode_quote, encode_restated_quote, feed_key};
use service::kafka::{KafkaError, Outgoing, Producer};
use service::topics::{FEEDS, QUOTES};

use crate::metrics::{QUOTES_PUBLISHED, QUOTES_UNDELIVERED};

/// Writes quotes, each to its ticker's partition, and takes note of what became of them; and feeds.
#[derive(Debug, Clone)]
pub struct Publisher {
    producer: Producer,
}

impl Publisher {
    /// Through this producer.
    #[must_use]
    pub const fn new(producer: Producer) -> Self {
        Self { producer }
    }

    /// Hands a quote to the client, waiting while its queue is full. What comes back waits for the acknowledgement;
    /// quotes of one ticker are written in the order of these calls.
    ///
    /// # Errors
    /// Now if the client refuses the record, later if the broker did not acknowledge it in time. Both are counted; it is
    /// the caller who logs.
    pub async fn send(
        &self,
        quote: &Quote,
    ) -> Result<impl Future<Output = Result<(), KafkaError>> + Send + use<>, KafkaError> {
        self.send_as(quote, encode_quote(quote)).await
    }

    /// Writes one quote and waits for its acknowledgement.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn publish(&self, quote: &Quote) -> Result<(), KafkaError> {
        self.send(quote).await?.await
    }

    /// Writes the first quote that is counted anew, with the mark that says so: but first tells of it in the feeds topic,
    /// and waits for the acknowledgement. Rules from before are compared with no quote once the mark is read, so their
    /// owners must hear of it then; told of it without the mark, they are told again when it is found again.
    ///
    /// # Errors
    /// As [`send`](Self::send), for either record.
    pub async fn publish_restated(&self, quote: &Quote, restatement: Restatement) -> Result<(), KafkaError> {
        let payload = encode_restated_quote(quote, restatement.restated_at);
        self.publish_feed(&FeedChange::Restated(restatement)).await?;
        self.send_as(quote, payload).await?.await
    }

    async fn send_as(
        &self,
        quote: &Quote,
        payload: Vec<u8>,
    ) -> Result<impl Future<Output = Result<(), KafkaError>> + Send + use<>, KafkaError> {
        let source = quote.source.clone();
        let record = Outgoing {
            topic: QUOTES,
            ticker: &quote.ticker,
            key: quote.ticker.as_str().as_bytes(),
            payload: Some(&payload),
            trace: Some(TraceParent::generate()),
        };
        match self.producer.send(record).await {
            Ok(acknowledgement) => Ok(async move {
                let result = acknowledgement.wait().await;
                count(source, result.is_ok());
                result
            }),
            Err(error) => {
                count(source, false);
                Err(error)
            }
        }
    }

    /// Writes how a provider or a ticker is doing and waits for the acknowledgement.
    ///
    /// # Errors
    /// If the client refuses the record or the broker did not acknowledge it in time. It is the caller who logs.
    pub async fn publish_feed(&self, change: &FeedChange) -> Result<(), KafkaError> {
        let (key, payload) = (feed_key(change), encode_feed(change));
        self.producer
            .send_to_single(FEEDS, key.as_bytes(), Some(&payload))
            .await?
            .wait()
            .await
    }

    /// Waits until all that was sent is acknowledged or given up, at most `timeout`.
    pub async fn flush(&self, timeout: Duration) {
        self.producer.flush(timeout).await;
    }
}

fn count(source: String, delivered: bool) {
    let name = if delivered {
        QUOTES_PUBLISHED
    } else {
        QUOTES_UNDELIVERED
    };
    metrics::counter!(name, "source" => source).increment(1);
}
