use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use cqrs::domain::{
    Alert, AlertPosition, Quote, RuleChange, RuleId, RuleSnapshot, Side, Ticker, TickerMark, Timestamp,
};

use super::{RearmMargin, side_after};

/// What became of a quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuoteFate {
    /// Compared with the ticker's rules; it is the ticker's last evaluated quote now.
    Evaluated,
    /// Nobody watches its ticker.
    NotWatched,
    /// Older than the ticker's last evaluated quote: dropped.
    Late,
    /// At or before the ticker's recorded offset: it was evaluated before.
    Repeated,
}

/// What a rule change asks of the alerts topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleEffect {
    /// Nothing: the state starts from inside, which needs no record.
    None,
    /// The rule is gone: its state is to be deleted.
    DeleteState,
}

/// The rules of one partition with their states. Pure: see the module.
#[derive(Debug)]
pub struct Engine {
    margin: RearmMargin,
    tickers: HashMap<Ticker, Watched>,
    ticker_of: HashMap<RuleId, Ticker>,
    /// Deleted for good. A late record of one of these must not bring it back.
    deleted: HashSet<RuleId>,
}

#[derive(Debug, Default)]
struct Watched {
    rules: Vec<Watching>,
    last: Option<TickerMark>,
}

#[derive(Debug)]
struct Watching {
    rule: RuleSnapshot,
    side: Side,
    /// Offset of the quote that caused `side`. A quote at or before it was evaluated for this rule.
    state_offset: Option<i64>,
}

impl Engine {
    /// No rules.
    #[must_use]
    pub fn new(margin: RearmMargin) -> Self {
        Self {
            margin,
            tickers: HashMap::new(),
            ticker_of: HashMap::new(),
            deleted: HashSet::new(),
        }
    }

    /// How many rules there are.
    #[must_use]
    pub fn rules(&self) -> usize {
        self.ticker_of.len()
    }

    /// Takes a record of the rules topic. Versions that are already known change nothing.
    pub fn apply(&mut self, change: RuleChange) -> RuleEffect {
        match change {
            RuleChange::Deleted { rule_id, .. } => self.delete(rule_id),
            RuleChange::Changed(rule) => {
                if !self.deleted.contains(&rule.rule_id) {
                    self.change(rule);
                }
                RuleEffect::None
            }
        }
    }

    /// Takes a deletion, of which the topic says only the rule's id.
    pub fn delete(&mut self, rule_id: RuleId) -> RuleEffect {
        self.deleted.insert(rule_id);
        let Some(ticker) = self.ticker_of.remove(&rule_id) else {
            return RuleEffect::None;
        };
        if let Some(watched) = self.tickers.get_mut(&ticker) {
            watched.rules.retain(|watching| watching.rule.rule_id != rule_id);
        }
        RuleEffect::DeleteState
    }

    fn change(&mut self, rule: RuleSnapshot) {
        let watched = self.tickers.entry(rule.ticker.clone()).or_default();
        let new = |rule| Watching {
            rule,
            side: Side::In,
            state_offset: None,
        };
        match self.ticker_of.entry(rule.rule_id) {
            Entry::Vacant(vacant) => {
                vacant.insert(rule.ticker.clone());
                watched.rules.push(new(rule));
            }
            Entry::Occupied(_) => {
                let known = watched
                    .rules
                    .iter_mut()
                    .find(|watching| watching.rule.rule_id == rule.rule_id);
                match known {
                    Some(known) if rule.version > known.rule.version => *known = new(rule),
                    // The same rule in a log that was built anew.
                    Some(known) if rule.version == known.rule.version => {
                        known.rule.generation = known.rule.generation.max(rule.generation);
                    }
                    Some(_) => {}
                    // A rule's ticker never changes; this record belongs to another partition's past.
                    None => tracing::warn!(rule.id = %rule.rule_id, "a rule changed its ticker; ignored"),
                }
            }
        }
    }

    /// Takes a rule's state from the alerts topic, after all rules. Returns false for a rule that does not exist.
    pub fn restore_state(&mut self, state: &Alert) -> bool {
        let watched = self.tickers.get_mut(&state.ticker);
        let known = watched.and_then(|w| {
            w.rules
                .iter_mut()
                .find(|known| known.rule.rule_id == state.rule_id)
        });
        let Some(known) = known else { return false };
        if known.rule.version == state.position.version {
            known.side = state.side;
            // In a log that was built anew, offsets start from 0 again.
            known.state_offset =
                (known.rule.generation == state.position.generation).then_some(state.position.offset);
        }
        true
    }

