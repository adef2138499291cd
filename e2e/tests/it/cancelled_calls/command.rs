//! Every kind of command, to be sent again and again.

use std::time::Duration;

use proto::v1;
use proto::v1::alert_service_client::AlertServiceClient;
use proto::v1::rule_service_client::RuleServiceClient;
use proto::v1::user_service_client::UserServiceClient;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::api_run::User;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Create,
    Batch,
    Update,
    Delete,
    Snooze,
    Register,
    UpdateUser,
    Link,
    TestAlert,
    Rotate,
    Revoke,
    DeleteUser,
}

impl Kind {
    /// After it, its caller's token is worth nothing.
    pub(super) fn ends_its_token(self) -> bool {
        matches!(self, Self::Rotate | Self::Revoke | Self::DeleteUser)
    }
}

/// A command with its caller.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) user: User,
    pub(super) command: Command,
}

#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "there are thousands at most, each for a moment"
)]
pub(super) enum Command {
    Create(v1::CreateRuleRequest),
    Batch(v1::BatchCreateRulesRequest),
    Update(v1::UpdateRuleRequest),
    Delete(v1::DeleteRuleRequest),
    Snooze(v1::SnoozeRuleRequest),
    Register(v1::RegisterUserRequest),
    UpdateUser(v1::UpdateUserRequest),
    Link,
    TestAlert,
    Rotate,
    Revoke,
    DeleteUser,
}

/// What every answer to one command must say: which rules there are, in which versions, and whose.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Told {
    user: String,
    rules: Vec<(String, i64)>,
}

impl Told {
    fn rules<'a>(rules: impl IntoIterator<Item = &'a v1::Rule>) -> Self {
        Self {
            rules: rules
                .into_iter()
                .map(|rule| (rule.id.clone(), rule.version))
                .collect(),
            ..Self::default()
        }
    }
}

impl Call {
    pub(super) fn kind(&self) -> Kind {
        match self.command {
            Command::Create(_) => Kind::Create,
            Command::Batch(_) => Kind::Batch,
            Command::Update(_) => Kind::Update,
            Command::Delete(_) => Kind::Delete,
            Command::Snooze(_) => Kind::Snooze,
            Command::Register(_) => Kind::Register,
            Command::UpdateUser(_) => Kind::UpdateUser,
            Command::Link => Kind::Link,
            Command::TestAlert => Kind::TestAlert,
            Command::Rotate => Kind::Rotate,
            Command::Revoke => Kind::Revoke,
            Command::DeleteUser => Kind::DeleteUser,
        }
    }

    /// With a deadline, which the server is told.
    pub(super) async fn send(&self, channel: Channel, deadline: Option<Duration>) -> Result<Told, Status> {
        let mut rules = RuleServiceClient::new(channel.clone());
        let mut users = UserServiceClient::new(channel.clone());
        match &self.command {
            Command::Create(message) => {
                let answer = rules.create_rule(self.request(message.clone(), deadline)).await?;
                return Ok(Told::rules(&answer.into_inner().rule));
            }
            Command::Update(message) => {
                let answer = rules.update_rule(self.request(message.clone(), deadline)).await?;
                return Ok(Told::rules(&answer.into_inner().rule));
            }
            Command::Batch(message) => {
                let request = self.request(message.clone(), deadline);
                let results = rules.batch_create_rules(request).await?.into_inner().results;
                return Ok(Told::rules(results.iter().map(created)));
            }
            Command::Register(message) => {
                let request = self.request(message.clone(), deadline);
                let answer = users.register_user(request).await?.into_inner();
                return Ok(Told {
                    user: answer.user.unwrap_or_default().id,
                    ..Told::rules(&answer.rules)
                });
            }
            Command::Delete(message) => {
                drop(rules.delete_rule(self.request(message.clone(), deadline)).await?);
            }
            // It has no request id: by its repeat, the rule may be another.
            Command::Snooze(message) => {
                drop(rules.snooze_rule(self.request(message.clone(), deadline)).await?);
            }
            // Answers the user as they are by then.
            Command::UpdateUser(message) => {
                drop(users.update_user(self.request(message.clone(), deadline)).await?);
            }
            Command::Link => {
                let request = self.request(v1::CreateLinkTokenRequest::default(), deadline);
                drop(users.create_link_token(request).await?);
            }
            Command::TestAlert => {
                let request = self.request(v1::SendTestAlertRequest::default(), deadline);
                drop(AlertServiceClient::new(channel).send_test_alert(request).await?);
            }
            Command::Rotate => {
                drop(
                    users
                        .rotate_token(self.request(v1::RotateTokenRequest::default(), deadline))
                        .await?,
                );
            }
            Command::Revoke => {
                drop(
                    users
                        .revoke_token(self.request(v1::RevokeTokenRequest::default(), deadline))
                        .await?,
                );
            }
            Command::DeleteUser => {
                drop(
                    users
                        .delete_user(self.request(v1::DeleteUserRequest::default(), deadline))
                        .await?,
                );
            }
        }
        Ok(Told::default())
    }

    fn request<T>(&self, message: T, deadline: Option<Duration>) -> Request<T> {
        let mut request = self.user.request(message);
        if let Some(deadline) = deadline {
            request.set_timeout(deadline);
        }
        request
    }
}

/// The rule of a batch, all of which can be created.
pub(super) fn created(result: &v1::BatchCreateRulesResult) -> &v1::Rule {
    match &result.outcome {
        Some(v1::batch_create_rules_result::Outcome::Rule(rule)) => rule,
        other => panic!("{other:?}"),
    }
}
