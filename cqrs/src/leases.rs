use std::time::Duration;

use crate::{Store, StoreError};

/// Leadership of one name, held until the time runs out. By the database's clock, so that instances need not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Grows with each change of holder.
    pub term: i64,
}

/// Who leads what.
#[derive(Debug, Clone)]
pub struct Leases {
    store: Store,
}

impl Leases {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Takes or renews the lease `name` for `holder`, unless another holds it. `None`: another does.
    pub async fn acquire(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        todo!()
    }

    /// Gives it up, if held, so that another can take it at once.
    pub async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        todo!()
    }
}
