mod alert_feed;
mod deliveries;
mod feeds;
pub(crate) mod history;
pub(crate) mod listing;
mod owners;
mod preview;
mod prices;
mod recent;
mod restatements;
mod rules;
mod together;
mod tokens;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{Any, QueryBuilder, Row as _};

use crate::domain::{
    Alert, AlertPosition, ChatId, Price, Rule, RuleId, RuleVersion, Ticker, Timestamp, User, UserId,
};
use crate::rows::{self, RULE_COLUMNS, USER_COLUMNS};
use crate::{Caller, Store, StoreError, dialect};

use listing::Listing;
use together::Together;

pub(crate) use owners::TRUST;

pub use alert_feed::{AlertFeed, NumberedAlert};
pub use deliveries::{DeliveryFilter, ListedDelivery};
pub use listing::Page;
pub use preview::{Preview, PreviewLimits};
pub use prices::{Breach, PricePoint};
pub use rules::{OpenRange, RuleFilter};
pub use tokens::LateToken;

/// An alert as the API shows it (without the owner).
pub type AlertView = Alert;

/// Which quotes an average is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AverageRange {
    /// The newest so many, 1 to 10,000.
    Last(u32),
    /// Those of this long until now.
    Window(Duration),
}

/// A mean price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Average {
    /// Rounded to 8 decimals.
    pub price: Price,
    /// Over how many quotes.
    pub count: i64,
    /// Event time of the oldest.
    pub first: Timestamp,
    /// Event time of the newest.
    pub last: Timestamp,
}

/// Reads on behalf of users, from the read server where there is one: they may miss what was written a moment ago. Tokens,
/// and the prices that most ask for, are remembered and read for many at once; clones share that.
///
/// Each may return [`StoreError`] if the store fails.
#[derive(Debug, Clone)]
pub struct Queries {
    store: Store,
    api_token_lifetime: Option<Duration>,
    together: Together,
}