    /// Takes a ticker's last evaluated quote from the tickers topic.
    pub fn restore_mark(&mut self, mark: TickerMark) {
        let watched = self.tickers.entry(mark.ticker.clone()).or_default();
        if watched.last.as_ref().is_none_or(|last| last.offset < mark.offset) {
            watched.last = Some(mark);
        }
    }

    /// The ticker's last evaluated quote.
    #[must_use]
    pub fn mark(&self, ticker: &Ticker) -> Option<&TickerMark> {
        self.tickers.get(ticker)?.last.as_ref()
    }

    /// Compares a quote with its ticker's rules and appends the transitions to `alerts`.
    pub fn on_quote(
        &mut self,
        quote: &Quote,
        offset: i64,
        now: Timestamp,
        alerts: &mut Vec<Alert>,
    ) -> QuoteFate {
        let Some(watched) = self.tickers.get_mut(&quote.ticker) else {
            return QuoteFate::NotWatched;
        };
        if watched.rules.is_empty() {
            return QuoteFate::NotWatched;
        }
        match &watched.last {
            Some(last) if offset <= last.offset => return QuoteFate::Repeated,
            Some(last) if quote.event_time < last.event_time => return QuoteFate::Late,
            _ => {}
        }
        let seen_until = watched.last.as_ref().map(|last| last.ingest_time);
        for watching in &mut watched.rules {
            if let Some(side) = watching.transition(self.margin, quote, offset) {
                alerts.push(watching.enter(side, quote, offset, now, seen_until));
            }
        }
        watched.last = Some(TickerMark {
            ticker: quote.ticker.clone(),
            price: quote.price,
            event_time: quote.event_time,
            ingest_time: quote.ingest_time,
            offset,
        });
        QuoteFate::Evaluated
    }
}

impl Watching {
    /// The side to enter, if this quote makes the rule change sides.
    fn transition(&self, margin: RearmMargin, quote: &Quote, offset: i64) -> Option<Side> {
        let rule = &self.rule;
        let is_for_this_version = rule.active
            && quote.ingest_time >= rule.updated_at
            && rule
                .expires_at
                .is_none_or(|expires_at| quote.ingest_time < expires_at);
        let is_new = self.state_offset.is_none_or(|state_offset| offset > state_offset);
        if !is_for_this_version || !is_new {
            return None;
        }
        let side = side_after(rule.range, margin, self.side, quote.price);
        (side != self.side).then_some(side)
    }

    fn enter(
        &mut self,
        side: Side,
        quote: &Quote,
        offset: i64,
        now: Timestamp,
        seen_until: Option<Timestamp>,
    ) -> Alert {
        let rule = &self.rule;
        // For a return, the threshold that had been crossed.
        let crossed = if side == Side::In { self.side } else { side };
        let threshold = if crossed == Side::Below {
            rule.range.low()
        } else {
            rule.range.high()
        };
        let alert = Alert {
            rule_id: rule.rule_id,
            user_id: rule.user_id,
            ticker: rule.ticker.clone(),
            position: AlertPosition {
                version: rule.version,
                generation: rule.generation,
                offset,
            },
            side,
            price: quote.price,
            threshold: threshold.unwrap_or(quote.price),
            currency: quote.currency.clone(),
            quote_time: quote.event_time,
            quote_ingest_time: quote.ingest_time,
            raised_at: now,
            already_outside: self.state_offset.is_none()
                && seen_until.is_none_or(|seen| seen < rule.updated_at),
        };
        self.side = side;
        self.state_offset = Some(offset);
        alert
    }
}

#[cfg(test)]
mod tests {
    use cqrs::domain::{Range, RuleVersion, UserId};

    use super::*;

    fn rule(low: &str, high: &str) -> RuleSnapshot {
        RuleSnapshot {
            rule_id: RuleId::generate(),
            user_id: UserId::generate(),
            ticker: "AIG".parse().unwrap(),
            range: Range::new(Some(low.parse().unwrap()), Some(high.parse().unwrap())).unwrap(),
            version: RuleVersion::FIRST,
            active: true,
            expires_at: None,
            updated_at: Timestamp::from_micros(1_000),
            generation: 1,
        }
    }

