use sqlx::any::AnyRow;
use sqlx::{Any, QueryBuilder, Row as _};

use super::{Breach, Queries};
use crate::domain::{Price, Quote, Range, RearmMargin, Side, Ticker, Timestamp, side_after};
use crate::{StoreError, rows};

/// Prices in one read. Only those come that are in another zone than the one before, so nearly always one read is all.
const CHUNK: i64 = 5_000;

/// How much a preview looks at and names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreviewLimits {
    /// The newest prices that are looked at; older ones are left out. All of one moment count as one.
    pub quotes: u32,
    /// The newest breaches that are named.
    pub breaches: usize,
}

/// What a rule would have done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preview {
    /// How often it would have fired: a breach, or a jump from side to side.
    pub fired: u64,
    /// The newest of these first.
    pub breaches: Vec<Breach>,
    /// How many prices were looked at.
    pub quotes: u64,
    /// Event time of the first of them.
    pub first: Option<Timestamp>,
    /// The side it would be on after the last of them.
    pub side: Option<Side>,
    /// The latest price.
    pub latest: Option<Quote>,
}

impl Queries {
    /// What a rule with this range would have done with the recorded prices from `from` on, by their event times; late
    /// ones are taken where they belong. Where prices were counted anew since then, from the last time on; and where there
    /// are more than the limits let through, from later on.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn preview(
        &self,
        ticker: &Ticker,
        range: Range,
        margin: RearmMargin,
        from: Timestamp,
        limits: PreviewLimits,
    ) -> Result<Preview, StoreError> {
        let restated = self.restatements(std::slice::from_ref(ticker)).await?;
        let from = restated
            .iter()
            .map(|restatement| restatement.event_time)
            .fold(from, Timestamp::max);
        let from = self.newest(ticker, from, limits.quotes).await?;
        let mut preview = self.counted(ticker, from).await?;
        // Not one from a moment ago: it must not be older than what was counted.
        preview.latest = self.latest_quotes(std::slice::from_ref(ticker)).await?.pop();
        let mut replay = Replay {
            range,
            margin,
            side: Side::In,
            limit: limits.breaches,
        };
        let mut after = None;
        loop {
            let found = self.zone_changes(ticker, range, margin, from, after).await?;
            for row in &found {
                let (time, price) = (
                    rows::time(row, "event_time")?,
                    rows::price(row, "quotes", "price")?,
                );
                replay.step(&mut preview, time, price);
                after = Some((time, row.try_get("quote_offset")?));
            }
            if found.len() < usize::try_from(CHUNK).unwrap_or(usize::MAX) {
                break;
            }
        }
        preview.breaches.reverse();
        preview.side = (preview.quotes > 0).then_some(replay.side);
        Ok(preview)
    }

    /// From when on there are no more than so many prices.
    async fn newest(&self, ticker: &Ticker, from: Timestamp, most: u32) -> Result<Timestamp, StoreError> {
        let row = sqlx::query(
            "select event_time from quotes where ticker = ? and event_time >= ?
             order by event_time desc limit 1 offset ?",
        )
        .bind(ticker.to_string())
        .bind(from.as_micros())
        .bind(i64::from(most.saturating_sub(1)))
        .fetch_optional(&self.store.read)
        .await?;
        match row {
            Some(row) => Ok(rows::time(&row, "event_time")?),
            None => Ok(from),
        }
    }

    async fn counted(&self, ticker: &Ticker, from: Timestamp) -> Result<Preview, StoreError> {
        let row = sqlx::query(
            "select count(*) as quote_count, min(event_time) as first_time from quotes
             where ticker = ? and event_time >= ?",
        )
        .bind(ticker.to_string())
        .bind(from.as_micros())
        .fetch_one(&self.store.read)
        .await?;
        let quotes: i64 = row.try_get("quote_count")?;
        let first: Option<i64> = row.try_get("first_time")?;
        Ok(Preview {
            quotes: u64::try_from(quotes).unwrap_or(0),
            first: first.map(Timestamp::from_micros),
            ..Preview::default()
        })
    }

    /// The prices that are in another zone than the one before. The thresholds and the points where a rule is armed again
    /// make five zones. Of several prices in one, none but the first can change a rule's side, so that these are all that
    /// count, of however many there are.
    async fn zone_changes(
        &self,
        ticker: &Ticker,
        range: Range,
        margin: RearmMargin,
        from: Timestamp,
        after: Option<(Timestamp, i64)>,
    ) -> Result<Vec<AnyRow>, StoreError> {
        let (low, high) = (range.low().map(Price::units), range.high().map(Price::units));
        let mut select = QueryBuilder::<Any>::new("select event_time, quote_offset, price from (
             select event_time, quote_offset, price, zone, lag(zone) over (order by event_time, quote_offset) as zone_before
             from (select event_time, quote_offset, price, case");
        // From above: the first that fits.
        let floors = [
            (high, 4_i64),
            (margin.rearms_below(range).map(|back| back + 1), 3),
        ];
        for (floor, zone) in floors {
            let floor = floor.unwrap_or(i64::MAX);
            select
                .push(" when price >= ")
                .push_bind(floor)
                .push(format_args!(" then {zone}"));
        }
        let ceilings = [
            (low, 0_i64),
            (low.map(|_| margin.rearms_above(range).unwrap_or(i64::MAX) - 1), 1),
        ];
        for (ceiling, zone) in ceilings {
            select
                .push(" when price <= ")
                .push_bind(ceiling.unwrap_or(0))
                .push(format_args!(" then {zone}"));
        }
        select
            .push(" else 2 end as zone from quotes where ticker = ")
            .push_bind(ticker.to_string());
        select.push(" and event_time >= ");
        select.push_bind(after.map_or(from, |(time, _)| time).as_micros());
        if let Some((time, offset)) = after {
            select
                .push(" and (event_time, quote_offset) > (")
                .push_bind(time.as_micros())
                .push(", ")
                .push_bind(offset)
                .push(")");
        }
        select.push(") as zoned) as compared where zone_before is null or zone_before <> zone");
        select
            .push(" order by event_time, quote_offset limit ")
            .push_bind(CHUNK);
        Ok(select.build().fetch_all(&self.store.read).await?)
    }
}

struct Replay {
    range: Range,
    margin: RearmMargin,
    side: Side,
    limit: usize,
}

impl Replay {
    fn step(&mut self, preview: &mut Preview, time: Timestamp, price: Price) {
        let side = side_after(self.range, self.margin, self.side, price);
        if side != self.side && side != Side::In {
            preview.fired += 1;
            preview.breaches.push(Breach { time, price, side });
            // The newest stay.
            if preview.breaches.len() > self.limit {
                preview.breaches.remove(0);
            }
        }
        self.side = side;
    }
}
