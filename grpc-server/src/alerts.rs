use cqrs::Caller;
use cqrs::domain::RuleId;
use proto::v1;
use proto::v1::alert_service_server::AlertService;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use crate::api::Api;
use crate::guard::caller_of;
use crate::status::{of_store, rule_not_found};
use crate::streams::watch_alerts;
use crate::wire::{self, Fields};

#[tonic::async_trait]
impl AlertService for Api {
    async fn list_alerts(
        &self,
        request: Request<v1::ListAlertsRequest>,
    ) -> Result<Response<v1::ListAlertsResponse>, Status> {
        let caller = caller_of(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::default();
        let page = wire::page(&mut fields, message.page_size, message.page_token);
        let rule = match message.rule_id.as_str() {
            "" => Some(None),
            id => fields.take("rule_id", id.parse::<RuleId>()).map(Some),
        };
        let (page, rule) = fields.finish(page.zip(rule))?;
        let alerts = self
            .queries
            .alerts(caller, rule, page.token.as_deref(), page.size)
            .await
            .map_err(|error| of_store(&error))?;
        if let Some(id) = rule
            && alerts.items.is_empty()
            && page.token.is_none()
        {
            self.require_rule(caller, id).await?;
        }
        Ok(Response::new(v1::ListAlertsResponse {
            alerts: alerts.items.iter().map(wire::alert).collect(),
            next_page_token: alerts.next.unwrap_or_default(),
        }))
    }

    async fn list_deliveries(
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
        if let Some(id) = filter.rule
            && deliveries.items.is_empty()
            && filter.statuses.is_empty()
            && page.token.is_none()
        {
            self.require_rule(caller, id).await?;
        }
        Ok(Response::new(v1::ListDeliveriesResponse {
            deliveries: deliveries.items.iter().map(wire::delivery).collect(),
            next_page_token: deliveries.next.unwrap_or_default(),
        }))
    }

    async fn send_test_alert(
        &self,
        request: Request<v1::SendTestAlertRequest>,
    ) -> Result<Response<v1::SendTestAlertResponse>, Status> {
        self.test_alert(request).await
    }

    async fn watch_alerts(
        &self,
        request: Request<v1::WatchAlertsRequest>,
    ) -> Result<Response<BoxStream<v1::WatchAlertsResponse>>, Status> {
        watch_alerts(&self.streams, request).await
    }
}

impl Api {
    /// Where nothing was found of a rule: what there is of a deleted one can be listed, but an id that never was the caller's
    /// is an error, not silence.
    async fn require_rule(&self, caller: Caller, id: RuleId) -> Result<(), Status> {
        let rule = self.queries.rule(caller, id).await;
        match rule.map_err(|error| of_store(&error))? {
            Some(_) => Ok(()),
            None => Err(rule_not_found(id)),
        }
    }
}
