//! What requests say of recorded prices, and how these are shown.

use std::time::Duration;

use cqrs::domain::Timestamp;
use cqrs::{Candle, ListedTicker};
use proto::v1;

use super::Fields;
use super::input::{duration, timestamp};
use super::output::{quote, timestamp as show_time};

const INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(24 * 60 * 60));

/// Most parts of time in one answer: some 100 KB of candles.
const MOST_PARTS: i64 = 1_000;

/// Which prices to put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CandleRange {
    /// Where the first part begins.
    pub(crate) from: Timestamp,
    /// Until before this.
    pub(crate) to: Timestamp,
    /// How long each part is.
    pub(crate) interval: Duration,
}

/// From when (inclusive) until when (exclusive); absent: without an end. The outer `None` is a violation.
pub(crate) fn time_range(
    fields: &mut Fields,
    start: Option<&prost_types::Timestamp>,
    end: Option<&prost_types::Timestamp>,
) -> Option<(Option<Timestamp>, Option<Timestamp>)> {
    let (start, end) = (
        optional_time(fields, "start_time", start),
        optional_time(fields, "end_time", end),
    );
    let (start, end) = (start?, end?);
    if let (Some(start), Some(end)) = (start, end)
        && end <= start
    {
        fields.refuse("end_time", not_after(end, start));
        return None;
    }
    Some((start, end))
}

/// Which parts of time to list. `now`: where they end if the request does not say.
pub(crate) fn candle_range(
    fields: &mut Fields,
    message: &v1::ListCandlesRequest,
    now: Timestamp,
) -> Option<CandleRange> {
    let interval = candle_interval(fields, message.interval);
    let start = match &message.start_time {
        Some(start) => timestamp(fields, "start_time", start),
        None => {
            fields.refuse("start_time", "it is missing; give a time in the first part");
            None
        }
    };
    let end = optional_time(fields, "end_time", message.end_time.as_ref());
    let (interval, start, end) = (interval?, start?, end?);
    let to = end.unwrap_or(now);
    if to <= start {
        match end {
            Some(end) => fields.refuse("end_time", not_after(end, start)),
            None => fields.refuse(
                "start_time",
                format!("{start} has not come yet; give a time in the past, or an end_time after it"),
            ),
        }
        return None;
    }
    let width = i64::try_from(interval.as_micros()).ok()?;
    let from = start.as_micros() - start.as_micros().rem_euclid(width);
    let parts = (to.as_micros() - from + width - 1) / width;
    if parts > MOST_PARTS {
        let seconds = interval.as_secs();
        fields.refuse(
            "interval",
            format!(
                "from {start} to {to} there are {parts} parts of {seconds} s; give a longer interval or a shorter \
                 time, with at most {MOST_PARTS} parts"
            ),
        );
        return None;
    }
    Some(CandleRange {
        from: Timestamp::from_micros(from),
        to,
        interval,
    })
}

fn candle_interval(fields: &mut Fields, interval: Option<prost_types::Duration>) -> Option<Duration> {
    let (shortest, longest) = INTERVAL;
    let Some(interval) = interval else {
        fields.refuse("interval", "it is missing; give 1 s to 1 day, in whole seconds");
        return None;
    };
    match duration(interval) {
        Some(span) if (shortest..=longest).contains(&span) && span.subsec_nanos() == 0 => Some(span),
        _ => {
            let (seconds, nanos) = (interval.seconds, interval.nanos);
            fields.refuse(
                "interval",
                format!("{seconds} s and {nanos} ns can't be; give 1 s to 1 day, in whole seconds"),
            );
            None
        }
    }
}

/// A moment; absent: none. The outer `None` is a violation.
fn optional_time(
    fields: &mut Fields,
    path: &str,
    time: Option<&prost_types::Timestamp>,
) -> Option<Option<Timestamp>> {
    match time {
        None => Some(None),
        Some(time) => timestamp(fields, path, time).map(Some),
    }
}

fn not_after(end: Timestamp, start: Timestamp) -> String {
    format!("{end} is not after start_time, {start}; give a later time, or none")
}

/// A ticker of a list.
pub(crate) fn listed_ticker(listed: &ListedTicker) -> v1::TickerSummary {
    v1::TickerSummary {
        ticker: listed.ticker.to_string(),
        latest_quote: listed.latest.as_ref().map(quote),
        rule_count: listed.rules,
    }
}

/// The prices of a part of time.
pub(crate) fn candle(candle: &Candle) -> v1::Candle {
    v1::Candle {
        start_time: Some(show_time(candle.start)),
        open: candle.open.to_string(),
        high: candle.high.to_string(),
        low: candle.low.to_string(),
        close: candle.close.to_string(),
        quote_count: candle.quotes,
    }
}