    fn quote(price: &str, event: i64) -> Quote {
        Quote {
            ticker: "AIG".parse().unwrap(),
            price: price.parse().unwrap(),
            currency: "USD".into(),
            volume: None,
            trade_side: None,
            event_time: Timestamp::from_micros(event),
            ingest_time: Timestamp::from_micros(event + 1_000),
            source: "test".into(),
        }
    }

    fn engine(rules: &[&RuleSnapshot]) -> Engine {
        let mut engine = Engine::new(RearmMargin::from_permille(2));
        for rule in rules {
            engine.apply(RuleChange::Changed((*rule).clone()));
        }
        engine
    }

    /// Feeds (price, event time) at offsets 0, 1, 2 ... and gives (offset, side) of each alert.
    fn feed(engine: &mut Engine, quotes: &[(&str, i64)], first_offset: i64) -> Vec<(i64, Side)> {
        let mut alerts = Vec::new();
        for ((price, event), offset) in quotes.iter().zip(first_offset..) {
            engine.on_quote(&quote(price, *event), offset, Timestamp::EPOCH, &mut alerts);
        }
        alerts
            .iter()
            .map(|alert| (alert.position.offset, alert.side))
            .collect()
    }

    #[test]
    fn an_episode_is_one_alert_out_and_one_back() {
        let rule = rule("100", "200");
        let mut engine = engine(&[&rule]);
        let quotes = [
            ("150", 1),
            ("201", 2),
            ("202", 3),
            ("199.9", 4),
            ("150", 5),
            ("99", 6),
            ("300", 7),
        ];
        let expected = [
            (1, Side::Above),
            (4, Side::In),
            (5, Side::Below),
            (6, Side::Above),
        ];
        assert_eq!(feed(&mut engine, &quotes, 0), expected);
    }

    #[test]
    fn a_late_quote_is_dropped_and_equal_times_are_taken_in_offset_order() {
        let rule = rule("100", "200");
        let mut engine = engine(&[&rule]);
        let quotes = [("150", 10), ("201", 9), ("201", 10), ("150", 10)];
        assert_eq!(feed(&mut engine, &quotes, 0), [(2, Side::Above), (3, Side::In)]);
    }

    #[test]
    fn a_first_price_outside_says_so_and_a_later_one_does_not() {
        let rule = rule("100", "200");
        let mut engine = engine(&[&rule]);
        let mut alerts = Vec::new();
        engine.on_quote(&quote("250", 1), 0, Timestamp::EPOCH, &mut alerts);
        engine.on_quote(&quote("150", 2), 1, Timestamp::EPOCH, &mut alerts);
        engine.on_quote(&quote("250", 3), 2, Timestamp::EPOCH, &mut alerts);
        assert_eq!(
            alerts
                .iter()
                .map(|alert| alert.already_outside)
                .collect::<Vec<_>>(),
            [true, false, false]
        );
        assert_eq!(
            alerts[1].threshold.to_string(),
            "200",
            "a return names the threshold that had been crossed"
        );
    }

    #[test]
    fn a_new_version_starts_from_inside_and_an_old_one_changes_nothing() {
        let first = rule("100", "200");
        let mut engine = engine(&[&first]);
        assert_eq!(feed(&mut engine, &[("250", 1)], 0), [(0, Side::Above)]);
        let second = RuleSnapshot {
            version: first.version.next(),
            ..first.clone()
        };
        engine.apply(RuleChange::Changed(second));
        engine.apply(RuleChange::Changed(first));
        assert_eq!(
            feed(&mut engine, &[("250", 2)], 1),
            [(1, Side::Above)],
            "told again for the new version"
        );
        assert_eq!(feed(&mut engine, &[("250", 3)], 2), []);
    }

    #[test]
    fn paused_expired_and_not_yet_changed_rules_see_nothing() {
        let paused = RuleSnapshot {
            active: false,
            ..rule("100", "200")
        };
        let expired = RuleSnapshot {
            expires_at: Some(Timestamp::from_micros(1_500)),
            ..rule("100", "200")
        };
        let changed_later = RuleSnapshot {
            updated_at: Timestamp::from_micros(1_500),
            ..rule("100", "200")
        };
        let mut engine = engine(&[&paused, &expired, &changed_later]);
        let mut alerts = Vec::new();
        engine.on_quote(&quote("250", 499), 0, Timestamp::EPOCH, &mut alerts);
        assert_eq!(
            alerts.iter().map(|alert| alert.rule_id).collect::<Vec<_>>(),
            [expired.rule_id]
        );
        alerts.clear();
        engine.on_quote(&quote("251", 500), 1, Timestamp::EPOCH, &mut alerts);
        assert_eq!(
            alerts.iter().map(|alert| alert.rule_id).collect::<Vec<_>>(),
            [changed_later.rule_id]
        );
        assert!(alerts[0].already_outside);
    }

