//! How things are.

use std::collections::BTreeMap;

use cqrs::domain::{Quote, Ticker};

use super::super::command::Command;
use super::super::parse::{Which, which};
use super::super::text::state as text;
use super::known::tickers_of;
use super::{Asker, Desk, Failure, Replies};

/// Alerts that `/history` shows.
const SHOWN: usize = 15;
/// Alerts that are looked through for those of one ticker.
const LOOKED_THROUGH: u32 = 500;
/// Tickers without fresh prices that are looked through for the asker's.
const STALE: u32 = 1_000;

impl Desk {
    pub(super) async fn history(&self, asker: &Asker, rest: &str) -> Replies {
        let which = which(rest).map_err(|wrong| Failure::Wrong(Command::History, wrong))?;
        let mut deliveries = self.ledger.deliveries(asker.caller.0, LOOKED_THROUGH).await?;
        deliveries.reverse();
        if let Which::On(ticker) = which {
            deliveries.retain(|delivery| delivery.ticker == ticker);
        }
        deliveries.truncate(SHOWN);
        Ok(vec![text::history(&deliveries, &asker.reader).into()])
    }

    pub(super) async fn status(&self, asker: &Asker) -> Replies {
        let rules = self.rules(asker).await?;
        let tickers = tickers_of(&rules);
        let mut on_hold: BTreeMap<Ticker, u64> = BTreeMap::new();
        for rule in rules.iter().filter(|rule| rule.on_hold_since.is_some()) {
            *on_hold.entry(rule.ticker.clone()).or_default() += 1;
        }
        let known = self.known(asker, &tickers).await?;
        let mut stale = self.queries.stale_tickers(STALE).await?;
        stale.retain(|feed| tickers.contains(&feed.ticker));
        let of_time = |quote: &&Quote| quote.event_time;
        let status = text::Status {
            feeds: self.queries.feeds().await?,
            stale,
            on_hold: on_hold.into_iter().collect(),
            newest: known.quotes().max_by_key(of_time).cloned(),
            oldest: known.quotes().min_by_key(of_time).cloned(),
            backlog: self.ledger.backlog().await?,
        };
        Ok(vec![text::status(&status, &asker.reader).into()])
    }

    pub(super) async fn test(&self, asker: &Asker) -> Replies {
        if asker.user.chat_suspended_at.is_some() {
            // It would end as undeliverable; why is said below.
            return Ok(vec![text::not_testing(asker.language()).into()]);
        }
        let text = match self.tests.raise(asker.caller.0).await {
            Ok(_) => text::testing(asker.language()),
            Err(error) => {
                tracing::warn!(%error, "a test alert could not be written");
                text::test_failed(asker.language())
            }
        };
        Ok(vec![text.into()])
    }
}
