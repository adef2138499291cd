//! The simpler ways that the engine is compared with.

use std::collections::BTreeSet;

use cqrs::domain::Range;

use crate::rules::Market;

/// Two sorted sets per ticker: what anybody would take from the standard library.
pub(crate) struct Trees {
    tickers: Vec<Tree>,
}

#[derive(Default)]
struct Tree {
    lows: BTreeSet<(i64, u32)>,
    highs: BTreeSet<(i64, u32)>,
    last: i64,
}

impl Trees {
    pub(crate) fn new(market: &Market) -> Self {
        let mut tickers: Vec<Tree> = market
            .first_prices
            .iter()
            .map(|price| Tree {
                last: price.units(),
                ..Tree::default()
            })
            .collect();
        let per_ticker = market.rules_per_ticker();
        for (slot, (_, range)) in (0..).zip(&market.rules) {
            tickers[slot as usize / per_ticker].insert(slot, *range);
        }
        Self { tickers }
    }

    pub(crate) fn insert(&mut self, ticker: usize, slot: u32, range: Range) {
        self.tickers[ticker].insert(slot, range);
    }

    pub(crate) fn remove(&mut self, ticker: usize, slot: u32, range: Range) {
        let tree = &mut self.tickers[ticker];
        tree.lows
            .remove(&(range.low().map_or(0, |low| low.units()), slot));
        tree.highs
            .remove(&(range.high().map_or(0, |high| high.units()), slot));
    }

    /// The rules whose thresholds lie between the last price and this one. Knows no re-arm margin.
    pub(crate) fn on_quote(&mut self, ticker: usize, price: i64, found: &mut Vec<u32>) {
        let tree = &mut self.tickers[ticker];
        let last = std::mem::replace(&mut tree.last, price);
        if price > last {
            found.extend(
                tree.highs
                    .range((last + 1, 0)..(price + 1, 0))
                    .map(|(_, slot)| slot),
            );
            found.extend(tree.lows.range((last, 0)..(price, 0)).map(|(_, slot)| slot));
        } else if price < last {
            found.extend(
                tree.highs
                    .range((price + 1, 0)..(last + 1, 0))
                    .map(|(_, slot)| slot),
            );
            found.extend(tree.lows.range((price, 0)..(last, 0)).map(|(_, slot)| slot));
        }
    }
}

impl Tree {
    fn insert(&mut self, slot: u32, range: Range) {
        self.lows.extend(range.low().map(|low| (low.units(), slot)));
        self.highs.extend(range.high().map(|high| (high.units(), slot)));
    }
}

/// Every quote is compared with every rule of its ticker.
pub(crate) struct Scan {
    rules: Vec<Scanned>,
    per_ticker: usize,
}

struct Scanned {
    low: i64,
    high: i64,
    margin: i64,
    side: i8,
}

impl Scan {
    pub(crate) fn new(market: &Market) -> Self {
        let rules = market.rules.iter().map(|(_, range)| {
            let (low, high) = (
                range.low().map_or(0, |low| low.units()),
                range.high().map_or(0, |high| high.units()),
            );
            Scanned {
                low,
                high,
                margin: (high / 500).min((high - low) / 2),
                side: 0,
            }
        });
        Self {
            rules: rules.collect(),
            per_ticker: market.rules_per_ticker(),
        }
    }

    pub(crate) fn on_quote(&mut self, ticker: usize, price: i64, found: &mut Vec<u32>) {
        let start = ticker * self.per_ticker;
        for (slot, rule) in (0..).zip(&mut self.rules[start..start + self.per_ticker]) {
            let side = if price >= rule.high {
                1
            } else if price <= rule.low {
                -1
            } else if (rule.side > 0 && price > rule.high - rule.margin)
                || (rule.side < 0 && price < rule.low + rule.margin)
            {
                rule.side
            } else {
                0
            };
            if side != rule.side {
                rule.side = side;
                found.push(slot);
            }
        }
    }
}
