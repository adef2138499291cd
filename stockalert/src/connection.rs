mod tls;

use std::error::Error as _;
use std::future::Future;
use std::time::Duration;

use proto::v1;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::failure::{Caller, Exit, Failure, no_answer};
pub(crate) use tls::TlsFiles;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Sent along with each call, so that the server stops working on it too.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Waits before a command is sent again whose answer got lost.
const RETRY_DELAYS: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(1)];

type Transport = InterceptedService<Channel, CallSettings>;

/// An open connection to one server, on behalf of one user or the operator.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    server: String,
    caller: Caller,
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
    /// Connects to `server`, a URL, as the user that `token` names, or the operator.
    pub(crate) async fn open(
        server: &str,
        token: Option<&str>,
        caller: Caller,
        files: &TlsFiles,
    ) -> Result<Self, Failure> {
        let authorization = token.map(|token| bearer(token, caller)).transpose()?;
        let mut endpoint = endpoint(server)?;
        if server.starts_with("https://") {
            endpoint = endpoint
                .tls_config(files.config()?)
                .map_err(|error| unusable_files(&root_cause(&error)))?;
        } else if !files.is_empty() {
            return Err(Failure::new(
                Exit::Misuse,
                format!("--ca, --cert and --key are for TLS, and {server} is without"),
            )
            .remedy("give the server as https://HOST:PORT, or leave them out"));
        }
        let channel = endpoint
            .connect()
            .await
            .map_err(|error| not_connected(server, &root_cause(&error)))?;
        Ok(Self {
            server: server.to_owned(),
            caller,
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
        let mut failure = Failure::from_status(status, &self.server, self.caller);
        // A server that misses the client's certificate says so after it has accepted the connection, and the client
        // library does not pass it on.
        if self.server.starts_with("https://") && failure.exit == Exit::Unavailable {
            let remedy = failure.remedy.take().unwrap_or_default();
            failure.remedy = Some(format!(
                "{remedy}; a server that asks for a certificate needs --cert and --key"
            ));
        }
        failure
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

fn bearer(token: &str, caller: Caller) -> Result<MetadataValue<Ascii>, Failure> {
    let mut value = MetadataValue::try_from(format!("Bearer {token}")).map_err(|_| {
        // Not shown: it may be a real token with a typing error.
        Failure::new(Exit::Denied, "the token has characters that no token has")
            .remedy(caller.how_to_authenticate())
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
    Ok(endpoint)
}

/// Nobody answered, or not as a server of ours: what to do depends on why.
fn not_connected(server: &str, cause: &str) -> Failure {
    let failure = |message: String| Failure::new(Exit::Unavailable, message);
    // The texts are rustls's.
    if cause.contains("invalid peer certificate") {
        return failure(format!("{server} is not trusted: {cause}")).remedy(
            "name the file of those who vouch for it with --ca or STOCKALERT_CA, and the server as they do",
        );
    }
    if cause.contains("received fatal alert") {
        return failure(format!("{server} refuses this client: {cause}"))
            .remedy("give the certificate that it asks for with --cert and --key");
    }
    if cause.contains("InvalidContentType") {
        return failure(format!("{server} does not speak TLS"))
            .remedy(format!("name it as {}", server.replacen("https:", "http:", 1)));
    }
    failure(format!("no server answers at {server}: {cause}"))
        .remedy("start one with `stockalert up`, or name another with --server or STOCKALERT_SERVER")
}

fn unusable_files(cause: &str) -> Failure {
    Failure::new(Exit::Io, format!("the files for TLS can't be used: {cause}")).remedy(
        "look whether --ca, --cert and --key name whole PEM files, and whether the key is the certificate's",
    )
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
