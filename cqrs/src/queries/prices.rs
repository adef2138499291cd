use std::collections::HashSet;

use sqlx::any::AnyRow;
use sqlx::{Any, QueryBuilder, Row as _};

use super::Queries;
use crate::domain::{Price, Quote, Side, Ticker, Timestamp};
use crate::rows::{self, QUOTE_COLUMNS};
use crate::{Caller, StoreError};

/// Tickers in one statement: below every database's limit on values.
const CHUNK: usize = 500;
/// Most points of one series: more than the pixels of a chart.
const MAX_POINTS: u32 = 2_000;
/// Most tickers that one is compared with.
const MAX_CANDIDATES: i64 = 50_000;

/// The prices of a part of a [`Queries::price_series`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PricePoint {
    /// Event time of the last.
    pub time: Timestamp,
    /// The lowest.
    pub min: Price,
    /// The highest.
    pub max: Price,
    /// The last.
    pub last: Price,
}

/// Where a price left a rule's range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breach {
    /// Event time of the quote.
    pub time: Timestamp,
    /// The price that it named.
    pub price: Price,
    /// Above or below.
    pub side: Side,
}

impl Queries {
    /// The newest recorded quote of each of these tickers, in no particular order; those without any are left out.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn latest_quotes(&self, tickers: &[Ticker]) -> Result<Vec<Quote>, StoreError> {
        let mut tickers = tickers.to_vec();
        tickers.sort_unstable();
        tickers.dedup();
        let mut quotes = Vec::with_capacity(tickers.len());
        for chunk in tickers.chunks(CHUNK) {
            let mut select = QueryBuilder::<Any>::new(format!(
                "select {QUOTE_COLUMNS} from latest_quotes where ticker in ("
            ));
            let mut list = select.separated(", ");
            for ticker in chunk {
                list.push_bind(ticker.to_string());
            }
            select.push(")");
            let found = select
                .build()
                .persistent(false)
                .fetch_all(&self.store.read)
                .await?;
            for row in &found {
                quotes.push(rows::quote(row)?);
            }
        }
        Ok(quotes)
    }

    /// The newest recorded quote of each ticker that has a rule, in no particular order.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn latest_quotes_of_rules(&self) -> Result<Vec<Quote>, StoreError> {
        let select =
            format!("select {QUOTE_COLUMNS} from latest_quotes where ticker in (select ticker from rules)");
        let found = crate::dialect::query(select).fetch_all(&self.store.read).await?;
        found.iter().map(rows::quote).collect()
    }

    /// Up to `limit` tickers that have a price or a rule and are spelled much like `ticker`, which is left out itself; the
    /// closest first.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn similar_tickers(&self, ticker: &Ticker, limit: usize) -> Result<Vec<Ticker>, StoreError> {
        let found = sqlx::query("select ticker from latest_quotes union select ticker from rules limit ?")
            .bind(MAX_CANDIDATES)
            .fetch_all(&self.store.read)
            .await?;
        let candidates: HashSet<Ticker> = found
            .iter()
            .map(|row| rows::text(row, "rules", "ticker"))
            .collect::<Result<_, _>>()?;
        let mut close: Vec<(usize, Ticker)> = candidates
            .into_iter()
            .filter(|candidate| candidate != ticker)
            .filter_map(|candidate| Some((distance(ticker, &candidate)?, candidate)))
            .collect();
        close.sort_unstable();
        Ok(close.into_iter().take(limit).map(|(_, ticker)| ticker).collect())
    }

    /// The prices of a ticker from `from` (inclusive) to `to` (exclusive) by event time: the time from the first quote on is
    /// cut into `points` equal parts (at most 2,000), and each part with a quote gives one point; oldest first. Every quote
    /// of the time is looked at.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn price_series(
        &self,
        ticker: &Ticker,
        from: Timestamp,
        to: Timestamp,
        points: u32,
    ) -> Result<Vec<PricePoint>, StoreError> {
        // Of a ticker that is new, minutes may be all there is of a day.
        let first: Option<i64> = sqlx::query_scalar(
            "select min(event_time) from quotes where ticker = ? and event_time >= ? and event_time < ?",
        )
        .bind(ticker.to_string())
        .bind(from.as_micros())
        .bind(to.as_micros())
        .fetch_one(&self.store.read)
        .await?;
        let Some(first) = first else { return Ok(Vec::new()) };
        let span = to.as_micros().saturating_sub(first);
        let parts = i64::from(points.clamp(1, MAX_POINTS));
        // Rounded up, so that there are never more parts than asked for.
        let width = span.saturating_add(parts - 1) / parts;
        // What is left over of the time since the first makes a part's beginning: the stores divide whole numbers differently.
        let found = sqlx::query(
            "select last_time, min_price, max_price,
                    (select price from quotes where ticker = ? and event_time = part.last_time
                     order by quote_offset desc limit 1) as last_price
             from (select max(event_time) as last_time, min(price) as min_price, max(price) as max_price
                   from quotes where ticker = ? and event_time >= ? and event_time < ?
                   group by event_time - (event_time - ?) % ?) as part
             order by last_time",
        )
        .bind(ticker.to_string())
        .bind(ticker.to_string())
        .bind(first)
        .bind(to.as_micros())
        .bind(first)
        .bind(width)
        .fetch_all(&self.store.read)
        .await?;
        found.iter().map(point).collect()
    }

    /// Where this ticker left a range of the caller's rules from `from` on by event time, newest first, at most `limit`;
    /// once where it left several.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn breaches(
        &self,
        caller: Caller,
        ticker: &Ticker,
        from: Timestamp,
        limit: u32,
    ) -> Result<Vec<Breach>, StoreError> {
        const TABLE: &str = "alerts";
        let found = sqlx::query(
            "select distinct quote_time, price, side from alerts
             where user_id = ? and ticker = ? and quote_time >= ? and side <> 'in'
             order by quote_time desc, price, side limit ?",
        )
        .bind(caller.0.to_string())
        .bind(ticker.to_string())
        .bind(from.as_micros())
        .bind(i64::from(limit))
        .fetch_all(&self.store.read)
        .await?;
        let breach = |row| {
            Ok(Breach {
                time: rows::time(row, "quote_time")?,
                price: rows::price(row, TABLE, "price")?,
                side: rows::side(row, TABLE, "side")?,
            })
        };
        found.iter().map(breach).collect()
    }
}

