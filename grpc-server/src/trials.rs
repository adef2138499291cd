//! The alert that a user asks for, to see that messages arrive.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cqrs::Caller;
use cqrs::domain::{Alert, User, UserId};
use proto::v1;
use service::kafka::{Kafka, KafkaSettings};
use service::test_alerts::{TestAlertError, TestAlerts};
use tokio::sync::OnceCell;
use tonic::{Code, Request, Response, Status};

use crate::api::Api;
use crate::guard::{caller_of, too_often};
use crate::rates::Rates;
use crate::status::{FieldNames, of_command, of_store, refusal, retry_refusal};
use crate::wire::{self, Fields};

/// How long a broker is looked for: shorter than a request may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// A user gets a test alert at most once in so long: each is a message to a messenger that has limits of its own.
const INTERVAL: Duration = Duration::from_secs(10);

/// Writes test alerts. Looks for the broker when somebody asks for the first: the API needs it for nothing else.
#[derive(Debug, Clone)]
pub(crate) struct Trials {
    settings: KafkaSettings,
    alerts: Arc<OnceCell<TestAlerts>>,
    rates: Arc<Rates<UserId>>,
}

impl Trials {
    pub(crate) fn new(settings: KafkaSettings) -> Self {
        Self {
            settings,
            alerts: Arc::default(),
            rates: Arc::new(Rates::new(1, INTERVAL, 1)),
        }
    }

    async fn alerts(&self) -> Result<&TestAlerts, TestAlertError> {
        self.alerts
            .get_or_try_init(async || Ok(TestAlerts::new(&Kafka::connect(&self.settings).await?)?))
            .await
    }
}

impl Api {
    pub(crate) async fn test_alert(
        &self,
        request: Request<v1::SendTestAlertRequest>,
    ) -> Result<Response<v1::SendTestAlertResponse>, Status> {
        let caller = caller_of(&request)?;
        let mut message = request.into_inner();
        let mut fields = Fields::default();
        let request_id = wire::request_id(&mut fields, std::mem::take(&mut message.request_id));
        let request_id = fields.finish(request_id)?;
        let idempotency = wire::idempotency("SendTestAlert", request_id, &message);
        if let Some(idempotency) = idempotency.clone() {
            let answered = self.commands.answered_test_alert(caller, idempotency).await;
            let answered = answered.map_err(|error| of_command(error, FieldNames::PLAIN))?;
            if let Some(alert) = answered {
                return Ok(answer(&alert));
            }
        }
        let user = self.queries.user(caller).await;
        is_reachable(user.map_err(|error| of_store(&error))?.as_ref())?;
        self.trials
            .rates
            .take(caller.0, Instant::now())
            .map_err(|wait| too_often("test alerts", wait))?;
        let alert = self.raise(caller).await?;
        if let Some(idempotency) = idempotency {
            let stored = self
                .commands
                .answer_test_alert(caller, idempotency, alert.clone());
            stored
                .await
                .map_err(|error| of_command(error, FieldNames::PLAIN))?;
        }
        Ok(answer(&alert))
    }

    async fn raise(&self, caller: Caller) -> Result<Alert, Status> {
        let raised = tokio::time::timeout(PATIENCE, async {
            self.trials.alerts().await?.raise(caller.0).await
        });
        match raised.await {
            Ok(Ok(alert)) => Ok(alert),
            Ok(Err(error)) => {
                tracing::warn!(%error, "a test alert could not be written");
                Err(log_unavailable())
            }
            Err(_) => {
                tracing::warn!("a test alert could not be written in time");
                Err(log_unavailable())
            }
        }
    }
}

fn answer(alert: &Alert) -> Response<v1::SendTestAlertResponse> {
    Response::new(v1::SendTestAlertResponse {
        alert: Some(wire::alert(alert)),
    })
}

/// Whether a message would get anywhere.
fn is_reachable(user: Option<&User>) -> Result<(), Status> {
    let Some(user) = user.filter(|user| user.telegram_linked) else {
        return Err(refusal(
            Code::FailedPrecondition,
            "NO_CHAT",
            "no Telegram chat is linked, so no message can be sent; open a link from CreateLinkToken first",
        ));
    };
    if let Some(since) = user.chat_suspended_at {
        return Err(refusal(
            Code::FailedPrecondition,
            "CHAT_SUSPENDED",
            format!(
                "Telegram has refused messages to the linked chat since {since}, so none is sent; send /start to the bot there, or \
                 link a chat anew with CreateLinkToken"
            ),
        ));
    }
    Ok(())
}

fn log_unavailable() -> Status {
    retry_refusal(
        Code::Unavailable,
        "LOG_UNAVAILABLE",
        "the log that carries alerts is not available; alerts wait, too, until it is; try again in a while",
        INTERVAL,
    )
}
