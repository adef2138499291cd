//! What requests say of rules beyond what a rule is, and what is shown of previews.

use std::time::Duration;

use cqrs::domain::{Price, RuleState, Snooze};
use cqrs::{Breach, Preview, RuleFilter};
use proto::v1;

use super::Fields;
use super::input::{duration, timestamp};
use super::output::{quote, side, timestamp as show_time};

/// Most rules of a batch: an answer with as many, and the longest notes, stays below what clients take (4 MiB).
const MOST_IN_BATCH: usize = 1_000;

const PREVIEW_WINDOW: (Duration, Duration) =
    (Duration::from_secs(60), Duration::from_secs(30 * 24 * 60 * 60));

/// Which rules to list.
pub(crate) fn rule_filter(fields: &mut Fields, message: &v1::ListRulesRequest) -> Option<RuleFilter> {
    let ticker = match message.ticker.as_str() {
        "" => Some(None),
        ticker => fields.take("ticker", ticker.parse()).map(Some),
    };
    let mut states = Vec::new();
    for (index, state) in message.states.iter().enumerate() {
        match v1::rule::State::try_from(*state) {
            Ok(v1::rule::State::Active) => states.push(RuleState::Active),
            Ok(v1::rule::State::Paused) => states.push(RuleState::Paused),
            Ok(v1::rule::State::OnHold) => states.push(RuleState::OnHold),
            Ok(v1::rule::State::Expired) => states.push(RuleState::Expired),
            Ok(v1::rule::State::Unspecified) | Err(_) => fields.refuse(
                format!("states[{index}]"),
                format!("{state} is no state of a rule; give active, paused, on hold or expired"),
            ),
        }
    }
    // Each once: a repetition means nothing, and a thousand would make a long statement.
    let given = std::mem::take(&mut states);
    for state in given {
        if !states.contains(&state) {
            states.push(state);
        }
    }
    Some(RuleFilter {
        ticker: ticker?,
        states,
        out_of_range: message.out_of_range,
    })
}

/// How long to snooze; absent: no longer. The outer `None` is a violation.
pub(crate) fn snooze(fields: &mut Fields, snooze: Option<&v1::Snooze>) -> Option<Option<Snooze>> {
    let Some(snooze) = snooze else { return Some(None) };
    match &snooze.end {
        Some(v1::snooze::End::UntilTime(time)) => {
            timestamp(fields, "snooze.until_time", time).map(|until| Some(Snooze::Until(until)))
        }
        Some(v1::snooze::End::UntilBack(true)) => Some(Some(Snooze::UntilBack)),
        Some(v1::snooze::End::UntilBack(false)) => {
            fields.refuse(
                "snooze.until_back",
                "it is false; give true, until_time, or no snooze to end one",
            );
            None
        }
        None => {
            fields.refuse(
                "snooze",
                "it has no end; give until_time or until_back, or no snooze to end one",
            );
            None
        }
    }
}

/// How long until now a preview looks; absent: as long as it can.
pub(crate) fn preview_window(fields: &mut Fields, window: Option<prost_types::Duration>) -> Option<Duration> {
    let (shortest, longest) = PREVIEW_WINDOW;
    let Some(window) = window else {
        return Some(longest);
    };
    match duration(window) {
        Some(span) if (shortest..=longest).contains(&span) => Some(span),
        _ => {
            let (seconds, nanos) = (window.seconds, window.nanos);
            fields.refuse(
                "window",
                format!("{seconds} s and {nanos} ns is out of range; give 1 minute to 30 days, or none for 30 days"),
            );
            None
        }
    }
}

/// How many rules a batch has.
pub(crate) fn batch_size(fields: &mut Fields, rules: usize) -> Option<()> {
    if (1..=MOST_IN_BATCH).contains(&rules) {
        return Some(());
    }
    fields.refuse(
        "rules",
        format!("{rules} rules can't be created at once; give 1 to {MOST_IN_BATCH}"),
    );
    None
}

/// What a rule with these thresholds would have done.
pub(crate) fn preview(preview: &Preview, low: Option<Price>, high: Option<Price>) -> v1::PreviewRuleResponse {
    let latest = preview.latest.as_ref().map(|quote| quote.price);
    let distance = |threshold: Option<Price>, is_low: bool| {
        let (threshold, latest) = (threshold?.units(), latest?.units());
        let way = if is_low {
            latest - threshold
        } else {
            threshold - latest
        };
        Some(percent(way, latest))
    };
    v1::PreviewRuleResponse {
        alert_count: i64::try_from(preview.fired).unwrap_or(i64::MAX),
        alerts: preview.breaches.iter().map(previewed).collect(),
        quote_count: i64::try_from(preview.quotes).unwrap_or(i64::MAX),
        first_time: preview.first.map(show_time),
        latest_quote: preview.latest.as_ref().map(quote),
        side: preview.side.map_or(v1::Side::Unspecified, side).into(),
        low_distance_percent: distance(low, true),
        high_distance_percent: distance(high, false),
    }
}

fn previewed(breach: &Breach) -> v1::PreviewedAlert {
    v1::PreviewedAlert {
        side: side(breach.side).into(),
        price: breach.price.to_string(),
        quote_time: Some(show_time(breach.time)),
    }
}

/// `way` in percent of `price`, with two decimals, rounded up: what is not reached is not 0.00.
fn percent(way: i64, price: i64) -> String {
    let (way, price) = (i128::from(way.max(0)), i128::from(price));
    let hundredths = (way * 10_000 + price - 1) / price;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn a_distance_is_rounded_up_and_zero_only_where_the_threshold_is_reached() {
        for (way, price, text) in [
            (180, 10_000, "1.80"),
            (1, 1_000_000, "0.01"),
            (0, 5, "0.00"),
            (-3, 5, "0.00"),
            (1, 3, "33.34"),
            (i64::MAX, 1, "922337203685477580700.00"),
        ] {
            assert_eq!(percent(way, price), text);
        }
    }
}