fn point(row: &AnyRow) -> Result<PricePoint, StoreError> {
    const TABLE: &str = "quotes";
    // The last price is there: it is of the row that the time is of. A sweep between could only take both.
    let last: Option<i64> = row.try_get("last_price")?;
    let last = last.ok_or_else(|| rows::corrupt(TABLE, "a time without a price"))?;
    Ok(PricePoint {
        time: rows::time(row, "last_time")?,
        min: rows::price(row, TABLE, "min_price")?,
        max: rows::price(row, TABLE, "max_price")?,
        last: Price::from_units(last).map_err(|error| rows::corrupt(TABLE, error))?,
    })
}

/// How far apart two tickers are, in letters to change or swap; none: too far to be meant. A suffix that was left out
/// (`BTC` for `BTC-USD`) counts as one letter.
fn distance(wanted: &Ticker, candidate: &Ticker) -> Option<usize> {
    let (wanted, candidate) = (wanted.as_str(), candidate.as_str());
    let stem = candidate
        .split(['.', '-', '=', '&'])
        .next()
        .unwrap_or(candidate)
        .trim_start_matches('^');
    let whole = strsim::osa_distance(wanted, candidate);
    let distance = if stem == candidate {
        whole
    } else {
        whole.min(1 + strsim::osa_distance(wanted, stem))
    };
    // Of short tickers, two other letters are another ticker.
    let most = if wanted.len() < 4 { 1 } else { 2 };
    (distance <= most).then_some(distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_near_and_another_ticker_is_not() {
        for (wanted, candidate, apart) in [
            ("APPL", "AAPL", Some(1)),
            ("APAL", "AAPL", Some(1)),
            ("AAPLE", "AAPL", Some(1)),
            ("BTC", "BTC-USD", Some(1)),
            ("GSPC", "^GSPC", Some(1)),
            ("BRKB", "BRK-B", Some(1)),
            ("EURUSD", "EURUSD=X", Some(1)),
            ("GOGLE", "GOOGL", Some(2)),
            ("AAPL", "MSFT", None),
            ("IBM", "IT", None),
            ("V", "TSLA", None),
        ] {
            let (wanted, candidate) = (wanted.parse().unwrap(), candidate.parse().unwrap());
            assert_eq!(distance(&wanted, &candidate), apart, "{wanted} {candidate}");
        }
    }
}
