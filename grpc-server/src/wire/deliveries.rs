use cqrs::domain::RuleId;
use cqrs::{DeliveryFilter, DeliveryKind, DeliveryStatus, ListedDelivery};
use proto::v1;
use proto::v1::delivery::{Kind, Status};

use super::Fields;
use super::output::{side, timestamp};

/// Which deliveries to list.
pub(crate) fn delivery_filter(
    fields: &mut Fields,
    message: &v1::ListDeliveriesRequest,
) -> Option<DeliveryFilter> {
    let rule = match message.rule_id.as_str() {
        "" => Some(None),
        id => fields.take("rule_id", id.parse::<RuleId>()).map(Some),
    };
    let mut statuses = Vec::new();
    for (index, status) in message.statuses.iter().enumerate() {
        let status = match Status::try_from(*status) {
            Ok(Status::Planned) => DeliveryStatus::Planned,
            Ok(Status::Sending) => DeliveryStatus::Sending,
            Ok(Status::Sent) => DeliveryStatus::Sent,
            Ok(Status::Undeliverable) => DeliveryStatus::Undeliverable,
            Ok(Status::Superseded) => DeliveryStatus::Superseded,
            Ok(Status::Unspecified) | Err(_) => {
                fields.refuse(
                    format!("statuses[{index}]"),
                    format!(
                        "{status} is no status of a delivery; give planned, sending, sent, undeliverable or superseded"
                    ),
                );
                continue;
            }
        };
        if !statuses.contains(&status) {
            statuses.push(status);
        }
    }
    Some(DeliveryFilter {
        rule: rule?,
        statuses,
    })
}

/// A delivery as its user sees it.
pub(crate) fn delivery(listed: &ListedDelivery) -> v1::Delivery {
    let view = &listed.view;
    let (kind, is_of_rule) = match view.kind {
        DeliveryKind::Breach => (Kind::Breach, true),
        DeliveryKind::Jump => (Kind::Jump, true),
        DeliveryKind::Reminder => (Kind::Reminder, true),
        DeliveryKind::BackInRange => (Kind::Back, true),
        DeliveryKind::CameAndWent => (Kind::CameAndWent, true),
        DeliveryKind::Test => (Kind::Test, true),
        DeliveryKind::FeedStale => (Kind::FeedStale, false),
        DeliveryKind::FeedBack => (Kind::FeedBack, false),
        DeliveryKind::Restated => (Kind::Restated, false),
    };
    let status = match view.status {
        DeliveryStatus::Planned => Status::Planned,
        DeliveryStatus::Sending => Status::Sending,
        DeliveryStatus::Sent => Status::Sent,
        DeliveryStatus::Undeliverable => Status::Undeliverable,
        DeliveryStatus::Superseded => Status::Superseded,
    };
    let of_rule = |text: String| if is_of_rule { text } else { String::new() };
    v1::Delivery {
        id: view.id.to_string(),
        alert_id: of_rule(format!("{}.{}", view.rule_id, view.position)),
        rule_id: of_rule(view.rule_id.to_string()),
        ticker: view.ticker.to_string(),
        kind: kind.into(),
        status: status.into(),
        side: side(listed.side).into(),
        price: view.price.to_string(),
        threshold: listed.threshold.to_string(),
        plan_time: Some(timestamp(view.planned_at)),
        due_time: Some(timestamp(listed.due_at)),
        send_time: view.sent_at.map(timestamp),
        attempt_count: view.attempts.into(),
        ambiguous_attempt_count: view.ambiguous_sends.into(),
        reason: view.reason.clone().unwrap_or_default(),
    }
}
