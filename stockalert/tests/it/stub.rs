//! A server that implements the API in memory, as far as the client's tests need it.

mod reads;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use proto::v1;
use proto::v1::alert_service_server::AlertServiceServer;
use proto::v1::quote_service_server::{QuoteService, QuoteServiceServer};
use proto::v1::rule_service_server::{RuleService, RuleServiceServer};
use proto::v1::system_service_server::SystemServiceServer;
use proto::v1::user_service_server::{UserService, UserServiceServer};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

pub(crate) const TOKEN: &str = "good-token";
pub(crate) const USER_ID: &str = "0198c1de-0000-7000-8000-000000000000";
/// 2013-10-07T14:30:00Z: in another year than any test run, so it always shows as a date.
pub(crate) const TIME: prost_types::Timestamp = prost_types::Timestamp {
    seconds: 1_381_156_200,
    nanos: 0,
};

/// What the server knows and was asked; tests change and read it.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub rules: Vec<v1::Rule>,
    pub alerts: Vec<v1::Alert>,
    pub price: Option<String>,
    pub token: String,
    /// So many commands get no answer, although they are carried out.
    pub lost_answers: u32,
    pub request_ids: Vec<String>,
    pub registered: Vec<v1::RegisterUserRequest>,
    pub updated_users: Vec<v1::UpdateUserRequest>,
    pub updated_rules: Vec<v1::UpdateRuleRequest>,
    pub averages: Vec<v1::GetAverageRequest>,
    pub status: v1::GetStatusResponse,
    pub user_deleted: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Stub {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's own tools may fail loudly"
)]
impl Stub {
    /// Starts on a free port.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let state = State {
            token: TOKEN.into(),
            price: Some("187.25".into()),
            ..State::default()
        };
        let stub = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::new(Mutex::new(state)),
        };
        let server = tonic::transport::Server::builder()
            .add_service(UserServiceServer::new(stub.clone()))
            .add_service(RuleServiceServer::new(stub.clone()))
            .add_service(QuoteServiceServer::new(stub.clone()))
            .add_service(AlertServiceServer::new(stub.clone()))
            .add_service(SystemServiceServer::new(stub.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(async move { server.await.expect("the stub serves") });
        stub
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn authenticated<T>(&self, request: Request<T>) -> Result<T, Status> {
        let expected = format!("Bearer {}", self.state().token);
        let given = request
            .metadata()
            .get("authorization")
            .map(|value| value.as_bytes().to_vec());
        if given.as_deref() == Some(expected.as_bytes()) {
            Ok(request.into_inner())
        } else {
            Err(Status::unauthenticated("the API token is not valid"))
        }
    }

    /// Notes the id; the answer may get lost.
    fn answer<T>(&self, request_id: String, answer: T) -> Result<Response<T>, Status> {
        let mut state = self.state();
        state.request_ids.push(request_id);
        if state.lost_answers > 0 {
            state.lost_answers -= 1;
            return Err(Status::unavailable("the connection broke"));
        }
        Ok(Response::new(answer))
    }

    fn user(&self) -> v1::User {
        v1::User {
            id: USER_ID.into(),
            email: "ada@example.org".into(),
            telegram_linked: false,
            reminder_interval_seconds: Some(900),
            create_time: Some(TIME),
        }
    }

    fn link() -> v1::TelegramLink {
        v1::TelegramLink {
            token: "LINK".into(),
            url: "https://t.me/a_bot?start=LINK".into(),
            expire_time: Some(TIME),
        }
    }
}

fn refused(field: &str, description: &str) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(
        "INVALID_FIELDS",
        "stockalert.v1",
        std::collections::HashMap::new(),
    );
    details.add_bad_request_violation(field, description);
    Status::with_error_details(Code::InvalidArgument, "the request has 1 invalid field", details)
}

