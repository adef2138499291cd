//! What must happen, computed the slow and obvious way: every rule looks at every quote. Shares no code with the engine on
//! purpose.

use std::collections::BTreeMap;

use cqrs::domain::{Alert, AlertPosition, Price, RuleId, RuleSnapshot, Side, Ticker, Timestamp};

/// A quote as it lies in the log.
#[derive(Debug, Clone)]
pub(super) struct Quote {
    pub(super) ticker: Ticker,
    pub(super) price: Price,
    pub(super) event_time: Timestamp,
    pub(super) ingest_time: Timestamp,
    pub(super) offset: i64,
    pub(super) restated_at: Option<Timestamp>,
}

#[derive(Debug, Default)]
pub(super) struct Oracle {
    permille: i128,
    rules: BTreeMap<RuleId, (RuleSnapshot, Side, bool)>,
    newest: BTreeMap<Ticker, (Timestamp, Timestamp)>,
    restated: BTreeMap<Ticker, Timestamp>,
}

impl Oracle {
    pub(super) fn new(permille: u16) -> Self {
        Self {
            permille: permille.into(),
            ..Self::default()
        }
    }

    pub(super) fn watches(&self, ticker: &Ticker) -> usize {
        self.rules
            .values()
            .filter(|(rule, _, _)| rule.ticker == *ticker)
            .count()
    }

    pub(super) fn change(&mut self, rule: RuleSnapshot) {
        self.rules.insert(rule.rule_id, (rule, Side::In, false));
    }

    pub(super) fn delete(&mut self, id: RuleId) {
        self.rules.remove(&id);
    }

    pub(super) fn quote(&mut self, quote: &Quote) -> Vec<Alert> {
        let mut alerts = Vec::new();
        if self.watches(&quote.ticker) == 0 {
            return alerts;
        }
        if let Some(at) = quote.restated_at {
            let known = self.restated.entry(quote.ticker.clone()).or_insert(at);
            *known = at.max(*known);
        }
        let restated = self.restated.get(&quote.ticker);
        let newest = self.newest.get(&quote.ticker).copied();
        if newest.is_some_and(|(event_time, _)| quote.event_time < event_time) {
            return alerts;
        }
        for (rule, side, has_state) in self
            .rules
            .values_mut()
            .filter(|(rule, _, _)| rule.ticker == quote.ticker)
        {
            let unseen = restated.is_some_and(|at| rule.updated_at < *at)
                || quote.ingest_time < rule.updated_at
                || rule
                    .expires_at
                    .is_some_and(|expires_at| quote.ingest_time >= expires_at);
            if unseen || !rule.active {
                continue;
            }
            let low = rule.range.low().map(|low| i128::from(low.units()));
            let high = rule.range.high().map(|high| i128::from(high.units()));
            let after = side_after(self.permille, low, high, *side, quote.price.units().into());
            if after == *side {
                continue;
            }
            let crossed = if after == Side::In { *side } else { after };
            alerts.push(Alert {
                rule_id: rule.rule_id,
                user_id: rule.user_id,
                ticker: rule.ticker.clone(),
                position: AlertPosition {
                    version: rule.version,
                    generation: rule.generation,
                    offset: quote.offset,
                },
                side: after,
                price: quote.price,
                threshold: if crossed == Side::Above {
                    rule.range.high()
                } else {
                    rule.range.low()
                }
                .unwrap(),
                currency: "USD".into(),
                quote_time: quote.event_time,
                quote_ingest_time: quote.ingest_time,
                raised_at: Timestamp::EPOCH,
                already_outside: !*has_state && newest.is_none_or(|(_, ingest)| ingest < rule.updated_at),
            });
            (*side, *has_state) = (after, true);
        }
        self.newest
            .insert(quote.ticker.clone(), (quote.event_time, quote.ingest_time));
        alerts
    }
}

fn side_after(permille: i128, low: Option<i128>, high: Option<i128>, side: Side, price: i128) -> Side {
    let margin = |threshold: i128| {
        let margin = threshold * permille / 1_000;
        match (low, high) {
            (Some(low), Some(high)) => margin.min((high - low) / 2),
            _ => margin,
        }
    };
    match side {
        _ if high.is_some_and(|high| price >= high) => Side::Above,
        _ if low.is_some_and(|low| price <= low) => Side::Below,
        Side::Above if high.is_some_and(|high| price <= high - margin(high)) => Side::In,
        Side::Below if low.is_some_and(|low| price >= low + margin(low)) => Side::In,
        Side::In | Side::Above | Side::Below => side,
    }
}
