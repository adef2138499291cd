//! Names of the metrics.

use metrics::{describe_counter, describe_gauge};

/// Quotes acknowledged by the broker, by `source`.
pub(crate) const QUOTES_PUBLISHED: &str = "stockalert_collector_quotes_published_total";
/// Quotes that the broker did not acknowledge in time, by `source`.
pub(crate) const QUOTES_UNDELIVERED: &str = "stockalert_collector_quotes_undelivered_total";
/// Polls by `provider` and `outcome`.
pub(crate) const FETCHES: &str = "stockalert_collector_fetches_total";
/// Polls left out because the ticker's last one had not ended, or there were too many at once.
pub(crate) const BEATS_SKIPPED: &str = "stockalert_collector_beats_skipped_total";
/// 0 closed, 1 half open, 2 open, by `provider` and `endpoint`.
pub(crate) const BREAKER_STATE: &str = "stockalert_collector_breaker_state";
/// By `provider`, `endpoint`, the state entered (`to`) and the `reason`.
pub(crate) const BREAKER_TRANSITIONS: &str = "stockalert_collector_breaker_transitions_total";
/// Tickers that this process polls.
pub(crate) const TICKERS_WATCHED: &str = "stockalert_collector_tickers_watched";
/// Records of the rules topic that could not be read.
pub(crate) const RULES_UNREADABLE: &str = "stockalert_collector_rule_records_unreadable_total";
/// Records of the tickers topic that could not be read.
pub(crate) const TICKERS_UNREADABLE: &str = "stockalert_collector_ticker_records_unreadable_total";
/// Rows of a replayed file that could not be read.
pub(crate) const ROWS_SKIPPED: &str = "stockalert_collector_replay_rows_skipped_total";

/// Describes them to the recorder.
pub(crate) fn describe() {
    describe_counter!(QUOTES_PUBLISHED, "Quotes acknowledged by the broker, by source");
    describe_counter!(
        QUOTES_UNDELIVERED,
        "Quotes that the broker did not acknowledge in time, by source"
    );
    describe_counter!(FETCHES, "Polls of the provider by outcome");
    describe_counter!(
        BEATS_SKIPPED,
        "Polls left out because an earlier one had not ended"
    );
    describe_gauge!(BREAKER_STATE, "Circuit breaker: 0 closed, 1 half open, 2 open");
    describe_counter!(
        BREAKER_TRANSITIONS,
        "State changes of the circuit breaker, by the state entered and the reason"
    );
    describe_gauge!(TICKERS_WATCHED, "Tickers that this process polls");
    describe_counter!(
        RULES_UNREADABLE,
        "Records of the rules topic that could not be read"
    );
    describe_counter!(
        TICKERS_UNREADABLE,
        "Records of the tickers topic that could not be read"
    );
    describe_counter!(ROWS_SKIPPED, "Rows of the replayed file that could not be read");
}
