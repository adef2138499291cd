use serde::{Deserialize, Serialize};
use sqlx::{Any, QueryBuilder};

use super::listing::Listing;
use super::{Page, Queries};
use crate::domain::{DeliveryId, Price, RuleId, Side, Timestamp};
use crate::ledger::{DELIVERY_COLUMNS, delivery};
use crate::{Caller, DeliveryStatus, DeliveryView, StoreError, rows};

/// Which deliveries a list shows: those of which all of this holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// They are about this rule.
    pub rule: Option<RuleId>,
    /// They are at one of these places of their way; empty: at any.
    pub statuses: Vec<DeliveryStatus>,
}

/// A message to a user, with all that it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedDelivery {
    /// Where it is on its way.
    pub view: DeliveryView,
    /// The side it tells of.
    pub side: Side,
    /// The threshold it names.
    pub threshold: Price,
    /// Not sent before.
    pub due_at: Timestamp,
}

/// Key of the last delivery of a page.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeliveriesBefore {
    planned_at: Timestamp,
    delivery_id: DeliveryId,
}

impl Queries {
    /// The caller's deliveries that the filter lets through, newest first by the time of planning, at most `limit` on a
    /// page.
    ///
    /// # Errors
    /// [`StoreError::PageToken`]: `page` is not this list's, or of another filter.
    pub async fn deliveries(
        &self,
        caller: Caller,
        filter: &DeliveryFilter,
        page: Option<&str>,
        limit: u32,
    ) -> Result<Page<ListedDelivery>, StoreError> {
        let list = Listing::new("deliveries", filter, page, limit);
        let mut select = QueryBuilder::<Any>::new(format!(
            "select {DELIVERY_COLUMNS}, side, threshold, due_at from deliveries where user_id = "
        ));
        select.push_bind(caller.0.to_string());
        if let Some(rule) = filter.rule {
            select.push(" and rule_id = ").push_bind(rule.to_string());
        }
        if !filter.statuses.is_empty() {
            let mut values = select.push(" and status in (").separated(", ");
            for status in &filter.statuses {
                values.push_bind(status.as_str());
            }
            select.push(")");
        }
        if let Some(before) = list.after::<DeliveriesBefore>()? {
            // The first condition follows from the second; databases find their way by it.
            select
                .push(" and planned_at <= ")
                .push_bind(before.planned_at.as_micros())
                .push(" and (planned_at, id) < (")
                .push_bind(before.planned_at.as_micros())
                .push(", ")
                .push_bind(before.delivery_id.to_string())
                .push(")");
        }
        select.push(" order by planned_at desc, id desc limit ");
        select.push_bind(list.rows());
        let found = select.build().fetch_all(&self.store.read).await?;
        let read = |row: &_| {
            Ok(ListedDelivery {
                view: delivery(row)?,
                side: rows::side(row, "deliveries", "side")?,
                threshold: rows::price(row, "deliveries", "threshold")?,
                due_at: rows::time(row, "due_at")?,
            })
        };
        list.page(&found, read, |listed| DeliveriesBefore {
            planned_at: listed.view.planned_at,
            delivery_id: listed.view.id,
        })
    }
}
