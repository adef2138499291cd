use std::collections::{BTreeMap, BTreeSet};

use cqrs::OutboxEntry;
use cqrs::domain::{RuleChange, RuleId, Ticker, Timestamp};
use service::TraceParent;
use service::codec::encode_rule;
use service::kafka::{KafkaError, Outgoing, Producer};
use service::topics::RULES;

/// What became of a batch.
#[derive(Debug)]
pub(super) struct Published {
    /// The log has them, and they need never be written again.
    pub(super) forgettable: Vec<OutboxEntry>,
    /// The first failure.
    pub(super) failure: Option<KafkaError>,
}

/// Hands over entries in their order while `may_hand_over`, then waits for what becomes of each. Each rule is noted in
/// `handed_over` before its record can be written.
pub(super) async fn publish(
    producer: &Producer,
    entries: &[OutboxEntry],
    handed_over: &mut BTreeMap<RuleId, Ticker>,
    may_hand_over: impl Fn() -> bool,
) -> Published {
    let mut failure = None;
    let mut in_flight = Vec::with_capacity(entries.len());
    for entry in entries {
        let (rule_id, ticker, payload) = (
            entry.rule_id(),
            ticker_of(&entry.change),
            payload_of(&entry.change),
        );
        let key = rule_id.to_string();
        let record = Outgoing {
            topic: RULES,
            ticker,
            key: key.as_bytes(),
            payload: payload.as_deref(),
            trace: Some(TraceParent::generate()),
        };
        handed_over.insert(rule_id, ticker.clone());
        if !may_hand_over() {
            break;
        }
        match producer.send(record).await {
            Ok(acknowledgement) => in_flight.push((entry, acknowledgement)),
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    let mut outcomes = Vec::with_capacity(in_flight.len());
    for (entry, acknowledgement) in in_flight {
        let outcome = acknowledgement.wait().await;
        outcomes.push((entry, outcome.is_ok()));
        if let Err(error) = outcome {
            failure.get_or_insert(error);
        }
    }
    Published {
        forgettable: forgettable(&outcomes),
        failure,
    }
}

/// How long the oldest change has been waiting.
pub(super) fn record_age(entries: &[OutboxEntry]) {
    let oldest = entries.iter().find_map(|entry| match &entry.change {
        RuleChange::Changed(rule) => Some(rule.updated_at),
        RuleChange::Deleted { .. } => None,
    });
    let age = oldest.map_or(0.0, |oldest| Timestamp::now().since(oldest).as_secs_f64());
    metrics::gauge!("stockalert_outbox_oldest_age_seconds").set(age);
}

/// Chooses the partition.
fn ticker_of(change: &RuleChange) -> &Ticker {
    match change {
        RuleChange::Changed(rule) => &rule.ticker,
        RuleChange::Deleted { ticker, .. } => ticker,
    }
}

/// What a change's record holds; nothing: the rule is gone.
fn payload_of(change: &RuleChange) -> Option<Vec<u8>> {
    match change {
        RuleChange::Changed(rule) => Some(encode_rule(rule)),
        RuleChange::Deleted { .. } => None,
    }
}

/// The entries that the log has and that no earlier failed entry of the same rule will be written after: if one fails,
/// it is written again later, and then everything that came after it must be, too.
fn forgettable(outcomes: &[(&OutboxEntry, bool)]) -> Vec<OutboxEntry> {
    let mut failed = BTreeSet::new();
    let mut done = Vec::with_capacity(outcomes.len());
    for (entry, acknowledged) in outcomes {
        if !acknowledged {
            failed.insert(entry.rule_id());
        } else if !failed.contains(&entry.rule_id()) {
            done.push((*entry).clone());
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use cqrs::domain::RuleVersion;

    use super::*;

    fn deletion(rule_id: RuleId, version: i64) -> OutboxEntry {
        OutboxEntry {
            version: RuleVersion::try_from(version).unwrap(),
            change: RuleChange::Deleted {
                rule_id,
                ticker: "AAPL".parse().unwrap(),
            },
        }
    }

    #[test]
    fn nothing_after_a_failed_version_of_the_same_rule_is_forgotten() {
        let (a, b) = (RuleId::generate(), RuleId::generate());
        let entries = [
            deletion(a, 1),
            deletion(b, 1),
            deletion(a, 2),
            deletion(a, 3),
            deletion(b, 2),
        ];
        let outcomes: Vec<_> = entries.iter().zip([true, true, false, true, true]).collect();
        assert_eq!(
            forgettable(&outcomes),
            [deletion(a, 1), deletion(b, 1), deletion(b, 2)]
        );
    }
}
