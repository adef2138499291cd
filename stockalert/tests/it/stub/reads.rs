//! What is only read: alerts, and how the system is.

use proto::v1;
use proto::v1::alert_service_server::AlertService;
use proto::v1::system_service_server::SystemService;
use tonic::{Request, Response, Status};

use super::Stub;

#[tonic::async_trait]
impl AlertService for Stub {
    async fn list_alerts(
        &self,
        request: Request<v1::ListAlertsRequest>,
    ) -> Result<Response<v1::ListAlertsResponse>, Status> {
        let request = self.authenticated(request)?;
        let from: usize = request.page_token.parse().unwrap_or(0);
        let size = usize::try_from(request.page_size).unwrap_or(0);
        let state = self.state();
        let of_rule = |alert: &&v1::Alert| request.rule_id.is_empty() || alert.rule_id == request.rule_id;
        let all: Vec<_> = state.alerts.iter().rev().filter(of_rule).cloned().collect();
        // Two alerts a page at most, so that the client has to turn pages.
        let alerts: Vec<_> = all.iter().skip(from).take(size.min(2)).cloned().collect();
        let next = from + alerts.len();
        let next_page_token = if next < all.len() {
            next.to_string()
        } else {
            String::new()
        };
        Ok(Response::new(v1::ListAlertsResponse {
            alerts,
            next_page_token,
        }))
    }
}

#[tonic::async_trait]
impl SystemService for Stub {
    async fn get_status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        self.authenticated(request)?;
        Ok(Response::new(self.state().status.clone()))
    }
}
