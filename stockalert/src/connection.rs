use std::error::Error as _;
use std::future::Future;
use std::time::Duration;

use proto::v1;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

use crate::failure::{Exit, Failure, HOW_TO_AUTHENTICATE, no_answer};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Sent along with each call, so that the server stops working on it too.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Waits before a command is sent again whose answer got lost.
const RETRY_DELAYS: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(1)];

type Transport = InterceptedService<Channel, CallSettings>;

/// An open connection to one server, on behalf of one user.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    server: String,
    channel: Channel,
    settings: CallSettings,
}

/// What every call carries: the caller's token and a deadline.
#[derive(Debug, Clone)]
pub(crate) struct CallSettings {
    authorization: Option<MetadataValue<Ascii>>,
    /// None for streams, which stay open.
    deadline: Option<Duration>,
}

impl Interceptor for CallSettings {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(authorization) = &self.authorization {
            request
                .metadata_mut()
                .insert("authorization", authorization.clone());
        }
        if let Some(deadline) = self.deadline {
            request.set_timeout(deadline);
        }
        Ok(request)
    }
}

impl Connection {
    /// Connects to `server`, a URL, as the user that `token` names.
    pub(crate) async fn open(server: &str, token: Option<&str>) -> Result<Self, Failure> {
        let authorization = token.map(bearer).transpose()?;
        let endpoint = endpoint(server)?;
        let channel = endpoint.connect().await.map_err(|error| {
            Failure::new(
                Exit::Unavailable,
                format!("no server answers at {server}: {}", root_cause(&error)),
            )
            .remedy("start one with `stockalert up`, or name another with --server or STOCKALERT_SERVER")
        })?;
        Ok(Self {
            server: server.to_owned(),
            channel,
            settings: CallSettings {
                authorization,
                deadline: Some(CALL_TIMEOUT),
            },
        })
    }

    /// The same connection for calls that have no end of their own.
    pub(crate) fn without_deadline(&self) -> Self {
        let mut connection = self.clone();
        connection.settings.deadline = None;
        connection
    }

    pub(crate) fn admin(&self) -> v1::admin_service_client::AdminServiceClient<Transport> {
        v1::admin_service_client::AdminServiceClient::with_interceptor(
            self.channel.clone(),
            self.settings.clone(),
        )
    }

    pub(crate) fn users(&self) -> v1::user_service_client::UserServiceClient<Transport> {
        v1::user_service_client::UserServiceClient::with_interceptor(
            self.channel.clone(),
            self.settings.clone(),
        )
    }

    pub(crate) fn rules(&self) -> v1::rule_service_client::RuleServiceClient<Transport> {
        v1::rule_service_client::RuleServiceClient::with_interceptor(
            self.channel.clone(),
            self.settings.clone(),
        )
    }

    pub(crate) fn quotes(&self) -> v1::quote_service_client::QuoteServiceClient<Transport> {
        v1::quote_service_client::QuoteServiceClient::with_interceptor(
            self.channel.clone(),
            self.settings.clone(),
        )
    }

    pub(crate) fn alerts(&self) -> v1::alert_service_client::AlertServiceClient<Transport> {
        v1::alert_service_client::AlertServiceClient::with_interceptor(
            self.channel.clone(),
            self.settings.clone(),
        )
    }

    pub(crate) fn system(&self) -> v1::system_service_client::SystemServiceClient<Transport> {
        v1::system_service_client::SystemServiceClient::with_interceptor(
            self.channel.clone(),
            self.settings.clone(),
        )
    }

    /// Why a call failed, for people.
    pub(crate) fn failure(&self, status: &Status) -> Failure {
        Failure::from_status(status, &self.server)
    }

    /// Sends a command that carries a `request_id`, and sends it again where no answer came: the server carries it out
    /// once. Without this, a registration whose answer got lost would leave the user without their token.
    pub(crate) async fn idempotent<T, F>(&self, send: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let mut delays = RETRY_DELAYS.iter();
        loop {
            match send().await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => match delays.next() {
                    Some(delay) if no_answer(&status) => tokio::time::sleep(*delay).await,
                    _ => return Err(self.failure(&status)),
                },
            }
        }
    }
}

fn bearer(token: &str) -> Result<MetadataValue<Ascii>, Failure> {
    let mut value = MetadataValue::try_from(format!("Bearer {token}")).map_err(|_| {
        // Not shown: it may be a real token with a typing error.
        Failure::new(Exit::Denied, "the token has characters that no token has").remedy(HOW_TO_AUTHENTICATE)
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Where and how to connect, if `server` is an address at all.
pub(crate) fn endpoint(server: &str) -> Result<Endpoint, Failure> {
    let misuse = |reason: String| {
        Failure::new(
            Exit::Misuse,
            format!("\"{server}\" is not a server's address: {reason}"),
        )
        .remedy("give a URL with a port, such as http://127.0.0.1:50051 or https://alerts.example.org:443")
    };
    if !server.starts_with("http://") && !server.starts_with("https://") {
        return Err(misuse(
            "it starts neither with http:// nor with https://".to_owned(),
        ));
    }
    let endpoint = Endpoint::from_shared(server.to_owned())
        .and_then(|endpoint| endpoint.user_agent(concat!("stockalert/", env!("CARGO_PKG_VERSION"))))
        .map_err(|error| misuse(root_cause(&error)))?
        .connect_timeout(CONNECT_TIMEOUT)
        // A stream whose other end is gone without a word ends.
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .tcp_nodelay(true);
    if server.starts_with("https://") {
        let tls = ClientTlsConfig::new().with_native_roots();
        return endpoint
            .tls_config(tls)
            .map_err(|error| misuse(root_cause(&error)));
    }
    Ok(endpoint)
}

/// The innermost reason: "Connection refused" instead of "transport error".
fn root_cause(error: &tonic::transport::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    text
}
