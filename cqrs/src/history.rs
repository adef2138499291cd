use crate::domain::Quote;
use crate::{Store, StoreError};

/// Recorded prices: what `Queries::latest_quote` and `Queries::average` read.
#[derive(Debug, Clone)]
pub struct QuoteHistory {
    store: Store,
}

impl QuoteHistory {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Records quotes with their offsets; repeats change nothing. The latest quote of a ticker is the one with the
    /// newest (event time, offset). Returns how many were new.
    pub async fn record(&self, quotes: &[(Quote, i64)]) -> Result<u64, StoreError> {
        todo!()
    }
}
