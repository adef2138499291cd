use cqrs::domain::Price;

/// Cells of a bar.
const WIDTH: usize = 21;

/// With one threshold, a bar shows this part of the price: 10 %.
const REACH: i128 = 10;

/// Where a price is between its thresholds: `|·····●···|`. Without a threshold the bar is open on that side. A price out of
/// range is on the bar's edge.
pub(super) fn bar(price: Option<Price>, low: Option<Price>, high: Option<Price>) -> String {
    let edge = |threshold: Option<Price>| if threshold.is_some() { '|' } else { ' ' };
    let mut cells = vec!['\u{b7}'; WIDTH];
    if let Some(cell) = price.and_then(|price| cell(price, low, high))
        && let Some(cell) = cells.get_mut(cell)
    {
        *cell = '\u{25cf}';
    }
    let cells: String = cells.into_iter().collect();
    format!("{}{cells}{}", edge(low), edge(high))
}

fn cell(price: Price, low: Option<Price>, high: Option<Price>) -> Option<usize> {
    let (price, low, high) = (units(price), low.map(units), high.map(units));
    let (from, to) = match (low, high) {
        (Some(low), Some(high)) => (low, high),
        (Some(low), None) => (low, low + price / REACH),
        (None, Some(high)) => (high - price / REACH, high),
        (None, None) => return None,
    };
    let last = i128::try_from(WIDTH - 1).ok()?;
    let place = (price - from) * last / (to - from).max(1);
    usize::try_from(place.clamp(0, last)).ok()
}

/// How far it is to the nearer threshold, in hundredths of a percent of the price, rounded up as the server does it: 0
/// only where the price is out of range.
pub(super) fn distance(price: Price, low: Option<Price>, high: Option<Price>) -> Option<i128> {
    let to_low = low.map(|low| units(price) - units(low));
    let to_high = high.map(|high| units(high) - units(price));
    let nearest = to_low.into_iter().chain(to_high).min()?;
    let price = units(price).max(1);
    Some((nearest.max(0) * 10_000 + price - 1) / price)
}

fn units(price: Price) -> i128 {
    i128::from(price.units())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(text: &str) -> Option<Price> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn the_mark_is_where_the_price_is() {
        let (low, high) = (price("100"), price("200"));
        let shown = [
            bar(price("100"), low, high),
            bar(price("150"), low, high),
            bar(price("199.99"), low, high),
            bar(price("250"), low, high),
            bar(price("50"), low, high),
            bar(price("100"), low, None),
            bar(price("1000"), low, None),
            bar(price("195"), None, high),
            bar(None, low, high),
        ];
        insta::assert_snapshot!(shown.join(".\n"), @r"
        |●····················|.
        |··········●··········|.
        |···················●·|.
        |····················●|.
        |●····················|.
        |●···················· .
        |····················● .
         ··············●······|.
        |·····················|
        ");
        assert!(shown.iter().all(|bar| bar.chars().count() == WIDTH + 2));
    }

    #[test]
    fn the_nearer_threshold_counts() {
        let far = |at: &str| distance(price(at).unwrap(), price("100"), price("200"));
        assert_eq!(far("110"), Some(910));
        assert_eq!(far("196.4"), Some(184));
        assert_eq!(far("199.99999999"), Some(1), "not reached");
        assert_eq!(far("201"), Some(0));
        assert_eq!(distance(price("5").unwrap(), None, None), None);
    }
}
