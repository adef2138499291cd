//! TLS and mutual TLS from files, and what is said of files that can't be used.

use std::path::{Path, PathBuf};

use grpc_server::{Config, SecurityArgs};
use proto::v1;
use proto::v1::user_service_client::UserServiceClient;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use service::Context;
use service::config::{BadSetting, DatabaseArgs, KafkaArgs};
use tempfile::TempDir;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

use crate::app::{App, Database, no_broker, some_email};

/// A folder with an authority's certificate, a server's and a client's, each with its key.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let files = Self { folder };
        files.write("ca.pem", &authority.pem());
        for (name, host) in [("server", "localhost"), ("client", "a-client")] {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &authority).unwrap();
            files.write(&format!("{name}.pem"), &certificate.pem());
            files.write(&format!("{name}.key"), &key.serialize_pem());
        }
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn of_server(&self, security: &mut SecurityArgs) {
        security.grpc_tls_cert = Some(self.path("server.pem"));
        security.grpc_tls_key = Some(self.path("server.key"));
    }

    fn of_client(&self) -> ClientTlsConfig {
        ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(self.read("ca.pem")))
            .domain_name("localhost")
    }
}

/// Whether a client with these settings is answered.
async fn is_answered(app: &App, tls: Option<ClientTlsConfig>) -> bool {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut endpoint = Channel::from_shared(format!("{scheme}://{}", app.address)).unwrap();
    if let Some(tls) = tls {
        endpoint = endpoint.tls_config(tls).unwrap();
    }
    let Ok(channel) = endpoint.connect().await else {
        return false;
    };
    let request = v1::RegisterUserRequest {
        email: some_email(),
        ..Default::default()
    };
    UserServiceClient::new(channel)
        .register_user(request)
        .await
        .is_ok()
}

#[tokio::test]
async fn with_a_certificate_only_tls_is_spoken() {
    let files = Files::new();
    let database = Database::sqlite();
    let app = App::start_with(&database, &no_broker(), |config| {
        files.of_server(&mut config.security);
        // The limits know who calls through TLS, too.
        config.security.registrations_per_hour = 3;
    })
    .await;
    assert!(is_answered(&app, Some(files.of_client())).await);
    assert!(!is_answered(&app, None).await, "without TLS");
    let stranger = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(Files::new().read("ca.pem")))
        .domain_name("localhost");
    assert!(
        !is_answered(&app, Some(stranger)).await,
        "the client doesn't trust the authority"
    );
    assert!(
        !is_answered(&app, Some(files.of_client())).await,
        "a second registration"
    );
    app.stop().await;
}

#[tokio::test]
async fn with_an_authority_for_clients_only_those_with_its_certificates_are_answered() {
    let files = Files::new();
    let database = Database::sqlite();
    let app = App::start_with(&database, &no_broker(), |config| {
        files.of_server(&mut config.security);
        config.security.grpc_tls_client_ca = Some(files.path("ca.pem"));
    })
    .await;
    let with = |files: &Files, of: &Files| {
        files
            .of_client()
            .identity(Identity::from_pem(of.read("client.pem"), of.read("client.key")))
    };
    assert!(is_answered(&app, Some(with(&files, &files))).await);
    assert!(
        !is_answered(&app, Some(files.of_client())).await,
        "without a certificate"
    );
    assert!(
        !is_answered(&app, Some(with(&files, &Files::new()))).await,
        "another authority's"
    );
    app.stop().await;
}

/// What the server says when it is started with these files; nothing listens where the database should be.
async fn complaint(cert: &Path, key: &Path, client_ca: Option<&Path>) -> String {
    let config = Config {
        database: DatabaseArgs::single("mysql://x:y@127.0.0.1:1/z".to_owned()),
        kafka: KafkaArgs::plain("127.0.0.1:9".to_owned(), 4),
        grpc_listen: "127.0.0.1:0".parse().unwrap(),
        max_rules_per_user: 200,
        rearm_margin_permille: 2,
        rules_in_all: None,
        security: SecurityArgs {
            grpc_tls_cert: Some(cert.to_owned()),
            grpc_tls_key: Some(key.to_owned()),
            grpc_tls_client_ca: client_ca.map(Path::to_owned),
            ..SecurityArgs::default()
        },
    };
    let error = grpc_server::run(config, Context::default()).await.unwrap_err();
    assert!(error.is::<BadSetting>(), "{error:?}");
    error.to_string()
}

