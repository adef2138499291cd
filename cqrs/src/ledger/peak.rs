//! How far from its range a price went.

use std::collections::HashMap;

use sqlx::Row as _;

use super::DeliveryKind;
use super::compose::Draft;
use crate::domain::{Price, Side, Ticker, Timestamp};
use crate::{Store, StoreError};

/// Items of one claim that get a peak: those of longer digests show none.
const MOST_ITEMS: usize = 60;
/// Prices looked at for one peak, the newest: a day and more of one each second.
const MOST_PRICES: i64 = 100_000;

/// What a peak is of.
type Stay = (Ticker, Side, Timestamp, Timestamp);

/// Fills in the peaks of items that show one, as far as prices are recorded.
pub(super) async fn fill_in(
    store: &Store,
    drafts: impl Iterator<Item = &mut Draft>,
) -> Result<(), StoreError> {
    let mut known: HashMap<Stay, Option<Price>> = HashMap::new();
    let shows = |draft: &&mut Draft| match draft.item.facts.kind {
        DeliveryKind::Reminder | DeliveryKind::BackInRange | DeliveryKind::CameAndWent => true,
        DeliveryKind::Breach
        | DeliveryKind::Jump
        | DeliveryKind::Test
        | DeliveryKind::FeedStale
        | DeliveryKind::FeedBack
        | DeliveryKind::Restated => false,
    };
    for draft in drafts.filter(shows).take(MOST_ITEMS) {
        let facts = &mut draft.item.facts;
        let stay = (
            facts.ticker.clone(),
            draft.away,
            facts.opened_at,
            facts.quote_time,
        );
        let recorded = match known.get(&stay) {
            Some(recorded) => *recorded,
            None => {
                let recorded = recorded(store, &stay).await?;
                known.insert(stay, recorded);
                recorded
            }
        };
        // The item's own price may not be recorded yet; one inside the range is no peak.
        let own = facts.side.is_out().then_some(facts.price);
        facts.peak = [recorded, own]
            .into_iter()
            .flatten()
            .reduce(|one, other| match draft.away {
                Side::Below => one.min(other),
                Side::Above | Side::In => one.max(other),
            })
            // The stay itself may not be recorded (any more), only the way back.
            .filter(|peak| match draft.away {
                Side::Below => *peak <= facts.threshold,
                Side::Above | Side::In => *peak >= facts.threshold,
            });
    }
    Ok(())
}

async fn recorded(store: &Store, stay: &Stay) -> Result<Option<Price>, StoreError> {
    let (ticker, side, from, to) = stay;
    let extreme = match side {
        Side::Below => "min",
        Side::Above | Side::In => "max",
    };
    let select = format!(
        "select {extreme}(price) as peak from (select price from quotes where ticker = ? and event_time >= ? \
         and event_time <= ? order by event_time desc limit ?) stay"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(select))
        .bind(ticker.to_string())
        .bind(from.as_micros())
        .bind(to.as_micros())
        .bind(MOST_PRICES)
        .fetch_one(&store.read)
        .await?;
    let units: Option<i64> = row.try_get("peak")?;
    // A price that no price can be is not worth failing for.
    Ok(units.and_then(|units| Price::from_units(units).ok()))
}
