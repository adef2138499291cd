use std::fmt;
use std::num::NonZeroU16;

use super::{Price, Range, Rule, Ticker, Timestamp};

/// So many new shares for so many old ones. Prints as `7:1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Split {
    new: NonZeroU16,
    old: NonZeroU16,
}

impl Split {
    /// None if one of the two is zero or above 65,535.
    #[must_use]
    pub fn new(new_shares: u32, old_shares: u32) -> Option<Self> {
        let number = |shares: u32| NonZeroU16::new(u16::try_from(shares).ok()?);
        Some(Self {
            new: number(new_shares)?,
            old: number(old_shares)?,
        })
    }

    /// New shares for [`Self::old_shares`] old ones.
    #[must_use]
    pub fn new_shares(self) -> u32 {
        u32::from(self.new.get())
    }

    /// Old shares that become [`Self::new_shares`].
    #[must_use]
    pub fn old_shares(self) -> u32 {
        u32::from(self.old.get())
    }

    /// This split and then another, as one. None: their numbers are too large.
    #[must_use]
    pub fn then(self, later: Self) -> Option<Self> {
        let new = self.new_shares() * later.new_shares();
        let old = self.old_shares() * later.old_shares();
        let divisor = greatest_common_divisor(new, old);
        Self::new(new / divisor, old / divisor)
    }

    /// What a price from before is worth in new shares, rounded to the nearest unit. None: too large or too small for a
    /// price.
    #[must_use]
    pub fn adjust(self, price: Price) -> Option<Price> {
        let (new, old) = (i128::from(self.new.get()), i128::from(self.old.get()));
        let units = (i128::from(price.units()) * old * 2 + new) / (new * 2);
        Price::from_units(i64::try_from(units).ok()?).ok()
    }

    /// A range from before, in new shares. None: a threshold is too large or too small for a price, or the two become one.
    #[must_use]
    pub fn adjust_range(self, range: Range) -> Option<Range> {
        let adjusted = |price: Option<Price>| price.map_or(Some(None), |price| self.adjust(price).map(Some));
        Range::new(adjusted(range.low())?, adjusted(range.high())?).ok()
    }
}

/// Of numbers above 0.
const fn greatest_common_divisor(one: u32, other: u32) -> u32 {
    if other == 0 {
        one
    } else {
        greatest_common_divisor(other, one % other)
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.new, self.old)
    }
}

/// A ticker's prices are counted anew, in other shares or another unit: what was a threshold before means nothing now.
/// Rules from before `restated_at` are on hold until their owners have looked at them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restatement {
    /// Of what.
    pub ticker: Ticker,
    /// The last price before.
    pub from: Price,
    /// The first one after.
    pub to: Price,
    /// How the shares were split, as far as the prices tell: a market that crashed to a half looks the same. For prices in
    /// another unit, how many of the new units make an old one. None: thresholds can't be converted.
    pub split: Option<Split>,
    /// When the first price after it was made.
    pub event_time: Timestamp,
    /// When it was known.
    pub restated_at: Timestamp,
}

impl Restatement {
    /// What a rule that is on hold waits for: all restatements of its ticker since then, as one. `all`: the ticker's, and
    /// maybe others', oldest first. None: it is not on hold.
    #[must_use]
    pub fn of_rule<'a>(rule: &Rule, all: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let since = rule.on_hold_since?;
        all.into_iter()
            .filter(|one| one.ticker == rule.ticker && one.restated_at >= since)
            .cloned()
            .reduce(Self::then)
    }

    fn then(self, later: Self) -> Self {
        Self {
            to: later.to,
            split: self
                .split
                .zip(later.split)
                .and_then(|(first, second)| first.then(second)),
            ..self
        }
    }

    /// A range from before, in what prices are counted in now. None: it can't be converted.
    #[must_use]
    pub fn adjust_range(&self, range: Range) -> Option<Range> {
        self.split?.adjust_range(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(new: u32, old: u32) -> Split {
        Split::new(new, old).unwrap()
    }

    fn price(text: &str) -> Price {
        text.parse().unwrap()
    }

    #[test]
    fn a_split_has_shares_on_both_sides() {
        assert_eq!(split(7, 1).to_string(), "7:1");
        for (new, old) in [(0, 1), (1, 0), (65_536, 1), (1, u32::MAX)] {
            assert_eq!(Split::new(new, old), None);
        }
    }

    #[test]
    fn two_splits_are_one_unless_their_numbers_are_too_large() {
        assert_eq!(split(7, 1).then(split(3, 2)), Some(split(21, 2)));
        assert_eq!(split(100, 1).then(split(1, 100)), Some(split(1, 1)));
        assert_eq!(split(1, 20).then(split(2, 1)), Some(split(1, 10)));
        assert_eq!(split(65_535, 1).then(split(2, 1)), None);
        assert_eq!(
            split(65_535, 65_535).then(split(65_535, 65_535)),
            Some(split(1, 1))
        );
    }

    #[test]
    fn prices_are_adjusted_to_the_nearest_unit() {
        for (new, old, before, after) in [
            (7, 1, "645.70", "92.24285714"),
            (1, 20, "5.5", "110"),
            (3, 2, "1", "0.66666667"),
            (100, 1, "0.00000050", "0.00000001"),
        ] {
            assert_eq!(split(new, old).adjust(price(before)), Some(price(after)));
        }
        assert_eq!(split(100, 1).adjust(price("0.00000049")), None);
        assert_eq!(split(1, 2).adjust(price("92233720368.54775807")), None);
    }

    #[test]
    fn a_range_is_adjusted_if_both_thresholds_can_be_and_stay_apart() {
        let range =
            |low: Option<&str>, high: Option<&str>| Range::new(low.map(price), high.map(price)).unwrap();
        assert_eq!(
            split(2, 1).adjust_range(range(Some("10"), Some("20"))),
            Some(range(Some("5"), Some("10")))
        );
        assert_eq!(
            split(1, 2).adjust_range(range(None, Some("20"))),
            Some(range(None, Some("40")))
        );
        assert_eq!(
            split(100, 1).adjust_range(range(Some("0.00000110"), Some("0.00000120"))),
            None
        );
        assert_eq!(
            split(100, 1).adjust_range(range(Some("0.00000001"), Some("5"))),
            None
        );
    }
}