/// A certificate, its key, authorities of clients, and what is said of them.
type BadFiles = (
    &'static str,
    &'static str,
    Option<&'static str>,
    [&'static str; 4],
);

const CERT: &str = "server.pem";
const KEY: &str = "server.key";

const BAD_FILES: [BadFiles; 13] = [
    (
        "none.pem",
        KEY,
        None,
        ["GRPC_TLS_CERT=", "none.pem", "No such file", "give a PEM file"],
    ),
    (
        ".",
        KEY,
        None,
        ["GRPC_TLS_CERT=", "can't be read", "directory", "give a PEM file"],
    ),
    (
        "large.pem",
        KEY,
        None,
        ["GRPC_TLS_CERT=", "large.pem", "larger", "give a PEM file"],
    ),
    (
        "empty.pem",
        KEY,
        None,
        [
            "GRPC_TLS_CERT=",
            "empty.pem",
            "no certificate",
            "BEGIN CERTIFICATE",
        ],
    ),
    (
        "server.key",
        KEY,
        None,
        [
            "GRPC_TLS_CERT=",
            "server.key",
            "no certificate",
            "BEGIN CERTIFICATE",
        ],
    ),
    (
        "cut.pem",
        KEY,
        None,
        ["GRPC_TLS_CERT=", "cut.pem", "PEM", "BEGIN CERTIFICATE"],
    ),
    (
        CERT,
        "none.key",
        None,
        ["GRPC_TLS_KEY=", "none.key", "No such file", "give a PEM file"],
    ),
    (
        CERT,
        "cut.key",
        None,
        ["GRPC_TLS_KEY=", "cut.key", "no private key", "BEGIN PRIVATE KEY"],
    ),
    (
        CERT,
        CERT,
        None,
        [
            "GRPC_TLS_KEY=",
            "server.pem",
            "no private key",
            "BEGIN PRIVATE KEY",
        ],
    ),
    (
        CERT,
        "locked.key",
        None,
        ["GRPC_TLS_KEY=", "locked.key", "passphrase", "openssl pkey"],
    ),
    (
        CERT,
        "client.key",
        None,
        ["GRPC_TLS_CERT=", "client.key", "together", "private key of"],
    ),
    (
        CERT,
        KEY,
        Some("empty.pem"),
        ["GRPC_TLS_CLIENT_CA=", "empty.pem", "no certificate", "BEGIN"],
    ),
    (
        CERT,
        KEY,
        Some("none.pem"),
        ["GRPC_TLS_CLIENT_CA=", "none.pem", "No such file", "give a PEM"],
    ),
];

#[tokio::test]
async fn a_file_that_cant_be_used_is_named_with_the_reason_and_the_remedy() {
    let files = Files::new();
    files.write("empty.pem", "");
    files.write("cut.pem", &files.read("server.pem")[..200]);
    files.write("cut.key", &files.read("server.key")[..100]);
    files.write(
        "locked.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    files.write("large.pem", &"x".repeat(1024 * 1024 + 1));
    for (cert, key, client_ca, said) in BAD_FILES {
        let client_ca = client_ca.map(|name| files.path(name));
        let complaint = complaint(&files.path(cert), &files.path(key), client_ca.as_deref()).await;
        for part in said {
            assert!(complaint.contains(part), "{cert} {key}: {part} in {complaint}");
        }
        let secret = files.read("server.key");
        let line = secret.lines().nth(1).unwrap();
        assert!(!complaint.contains(line), "{complaint}");
    }
}
