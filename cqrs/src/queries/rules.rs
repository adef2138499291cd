use std::collections::HashMap;

use sqlx::{Any, QueryBuilder};

use super::listing::Listing;
use super::{Page, Queries};
use crate::domain::{Price, Rule, RuleId, RuleState, Side, Ticker, Timestamp};
use crate::rows::{self, RULE_COLUMNS};
use crate::sizes::push_in;
use crate::{Caller, StoreError};

/// Rules in one statement: below every database's limit on values.
const CHUNK: usize = 500;

/// Which rules a list shows: those of which all of this holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleFilter {
    /// They watch this ticker.
    pub ticker: Option<Ticker>,
    /// They are in one of these states; empty: in any.
    pub states: Vec<RuleState>,
    /// Their price is out of range.
    pub out_of_range: bool,
}

/// That a rule's price is out of range, as far as its alerts have been taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenRange {
    /// Above or below.
    pub side: Side,
    /// Event time of the quote that left the range.
    pub opened_at: Timestamp,
    /// The price of the last change of side.
    pub price: Price,
}

impl Queries {
    /// The caller's rules that the filter lets through, oldest first, at most `limit` on a page. A rule that is let
    /// through all the while is on exactly one page, whatever comes and goes between the calls.
    ///
    /// # Errors
    /// [`StoreError::PageToken`]: `page` is not this list's, or of another filter.
    pub async fn find_rules(
        &self,
        caller: Caller,
        filter: &RuleFilter,
        page: Option<&str>,
        limit: u32,
    ) -> Result<Page<Rule>, StoreError> {
        let list = Listing::new("rules", filter, page, limit);
        let mut select =
            QueryBuilder::<Any>::new(format!("select {RULE_COLUMNS} from rules where user_id = "));
        select.push_bind(caller.0.to_string());
        if let Some(ticker) = &filter.ticker {
            select.push(" and ticker = ").push_bind(ticker.to_string());
        }
        if !filter.states.is_empty() {
            let mut conditions = select.push(" and (").separated(" or ");
            for state in &filter.states {
                conditions.push(condition(*state));
            }
            select.push(")");
        }
        if filter.out_of_range {
            // What an old version of the rule was is nothing to the rule as it is.
            select.push(
                " and exists (select 1 from episodes where episodes.rule_id = rules.id
                    and episodes.rule_version = rules.version and episodes.episode_id is not null)",
            );
        }
        if let Some(after) = list.after::<RuleId>()? {
            select.push(" and id > ").push_bind(after.to_string());
        }
        select.push(" order by id limit ").push_bind(list.rows());
        let found = select.build().fetch_all(&self.store.read).await?;
        list.page(&found, rows::rule, |rule| rule.id)
    }

    /// Which of these rules, as they are, have their price out of range.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn out_of_range(&self, rules: &[Rule]) -> Result<HashMap<RuleId, OpenRange>, StoreError> {
        const TABLE: &str = "episodes";
        let versions: HashMap<_, _> = rules.iter().map(|rule| (rule.id, rule.version)).collect();
        let mut open = HashMap::new();
        for chunk in rules.chunks(CHUNK) {
            let mut select = QueryBuilder::<Any>::new(
                "select rule_id, rule_version, side, opened_at, price from episodes
                 where episode_id is not null and rule_id ",
            );
            push_in(&mut select, chunk.iter().map(|rule| rule.id.to_string()));
            for row in &select.build().fetch_all(&self.store.read).await? {
                let rule: RuleId = rows::text(row, TABLE, "rule_id")?;
                if versions.get(&rule) == Some(&rows::version(row, TABLE, "rule_version")?) {
                    let range = OpenRange {
                        side: rows::side(row, TABLE, "side")?,
                        opened_at: rows::time(row, "opened_at")?,
                        price: rows::price(row, TABLE, "price")?,
                    };
                    open.insert(rule, range);
                }
            }
        }
        Ok(open)
    }
}

/// As [`Rule::state`] has it.
const fn condition(state: RuleState) -> &'static str {
    match state {
        RuleState::Active => "(expired = 0 and restated_at is null and paused = 0)",
        RuleState::Paused => "(expired = 0 and restated_at is null and paused = 1)",
        RuleState::OnHold => "(expired = 0 and restated_at is not null)",
        RuleState::Expired => "(expired = 1)",
    }
}
