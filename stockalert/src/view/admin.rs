use proto::v1;
use serde::Serialize;

use super::time;

#[derive(Debug, Serialize)]
pub(crate) struct UserSummary {
    pub id: String,
    pub create_time: Option<jiff::Timestamp>,
    pub telegram_linked: bool,
    pub rule_count: i64,
    pub open_episode_count: i64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Lag {
    pub groups: Vec<GroupLag>,
    pub outbox_count: i64,
    pub outbox_oldest_time: Option<jiff::Timestamp>,
    pub due_delivery_count: i64,
    pub due_delivery_oldest_time: Option<jiff::Timestamp>,
}

#[derive(Debug, Serialize)]
pub(crate) struct GroupLag {
    pub group: String,
    pub topic: String,
    pub record_count: i64,
    pub uncommitted_partition_count: i32,
}

#[derive(Debug, Serialize)]
pub(crate) struct Republished {
    pub rule_count: i64,
}

impl From<v1::UserSummary> for UserSummary {
    fn from(user: v1::UserSummary) -> Self {
        Self {
            id: user.id,
            create_time: time(user.create_time),
            telegram_linked: user.telegram_linked,
            rule_count: user.rule_count,
            open_episode_count: user.open_episode_count,
        }
    }
}

impl From<v1::GetLagResponse> for Lag {
    fn from(lag: v1::GetLagResponse) -> Self {
        let group = |group: v1::GroupLag| GroupLag {
            group: group.group,
            topic: group.topic,
            record_count: group.record_count,
            uncommitted_partition_count: group.uncommitted_partition_count,
        };
        Self {
            groups: lag.groups.into_iter().map(group).collect(),
            outbox_count: lag.outbox_count,
            outbox_oldest_time: time(lag.outbox_oldest_time),
            due_delivery_count: lag.due_delivery_count,
            due_delivery_oldest_time: time(lag.due_delivery_oldest_time),
        }
    }
}
