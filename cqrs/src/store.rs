use std::time::Duration;

use sqlx::AnyPool;

use crate::dialect::Dialect;
use crate::{Commands, Leases, Ledger, Limits, Outbox, Queries, QuoteHistory, StoreError};

/// Where the data is.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// `mysql://USER:PASSWORD@HOST:PORT/DATABASE` or `sqlite://PATH`. Holds a password: never printed.
    pub url: String,
    /// Another server for reads (a replica); the same one if absent.
    pub read_url: Option<String>,
    /// Most connections to each.
    pub max_connections: u32,
    /// How long to try at start before giving up.
    pub connect_timeout: Duration,
}

/// Connections to the database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) write: AnyPool,
    pub(crate) read: AnyPool,
    pub(crate) dialect: Dialect,
}

impl Store {
    /// Connects (trying again until `connect_timeout`) and brings the schema up to date.
    ///
    /// # Errors
    /// If a URL is wrong, the server can't be reached in time, or a migration fails.
    pub async fn open(settings: &StoreSettings) -> Result<Self, StoreError> {
        todo!()
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// If it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        todo!()
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.write.close().await;
        self.read.close().await;
    }

    /// Writes on behalf of users.
    #[must_use]
    pub fn commands(&self, limits: Limits) -> Commands {
        Commands::new(self.clone(), limits)
    }

    /// Reads on behalf of users.
    #[must_use]
    pub fn queries(&self) -> Queries {
        Queries::new(self.clone())
    }

    /// What the relay publishes.
    #[must_use]
    pub fn outbox(&self) -> Outbox {
        Outbox::new(self.clone())
    }

    /// Who leads.
    #[must_use]
    pub fn leases(&self) -> Leases {
        Leases::new(self.clone())
    }

    /// What users were told.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        Ledger::new(self.clone())
    }

    /// Recorded prices.
    #[must_use]
    pub fn history(&self) -> QuoteHistory {
        QuoteHistory::new(self.clone())
    }
}
