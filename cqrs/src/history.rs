use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::{Any, QueryBuilder};

use crate::domain::{Quote, Ticker, Timestamp};
use crate::rows::{QUOTE_COLUMNS, trade_side_text};
use crate::transaction::Tx;
use crate::{Store, StoreError};

/// Quotes in one statement: nine values each stay below every database's limit on values.
const CHUNK: usize = 500;

/// Recorded prices: what `Queries::latest_quote` and `Queries::average` read.
#[derive(Debug, Clone)]
pub struct QuoteHistory {
    store: Store,
}

impl QuoteHistory {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Records quotes with their offsets, all or none; repeats change nothing. The latest quote of a ticker is the one
    /// with the newest (event time, offset). Returns how many were new.
    ///
    /// # Errors
    /// If the store fails. Repeating the call does no harm.
    pub async fn record(&self, quotes: &[(Quote, i64)]) -> Result<u64, StoreError> {
        if quotes.is_empty() {
            return Ok(0);
        }
        let quotes: Arc<[(Quote, i64)]> = quotes.into();
        self.store
            .transaction(move |tx| {
                let quotes = Arc::clone(&quotes);
                Box::pin(async move {
                    let new = insert(tx, &quotes).await?;
                    update_latest(tx, &quotes).await?;
                    Ok(new)
                })
            })
            .await
    }
}

async fn insert(tx: &mut Tx, quotes: &[(Quote, i64)]) -> Result<u64, StoreError> {
    let mut new = 0;
    for chunk in quotes.chunks(CHUNK) {
        let mut insert = QueryBuilder::<Any>::new(format!(
            "{} quotes ({QUOTE_COLUMNS}) ",
            tx.dialect.insert_ignore()
        ));
        push_quotes(&mut insert, chunk.iter());
        new += insert
            .build()
            .persistent(false)
            .execute(tx.connection())
            .await?
            .rows_affected();
    }
    Ok(new)
}

async fn update_latest(tx: &mut Tx, quotes: &[(Quote, i64)]) -> Result<(), StoreError> {
    // By ticker, so that recorders that meet lock rows in one order.
    let mut latest = BTreeMap::<&Ticker, &(Quote, i64)>::new();
    for candidate in quotes {
        let newest = latest.entry(&candidate.0.ticker).or_insert(candidate);
        if position(candidate) > position(newest) {
            *newest = candidate;
        }
    }
    let mut latest = latest.into_values().peekable();
    while latest.peek().is_some() {
        let mut upsert = QueryBuilder::<Any>::new(format!("insert into latest_quotes ({QUOTE_COLUMNS}) "));
        push_quotes(&mut upsert, latest.by_ref().take(CHUNK));
        upsert.push(tx.dialect.on_conflict_update("ticker"));
        let (time, offset) = (
            tx.dialect.incoming("event_time"),
            tx.dialect.incoming("quote_offset"),
        );
        let mut assignments = upsert.separated(", ");
        // The last two decide, and MySQL assigns from left to right: they must be last, and in this order.
        for column in [
            "price",
            "currency",
            "volume",
            "trade_side",
            "ingest_time",
            "source",
            "quote_offset",
            "event_time",
        ] {
            assignments.push(format_args!(
                "{column} = case when {time} > latest_quotes.event_time
                      or ({time} = latest_quotes.event_time and {offset} > latest_quotes.quote_offset)
                      then {} else latest_quotes.{column} end",
                tx.dialect.incoming(column)
            ));
        }
        upsert.build().persistent(false).execute(tx.connection()).await?;
    }
    Ok(())
}

const fn position((quote, offset): &(Quote, i64)) -> (Timestamp, i64) {
    (quote.event_time, *offset)
}

fn push_quotes<'a>(statement: &mut QueryBuilder<Any>, quotes: impl Iterator<Item = &'a (Quote, i64)>) {
    statement.push_values(quotes, |mut values, (quote, offset)| {
        values
            .push_bind(quote.ticker.to_string())
            .push_bind(quote.event_time.as_micros())
            .push_bind(*offset)
            .push_bind(quote.price.units())
            .push_bind(quote.currency.clone())
            .push_bind(quote.volume)
            .push_bind(quote.trade_side.map(trade_side_text))
            .push_bind(quote.ingest_time.as_micros())
            .push_bind(quote.source.clone());
    });
}
