use std::collections::HashMap;

use sqlx::any::AnyRow;
use sqlx::{Any, QueryBuilder, Row as _};

use crate::domain::{Quote, Ticker};
use crate::queries::listing::Listing;
use crate::queries::{Page, Queries};
use crate::rows::{self, QUOTE_COLUMNS};
use crate::{Caller, StoreError, dialect};

/// A ticker that has a price, or a rule of the caller's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedTicker {
    /// Its name.
    pub ticker: Ticker,
    /// Its latest price. `None`: none was recorded yet.
    pub latest: Option<Quote>,
    /// How many rules of the caller are about it.
    pub rules: i64,
}

impl Queries {
    /// The tickers that have a price, by name, at most `limit` on a page.
    ///
    /// # Errors
    /// [`StoreError::PageToken`]: `page` is not this list's.
    pub async fn tickers(
        &self,
        caller: Caller,
        page: Option<&str>,
        limit: u32,
    ) -> Result<Page<ListedTicker>, StoreError> {
        let list = Listing::new("tickers", &(), page, limit);
        let select =
            format!("select {QUOTE_COLUMNS} from latest_quotes where ticker > ? order by ticker limit ?");
        let found = dialect::query(select)
            .bind(last_name(&list)?)
            .bind(list.rows())
            .fetch_all(&self.store.read)
            .await?;
        let page = list.page(&found, rows::quote, |quote| quote.ticker.clone())?;
        let tickers: Vec<_> = page.items.iter().map(|quote| quote.ticker.clone()).collect();
        let counts = self.rule_counts(caller, &tickers).await?;
        let items = page.items.into_iter().map(|quote| ListedTicker {
            rules: counts.get(&quote.ticker).copied().unwrap_or(0),
            ticker: quote.ticker.clone(),
            latest: Some(quote),
        });
        Ok(Page {
            items: items.collect(),
            next: page.next,
        })
    }

    /// The tickers that the caller has rules of, by name, at most `limit` on a page.
    ///
    /// # Errors
    /// [`StoreError::PageToken`]: `page` is not this list's.
    pub async fn own_tickers(
        &self,
        caller: Caller,
        page: Option<&str>,
        limit: u32,
    ) -> Result<Page<ListedTicker>, StoreError> {
        let list = Listing::new("own tickers", &(), page, limit);
        // Counted over the caller's own rules, of which there are 10,000 at most: an index of their names would make each
        // new rule of all users dearer.
        let found = sqlx::query(
            "select ticker, count(*) as rule_count from rules where user_id = ? and ticker > ?
             group by ticker order by ticker limit ?",
        )
        .bind(caller.0.to_string())
        .bind(last_name(&list)?)
        .bind(list.rows())
        .fetch_all(&self.store.read)
        .await?;
        let page = list.page(&found, counted, |(ticker, _)| ticker.clone())?;
        let tickers: Vec<_> = page.items.iter().map(|(ticker, _)| ticker.clone()).collect();
        let quotes = self.latest_quotes(&tickers).await?;
        let mut latest: HashMap<_, _> = quotes
            .into_iter()
            .map(|quote| (quote.ticker.clone(), quote))
            .collect();
        let items = page.items.into_iter().map(|(ticker, rules)| ListedTicker {
            latest: latest.remove(&ticker),
            ticker,
            rules,
        });
        Ok(Page {
            items: items.collect(),
            next: page.next,
        })
    }

    /// How many rules of the caller are about each of these tickers: of a page, so that one statement is enough.
    async fn rule_counts(
        &self,
        caller: Caller,
        tickers: &[Ticker],
    ) -> Result<HashMap<Ticker, i64>, StoreError> {
        if tickers.is_empty() {
            return Ok(HashMap::new());
        }
        let mut select =
            QueryBuilder::<Any>::new("select ticker, count(*) as rule_count from rules where user_id = ");
        select.push_bind(caller.0.to_string());
        let mut list = select.push(" and ticker in (").separated(", ");
        for ticker in tickers {
            list.push_bind(ticker.to_string());
        }
        select.push(") group by ticker");
        let found = select
            .build()
            .persistent(false)
            .fetch_all(&self.store.read)
            .await?;
        found.iter().map(counted).collect()
    }
}

fn counted(row: &AnyRow) -> Result<(Ticker, i64), StoreError> {
    Ok((rows::text(row, "rules", "ticker")?, row.try_get("rule_count")?))
}

/// The name of the last ticker of the page before; all names are behind the empty one.
fn last_name(list: &Listing<'_>) -> Result<String, StoreError> {
    Ok(list
        .after::<Ticker>()?
        .map(|last| last.to_string())
        .unwrap_or_default())
}
