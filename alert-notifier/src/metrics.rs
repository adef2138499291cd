//! Names of what is counted.

use cqrs::domain::Timestamp;
use cqrs::{Checked, ClaimedMessage, DeliveryKind, Folded, Heading, Outcome};
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
        "What messages told, by its kind and how the attempt to send it ended"
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

/// How an attempt to send a message ended, for each thing that it tells.
pub(crate) fn ended(message: &ClaimedMessage, outcome: &Outcome, now: Timestamp) {
    let label = match outcome {
        Outcome::Sent { .. } => "sent",
        Outcome::Retry { .. } => "retry",
        Outcome::HoldChat { .. } => "throttled",
        Outcome::Undeliverable { .. } | Outcome::ChatSuspended { .. } => "undeliverable",
    };
    for item in &message.items {
        let kind = kind(item.facts.kind);
        counter!(DELIVERIES, "kind" => kind, "outcome" => label).increment(1);
    }
    match outcome {
        Outcome::Sent { .. } if message.heading == Heading::Plain => {
            for item in &message.items {
                if is_news(item.facts.kind) {
                    let latency = now.since(item.facts.quote_ingest_time);
                    histogram!(LATENCY).record(latency.as_secs_f64());
                }
            }
        }
        Outcome::Retry { ambiguous: true, .. } => ambiguous(),
        Outcome::Sent { .. }
        | Outcome::Retry { .. }
        | Outcome::HoldChat { .. }
        | Outcome::Undeliverable { .. }
        | Outcome::ChatSuspended { .. } => {}
    }
}

const fn kind(kind: DeliveryKind) -> &'static str {
    match kind {
        DeliveryKind::Breach => "breach",
        DeliveryKind::Jump => "jump",
        DeliveryKind::Reminder => "reminder",
        DeliveryKind::BackInRange => "back_in_range",
        DeliveryKind::CameAndWent => "came_and_went",
        DeliveryKind::Test => "test",
        DeliveryKind::FeedStale => "feed_stale",
        DeliveryKind::FeedBack => "feed_back",
        DeliveryKind::Restated => "restated",
    }
}

/// Whether it is told as soon as its quote comes. The quotes of the others are as old as they are.
const fn is_news(kind: DeliveryKind) -> bool {
    match kind {
        DeliveryKind::Breach | DeliveryKind::Jump | DeliveryKind::BackInRange | DeliveryKind::Test => true,
        DeliveryKind::Reminder
        | DeliveryKind::CameAndWent
        | DeliveryKind::FeedStale
        | DeliveryKind::FeedBack
        | DeliveryKind::Restated => false,
    }
}

pub(crate) fn ambiguous() {
    counter!(AMBIGUOUS).increment(1);
}

#[allow(clippy::cast_precision_loss, reason = "exact up to 2^53 messages")]
pub(crate) fn waiting(messages: u64) {
    gauge!(WAITING).set(messages as f64);
}
