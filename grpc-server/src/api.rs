//! What all gRPC services share.

use std::sync::Arc;

use cqrs::{Commands, Queries};
use tokio::sync::Notify;

/// Implements every service of the API. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) commands: Commands,
    pub(crate) queries: Queries,
    /// Wakes the relay when a command has put something into the outbox.
    pub(crate) outbox_filled: Arc<Notify>,
}
