//! Rules that users create, change, pause and delete, as the relay writes them; keeps what happened for the oracle.

use std::time::Duration;

use cqrs::domain::{Price, Range, RuleId, RuleSnapshot, RuleVersion, Ticker, Timestamp, UserId};
use service::codec::encode_rule;

use crate::day::SplitMix;
use crate::rule_history::{History, Version};

/// Of a hundred changes, so many are followed by an older version of the same rule: a relay that was paused and woke up.
const WOKEN_RELAY: u64 = 5;

/// One record for the rules topic.
#[derive(Debug)]
pub struct RuleRecord {
    /// The rule's id.
    pub key: String,
    /// None: deleted.
    pub payload: Option<Vec<u8>>,
}

/// All rules that there ever were. The same seed makes the same changes.
#[derive(Debug)]
pub struct RuleBook {
    user_id: UserId,
    rules: Vec<Kept>,
    /// By number of the ticker; the first of each is never touched, so that the ticker is always watched.
    live: Vec<Vec<usize>>,
    random: SplitMix,
}

#[derive(Debug)]
struct Kept {
    now: RuleSnapshot,
    before: Option<RuleSnapshot>,
    history: History,
}

impl RuleBook {
    /// No rules yet.
    #[must_use]
    pub fn new(tickers: usize, seed: u64) -> Self {
        Self {
            user_id: UserId::generate(),
            rules: Vec::new(),
            live: vec![Vec::new(); tickers],
            random: SplitMix(seed),
        }
    }

    /// A new rule around `price`.
    ///
    /// # Errors
    /// Never with sensible prices.
    pub fn create(
        &mut self,
        number: usize,
        ticker: &Ticker,
        price: i64,
        now: Timestamp,
    ) -> anyhow::Result<RuleRecord> {
        let range = self.range_near(price)?;
        Ok(self.add(number, ticker, range, now))
    }

    /// A new rule that no price of the market reaches.
    ///
    /// # Errors
    /// Never with sensible prices.
    pub fn create_far(
        &mut self,
        number: usize,
        ticker: &Ticker,
        price: i64,
        now: Timestamp,
    ) -> anyhow::Result<RuleRecord> {
        let further = i64::try_from(self.random.below(1_000_000))?;
        let (low, high) = (price / 2 - further, price * 2 + further);
        let range = Range::new(Some(Price::from_units(low)?), Some(Price::from_units(high)?))?;
        Ok(self.add(number, ticker, range, now))
    }

    /// Something that a user does to a rule of this ticker; sometimes followed by what a woken relay appends.
    ///
    /// # Errors
    /// Never with sensible prices.
    pub fn edit(
        &mut self,
        number: usize,
        ticker: &Ticker,
        price: i64,
        now: Timestamp,
    ) -> anyhow::Result<Vec<RuleRecord>> {
        let kind = self.random.below(100);
        let candidates = self.live[number].len() - 1;
        if kind < 20 || candidates == 0 {
            return Ok(vec![self.create(number, ticker, price, now)?]);
        }
        let at = 1 + usize::try_from(self.random.below(candidates as u64))?;
        let index = self.live[number][at];
        let (range, life) = (
            self.range_near(price)?,
            Duration::from_millis(200 + self.random.below(5_000)),
        );
        let kept = &mut self.rules[index];
        let mut next = RuleSnapshot {
            version: kept.now.version.next(),
            updated_at: now,
            expires_at: None,
            ..kept.now.clone()
        };
        let mut records = Vec::new();
        match kind {
            20..55 => (next.range, next.active) = (range, true),
            55..65 => next.active = false,
            65..75 => next.active = true,
            75..85 => (next.range, next.active, next.expires_at) = (range, true, Some(now.plus(life))),
            _ => {
                self.live[number].swap_remove(at);
                records.push(kept.delete(now));
                if self.random.below(100) < WOKEN_RELAY {
                    records.push(record(&kept.now));
                }
                return Ok(records);
            }
        }
        records.push(kept.change(next));
        if self.random.below(100) < WOKEN_RELAY {
            records.extend(kept.before.as_ref().map(record));
        }
        Ok(records)
    }

    /// What happened, for the oracle.
    #[must_use]
    pub fn histories(&self) -> Vec<History> {
        self.rules.iter().map(|kept| kept.history.clone()).collect()
    }

    fn add(&mut self, number: usize, ticker: &Ticker, range: Range, now: Timestamp) -> RuleRecord {
        let snapshot = RuleSnapshot {
            rule_id: RuleId::generate(),
            user_id: self.user_id,
            ticker: ticker.clone(),
            range,
            version: RuleVersion::FIRST,
            active: true,
            expires_at: None,
            updated_at: now,
            generation: 1,
        };
        let history = History {
            rule_id: snapshot.rule_id.to_string(),
            ticker: ticker.to_string(),
            versions: vec![version(&snapshot)],
            deleted: false,
        };
        let written = record(&snapshot);
        self.live[number].push(self.rules.len());
        self.rules.push(Kept {
            now: snapshot,
            before: None,
            history,
        });
        written
    }

    /// At most 4 % from the price; one of three has one threshold, and some start outside.
    fn range_near(&mut self, price: i64) -> anyhow::Result<Range> {
        let random = &mut self.random;
        let mut share = |of: u64| i64::try_from(random.below(of));
        let centre = price + price / 10_000 * (share(200)? - 100);
        let low = Price::from_units(centre - centre / 10_000 * (1 + share(300)?))?;
        let high = Price::from_units(centre + centre / 10_000 * (1 + share(300)?))?;
        Ok(match share(6)? {
            0 => Range::new(Some(low), None)?,
            1 => Range::new(None, Some(high))?,
            _ => Range::new(Some(low), Some(high))?,
        })
    }
}

impl Kept {
    fn change(&mut self, next: RuleSnapshot) -> RuleRecord {
        self.end_version(next.updated_at);
        self.history.versions.push(version(&next));
        let written = record(&next);
        self.before = Some(std::mem::replace(&mut self.now, next));
        written
    }

    fn delete(&mut self, now: Timestamp) -> RuleRecord {
        self.end_version(now);
        self.history.deleted = true;
        RuleRecord {
            key: self.history.rule_id.clone(),
            payload: None,
        }
    }

    fn end_version(&mut self, now: Timestamp) {
        if let Some(last) = self.history.versions.last_mut() {
            last.until_us = Some(now.as_micros());
        }
    }
}

fn record(snapshot: &RuleSnapshot) -> RuleRecord {
    RuleRecord {
        key: snapshot.rule_id.to_string(),
        payload: Some(encode_rule(snapshot)),
    }
}

fn version(snapshot: &RuleSnapshot) -> Version {
    Version {
        number: snapshot.version.get(),
        low: snapshot.range.low().map(Price::units),
        high: snapshot.range.high().map(Price::units),
        active: snapshot.active,
        from_us: snapshot.updated_at.as_micros(),
        expires_us: snapshot.expires_at.map(Timestamp::as_micros),
        until_us: None,
    }
}
