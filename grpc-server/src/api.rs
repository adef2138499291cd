//! What all gRPC services share.

use std::sync::Arc;

use cqrs::domain::{RearmMargin, Restatement, Rule, Ticker};
use cqrs::{Commands, Idempotency, Queries};
use proto::v1;
use tokio::sync::Notify;
use tonic::Status;

use crate::status::of_store;
use crate::streams::Streams;
use crate::trials::Trials;
use crate::turns::Turns;
use crate::wire;

/// Implements every service of the API. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) commands: Commands,
    pub(crate) queries: Queries,
    /// Wakes the relay when a command has put something into the outbox.
    pub(crate) outbox_filled: Arc<Notify>,
    pub(crate) streams: Streams,
    pub(crate) trials: Trials,
    pub(crate) turns: Turns,
    /// What previews go by.
    pub(crate) margin: RearmMargin,
}

impl Api {
    /// What carries a command out. One that is only to be validated is rehearsed, and no repeat of it is ever answered
    /// from memory.
    pub(crate) fn commands_for(
        &self,
        validate_only: bool,
        idempotency: Option<Idempotency>,
    ) -> (Commands, Option<Idempotency>) {
        if validate_only {
            (self.commands.rehearsing(), None)
        } else {
            (self.commands.clone(), idempotency)
        }
    }

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

    /// As [`Self::show_rules`], with whether their prices are out of range: of rules that may have alerted.
    pub(crate) async fn show_known_rules(&self, rules: &[Rule]) -> Result<Vec<v1::Rule>, Status> {
        let mut shown = self.show_rules(rules).await?;
        let open = self.queries.out_of_range(rules).await;
        let open = open.map_err(|error| of_store(&error))?;
        for (shown, rule) in shown.iter_mut().zip(rules) {
            shown.episode = open.get(&rule.id).map(wire::episode);
        }
        Ok(shown)
    }

    /// One of them.
    pub(crate) async fn show_known_rule(&self, rule: Rule) -> Result<Option<v1::Rule>, Status> {
        Ok(self.show_known_rules(&[rule]).await?.pop())
    }

    /// One rule that was just made or changed.
    pub(crate) async fn show_rule(&self, rule: Rule) -> Result<Option<v1::Rule>, Status> {
        Ok(self.show_rules(&[rule]).await?.pop())
    }
}
