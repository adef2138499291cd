//! What an embedded log holds from its start on, as it keeps nothing over a restart.

use std::time::Duration;

use cqrs::Store;
use cqrs::domain::TickerMark;
use data_collector::ProviderKind;
use service::codec::encode_ticker;
use service::kafka::{Kafka, Outgoing, Producer};
use service::topics::TICKERS;

use super::settings::Settings;
use crate::failure::{Exit, Failure};

/// The log is in this process.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Publishes the rules again, and what was the last price of each of their tickers: a split or a wrong unit that comes with
/// the first price after the start would otherwise be taken for a breach.
pub(super) async fn refill(store: &Store, settings: &Settings) -> Result<(), Failure> {
    let failed = |error: cqrs::StoreError| Failure::new(Exit::Unavailable, error.to_string());
    let rules = store.outbox().republish_all(true).await.map_err(failed)?;
    let prices = if is_made_up(settings.source.quote_provider) {
        // Compared with these, true prices look wrong, and the other way round.
        0
    } else {
        let marks = last_prices(store).await.map_err(failed)?;
        publish(&marks, settings).await.map_err(|error| {
            Failure::new(
                Exit::Internal,
                format!("the embedded log took no prices: {error}"),
            )
        })?;
        marks.len()
    };
    tracing::info!(
        rules,
        prices,
        "the embedded log starts empty; all rules and their tickers' last prices are published again"
    );
    Ok(())
}

const fn is_made_up(provider: ProviderKind) -> bool {
    matches!(provider, ProviderKind::Synthetic | ProviderKind::Replay)
}

async fn last_prices(store: &Store) -> Result<Vec<TickerMark>, cqrs::StoreError> {
    let quotes = store.queries().latest_quotes_of_rules().await?;
    let true_ones = quotes
        .into_iter()
        .filter(|quote| !["synthetic", "replay"].contains(&quote.source.as_str()));
    Ok(true_ones
        .map(|quote| TickerMark {
            ticker: quote.ticker,
            price: quote.price,
            event_time: quote.event_time,
            ingest_time: quote.ingest_time,
            offset: TickerMark::NOT_OF_THIS_LOG,
            restated_at: None,
        })
        .collect())
}

async fn publish(marks: &[TickerMark], settings: &Settings) -> Result<(), service::kafka::KafkaError> {
    let kafka = Kafka::connect(&settings.kafka.settings()).await?;
    let producer: Producer = kafka.producer(MESSAGE_TIMEOUT, Duration::ZERO)?;
    let mut acknowledgements = Vec::with_capacity(marks.len());
    for mark in marks {
        let payload = encode_ticker(mark);
        let record = Outgoing {
            topic: TICKERS,
            ticker: &mark.ticker,
            key: mark.ticker.as_str().as_bytes(),
            payload: Some(&payload),
            trace: None,
        };
        acknowledgements.push(producer.send(record).await?);
    }
    for acknowledgement in acknowledgements {
        acknowledgement.wait().await?;
    }
    Ok(())
}
