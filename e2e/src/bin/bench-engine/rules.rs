use alert_system::engine::{Engine, RearmMargin, Restoring};
use cqrs::domain::{Price, Range, RuleId, RuleSnapshot, RuleVersion, Ticker, Timestamp, UserId};
use e2e::day::SplitMix;

/// Units of a price.
pub(crate) const CENT: u64 = 1_000_000;

/// Tickers with a first price each, and rules around it: a low threshold up to a quarter below it and a high one up to a
/// quarter above, in whole cents, so that many share a price.
pub(crate) struct Market {
    pub(crate) tickers: Vec<Ticker>,
    pub(crate) first_prices: Vec<Price>,
    /// Ids with thresholds, the rules of one ticker side by side.
    pub(crate) rules: Vec<(RuleId, Range)>,
    random: SplitMix,
    user: UserId,
}

impl Market {
    /// First prices are from 50 to 500 dollars.
    pub(crate) fn new(tickers: usize, rules_per_ticker: usize) -> anyhow::Result<Self> {
        let mut random = SplitMix(1);
        let first_prices = (0..tickers)
            .map(|_| price((5_000 + random.below(45_000)) * CENT))
            .collect::<anyhow::Result<_>>()?;
        let mut market = Self {
            tickers: (0..tickers)
                .map(|index| format!("T{index}").parse())
                .collect::<Result<_, _>>()?,
            first_prices,
            rules: Vec::with_capacity(tickers * rules_per_ticker),
            random,
            user: UserId::generate(),
        };
        for ticker in 0..tickers {
            for _ in 0..rules_per_ticker {
                let range = market.range(ticker)?;
                market.rules.push((RuleId::generate(), range));
            }
        }
        Ok(market)
    }

    pub(crate) fn rules_per_ticker(&self) -> usize {
        self.rules.len() / self.tickers.len()
    }

    pub(crate) fn below(&mut self, bound: usize) -> anyhow::Result<usize> {
        Ok(usize::try_from(self.random.below(bound.try_into()?))?)
    }

    /// The thresholds of another rule of a ticker.
    pub(crate) fn range(&mut self, ticker: usize) -> anyhow::Result<Range> {
        let first = u64::try_from(self.first_prices[ticker].units())?;
        let widest = first / CENT / 4;
        let low = first - (1 + self.random.below(widest)) * CENT;
        let high = first + (1 + self.random.below(widest)) * CENT;
        Ok(Range::new(Some(price(low)?), Some(price(high)?))?)
    }

    pub(crate) fn snapshot(&self, ticker: usize, rule_id: RuleId, range: Range) -> RuleSnapshot {
        RuleSnapshot {
            rule_id,
            user_id: self.user,
            ticker: self.tickers[ticker].clone(),
            range,
            version: RuleVersion::FIRST,
            active: true,
            expires_at: None,
            updated_at: Timestamp::EPOCH,
            generation: 1,
        }
    }

    /// An engine with all the rules, restored as from the topics.
    pub(crate) fn engine(&self, margin_permille: u16) -> Engine {
        let mut restoring = Restoring::new(RearmMargin::from_permille(margin_permille), self.rules.len());
        for (ticker, rules) in self.rules.chunks(self.rules_per_ticker()).enumerate() {
            for (rule_id, range) in rules {
                restoring.rule(&self.snapshot(ticker, *rule_id, *range));
            }
        }
        restoring.finish()
    }
}

fn price(units: u64) -> anyhow::Result<Price> {
    Ok(Price::from_units(units.try_into()?)?)
}
