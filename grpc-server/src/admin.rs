//! What operators do. The guard lets nobody else in here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cqrs::domain::UserId;
use cqrs::{Operators, Outbox, UserSummary};
use proto::v1;
use proto::v1::admin_service_server::AdminService;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::{Offset, TopicPartitionList};
use service::kafka::{Kafka, KafkaSettings};
use service::topics::{ALERTS, FEEDS, QUOTES, Topic};
use tokio::sync::Notify;
use tonic::{Code, Request, Response, Status};

use crate::status::{FieldNames, of_command, of_store, retry_refusal};
use crate::wire::{self, Fields};

/// How long a broker is looked for, and how long each of its answers may take: together shorter than a request may.
const PATIENCE: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(2);

/// The consumer groups of this system that commit, and what each reads. (The services don't know one another, so they are named here.)
const GROUPS: [(&str, Topic); 4] = [
    ("alert-system", QUOTES),
    ("alert-notifier", ALERTS),
    ("alert-notifier-feeds", FEEDS),
    ("quote-recorder", QUOTES),
];

/// The operator's calls.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    pub(crate) operators: Operators,
    pub(crate) outbox: Outbox,
    pub(crate) kafka: KafkaSettings,
    /// Wakes the relay.
    pub(crate) outbox_filled: Arc<Notify>,
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn list_users(
        &self,
        request: Request<v1::ListUsersRequest>,
    ) -> Result<Response<v1::ListUsersResponse>, Status> {
        let message = request.into_inner();
        let mut fields = Fields::default();
        let page = wire::page(&mut fields, message.page_size, message.page_token);
        let page = fields.finish(page)?;
        let users = self
            .operators
            .users(page.token.as_deref(), page.size)
            .await
            .map_err(|error| of_store(&error))?;
        Ok(Response::new(v1::ListUsersResponse {
            users: users.items.iter().map(summary).collect(),
            next_page_token: users.next.unwrap_or_default(),
        }))
    }

    async fn revoke_user_token(
        &self,
        request: Request<v1::RevokeUserTokenRequest>,
    ) -> Result<Response<v1::RevokeUserTokenResponse>, Status> {
        let mut fields = Fields::default();
        let user = fields.take("user_id", request.into_inner().user_id.parse::<UserId>());
        let user = fields.finish(user)?;
        let revoked = self.operators.revoke_api_token(user).await;
        revoked.map_err(|error| of_command(error, FieldNames::PLAIN))?;
        tracing::info!(user.id = %user, "an operator revoked a user's token");
        Ok(Response::new(v1::RevokeUserTokenResponse {}))
    }

    async fn republish_rules(
        &self,
        _: Request<v1::RepublishRulesRequest>,
    ) -> Result<Response<v1::RepublishRulesResponse>, Status> {
        let count = self
            .outbox
            .republish_all(false)
            .await
            .map_err(|error| of_store(&error))?;
        self.outbox_filled.notify_one();
        tracing::info!(rules = count, "an operator had all rules published again");
        Ok(Response::new(v1::RepublishRulesResponse {
            rule_count: i64::try_from(count).unwrap_or(i64::MAX),
        }))
    }

    async fn get_lag(&self, _: Request<v1::GetLagRequest>) -> Result<Response<v1::GetLagResponse>, Status> {
        let (outbox, deliveries) = tokio::try_join!(self.operators.unpublished(), self.operators.unsent())
            .map_err(|error| of_store(&error))?;
        let groups = self.groups().await.map_err(|reason| {
            tracing::warn!(%reason, "the groups' lag could not be asked for");
            retry_refusal(
                Code::Unavailable,
                "BROKER_UNAVAILABLE",
                "the broker does not say how far its groups are; try again, or look at the server's log",
                Duration::from_secs(5),
            )
        })?;
        Ok(Response::new(v1::GetLagResponse {
            groups,
            outbox_count: outbox.count,
            outbox_oldest_time: outbox.since.map(wire::timestamp),
            due_delivery_count: deliveries.count,
            due_delivery_oldest_time: deliveries.since.map(wire::timestamp),
        }))
    }
}

impl Admin {
    async fn groups(&self) -> Result<Vec<v1::GroupLag>, String> {
        let kafka = Kafka::connect_to_existing(&self.kafka, PATIENCE)
            .await
            .map_err(|error| error.to_string())?;
        // The client's calls block.
        tokio::task::spawn_blocking(move || {
            let mut ends = BTreeMap::new();
            GROUPS
                .iter()
                .map(|(group, topic)| lag_of(&kafka, group, *topic, &mut ends))
                .collect::<Result<Vec<_>, _>>()
        })
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())
    }
}

/// `ends` are the topics' ends as far as they were asked for.
fn lag_of(
    kafka: &Kafka,
    group: &str,
    topic: Topic,
    ends: &mut BTreeMap<(&'static str, i32), (i64, i64)>,
) -> Result<v1::GroupLag, ClientError> {
    let consumer: BaseConsumer = kafka.consumer_config(group).create()?;
    let partitions = if topic.by_ticker { kafka.partitions() } else { 1 };
    let mut asked = TopicPartitionList::new();
    asked.add_partition_range(topic.name, 0, partitions - 1);
    let committed = consumer.committed_offsets(asked, ANSWER)?;
    let (mut record_count, mut uncommitted_partition_count) = (0, 0);
    for element in committed.elements() {
        let key = (topic.name, element.partition());
        let (low, high) = match ends.get(&key) {
            Some(known) => *known,
            None => {
                let found = consumer.fetch_watermarks(topic.name, element.partition(), ANSWER)?;
                *ends.entry(key).or_insert(found)
            }
        };
        let next = match element.offset() {
            Offset::Offset(next) => next.max(low),
            Offset::Beginning | Offset::End | Offset::Stored | Offset::Invalid | Offset::OffsetTail(_) => {
                uncommitted_partition_count += 1;
                low
            }
        };
        record_count += (high - next).max(0);
    }
    Ok(v1::GroupLag {
        group: group.to_owned(),
        topic: topic.name.to_owned(),
        record_count,
        uncommitted_partition_count,
    })
}

fn summary(user: &UserSummary) -> v1::UserSummary {
    v1::UserSummary {
        id: user.id.to_string(),
        create_time: Some(wire::timestamp(user.created_at)),
        telegram_linked: user.telegram_linked,
        rule_count: user.rules,
        open_episode_count: user.open_episodes,
    }
}
