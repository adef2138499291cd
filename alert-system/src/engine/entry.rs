use cqrs::domain::{Range, RuleId, RuleSnapshot, RuleVersion, Side, Timestamp, UserId};

use super::RearmMargin;
use super::Tick;
use super::ladder::Rung;

/// A rule and its state: what is looked at when a quote reaches one of its thresholds, and not before.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) rule_id: RuleId,
    pub(super) user_id: UserId,
    pub(super) range: Range,
    pub(super) version: RuleVersion,
    pub(super) generation: i64,
    pub(super) updated_at: Timestamp,
    pub(super) expires_at: Option<Timestamp>,
    /// Generation and offset of the quote that caused `side`, once there was one.
    pub(super) state: Option<(i64, i64)>,
    pub(super) ticker: u32,
    pub(super) side: Side,
    pub(super) active: bool,
    pub(super) standing: Standing,
}

/// Where an entry waits for the quote that changes its side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The slot of a deleted rule, to be used again.
    Free,
    /// Nowhere: it is paused, it is from before its ticker's prices were restated, or it is about to be put in its place.
    Out,
    /// In the ticker's ladders.
    Filed,
    /// By itself: the ladders' cursors can't express its state.
    Loose,
    /// A quote that it must not see reached its threshold.
    Asleep(Reason),
}

/// Why a rule must not see a quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Its state was caused by this quote or a later one.
    Ahead,
    /// The quote was ingested before the rule was made.
    Early,
    /// The quote was ingested after the rule had expired.
    Expired,
}

impl Entry {
    pub(super) fn new(rule: &RuleSnapshot, ticker: u32) -> Self {
        Self {
            rule_id: rule.rule_id,
            user_id: rule.user_id,
            range: rule.range,
            version: rule.version,
            generation: rule.generation,
            updated_at: rule.updated_at,
            expires_at: rule.expires_at,
            state: None,
            ticker,
            side: Side::In,
            active: rule.active,
            standing: Standing::Out,
        }
    }

    /// Offset of the quote that caused the side, if it is one of this log.
    pub(super) fn state_offset(&self) -> Option<i64> {
        self.state
            .filter(|(generation, _)| *generation == self.generation)
            .map(|(_, offset)| offset)
    }

    /// Why it must not see this quote, if so.
    pub(super) fn blocked(&self, tick: &Tick) -> Option<Reason> {
        if self.state_offset().is_some_and(|offset| tick.offset <= offset) {
            Some(Reason::Ahead)
        } else if tick.ingest_time < self.updated_at {
            Some(Reason::Early)
        } else if self
            .expires_at
            .is_some_and(|expires_at| tick.ingest_time >= expires_at)
        {
            Some(Reason::Expired)
        } else {
            None
        }
    }

    /// The next sides' prices: the highest that changes the side downwards and the lowest that changes it upwards.
    pub(super) fn triggers(&self, margin: RearmMargin) -> (Option<i64>, Option<i64>) {
        let low = self.range.low().map(|low| low.units());
        let high = self.range.high().map(|high| high.units());
        match self.side {
            Side::In => (low, high),
            // A state that its thresholds can't have had ends with the next quote.
            Side::Above => (Some(margin.rearms_below(self.range).unwrap_or(i64::MAX)), None),
            Side::Below => (None, Some(margin.rearms_above(self.range).unwrap_or(i64::MIN))),
        }
    }

    /// Its threshold in the ladder of highs.
    pub(super) fn high(&self, slot: u32) -> Option<Rung> {
        let high = self.range.high()?;
        Some(Rung {
            key: high.units(),
            slot,
        })
    }

    /// Its threshold in the ladder of lows, where prices are negative: the lower they are, the higher they stand.
    pub(super) fn low(&self, slot: u32) -> Option<Rung> {
        let low = self.range.low()?;
        Some(Rung {
            key: -low.units(),
            slot,
        })
    }

    /// Whether the ladders' common margin is its own, and its side one that its thresholds can have.
    pub(super) fn fits_ladders(&self, margin: RearmMargin) -> bool {
        let possible = match self.side {
            Side::In => true,
            Side::Above => self.range.high().is_some(),
            Side::Below => self.range.low().is_some(),
        };
        possible && margin.is_uncapped(self.range)
    }
}
