//! The API as processes on real servers, with users who call it.

use std::time::{Duration, Instant};

use e2e::process::{Service, free_port};
use e2e::rules_topic::{RulesTopic, count};
use e2e::servers::Servers;
use proto::v1::user_service_client::UserServiceClient;
use proto::v1::{NewRule, RegisterUserRequest};
use tempfile::TempDir;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// Machines are shared: everything is waited for, and for long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// How long the outbox must be empty until nothing is put into it again: a relay makes good what another may have written
/// within 6 s after it began to lead, or after it learned that it no longer does.
const SETTLED: Duration = Duration::from_secs(10);

/// Who calls.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) token: String,
}

impl User {
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let token = MetadataValue::try_from(format!("Bearer {}", self.token)).unwrap();
        request.metadata_mut().insert("authorization", token);
        request
    }
}

pub(crate) struct ApiRun {
    // Dropped in this order: services before their servers.
    pub(crate) instances: Vec<Service>,
    pub(crate) servers: Servers,
    folder: TempDir,
    settings: Vec<(&'static str, String)>,
    /// Where each instance is.
    pub(crate) addresses: Vec<String>,
    /// To the first one. One for all: the server refuses who connects again and again.
    channel: Option<Channel>,
    users: usize,
}

impl ApiRun {
    /// One instance, with limits on single users and addresses that the test does not meet, and these settings.
    pub(crate) async fn start(settings: &[(&'static str, &str)]) -> Self {
        let servers = Servers::start().unwrap();
        let mut all = vec![
            ("KAFKA_BOOTSTRAP_SERVERS", servers.bootstrap_servers.clone()),
            ("KAFKA_PARTITIONS", "4".to_owned()),
            ("DATABASE_URL", servers.database_url.clone()),
            ("MAX_RULES_PER_USER", "10000".to_owned()),
            ("CALLS_PER_SECOND", "100000".to_owned()),
            ("REGISTRATIONS_PER_HOUR", "1000000".to_owned()),
        ];
        all.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let mut run = Self {
            instances: Vec::new(),
            servers,
            folder: tempfile::tempdir().unwrap(),
            settings: all,
            addresses: Vec::new(),
            channel: None,
            users: 0,
        };
        run.add_instance().await;
        run
    }

    pub(crate) async fn add_instance(&mut self) {
        let address = format!("127.0.0.1:{}", free_port().unwrap());
        let mut settings = self.settings.clone();
        settings.push(("GRPC_LISTEN", address.clone()));
        let name = format!("grpc-server-{}", self.instances.len());
        let mut instance = Service::start(&name, "grpc-server", &settings, self.folder.path()).unwrap();
        instance.ready(PATIENCE).await.unwrap();
        self.instances.push(instance);
        self.channel.get_or_insert_with(|| channel(&address));
        self.addresses.push(address);
    }

    /// Instead of the one that there is: the settings as before, and these.
    pub(crate) async fn replace_instance(&mut self, settings: &[(&'static str, &str)]) {
        for mut instance in self.instances.drain(..) {
            instance.kill().unwrap();
        }
        self.addresses.clear();
        self.channel = None;
        self.settings
            .extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        self.add_instance().await;
    }

    /// The connection to the first instance, which is made again when it breaks.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone().unwrap()
    }

    /// Users without rules.
    pub(crate) async fn register(&mut self, count: usize) -> Vec<User> {
        let mut client = UserServiceClient::new(self.channel());
        let mut users = Vec::with_capacity(count);
        for _ in 0..count {
            self.users += 1;
            let request = RegisterUserRequest {
                email: format!("user{}@example.org", self.users),
                ..RegisterUserRequest::default()
            };
            let registered = client.register_user(request).await.unwrap().into_inner();
            users.push(User {
                id: registered.user.unwrap().id,
                token: registered.api_token,
            });
        }
        users
    }

    pub(crate) fn count(&self, rows: &str) -> usize {
        count(&self.servers, rows).unwrap()
    }

    /// The topic, when all is in it and nothing comes any more.
    pub(crate) async fn settled_topic(&self) -> RulesTopic {
        let mut empty_since = None;
        let start = Instant::now();
        while empty_since.is_none_or(|since: Instant| since.elapsed() < SETTLED) {
            assert!(start.elapsed() < PATIENCE, "the outbox does not become empty");
            if self.count("outbox") > 0 {
                empty_since = None;
            } else {
                empty_since.get_or_insert_with(Instant::now);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        RulesTopic::read(&self.servers.bootstrap_servers).unwrap()
    }
}

/// Connects when it is needed.
pub(crate) fn channel(address: &str) -> Channel {
    Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .connect_timeout(Duration::from_secs(2))
        .connect_lazy()
}

/// Whether a call is to be made again, with the same request id: what came of it is not known, or nothing did.
pub(crate) fn is_open(status: &Status) -> bool {
    let code = status.code();
    // The client's own word for a connection that broke; the server's comes with details.
    let broke = matches!(code, Code::Unknown | Code::Internal) && status.details().is_empty();
    broke
        || matches!(
            code,
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::ResourceExhausted
        )
}

/// A rule on one of a few tickers, so that every partition has some.
pub(crate) fn some_rule(number: u64, note: &str) -> NewRule {
    const TICKERS: [&str; 8] = [
        "AAPL", "MSFT", "BRK-B", "EURUSD=X", "^GSPC", "BTC-USD", "IBM", "ASML.AS",
    ];
    NewRule {
        ticker: TICKERS[usize::try_from(number).unwrap_or_default() % TICKERS.len()].to_owned(),
        low: Some(format!("{}.25", 10 + number % 50)),
        high: Some(format!("{}.5", 100 + number % 50)),
        note: note.to_owned(),
        ..NewRule::default()
    }
}
