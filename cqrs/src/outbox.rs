use crate::domain::{RuleChange, RuleId, RuleVersion};
use crate::{Store, StoreError};

/// One rule change that waits to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// The version that the change made; names the entry together with the rule's id.
    pub version: RuleVersion,
    /// What to publish.
    pub change: RuleChange,
}

/// Rule changes on their way to the log.
#[derive(Debug, Clone)]
pub struct Outbox {
    store: Store,
}

impl Outbox {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// The oldest entries: by the change's time, so that versions of one rule come in order.
    pub async fn pending(&self, limit: u32) -> Result<Vec<OutboxEntry>, StoreError> {
        todo!()
    }

    /// Forgets published entries.
    pub async fn delete(&self, entries: &[OutboxEntry]) -> Result<(), StoreError> {
        todo!()
    }

    /// Rules that have entries: what a leader before may have touched.
    pub async fn touched(&self) -> Result<Vec<(RuleId, crate::domain::Ticker)>, StoreError> {
        todo!()
    }

    /// Puts the newest version of each of these rules into the outbox again (a deletion, if it is gone).
    pub async fn requeue(&self, rules: &[(RuleId, crate::domain::Ticker)]) -> Result<(), StoreError> {
        todo!()
    }

    /// Puts every rule into the outbox again: rebuilds the topic. With `new_log`, the log was lost or is a new one, and
    /// its generation grows. Returns how many rules.
    pub async fn republish_all(&self, new_log: bool) -> Result<u64, StoreError> {
        todo!()
    }
}