pub(crate) fn rule(number: usize, new: v1::NewRule) -> v1::Rule {
    v1::Rule {
        id: format!("0198c1de-7d1c-7c3a-9d57-{number:012}"),
        ticker: new.ticker,
        low: new.low,
        high: new.high,
        note: new.note,
        paused: new.paused,
        expire_time: new.expire_time,
        version: 1,
        create_time: Some(TIME),
        update_time: Some(TIME),
        ..Default::default()
    }
}

pub(crate) fn alert(number: i32, side: v1::Side) -> v1::Alert {
    let rule_id = "0198c1de-7d1c-7c3a-9d57-000000000001";
    v1::Alert {
        id: format!("{rule_id}.1.1.{number}"),
        rule_id: rule_id.into(),
        rule_version: 1,
        ticker: "AAPL".into(),
        side: side.into(),
        price: "200.75".into(),
        threshold: "200".into(),
        quote_time: Some(TIME),
        raise_time: Some(prost_types::Timestamp {
            seconds: TIME.seconds + i64::from(number),
            nanos: 0,
        }),
        already_outside: false,
        currency: String::new(),
    }
}

#[tonic::async_trait]
impl UserService for Stub {
    async fn register_user(
        &self,
        request: Request<v1::RegisterUserRequest>,
    ) -> Result<Response<v1::RegisterUserResponse>, Status> {
        let request = request.into_inner();
        if !request.email.contains('@') {
            return Err(refused(
                "email",
                "\"ada\" is not an e-mail address: it has no @; give one such as a@b.org",
            ));
        }
        let rules = request
            .rules
            .iter()
            .cloned()
            .enumerate()
            .map(|(n, new)| rule(n + 1, new))
            .collect();
        self.state().registered.push(request.clone());
        let answer = v1::RegisterUserResponse {
            user: Some(v1::User {
                email: request.email,
                ..self.user()
            }),
            api_token: TOKEN.into(),
            telegram_link: Some(Self::link()),
            rules,
        };
        self.answer(request.request_id, answer)
    }

    async fn get_user(
        &self,
        request: Request<v1::GetUserRequest>,
    ) -> Result<Response<v1::GetUserResponse>, Status> {
        self.authenticated(request)?;
        Ok(Response::new(v1::GetUserResponse {
            user: Some(self.user()),
        }))
    }

    async fn update_user(
        &self,
        request: Request<v1::UpdateUserRequest>,
    ) -> Result<Response<v1::UpdateUserResponse>, Status> {
        let request = self.authenticated(request)?;
        self.state().updated_users.push(request.clone());
        let reminder_interval_seconds = request.user.and_then(|user| user.reminder_interval_seconds);
        let user = v1::User {
            reminder_interval_seconds,
            ..self.user()
        };
        self.answer(request.request_id, v1::UpdateUserResponse { user: Some(user) })
    }

    async fn delete_user(
        &self,
        request: Request<v1::DeleteUserRequest>,
    ) -> Result<Response<v1::DeleteUserResponse>, Status> {
        self.authenticated(request)?;
        self.state().user_deleted = true;
        Ok(Response::new(v1::DeleteUserResponse {}))
    }

    async fn create_link_token(
        &self,
        request: Request<v1::CreateLinkTokenRequest>,
    ) -> Result<Response<v1::CreateLinkTokenResponse>, Status> {
        self.authenticated(request)?;
        let telegram_link = Some(v1::TelegramLink {
            url: String::new(),
            ..Self::link()
        });
        Ok(Response::new(v1::CreateLinkTokenResponse { telegram_link }))
    }

    async fn rotate_token(
        &self,
        request: Request<v1::RotateTokenRequest>,
    ) -> Result<Response<v1::RotateTokenResponse>, Status> {
        self.authenticated(request)?;
        self.state().token = "new-token".into();
        Ok(Response::new(v1::RotateTokenResponse {
            api_token: "new-token".into(),
        }))
    }
}

