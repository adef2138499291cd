//! What all gRPC services share.

use std::sync::Arc;

use cqrs::domain::{Restatement, Rule, Ticker};
use cqrs::{Commands, Queries};
use proto::v1;
use tokio::sync::Notify;
use tonic::Status;

use crate::status::of_store;
use crate::streams::Streams;
use crate::wire;

/// Implements every service of the API. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) commands: Commands,
    pub(crate) queries: Queries,
    /// Wakes the relay when a command has put something into the outbox.
    pub(crate) outbox_filled: Arc<Notify>,
    pub(crate) streams: Streams,
}

impl Api {
    /// Rules as their owner sees them: with what those wait for that are on hold.
    pub(crate) async fn show_rules(&self, rules: &[Rule]) -> Result<Vec<v1::Rule>, Status> {
        let mut tickers: Vec<Ticker> = rules
            .iter()
            .filter(|rule| rule.on_hold_since.is_some())
            .map(|rule| rule.ticker.clone())
            .collect();
        tickers.sort_unstable();
        tickers.dedup();
        let restatements = self
            .queries
            .restatements(&tickers)
            .await
            .map_err(|error| of_store(&error))?;
        Ok(rules
            .iter()
            .map(|rule| wire::rule(rule, Restatement::of_rule(rule, &restatements).as_ref()))
            .collect())
    }

    /// One of them.
    pub(crate) async fn show_rule(&self, rule: Rule) -> Result<Option<v1::Rule>, Status> {
        Ok(self.show_rules(&[rule]).await?.pop())
    }
}
