//! Rules with what is known of their prices and states.

use std::collections::HashMap;

use cqrs::domain::{Quote, Restatement, Rule, RuleId, Ticker, Timestamp};
use cqrs::{OpenEpisode, StoreError};

use super::super::parse::{Which, code_of};
use super::super::text::on_hold::OnHold;
use super::super::text::refusals;
use super::super::text::rules::Watched;
use super::{Asker, Desk, Failure};

/// Rules read at once.
const PAGE: u32 = 200;
/// Tickers that are suggested for one that is not known.
pub(super) const SUGGESTIONS: usize = 3;

/// What is known of some rules' tickers.
#[derive(Debug)]
pub(super) struct Known {
    quotes: HashMap<Ticker, Quote>,
    episodes: Vec<OpenEpisode>,
    /// Oldest first.
    restatements: Vec<Restatement>,
}

impl Known {
    pub(super) fn latest(&self, ticker: &Ticker) -> Option<&Quote> {
        self.quotes.get(ticker)
    }

    pub(super) fn quotes(&self) -> impl Iterator<Item = &Quote> {
        self.quotes.values()
    }

    /// The stay outside its range that the rule as it is now is in.
    pub(super) fn episode(&self, rule: &Rule) -> Option<&OpenEpisode> {
        self.episodes
            .iter()
            .find(|open| open.rule_id == rule.id && open.position.version == rule.version)
    }

    /// What the rule waits for, if it is on hold.
    pub(super) fn hold(&self, rule: &Rule) -> Option<OnHold> {
        let restatement = Restatement::of_rule(rule, &self.restatements)?;
        Some(OnHold {
            split: restatement.split,
            adjusted: restatement.adjust_range(rule.range),
        })
    }

    /// When the ticker's prices were last counted anew.
    pub(super) fn restated_at(&self, ticker: &Ticker) -> Option<Timestamp> {
        let mut newest_first = self.restatements.iter().rev();
        let newest = newest_first.find(|restatement| restatement.ticker == *ticker)?;
        Some(newest.restated_at)
    }

    pub(super) fn of<'a>(&'a self, rule: &'a Rule) -> Watched<'a> {
        Watched {
            rule,
            latest: self.latest(&rule.ticker),
            episode: self.episode(rule),
            hold: self.hold(rule),
        }
    }
}

impl Desk {
    /// What is known of these tickers, and of the asker's rules.
    pub(super) async fn known(&self, asker: &Asker, tickers: &[Ticker]) -> Result<Known, StoreError> {
        let quotes = self.queries.latest_quotes(tickers).await?;
        let episodes = self.ledger.open_episodes(asker.caller.0).await?;
        Ok(Known {
            quotes: quotes
                .into_iter()
                .map(|quote| (quote.ticker.clone(), quote))
                .collect(),
            episodes,
            restatements: self.queries.restatements(tickers).await?,
        })
    }

    /// All of the asker's rules, oldest first.
    pub(super) async fn rules(&self, asker: &Asker) -> Result<Vec<Rule>, StoreError> {
        let mut rules = Vec::new();
        let mut page = None;
        loop {
            let found = self.queries.rules(asker.caller, page.as_deref(), PAGE).await?;
            rules.extend(found.items);
            page = found.next;
            if page.is_none() {
                return Ok(rules);
            }
        }
    }

    /// The asker's rules that are meant; a ticker without any is refused, with those that it may have been meant for.
    pub(super) async fn rules_meant(&self, asker: &Asker, which: &Which) -> Result<Vec<Rule>, Failure> {
        let ticker = match which {
            Which::All => return Ok(self.rules(asker).await?),
            Which::On(ticker) => ticker,
        };
        let found = self.queries.rules_of(asker.caller, ticker).await?;
        if !found.is_empty() {
            return Ok(found);
        }
        let own: Vec<Ticker> = self
            .rules(asker)
            .await?
            .into_iter()
            .map(|rule| rule.ticker)
            .collect();
        let mut similar = self.queries.similar_tickers(ticker, SUGGESTIONS).await?;
        similar.retain(|candidate| own.contains(candidate));
        Err(Failure::Told(refusals::no_rule_of(
            ticker,
            &similar,
            asker.language(),
        )))
    }

    /// The asker's rule of this id.
    pub(super) async fn rule(&self, asker: &Asker, rule: RuleId) -> Result<Rule, Failure> {
        self.queries
            .rule(asker.caller, rule)
            .await?
            .ok_or(Failure::Refused(cqrs::CommandError::RuleNotFound(rule)))
    }

    /// The asker's rule of this code. None: there is none, or there are several.
    pub(super) async fn rule_of_code(&self, asker: &Asker, code: &str) -> Result<Option<Rule>, StoreError> {
        let mut found = self
            .rules(asker)
            .await?
            .into_iter()
            .filter(|rule| code_of(rule.id) == code);
        Ok(found.next().filter(|_| found.next().is_none()))
    }
}

/// The tickers of rules, each once.
pub(super) fn tickers_of(rules: &[Rule]) -> Vec<Ticker> {
    let mut tickers: Vec<Ticker> = rules.iter().map(|rule| rule.ticker.clone()).collect();
    tickers.sort_unstable();
    tickers.dedup();
    tickers
}
