use std::time::Duration;

use crate::domain::{
    Alert, ChatId, Price, Quote, Rule, RuleId, Ticker, Timestamp, TokenHash, User,
};
use crate::{Caller, Store, StoreError};

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// In the list's order.
    pub items: Vec<T>,
    /// Opaque; give it to get the next page. None on the last.
    pub next: Option<String>,
}

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

/// Reads on behalf of users, from the read server.
#[derive(Debug, Clone)]
pub struct Queries {
    store: Store,
}

impl Queries {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Whose API token this is. Read from the write server: a revoked token must stop at once.
    pub async fn authenticate(&self, token: &TokenHash) -> Result<Option<Caller>, StoreError> {
        todo!()
    }

    /// Whose chat this is.
    pub async fn caller_of_chat(&self, chat: ChatId) -> Result<Option<Caller>, StoreError> {
        todo!()
    }

    pub async fn user(&self, caller: Caller) -> Result<Option<User>, StoreError> {
        todo!()
    }

    pub async fn rule(&self, caller: Caller, rule: RuleId) -> Result<Option<Rule>, StoreError> {
        todo!()
    }

    /// Oldest first. An unreadable page token is `Ok` with an error text inside: `Err(StoreError::Setting)`.
    pub async fn rules(&self, caller: Caller, page: Option<&str>, limit: u32) -> Result<Page<Rule>, StoreError> {
        todo!()
    }

    /// Newest first (by raise time).
    pub async fn alerts(
        &self,
        caller: Caller,
        rule: Option<RuleId>,
        page: Option<&str>,
        limit: u32,
    ) -> Result<Page<AlertView>, StoreError> {
        todo!()
    }

    pub async fn latest_quote(&self, ticker: &Ticker) -> Result<Option<Quote>, StoreError> {
        todo!()
    }

    pub async fn average(
        &self,
        ticker: &Ticker,
        range: AverageRange,
        now: Timestamp,
    ) -> Result<Option<Average>, StoreError> {
        todo!()
    }
}
