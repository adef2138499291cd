//! A server that implements the API in memory, as far as the client's tests need it.

mod quotes;
mod reads;
mod rules;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use proto::v1;
use proto::v1::admin_service_server::AdminServiceServer;
use proto::v1::alert_service_server::AlertServiceServer;
use proto::v1::quote_service_server::QuoteServiceServer;
use proto::v1::rule_service_server::RuleServiceServer;
use proto::v1::system_service_server::SystemServiceServer;
use proto::v1::user_service_server::{UserService, UserServiceServer};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codegen::BoxStream;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

pub(crate) const TOKEN: &str = "good-token";
pub(crate) const OPERATOR_TOKEN: &str = "operator-token";
/// Of every rule.
pub(crate) const ETAG: &str = "v1";
pub(crate) const USER_ID: &str = "0198c1de-0000-7000-8000-000000000000";
/// 2013-10-07T14:30:00Z: in another year than any test run, so it always shows as a date.
pub(crate) const TIME: prost_types::Timestamp = prost_types::Timestamp {
    seconds: 1_381_156_200,
    nanos: 0,
};

/// By the stub's clock, which is behind: the client must not look at its own.
const NOW: i64 = TIME.seconds + 3_600;

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
    /// Streams break, and no new one can be opened.
    pub streams_broken: bool,
    /// How often alerts were followed, also while streams are broken.
    pub alert_streams: u32,
    /// There is no room for another stream, nor for reading rules; try again after so long.
    pub full: Option<std::time::Duration>,
    /// How often rules were listed.
    pub rule_lists: u32,
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
            .add_service(AdminServiceServer::new(stub.clone()))
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

    /// Sends what there is until streams break.
    fn stream<T: Send + 'static>(
        &self,
        mut next: impl FnMut(&State) -> Option<T> + Send + 'static,
    ) -> Response<BoxStream<T>> {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let stub = self.clone();
        tokio::spawn(async move {
            loop {
                let (broken, answer) = {
                    let state = stub.state();
                    (state.streams_broken, next(&state))
                };
                let answer = match (broken, answer) {
                    (true, _) => Err(Status::unavailable("the server restarts")),
                    (false, Some(answer)) => Ok(answer),
                    (false, None) => {
                        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                        continue;
                    }
                };
                if sender.send(answer).await.is_err() || broken {
                    return;
                }
            }
        });
        Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver)))
    }

    fn user(&self) -> v1::User {
        v1::User {
            id: USER_ID.into(),
            email: "ada@example.org".into(),
            telegram_linked: false,
            reminder_interval_seconds: Some(900),
            create_time: Some(TIME),
            etag: ETAG.into(),
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

/// What a server says that has no room.
fn full(delay: std::time::Duration) -> Status {
    let details = ErrorDetails::with_retry_info(Some(delay));
    Status::with_error_details(Code::ResourceExhausted, "too many streams are open", details)
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
    let state = if new.expire_time.is_some_and(|time| time.seconds < NOW) {
        v1::rule::State::Expired
    } else if new.paused {
        v1::rule::State::Paused
    } else {
        v1::rule::State::Active
    };
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
        etag: ETAG.into(),
        state: state.into(),
        ..Default::default()
    }
}

pub(crate) fn quote(ticker: &str, price: &str) -> v1::Quote {
    v1::Quote {
        ticker: ticker.into(),
        price: price.into(),
        currency: "USD".into(),
        event_time: Some(TIME),
        ingest_time: Some(TIME),
        source: "synthetic".into(),
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
        currency: "USD".into(),
    }
}

#[tonic::async_trait]
impl UserService for Stub {
    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        self.authenticated(request)?;
        self.state().token = "none".into();
        Ok(Response::new(v1::RevokeTokenResponse {}))
    }

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
        let etag = request.user.as_ref().map_or("", |user| &user.etag);
        if !etag.is_empty() && etag != ETAG {
            return Err(Status::aborted("the user is another by now"));
        }
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
        let request = self.authenticated(request)?;
        let telegram_link = Some(v1::TelegramLink {
            url: String::new(),
            ..Self::link()
        });
        self.answer(request.request_id, v1::CreateLinkTokenResponse { telegram_link })
    }

    async fn rotate_token(
        &self,
        request: Request<v1::RotateTokenRequest>,
    ) -> Result<Response<v1::RotateTokenResponse>, Status> {
        let request = self.authenticated(request)?;
        let api_token = "new-token".to_owned();
        let answer = v1::RotateTokenResponse {
            api_token: api_token.clone(),
        };
        // A repeat may come with the old token.
        let answer = self.answer(request.request_id, answer)?;
        self.state().token = api_token;
        Ok(answer)
    }
}
