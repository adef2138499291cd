//! Deliveries, and the alert that a user asks for to see one.

use std::sync::Arc;
use std::time::Duration;

use proto::v1;
use service::kafka::{Kafka, KafkaSettings};
use service::test_alerts::{TestAlertError, TestAlerts};
use tokio::sync::OnceCell;
use tonic::{Code, Request, Response, Status};

use crate::api::Api;
use crate::guard::caller_of;
use crate::status::{of_store, refusal, rule_not_found};
use crate::wire::{self, Fields};

/// How long a broker is looked for: shorter than a request may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// Writes test alerts. Looks for the broker when somebody asks for the first: the API needs it for nothing else.
#[derive(Debug, Clone)]
pub(crate) struct Trials {
    settings: KafkaSettings,
    alerts: Arc<OnceCell<TestAlerts>>,
}

impl Trials {
    pub(crate) fn new(settings: KafkaSettings) -> Self {
        Self {
            settings,
            alerts: Arc::default(),
        }
    }

    async fn alerts(&self) -> Result<&TestAlerts, TestAlertError> {
        self.alerts
            .get_or_try_init(async || Ok(TestAlerts::new(&Kafka::connect(&self.settings).await?)?))
            .await
    }
}

impl Api {
    pub(crate) async fn deliveries(
        &self,
        request: Request<v1::ListDeliveriesRequest>,
    ) -> Result<Response<v1::ListDeliveriesResponse>, Status> {
        let caller = caller_of(&request)?;
        let mut message = request.into_inner();
        let mut fields = Fields::default();
        let page = wire::page(
            &mut fields,
            message.page_size,
            std::mem::take(&mut message.page_token),
        );
        let filter = wire::delivery_filter(&mut fields, &message);
        let (page, filter) = fields.finish(page.zip(filter))?;
        let deliveries = self
            .queries
            .deliveries(caller, &filter, page.token.as_deref(), page.size)
            .await
            .map_err(|error| of_store(&error))?;
        // As with alerts: a deleted rule's can be listed; an id that never was the caller's is an error, not silence.
        if let Some(id) = filter.rule
            && deliveries.items.is_empty()
            && filter.statuses.is_empty()
            && page.token.is_none()
            && self
                .queries
                .rule(caller, id)
                .await
                .map_err(|error| of_store(&error))?
                .is_none()
        {
            return Err(rule_not_found(id));
        }
        Ok(Response::new(v1::ListDeliveriesResponse {
            deliveries: deliveries.items.iter().map(wire::delivery).collect(),
            next_page_token: deliveries.next.unwrap_or_default(),
        }))
    }

    pub(crate) async fn test_alert(
        &self,
        request: Request<v1::SendTestAlertRequest>,
    ) -> Result<Response<v1::SendTestAlertResponse>, Status> {
        let caller = caller_of(&request)?;
        let user = self
            .queries
            .user(caller)
            .await
            .map_err(|error| of_store(&error))?;
        if !user.is_some_and(|user| user.telegram_linked) {
            return Err(refusal(
                Code::FailedPrecondition,
                "NO_CHAT",
                "no Telegram chat is linked, so no message can be sent; open a link from CreateLinkToken first",
            ));
        }
        let raised = tokio::time::timeout(PATIENCE, async {
            self.trials.alerts().await?.raise(caller.0).await
        });
        match raised.await {
            Ok(Ok(alert)) => Ok(Response::new(v1::SendTestAlertResponse {
                alert: Some(wire::alert(&alert)),
            })),
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

fn log_unavailable() -> Status {
    refusal(
        Code::Unavailable,
        "LOG_UNAVAILABLE",
        "the log that carries alerts is not available; alerts wait, too, until it is; try again in a while",
    )
}
