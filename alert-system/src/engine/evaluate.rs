use cqrs::domain::{Price, Range, Side};

/// How far back inside its range a price must be before an episode ends, in thousandths of the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RearmMargin {
    permille: u16,
}

impl RearmMargin {
    /// `permille` thousandths of the threshold, at most half of the range.
    #[must_use]
    pub const fn from_permille(permille: u16) -> Self {
        Self { permille }
    }

    /// In units of 1e-8: `floor(threshold * permille / 1000)`, at most `floor((high - low) / 2)` where both are set.
    fn units(self, threshold: Price, range: Range) -> i64 {
        let margin = i128::from(threshold.units()) * i128::from(self.permille) / 1_000;
        let most = match (range.low(), range.high()) {
            (Some(low), Some(high)) => (high.units() - low.units()) / 2,
            _ => i64::MAX,
        };
        i64::try_from(margin).unwrap_or(i64::MAX).min(most)
    }
}

/// The side a rule is on after a quote. The first that fits, in this order: at or above `high`: above; at or below
/// `low`: below; back inside by the margin: in; otherwise it stays.
#[must_use]
pub fn side_after(range: Range, margin: RearmMargin, before: Side, price: Price) -> Side {
    match (range.side_of(price), before) {
        (Side::Above, _) => Side::Above,
        (Side::Below, _) => Side::Below,
        (Side::In, Side::Above) if !is_back_below(range, margin, price) => Side::Above,
        (Side::In, Side::Below) if !is_back_above(range, margin, price) => Side::Below,
        (Side::In, _) => Side::In,
    }
}

fn is_back_below(range: Range, margin: RearmMargin, price: Price) -> bool {
    range
        .high()
        .is_none_or(|high| price.units() <= high.units() - margin.units(high, range))
}

fn is_back_above(range: Range, margin: RearmMargin, price: Price) -> bool {
    // The sum of two positive numbers, of which one is at most a tenth of the other, can pass the largest.
    range
        .low()
        .is_none_or(|low| price.units() >= low.units().saturating_add(margin.units(low, range)))
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
