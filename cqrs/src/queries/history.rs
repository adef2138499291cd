mod tickers;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{Any, QueryBuilder, Row as _};

use super::listing::Listing;
use super::{Page, Queries};
use crate::StoreError;
use crate::domain::{Price, Quote, Ticker, Timestamp};
use crate::rows::{self, QUOTE_COLUMNS};

pub use tickers::ListedTicker;

/// The prices of a part of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candle {
    /// When the part begins.
    pub start: Timestamp,
    /// The first price by (event time, offset).
    pub open: Price,
    /// The highest.
    pub high: Price,
    /// The lowest.
    pub low: Price,
    /// The last.
    pub close: Price,
    /// How many prices there are.
    pub quotes: i64,
}

/// Key of the last quote of a page.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct QuotesBefore {
    event_time: Timestamp,
    quote_offset: i64,
}

impl Queries {
    /// The recorded prices of a ticker from `from` (inclusive) to `to` (exclusive) by event time, newest first by (event
    /// time, offset), at most `limit` on a page. A price that is there all the while is on exactly one page.
    ///
    /// # Errors
    /// [`StoreError::PageToken`]: `page` is not this list's, or of another ticker or time.
    pub async fn quotes(
        &self,
        ticker: &Ticker,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        page: Option<&str>,
        limit: u32,
    ) -> Result<Page<Quote>, StoreError> {
        let list = Listing::new("quotes", &(ticker, from, to), page, limit);
        let mut select =
            QueryBuilder::<Any>::new(format!("select {QUOTE_COLUMNS} from quotes where ticker = "));
        select.push_bind(ticker.to_string());
        if let Some(from) = from {
            select.push(" and event_time >= ").push_bind(from.as_micros());
        }
        if let Some(to) = to {
            select.push(" and event_time < ").push_bind(to.as_micros());
        }
        if let Some(before) = list.after::<QuotesBefore>()? {
            // The first condition follows from the second; databases find their way by it.
            select
                .push(" and event_time <= ")
                .push_bind(before.event_time.as_micros())
                .push(" and (event_time, quote_offset) < (")
                .push_bind(before.event_time.as_micros())
                .push(", ")
                .push_bind(before.quote_offset)
                .push(")");
        }
        select.push(" order by event_time desc, quote_offset desc limit ");
        select.push_bind(list.rows());
        let found = select.build().fetch_all(&self.store.read).await?;
        // The offset is no part of a quote.
        let read = |row: &AnyRow| Ok((rows::quote(row)?, row.try_get("quote_offset")?));
        let page = list.page(&found, read, |(quote, quote_offset)| QuotesBefore {
            event_time: quote.event_time,
            quote_offset: *quote_offset,
        })?;
        Ok(Page {
            items: page.items.into_iter().map(|(quote, _)| quote).collect(),
            next: page.next,
        })
    }

    /// The recorded prices of a ticker from `from` (inclusive) to `to` (exclusive) by event time, in parts of `interval`
    /// that begin at `from`; oldest first, without those that have none. Every price of the time is looked at.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn candles(
        &self,
        ticker: &Ticker,
        from: Timestamp,
        to: Timestamp,
        interval: Duration,
    ) -> Result<Vec<Candle>, StoreError> {
        let width = i64::try_from(interval.as_micros()).unwrap_or(i64::MAX).max(1);
        // What is left over of the time since the first makes a part's beginning: the stores divide whole numbers differently.
        let found = sqlx::query(
            "select part_time, high_price, low_price, quote_count,
                    (select price from quotes where ticker = ? and event_time = part.first_time
                     order by quote_offset limit 1) as open_price,
                    (select price from quotes where ticker = ? and event_time = part.last_time
                     order by quote_offset desc limit 1) as close_price
             from (select min(event_time - (event_time - ?) % ?) as part_time,
                          min(event_time) as first_time, max(event_time) as last_time,
                          max(price) as high_price, min(price) as low_price, count(*) as quote_count
                   from quotes where ticker = ? and event_time >= ? and event_time < ?
                   group by event_time - (event_time - ?) % ?) as part
             order by part_time",
        )
        .bind(ticker.to_string())
        .bind(ticker.to_string())
        .bind(from.as_micros())
        .bind(width)
        .bind(ticker.to_string())
        .bind(from.as_micros())
        .bind(to.as_micros())
        .bind(from.as_micros())
        .bind(width)
        .fetch_all(&self.store.read)
        .await?;
        found.iter().map(candle).collect()
    }
}

fn candle(row: &AnyRow) -> Result<Candle, StoreError> {
    const TABLE: &str = "quotes";
    // They are there: they are of the rows that the times are of.
    let price_of_time = |column| {
        let units: Option<i64> = row.try_get(column)?;
        let units = units.ok_or_else(|| rows::corrupt(TABLE, "a time without a price"))?;
        Price::from_units(units).map_err(|error| rows::corrupt(TABLE, error))
    };
    Ok(Candle {
        start: rows::time(row, "part_time")?,
        open: price_of_time("open_price")?,
        high: rows::price(row, TABLE, "high_price")?,
        low: rows::price(row, TABLE, "low_price")?,
        close: price_of_time("close_price")?,
        quotes: row.try_get("quote_count")?,
    })
}
