//! A server with a certificate of a private authority, and one that asks for the client's: the real one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use grpc_server::{Config, SecurityArgs};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use service::Context;
use service::config::{DatabaseArgs, KafkaArgs};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::program::Home;

/// A folder with an authority's certificate, a server's and a client's, each with its key.
struct Files {
    folder: TempDir,
}

#[expect(clippy::unwrap_used, reason = "a test's own tools may fail loudly")]
impl Files {
    fn new() -> Self {
        let files = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
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

    fn name(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }
}

/// The real server on an SQLite file, without a broker: nothing is asked of that here.
struct Server {
    address: SocketAddr,
    context: Context,
    task: JoinHandle<anyhow::Result<()>>,
    _folder: TempDir,
}

#[expect(clippy::unwrap_used, reason = "a test's own tools may fail loudly")]
impl Server {
    async fn start(files: &Files, asks_for_certificates: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("stockalert.db").display());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = Config {
            database: DatabaseArgs::single(url),
            kafka: KafkaArgs::plain("127.0.0.1:9".to_owned(), 4),
            grpc_listen: address,
            max_rules_per_user: 200,
            rearm_margin_permille: 2,
            rules_in_all: None,
            security: SecurityArgs {
                grpc_tls_cert: Some(files.path("server.pem")),
                grpc_tls_key: Some(files.path("server.key")),
                grpc_tls_client_ca: asks_for_certificates.then(|| files.path("ca.pem")),
                ..SecurityArgs::default()
            },
        };
        let context = Context::default();
        let task = tokio::spawn(grpc_server::serve(listener, config, context.clone()));
        Self {
            address,
            context,
            task,
            _folder: folder,
        }
    }

    /// By the name in its certificate.
    fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    async fn stop(self) {
        self.context.shutdown.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(60), self.task).await;
        ended.unwrap().unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_private_authority_is_reached_and_the_profile_keeps_how() {
    let (files, home) = (Files::new(), Home::new());
    let server = Server::start(&files, false).await;
    let url = server.url();
    let register = ["register", "ada@example.org", "--server", &url];
    let stranger = home.run(&register);
    assert_eq!(stranger.code, 69, "{stranger:?}");
    assert!(
        stranger.err.contains("is not trusted") && stranger.err.contains("--ca"),
        "{}",
        stranger.err
    );
    // From the folder of the file: other commands are run elsewhere.
    let mut command = home.command([&register[..], &["--ca", "ca.pem"]].concat());
    let run = Home::finish(command.current_dir(files.folder.path()));
    assert_eq!(run.code, 0, "{run:?}");
    let profile = std::fs::read_to_string(home.profile()).unwrap();
    assert!(profile.contains(&files.name("ca.pem")), "{profile}");
    assert_eq!(home.run(&["rule", "list"]).code, 0);
    assert_eq!(home.run(&["token", "rotate"]).code, 0);
    let rotated = home.run(&["settings"]);
    assert_eq!(
        rotated.code, 0,
        "the files are kept with a new token: {rotated:?}"
    );
    let mut named = home.command(["rule", "list", "--token", "t", "--server", &url]);
    let named = Home::finish(named.env("STOCKALERT_CA", files.path("ca.pem")));
    assert_eq!(named.code, 77, "trusted, but the token is wrong: {named:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_a_certificate_gets_it() {
    let (files, home) = (Files::new(), Home::new());
    let server = Server::start(&files, true).await;
    let url = server.url();
    let (ca, cert, key) = (
        files.name("ca.pem"),
        files.name("client.pem"),
        files.name("client.key"),
    );
    let register = ["register", "ada@example.org", "--server", &url, "--ca", &ca];
    let without = home.run(&register);
    assert_eq!(without.code, 69, "{without:?}");
    assert!(without.err.contains("--cert"), "{}", without.err);
    let with = home.run(&[&register[..], &["--cert", &cert, "--key", &key]].concat());
    assert_eq!(with.code, 0, "{with:?}");
    assert_eq!(home.run(&["settings"]).code, 0);
    server.stop().await;
}

#[test]
fn files_that_cant_be_used_are_named_with_what_to_do() {
    let (files, home) = (Files::new(), Home::new());
    let (ca, key) = (files.name("ca.pem"), files.name("client.key"));
    let price = ["price", "AAPL", "--token", "t", "--server"];
    let (tls, plain) = ("https://localhost:1", "http://localhost:1");
    for (more, code, said) in [
        (&[tls, "--ca", "/no/such.pem"][..], 74, "/no/such.pem"),
        (&[tls, "--ca", &key], 74, "BEGIN CERTIFICATE"),
        (&[tls, "--ca", &ca, "--cert", &ca], 64, "--key"),
        (
            &[tls, "--ca", &ca, "--cert", &ca, "--key", &ca],
            74,
            "BEGIN PRIVATE KEY",
        ),
        (&[plain, "--ca", &ca], 64, "https://"),
    ] {
        let run = home.run(&[&price[..], more].concat());
        assert_eq!(run.code, code, "{more:?}: {run:?}");
        assert!(run.err.contains(said), "{more:?}: {}", run.err);
    }
}
