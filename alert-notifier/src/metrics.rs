//! Names of what is counted.

use std::time::Duration;

use cqrs::{Checked, DeliveryKind, Folded};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const ALERTS: &str = "stockalert_alerts_folded_total";
const DELIVERIES: &str = "stockalert_deliveries_total";
const AMBIGUOUS: &str = "stockalert_ambiguous_sends_total";
const LATENCY: &str = "stockalert_quote_to_delivery_seconds";
const WAITING: &str = "stockalert_deliveries_waiting";
const EPISODES: &str = "stockalert_episodes_checked_total";

pub(crate) fn describe() {
    describe_counter!(
        ALERTS,
        "Records of the alerts topic: taken, repeated (known before) or orphaned (rule deleted)"
    );
    describe_counter!(
        DELIVERIES,
        "Attempts to send a message, by its kind and how they ended"
    );
    describe_counter!(
        AMBIGUOUS,
        "Attempts of which nobody knows whether they reached the user: each may make a copy"
    );
    describe_histogram!(
        LATENCY,
        "From a quote's entry into the system to the message about it, in seconds"
    );
    describe_gauge!(WAITING, "Messages of all users that are not yet sent");
    describe_counter!(EPISODES, "Looks at open episodes, by what came of them");
}

pub(crate) fn folded(folded: Folded) {
    counter!(ALERTS, "result" => "taken").increment(folded.taken);
    counter!(ALERTS, "result" => "repeated").increment(folded.repeated);
    counter!(ALERTS, "result" => "orphaned").increment(folded.orphaned);
}

pub(crate) fn checked(checked: Checked) {
    counter!(EPISODES, "result" => "reminded").increment(checked.reminders);
    counter!(EPISODES, "result" => "closed").increment(checked.closed);
    counter!(EPISODES, "result" => "repaired").increment(checked.repaired);
    let acted = checked.reminders + checked.closed + checked.repaired;
    counter!(EPISODES, "result" => "unchanged").increment(checked.episodes.saturating_sub(acted));
}

pub(crate) fn attempted(kind: DeliveryKind, outcome: &'static str) {
    let kind = match kind {
        DeliveryKind::Breach => "breach",
        DeliveryKind::Jump => "jump",
        DeliveryKind::Reminder => "reminder",
        DeliveryKind::BackInRange => "back_in_range",
        DeliveryKind::CameAndWent => "came_and_went",
        DeliveryKind::Test => "test",
        DeliveryKind::FeedStale => "feed_stale",
        DeliveryKind::FeedBack => "feed_back",
    };
    counter!(DELIVERIES, "kind" => kind, "outcome" => outcome).increment(1);
}

pub(crate) fn ambiguous() {
    counter!(AMBIGUOUS).increment(1);
}

pub(crate) fn latency(since_quote: Duration) {
    histogram!(LATENCY).record(since_quote.as_secs_f64());
}

#[allow(clippy::cast_precision_loss, reason = "exact up to 2^53 messages")]
pub(crate) fn waiting(messages: u64) {
    gauge!(WAITING).set(messages as f64);
}