#[tonic::async_trait]
impl RuleService for Stub {
    async fn create_rule(
        &self,
        request: Request<v1::CreateRuleRequest>,
    ) -> Result<Response<v1::CreateRuleResponse>, Status> {
        let request = self.authenticated(request)?;
        let new = request.rule.unwrap_or_default();
        if new.low.as_deref() == Some("-5") {
            return Err(refused(
                "rule.low",
                "\"-5\" is not a price: it is negative; give a decimal number above 0",
            ));
        }
        let rule = rule(self.state().rules.len() + 1, new);
        self.state().rules.push(rule.clone());
        self.answer(request.request_id, v1::CreateRuleResponse { rule: Some(rule) })
    }

    async fn get_rule(
        &self,
        _request: Request<v1::GetRuleRequest>,
    ) -> Result<Response<v1::GetRuleResponse>, Status> {
        Err(Status::unimplemented("the client has no use for it"))
    }

    /// Two rules a page, so that the client has to turn pages.
    async fn list_rules(
        &self,
        request: Request<v1::ListRulesRequest>,
    ) -> Result<Response<v1::ListRulesResponse>, Status> {
        let from = self.authenticated(request)?.page_token.parse().unwrap_or(0);
        let state = self.state();
        let rules: Vec<_> = state.rules.iter().skip(from).take(2).cloned().collect();
        let next = from + rules.len();
        let next_page_token = if next < state.rules.len() {
            next.to_string()
        } else {
            String::new()
        };
        Ok(Response::new(v1::ListRulesResponse {
            rules,
            next_page_token,
        }))
    }

    async fn update_rule(
        &self,
        request: Request<v1::UpdateRuleRequest>,
    ) -> Result<Response<v1::UpdateRuleResponse>, Status> {
        let request = self.authenticated(request)?;
        self.state().updated_rules.push(request.clone());
        let rule = v1::Rule {
            ticker: "AAPL".into(),
            version: 2,
            ..request.rule.unwrap_or_default()
        };
        self.answer(request.request_id, v1::UpdateRuleResponse { rule: Some(rule) })
    }

    async fn delete_rule(
        &self,
        request: Request<v1::DeleteRuleRequest>,
    ) -> Result<Response<v1::DeleteRuleResponse>, Status> {
        let request = self.authenticated(request)?;
        let mut state = self.state();
        let before = state.rules.len();
        state.rules.retain(|rule| rule.id != request.rule_id);
        if state.rules.len() == before {
            let message = format!(
                "there is no rule {}; list your rules to see their ids",
                request.rule_id
            );
            return Err(Status::not_found(message));
        }
        drop(state);
        self.answer(request.request_id, v1::DeleteRuleResponse {})
    }
}

#[tonic::async_trait]
impl QuoteService for Stub {
    async fn get_latest_quote(
        &self,
        request: Request<v1::GetLatestQuoteRequest>,
    ) -> Result<Response<v1::GetLatestQuoteResponse>, Status> {
        let ticker = self.authenticated(request)?.ticker;
        if ticker == "NOBODY" {
            return Err(Status::internal("the store failed"));
        }
        let price = self.state().price.clone();
        let price =
            price.ok_or_else(|| Status::not_found(format!("no quote of {ticker} was recorded yet")))?;
        let quote = v1::Quote {
            ticker,
            price,
            currency: "USD".into(),
            event_time: Some(TIME),
            ingest_time: Some(TIME),
            source: "synthetic".into(),
        };
        Ok(Response::new(v1::GetLatestQuoteResponse { quote: Some(quote) }))
    }

    async fn get_average(
        &self,
        request: Request<v1::GetAverageRequest>,
    ) -> Result<Response<v1::GetAverageResponse>, Status> {
        let request = self.authenticated(request)?;
        self.state().averages.push(request);
        Ok(Response::new(v1::GetAverageResponse {
            average: "186.33333333".into(),
            quote_count: 3,
            first_time: Some(TIME),
            last_time: Some(TIME),
        }))
    }
}
