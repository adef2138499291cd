//! Made-up rules and quotes of which it is known beforehand how many alerts they make.

use cqrs::domain::{
    Price, Quote, Range, RangeError, RuleId, RuleSnapshot, RuleVersion, Ticker, Timestamp, UserId,
};
use e2e::day::SplitMix;
use service::topics::partition_of;

/// How many tickers are quoted.
pub(crate) const TICKERS: usize = 10_000;
/// Every so many-th quote of a ticker is an alert: of all quotes, one in a hundred.
const ALERT_EVERY: usize = 100;
/// The tickers of one round are quoted in steps of this, so that neighbours in time are none in memory. Has no factor
/// in common with their number.
const STRIDE: usize = 7_919;

/// One ticker.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) ticker: Ticker,
    /// Of every topic that is partitioned by ticker.
    pub(crate) partition: i32,
    /// The price around which it moves, in units of 1e-8.
    base: i64,
}

/// Which thresholds a rule has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Changes its side with every `ALERT_EVERY`-th quote of its ticker.
    Alerting,
    /// Was left long before the first quote, and stays left.
    Open,
    /// Is never left.
    Quiet,
}

/// The tickers, and how far their quotes have come.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) listings: Vec<Listing>,
    quoted: usize,
}

/// The next quote.
#[derive(Debug)]
pub(crate) struct Tick {
    /// Of `Workload::listings`.
    pub(crate) listing: usize,
    pub(crate) quote: Quote,
    /// Whether one rule changes its side.
    pub(crate) alerts: bool,
}

impl Workload {
    /// Before the first quote.
    pub(crate) fn open(partitions: i32) -> anyhow::Result<Self> {
        let listings = (0..TICKERS)
            .map(|number| {
                let ticker: Ticker = format!("T{number}").parse()?;
                let partition = partition_of(&ticker, partitions);
                let base = (10 + i64::try_from(number % 491)?) * Price::SCALE;
                Ok(Listing {
                    ticker,
                    partition,
                    base,
                })
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { listings, quoted: 0 })
    }

    /// What the `number`-th of so many rules of a ticker is for: one alerts, a tenth is open.
    pub(crate) const fn role(number: usize, rules_per_ticker: usize) -> Role {
        match number {
            0 => Role::Alerting,
            _ if number <= rules_per_ticker / 10 => Role::Open,
            _ => Role::Quiet,
        }
    }

    /// The `number`-th rule of a ticker.
    pub(crate) fn rule(
        &self,
        listing: usize,
        number: usize,
        role: Role,
        user_id: UserId,
    ) -> anyhow::Result<RuleSnapshot> {
        let listing = &self.listings[listing];
        Ok(RuleSnapshot {
            rule_id: RuleId::generate(),
            user_id,
            ticker: listing.ticker.clone(),
            range: listing.range(number, role)?,
            version: RuleVersion::FIRST,
            active: true,
            expires_at: None,
            updated_at: Timestamp::EPOCH,
            generation: 1,
        })
    }

    /// The next quote, made now. The first round, one quote of each ticker, makes no alert.
    pub(crate) fn tick(&mut self) -> anyhow::Result<Tick> {
        let round = self.quoted / TICKERS;
        let number = self.quoted * STRIDE % TICKERS;
        self.quoted += 1;
        // Each ticker starts elsewhere in its cycle, so that alerts come evenly.
        let step = round + number % ALERT_EVERY;
        let outside = (step / ALERT_EVERY) % 2 == 1;
        let wander = i64::try_from(SplitMix(self.quoted as u64).below(10_001))?;
        // In 100,000ths: 95 % to 105 % of the base, or 111 % to 114 %.
        let share = if outside {
            111_000 + wander * 3 / 10
        } else {
            95_000 + wander
        };
        let listing = &self.listings[number];
        let now = Timestamp::now();
        let quote = Quote {
            ticker: listing.ticker.clone(),
            price: Price::from_units(listing.base / 100_000 * share)?,
            currency: "USD".into(),
            volume: Some(100 * Price::SCALE),
            trade_side: None,
            event_time: now,
            ingest_time: now,
            source: "synthetic".into(),
        };
        Ok(Tick {
            listing: number,
            quote,
            alerts: round > 0 && step.is_multiple_of(ALERT_EVERY),
        })
    }
}

impl Listing {
    fn range(&self, number: usize, role: Role) -> anyhow::Result<Range> {
        let number = i64::try_from(number)?;
        let at = |permille: i64| Price::from_units(self.base / 1_000 * permille).ok();
        let range: Result<Range, RangeError> = match role {
            Role::Alerting => Range::new(at(900), at(1_100)),
            Role::Open => Range::new(None, at(400 + 30 * (number % 10))),
            Role::Quiet => {
                let (low, high) = (at(800 - 5 * (number % 100)), at(1_200 + 5 * (number % 100)));
                match number % 3 {
                    0 => Range::new(low, high),
                    1 => Range::new(low, None),
                    _ => Range::new(None, high),
                }
            }
        };
        Ok(range?)
    }
}

#[cfg(test)]
mod tests {
    use cqrs::domain::Side;

    use super::*;

    #[test]
    fn one_quote_in_a_hundred_makes_the_one_alert_that_was_announced() {
        let mut workload = Workload::open(12).unwrap();
        let user = UserId::generate();
        let roles: Vec<Role> = (0..20).map(|number| Workload::role(number, 20)).collect();
        let rules: Vec<Vec<(Range, Side)>> = (0..TICKERS)
            .map(|listing| {
                let rule = |(number, role): (usize, &Role)| {
                    let range = workload.rule(listing, number, *role, user).unwrap().range;
                    let side = if *role == Role::Open {
                        Side::Above
                    } else {
                        Side::In
                    };
                    (range, side)
                };
                roles.iter().enumerate().map(rule).collect()
            })
            .collect();
        let mut rules = rules;
        let mut alerts = 0;
        let quotes = TICKERS * (2 * ALERT_EVERY + 1);
        for _ in 0..quotes {
            let tick = workload.tick().unwrap();
            let mut changed = 0;
            for (range, side) in &mut rules[tick.listing] {
                // No price here lies within any margin, so that the side without memory is the side.
                let next = range.side_of(tick.quote.price);
                changed += usize::from(next != *side);
                *side = next;
            }
            assert_eq!(changed, usize::from(tick.alerts), "{tick:?}");
            alerts += changed;
        }
        assert_eq!(alerts, TICKERS * 2);
    }
}
