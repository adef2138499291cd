//! What is only read: alerts, and how the system is.

use proto::v1;
use proto::v1::admin_service_server::AdminService;
use proto::v1::alert_service_server::AlertService;
use proto::v1::system_service_server::SystemService;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::{OPERATOR_TOKEN, Stub, TIME, USER_ID, full};

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

    async fn list_deliveries(
        &self,
        request: Request<v1::ListDeliveriesRequest>,
    ) -> Result<Response<v1::ListDeliveriesResponse>, Status> {
        use v1::delivery::{Kind, Status as State};
        let request = self.authenticated(request)?;
        let delivery = |kind: Kind, status: State, reason: &str| v1::Delivery {
            id: "d".into(),
            rule_id: "0198c1de-7d1c-7c3a-9d57-000000000001".into(),
            ticker: "AAPL".into(),
            kind: kind.into(),
            status: status.into(),
            side: v1::Side::Above.into(),
            price: "200.75".into(),
            threshold: "200".into(),
            plan_time: Some(TIME),
            attempt_count: 1,
            reason: reason.into(),
            ..Default::default()
        };
        let mut deliveries = vec![
            delivery(
                Kind::CameAndWent,
                State::Undeliverable,
                "the chat blocked the bot",
            ),
            delivery(Kind::Breach, State::Sent, ""),
        ];
        deliveries.retain(|d| request.statuses.is_empty() || request.statuses.contains(&d.status));
        Ok(Response::new(v1::ListDeliveriesResponse {
            deliveries,
            next_page_token: String::new(),
        }))
    }

    async fn send_test_alert(
        &self,
        request: Request<v1::SendTestAlertRequest>,
    ) -> Result<Response<v1::SendTestAlertResponse>, Status> {
        self.authenticated(request)?;
        Err(Status::failed_precondition(
            "no chat is linked; see CreateLinkToken",
        ))
    }

    /// The cursor says how many alerts the caller had.
    async fn watch_alerts(
        &self,
        request: Request<v1::WatchAlertsRequest>,
    ) -> Result<Response<BoxStream<v1::WatchAlertsResponse>>, Status> {
        let cursor = self.authenticated(request)?.cursor;
        let mut told = {
            let mut state = self.state();
            state.alert_streams += 1;
            if let Some(delay) = state.full {
                return Err(full(delay));
            }
            cursor.parse().unwrap_or(state.alerts.len())
        };
        let mut begun = false;
        Ok(self.stream(move |state| {
            let alert = state.alerts.get(told).filter(|_| begun).cloned();
            if begun && alert.is_none() {
                return None;
            }
            told += usize::from(begun);
            begun = true;
            Some(v1::WatchAlertsResponse {
                alert,
                cursor: told.to_string(),
            })
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

fn operator<T>(request: &Request<T>) -> Result<(), Status> {
    let given = request
        .metadata()
        .get("authorization")
        .map(|value| value.as_bytes().to_vec());
    if given == Some(format!("Bearer {OPERATOR_TOKEN}").into_bytes()) {
        Ok(())
    } else {
        Err(Status::permission_denied("this call needs the operator token"))
    }
}

#[tonic::async_trait]
impl AdminService for Stub {
    async fn list_users(
        &self,
        request: Request<v1::ListUsersRequest>,
    ) -> Result<Response<v1::ListUsersResponse>, Status> {
        operator(&request)?;
        let last = request.into_inner().page_token == "more";
        let user = v1::UserSummary {
            id: if last { "second" } else { USER_ID }.into(),
            create_time: Some(TIME),
            telegram_linked: last,
            rule_count: 3,
            open_episode_count: 1,
        };
        Ok(Response::new(v1::ListUsersResponse {
            users: vec![user],
            next_page_token: if last { "" } else { "more" }.into(),
        }))
    }

    async fn revoke_user_token(
        &self,
        request: Request<v1::RevokeUserTokenRequest>,
    ) -> Result<Response<v1::RevokeUserTokenResponse>, Status> {
        operator(&request)?;
        Ok(Response::new(v1::RevokeUserTokenResponse {}))
    }

    async fn republish_rules(
        &self,
        request: Request<v1::RepublishRulesRequest>,
    ) -> Result<Response<v1::RepublishRulesResponse>, Status> {
        operator(&request)?;
        Ok(Response::new(v1::RepublishRulesResponse { rule_count: 12 }))
    }

    async fn get_lag(
        &self,
        request: Request<v1::GetLagRequest>,
    ) -> Result<Response<v1::GetLagResponse>, Status> {
        operator(&request)?;
        Ok(Response::new(v1::GetLagResponse {
            groups: vec![v1::GroupLag {
                group: "alert-system".into(),
                topic: "stockalert.quotes.v1".into(),
                record_count: 17,
                uncommitted_partition_count: 2,
            }],
            outbox_count: 1,
            outbox_oldest_time: Some(TIME),
            due_delivery_count: 0,
            due_delivery_oldest_time: None,
        }))
    }
}