impl Queries {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            together: Together::new(&store),
            store,
            api_token_lifetime: None,
        }
    }

    /// The same queries where API tokens work no longer than this after they were made. `None`: as long as they stand.
    #[must_use]
    pub fn with_api_token_lifetime(self, api_token_lifetime: Option<Duration>) -> Self {
        Self {
            api_token_lifetime,
            ..self
        }
    }

    /// Whose chat this is. Read from the write server: the bot answers at once after linking.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn caller_of_chat(&self, chat: ChatId) -> Result<Option<Caller>, StoreError> {
        let row = sqlx::query("select id from users where chat_id = ?")
            .bind(chat.get())
            .fetch_optional(self.store.primary())
            .await?;
        row.map(|row| rows::text::<UserId>(&row, "users", "id").map(Caller))
            .transpose()
    }

    /// The caller's own user. `None`: deleted meanwhile.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn user(&self, caller: Caller) -> Result<Option<User>, StoreError> {
        let select = format!("select {USER_COLUMNS} from users where id = ?");
        let row = dialect::query(select)
            .bind(caller.0.to_string())
            .fetch_optional(&self.store.read)
            .await?;
        row.as_ref().map(rows::user).transpose()
    }

    /// The caller's rules of one ticker, oldest first.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn rules_of(&self, caller: Caller, ticker: &Ticker) -> Result<Vec<Rule>, StoreError> {
        let select = format!("select {RULE_COLUMNS} from rules where user_id = ? and ticker = ? order by id");
        let found = dialect::query(select)
            .bind(caller.0.to_string())
            .bind(ticker.to_string())
            .fetch_all(&self.store.read)
            .await?;
        found.iter().map(rows::rule).collect()
    }

    /// A rule of the caller. `None`: there is none, or it is another user's.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn rule(&self, caller: Caller, rule: RuleId) -> Result<Option<Rule>, StoreError> {
        let select = format!("select {RULE_COLUMNS} from rules where id = ? and user_id = ?");
        let row = dialect::query(select)
            .bind(rule.to_string())
            .bind(caller.0.to_string())
            .fetch_optional(&self.store.read)
            .await?;
        row.as_ref().map(rows::rule).transpose()
    }

    /// The caller's rules, oldest first, at most `limit` on a page. A rule that exists all the while is on exactly one
    /// page, whatever comes and goes between the calls.
    ///
    /// # Errors
    /// [`StoreError::PageToken`]: `page` is not this list's.
    pub async fn rules(
        &self,
        caller: Caller,
        page: Option<&str>,
        limit: u32,
    ) -> Result<Page<Rule>, StoreError> {
        self.find_rules(caller, &RuleFilter::default(), page, limit).await
    }

    /// The caller's alerts (only `rule`'s, if given), newest first by raise time, at most `limit` on a page.
    ///
    /// # Errors
    /// [`StoreError::PageToken`]: `page` is not this list's, or of another rule.
    pub async fn alerts(
        &self,
        caller: Caller,
        rule: Option<RuleId>,
        page: Option<&str>,
        limit: u32,
    ) -> Result<Page<AlertView>, StoreError> {
        let list = Listing::new("alerts", &rule, page, limit);
        let mut select = QueryBuilder::<Any>::new(
            "select rule_id, rule_version, log_generation, quote_offset, user_id, ticker, side, price, threshold,
                    currency, quote_time, quote_ingest_time, raised_at, already_outside
             from alerts where user_id = ",
        );
        select.push_bind(caller.0.to_string());
        if let Some(rule) = rule {
            select.push(" and rule_id = ").push_bind(rule.to_string());
        }
        if let Some(before) = list.after::<AlertsBefore>()? {
            // The first condition follows from the second; databases find their way by it.
            select
                .push(" and raised_at <= ")
                .push_bind(before.raised_at.as_micros());
            select.push(" and (raised_at, rule_id, rule_version, log_generation, quote_offset) < (");
            let mut key = select.separated(", ");
            key.push_bind(before.raised_at.as_micros())
                .push_bind(before.rule_id.to_string())
                .push_bind(before.version.get())
                .push_bind(before.generation)
                .push_bind(before.offset);
            select.push(")");
        }
        select.push(
            " order by raised_at desc, rule_id desc, rule_version desc, log_generation desc, quote_offset desc limit ",
        );
        select.push_bind(list.rows());
        let found = select.build().fetch_all(&self.store.read).await?;
        list.page(&found, alert, |alert| AlertsBefore {
            raised_at: alert.raised_at,
            rule_id: alert.rule_id,
            version: alert.position.version,
            generation: alert.position.generation,
            offset: alert.position.offset,
        })
    }

    /// The mean of recorded prices. `None`: no quote in the range.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn average(
        &self,
        ticker: &Ticker,
        range: AverageRange,
        now: Timestamp,
    ) -> Result<Option<Average>, StoreError> {
        // Sums of whole prices would overflow; of their halves they can't within 2^31 quotes, and stay exact.
        let mut select = QueryBuilder::<Any>::new(
            "select cast(coalesce(sum(price >> 32), 0) as signed) as upper_sum,
                    cast(coalesce(sum(price & 4294967295), 0) as signed) as lower_sum,
                    count(*) as quote_count, min(event_time) as first_time, max(event_time) as last_time
             from (select price, event_time from quotes where ticker = ",
        );
        select.push_bind(ticker.to_string());
        match range {
            AverageRange::Last(count) => {
                select
                    .push(" order by event_time desc, quote_offset desc limit ")
                    .push_bind(i64::from(count));
            }
            AverageRange::Window(window) => {
                select
                    .push(" and event_time > ")
                    .push_bind(now.minus(window).as_micros());
                select.push(" and event_time <= ").push_bind(now.as_micros());
            }
        }
        select.push(") as chosen");
        let row = select.build().fetch_one(&self.store.read).await?;
        let count: i64 = row.try_get("quote_count")?;
        if count == 0 {
            return Ok(None);
        }
        let (upper, lower): (i64, i64) = (row.try_get("upper_sum")?, row.try_get("lower_sum")?);
        Ok(Some(Average {
            price: mean(upper, lower, count)?,
            count,
            first: rows::time(&row, "first_time")?,
            last: rows::time(&row, "last_time")?,
        }))
    }
}

/// (`upper` * 2^32 + `lower`) / `count`, halves rounded up.
fn mean(upper: i64, lower: i64, count: i64) -> Result<Price, StoreError> {
    let sum = (i128::from(upper) << 32) + i128::from(lower);
    let count = i128::from(count);
    i64::try_from((2 * sum + count) / (2 * count))
        .map_err(|error| rows::corrupt("quotes", error))
        .and_then(|units| Price::from_units(units).map_err(|error| rows::corrupt("quotes", error)))
}

fn alert(row: &AnyRow) -> Result<Alert, StoreError> {
    const TABLE: &str = "alerts";
    Ok(Alert {
        rule_id: rows::text(row, TABLE, "rule_id")?,
        user_id: rows::text(row, TABLE, "user_id")?,
        ticker: rows::text(row, TABLE, "ticker")?,
        position: AlertPosition {
            version: rows::version(row, TABLE, "rule_version")?,
            generation: row.try_get("log_generation")?,
            offset: row.try_get("quote_offset")?,
        },
        side: rows::side(row, TABLE, "side")?,
        price: rows::price(row, TABLE, "price")?,
        threshold: rows::price(row, TABLE, "threshold")?,
        currency: row.try_get("currency")?,
        quote_time: rows::time(row, "quote_time")?,
        quote_ingest_time: rows::time(row, "quote_ingest_time")?,
        raised_at: rows::time(row, "raised_at")?,
        already_outside: rows::flag(row, "already_outside")?,
    })
}

/// Key of the last alert of a page.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AlertsBefore {
    raised_at: Timestamp,
    rule_id: RuleId,
    version: RuleVersion,
    generation: i64,
    offset: i64,
}