    #[test]
    fn a_deleted_rule_stays_deleted() {
        let rule = rule("100", "200");
        let mut engine = engine(&[&rule]);
        assert_eq!(engine.delete(rule.rule_id), RuleEffect::DeleteState);
        assert_eq!(engine.delete(rule.rule_id), RuleEffect::None);
        engine.apply(RuleChange::Changed(rule));
        assert_eq!(engine.rules(), 0);
        assert_eq!(feed(&mut engine, &[("250", 1)], 0), []);
    }

    #[test]
    fn quotes_read_again_after_a_crash_repeat_nothing_and_forget_nothing() {
        let rules = [rule("100", "200"), rule("100", "300")];
        let quotes = [("150", 1), ("250", 2), ("350", 3), ("120", 4), ("90", 5)];
        let mut whole = engine(&[&rules[0], &rules[1]]);
        let mut expected = Vec::new();
        for ((price, event), offset) in quotes.iter().zip(0..) {
            whole.on_quote(&quote(price, *event), offset, Timestamp::EPOCH, &mut expected);
        }
        // A crash after any number of the alerts had been acknowledged, and before any mark was.
        for acknowledged in 0..=expected.len() {
            let mut restored = engine(&[&rules[0], &rules[1]]);
            let mut alerts: Vec<Alert> = expected[..acknowledged].to_vec();
            for alert in &expected[..acknowledged] {
                assert!(restored.restore_state(alert));
            }
            for ((price, event), offset) in quotes.iter().zip(0..) {
                restored.on_quote(&quote(price, *event), offset, Timestamp::EPOCH, &mut alerts);
            }
            let names = |alerts: &[Alert]| {
                let mut names: Vec<_> = alerts.iter().map(|a| (a.rule_id, a.position, a.side)).collect();
                names.sort_by_key(|name| (name.0, name.1));
                names
            };
            assert_eq!(names(&alerts), names(&expected), "after {acknowledged} alerts");
        }
    }

    #[test]
    fn a_quote_at_or_before_the_recorded_one_is_skipped_whole() {
        let rule = rule("100", "200");
        let mut engine = engine(&[&rule]);
        engine.restore_mark(TickerMark {
            ticker: rule.ticker.clone(),
            price: "150".parse().unwrap(),
            event_time: Timestamp::from_micros(5),
            ingest_time: Timestamp::from_micros(1_005),
            offset: 5,
        });
        let mut alerts = Vec::new();
        assert_eq!(
            engine.on_quote(&quote("250", 9), 5, Timestamp::EPOCH, &mut alerts),
            QuoteFate::Repeated
        );
        assert_eq!(
            engine.on_quote(&quote("250", 4), 6, Timestamp::EPOCH, &mut alerts),
            QuoteFate::Late
        );
        assert_eq!(
            engine.on_quote(&quote("250", 6), 7, Timestamp::EPOCH, &mut alerts),
            QuoteFate::Evaluated
        );
        assert_eq!(alerts.len(), 1);
        assert!(
            !alerts[0].already_outside,
            "a price was seen since the rule's change"
        );
    }

    #[test]
    fn a_state_of_a_lost_log_keeps_its_side_but_not_its_offset() {
        let new_log = RuleSnapshot {
            generation: 2,
            ..rule("100", "200")
        };
        let mut lost = engine(&[&RuleSnapshot {
            generation: 1,
            ..new_log.clone()
        }]);
        let mut alerts = Vec::new();
        lost.on_quote(&quote("250", 1), 700, Timestamp::EPOCH, &mut alerts);
        let mut engine = engine(&[&new_log]);
        assert!(engine.restore_state(&alerts[0]));
        assert_eq!(feed(&mut engine, &[("250", 2), ("150", 3)], 0), [(1, Side::In)]);
    }
}
