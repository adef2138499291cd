use super::{Price, Range, Side};

/// How far back inside its range a price must be before an episode ends, in thousandths of the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RearmMargin {
    permille: u16,
}

impl Default for RearmMargin {
    /// 2 thousandths, as it is where nothing else is set.
    fn default() -> Self {
        Self::from_permille(2)
    }
}

impl RearmMargin {
    /// `permille` thousandths of the threshold, at most half of the range.
    #[must_use]
    pub const fn from_permille(permille: u16) -> Self {
        Self { permille }
    }

    /// In units of 1e-8: `floor(threshold * permille / 1000)`.
    #[inline]
    fn of(self, threshold: i64) -> i64 {
        let margin = i128::from(threshold) * i128::from(self.permille) / 1_000;
        i64::try_from(margin).unwrap_or(i64::MAX)
    }

    /// At most half of a range with both thresholds.
    #[inline]
    fn most(range: Range) -> i64 {
        match (range.low(), range.high()) {
            (Some(low), Some(high)) => (high.units() - low.units()) / 2,
            _ => i64::MAX,
        }
    }

    /// Whether the range is wide enough for the whole margin on both sides.
    #[inline]
    #[must_use]
    pub fn is_uncapped(self, range: Range) -> bool {
        let widest = range
            .high()
            .or(range.low())
            .map_or(0, |threshold| self.of(threshold.units()));
        widest <= Self::most(range)
    }

    /// The highest price that ends an episode above. Always below the threshold, also where the margin is nothing: a
    /// price on the threshold is outside.
    #[inline]
    #[must_use]
    pub fn rearms_below(self, range: Range) -> Option<i64> {
        let high = range.high()?.units();
        Some(high - self.of(high).min(Self::most(range)).max(1))
    }

    /// The lowest price that ends an episode below; none where no price is so high.
    #[inline]
    #[must_use]
    pub fn rearms_above(self, range: Range) -> Option<i64> {
        let low = range.low()?.units();
        low.checked_add(self.of(low).min(Self::most(range)).max(1))
    }

    /// As `rearms_below`, for a threshold whose margin is uncapped. Also for thresholds of the low side, as negative
    /// numbers. Grows with the threshold.
    #[inline]
    #[must_use]
    pub fn rearms_at(self, key: i64) -> i64 {
        key.saturating_sub(self.of(key.abs()).max(1))
    }
}

/// The side a rule is on after a quote. The first that fits, in this order: at or above `high`: above; at or below
/// `low`: below; back inside by the margin: in; otherwise it stays.
#[inline]
#[must_use]
pub fn side_after(range: Range, margin: RearmMargin, before: Side, price: Price) -> Side {
    let units = price.units();
    match (range.side_of(price), before) {
        (Side::Above, _) => Side::Above,
        (Side::Below, _) => Side::Below,
        (Side::In, Side::Above) if margin.rearms_below(range).is_some_and(|back| units > back) => Side::Above,
        (Side::In, Side::Below)
            if range.low().is_some() && margin.rearms_above(range).is_none_or(|back| units < back) =>
        {
            Side::Below
        }
        (Side::In, _) => Side::In,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(low: Option<&str>, high: Option<&str>, before: Side, price: &str) -> Side {
        let parse = |text: &str| text.parse::<Price>().unwrap();
        let range = Range::new(low.map(parse), high.map(parse)).unwrap();
        side_after(range, RearmMargin::from_permille(2), before, parse(price))
    }

    #[test]
    fn the_boundary_counts_as_outside() {
        assert_eq!(after(Some("100"), Some("200"), Side::In, "200"), Side::Above);
        assert_eq!(
            after(Some("100"), Some("200"), Side::In, "199.99999999"),
            Side::In
        );
        assert_eq!(after(Some("100"), Some("200"), Side::In, "100"), Side::Below);
        assert_eq!(
            after(Some("100"), Some("200"), Side::In, "100.00000001"),
            Side::In
        );
    }

    #[test]
    fn an_episode_ends_only_when_the_price_is_back_by_the_margin() {
        assert_eq!(
            after(Some("100"), Some("200"), Side::Above, "199.60000001"),
            Side::Above
        );
        assert_eq!(after(Some("100"), Some("200"), Side::Above, "199.6"), Side::In);
        assert_eq!(
            after(Some("100"), Some("200"), Side::Below, "100.19999999"),
            Side::Below
        );
        assert_eq!(after(Some("100"), Some("200"), Side::Below, "100.2"), Side::In);
    }

    #[test]
    fn the_margin_is_at_most_half_of_a_narrow_range() {
        assert_eq!(after(Some("100"), Some("100.1"), Side::Above, "100.05"), Side::In);
        assert_eq!(
            after(Some("100"), Some("100.1"), Side::Above, "100.05000001"),
            Side::Above
        );
        assert_eq!(
            after(Some("100"), Some("100.00000001"), Side::Below, "100.00000001"),
            Side::Above
        );
    }

    #[test]
    fn a_jump_from_one_side_to_the_other_is_one_step() {
        assert_eq!(after(Some("100"), Some("200"), Side::Below, "250"), Side::Above);
        assert_eq!(after(Some("100"), Some("200"), Side::Above, "50"), Side::Below);
    }

    #[test]
    fn one_threshold_is_enough() {
        assert_eq!(after(None, Some("200"), Side::In, "0.01"), Side::In);
        assert_eq!(after(Some("100"), None, Side::In, "1000000"), Side::In);
        assert_eq!(after(None, Some("200"), Side::Above, "199.6"), Side::In);
    }

    #[test]
    fn extreme_prices_do_not_overflow() {
        let most = "92233720368.54775807";
        assert_eq!(after(Some(most), None, Side::Below, most), Side::Below);
        assert_eq!(after(Some("0.00000001"), Some(most), Side::Above, "1"), Side::In);
    }
}
