//! What the alerts must be, computed the slow and obvious way: every rule looks at every quote of its ticker. Shares no
//! code with the alert system on purpose.

use std::collections::BTreeSet;

/// A rule, in units of 1e-8.
#[derive(Debug, Clone)]
pub struct OracleRule {
    /// Its id.
    pub id: String,
    /// What it watches.
    pub ticker: String,
    /// At or below is out.
    pub low: Option<i64>,
    /// At or above is out.
    pub high: Option<i64>,
}

/// A quote as it lies in the log.
#[derive(Debug, Clone)]
pub struct OracleQuote {
    /// Of what.
    pub ticker: String,
    /// In units of 1e-8.
    pub price: i64,
    /// When the price was made.
    pub event_time_us: i64,
    /// Where in its partition.
    pub offset: i64,
}

/// A transition: (rule, offset of the quote, side entered).
pub type Expected = (String, i64, &'static str);

/// The transitions of all rules, each of which existed before the first quote and never changed. Quotes are given in the
/// order of their partitions.
#[must_use]
pub fn transitions(rules: &[OracleRule], quotes: &[OracleQuote]) -> BTreeSet<Expected> {
    rules
        .iter()
        .flat_map(|rule| transitions_of(rule, quotes))
        .collect()
}

fn transitions_of(rule: &OracleRule, quotes: &[OracleQuote]) -> Vec<Expected> {
    let mut found = Vec::new();
    let mut side = "in";
    let mut newest = i64::MIN;
    for quote in quotes.iter().filter(|quote| quote.ticker == rule.ticker) {
        if quote.event_time_us < newest {
            continue;
        }
        newest = quote.event_time_us;
        let next = next_side(rule, side, i128::from(quote.price));
        if next != side {
            found.push((rule.id.clone(), quote.offset, next));
            side = next;
        }
    }
    found
}

pub(crate) fn next_side(rule: &OracleRule, side: &'static str, price: i128) -> &'static str {
    let (low, high) = (rule.low.map(i128::from), rule.high.map(i128::from));
    let margin = |threshold: i128| {
        let margin = threshold * 2 / 1000;
        if let (Some(low), Some(high)) = (low, high) {
            margin.min((high - low) / 2)
        } else {
            margin
        }
    };
    if high.is_some_and(|high| price >= high) {
        return "above";
    }
    if low.is_some_and(|low| price <= low) {
        return "below";
    }
    if side == "above" && high.is_none_or(|high| price <= high - margin(high)) {
        return "in";
    }
    if side == "below" && low.is_none_or(|low| price >= low + margin(low)) {
        return "in";
    }
    side
}
