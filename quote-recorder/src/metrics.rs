//! Names of the metrics.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// Quotes by `outcome`: recorded, repeated, unreadable.
pub(crate) const QUOTES: &str = "stockalert_recorder_quotes_total";
/// Writes that failed.
pub(crate) const FAILURES: &str = "stockalert_recorder_failures_total";
/// Time of one batch in the database.
pub(crate) const WRITE_SECONDS: &str = "stockalert_recorder_write_seconds";
/// How far the history is behind.
pub(crate) const LAG_SECONDS: &str = "stockalert_recorder_lag_seconds";

/// Describes them to the recorder of metrics.
pub(crate) fn describe() {
    describe_counter!(QUOTES, "Quotes by outcome: recorded, repeated, unreadable");
    describe_counter!(FAILURES, "Writes that the database refused");
    describe_histogram!(WRITE_SECONDS, "Time of one batch in the database");
    describe_gauge!(
        LAG_SECONDS,
        "Age of the newest quote of the last batch when it was recorded"
    );
}
