//! Every call of the API is made by a command, and answered by the real server.

#![expect(clippy::unwrap_used, reason = "a test's own tools may fail loudly")]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use cqrs::domain::{ChatId, Token};
use cqrs::{Limits, Store, StoreSettings};
use prost::Message as _;
use serde_json::Value;

use crate::program::Home;
use crate::up::Up;

const OPERATOR_TOKEN: &str = "an-operators-token-of-40-characters-0000";

/// All methods of the API, as the metric names them.
fn methods() -> BTreeSet<String> {
    let set = prost_types::FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut methods = BTreeSet::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                methods.insert(format!("{}/{}", service.name(), method.name()));
            }
        }
    }
    methods
}

/// Those of them that the server answered with OK.
fn answered(metrics: &str) -> BTreeSet<String> {
    let lines = metrics.lines();
    let lines =
        lines.filter(|line| line.starts_with("stockalert_grpc_requests_total{") && line.contains("\"Ok\""));
    let method = |line: &str| {
        let (_, rest) = line.split_once("method=\"").unwrap();
        let (name, _) = rest.split_once('"').unwrap();
        name.trim_start_matches('/')
            .trim_start_matches("stockalert.v1.")
            .to_owned()
    };
    lines.map(method).collect()
}

/// What the server counts.
fn metrics(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A person with a home and a running server.
struct Person<'a> {
    home: Home,
    server: &'a str,
}

impl<'a> Person<'a> {
    fn registered(server: &'a str, email: &str, more: &[&str]) -> (Self, Value) {
        let person = Self {
            home: Home::new(),
            server,
        };
        let registration = person.json(&[&["register", email][..], more].concat());
        (person, registration)
    }

    fn json(&self, args: &[&str]) -> Value {
        self.home.json(&[args, &["--server", self.server]].concat())
    }

    fn operate(&self, args: &[&str]) -> Value {
        let args = [args, &["--json", "--server", self.server]].concat();
        let run = Home::finish(
            self.home
                .command(&args)
                .env("STOCKALERT_OPERATOR_TOKEN", OPERATOR_TOKEN),
        );
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{args:?}: {run:?}");
        serde_json::from_str(&run.out).unwrap()
    }

    /// Follows until there is a price and an alert.
    fn watch(&self) {
        let mut command = self.home.command(["watch", "--json", "--server", self.server]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(first["type"], "quote");
        let kill = std::process::Command::new("kill")
            .arg(child.id().to_string())
            .status();
        assert!(kill.unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

/// As the bot does it when somebody opens the link.
fn open_link(home: &Home, link: &Value) {
    let file = home.path().join("data/stockalert/stockalert.db");
    let settings = StoreSettings {
        url: format!("sqlite://{}", file.display()),
        read_url: None,
        max_connections: 1,
        connect_timeout: Duration::from_secs(60),
    };
    let token = Token::presented(link["token"].as_str().unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let commands = Store::open(&settings).await.unwrap().commands(Limits::default());
        commands.link_chat(&token, ChatId::new(7), None).await.unwrap();
    });
}

/// Prices and alerts come a little later than the rules that they are for.
fn until_there(ask: impl Fn() -> bool, what: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !ask() {
        assert!(Instant::now() < deadline, "no {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Commands on rules, each with the answer that says that it had its effect.
fn on_rules(ada: &Person<'_>) {
    let rule = ada.json(&["rule", "add", "MSFT", "--low", "1"]);
    let id = rule["id"].as_str().unwrap();
    assert_eq!(ada.json(&["rule", "show", id])["low"], "1");
    assert_eq!(ada.json(&["rule", "list"]).as_array().unwrap().len(), 2);
    assert_eq!(ada.json(&["rule", "edit", id, "--low", "2"])["low"], "2");
    assert!(ada.json(&["rule", "snooze", id, "2h"])["snooze"]["until_time"].is_string());
    assert!(ada.json(&["rule", "preview", "AAPL", "--high", "0.01"])["quote_count"].is_i64());
    let file = ada.home.path().join("rules.csv");
    std::fs::write(&file, "IBM,1,,\n").unwrap();
    let imported = ada.json(&["rule", "import", &file.display().to_string()]);
    assert_eq!(imported[0]["rule"]["ticker"], "IBM");
    assert_eq!(ada.json(&["rule", "rm", id])["deleted"], true);
}

/// What was recorded meanwhile.
fn on_history(ada: &Person<'_>) {
    let price = |args: &[&str]| ada.home.run(&[args, &["--server", ada.server]].concat()).code == 0;
    until_there(|| price(&["price", "AAPL"]), "price");
    assert_eq!(ada.json(&["price", "AAPL"])["ticker"], "AAPL");
    assert_eq!(ada.json(&["average", "AAPL", "--last", "1"])["quote_count"], 1);
    assert_eq!(ada.json(&["tickers"])[0]["ticker"], "AAPL");
    assert_eq!(ada.json(&["quotes", "AAPL", "--limit", "1"])[0]["ticker"], "AAPL");
    assert!(ada.json(&["candles", "AAPL", "--interval", "1m"])[0]["open"].is_string());
    until_there(|| ada.json(&["alerts"])[0]["side"] == "above", "alert");
    until_there(|| ada.json(&["deliveries"])[0]["ticker"] == "AAPL", "message");
    assert!(ada.json(&["status"])["feeds"].is_array());
    ada.watch();
}

#[test]
fn every_call_of_the_api_is_made_by_a_command_and_answered() {
    let home = Home::new();
    // A port that was free a moment ago.
    let admin = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let args = [
        "--quote-provider",
        "synthetic",
        "--quote-poll-interval",
        "200ms",
        "--admin-listen",
        &admin,
    ];
    let mut up = Up::start_with(&home, &args, &[("OPERATOR_TOKEN", OPERATOR_TOKEN)]);
    up.wait_for("Stop with Ctrl-C", Duration::from_secs(60));
    let server = up.server();

    let (ada, _) = Person::registered(&server, "ada@example.org", &["--rule", "AAPL::0.01"]);
    assert_eq!(ada.json(&["settings"])["email"], "ada@example.org");
    assert_eq!(
        ada.json(&["settings", "--reminders", "5m"])["reminder_interval_seconds"],
        300
    );
    open_link(&home, &ada.json(&["link"]));
    on_rules(&ada);
    on_history(&ada);
    assert!(ada.json(&["test-alert"])["id"].is_string());

    let (bob, registration) = Person::registered(&server, "bob@example.org", &[]);
    assert_eq!(bob.operate(&["admin", "users"]).as_array().unwrap().len(), 2);
    assert!(bob.operate(&["admin", "lag"])["groups"].is_array());
    assert_eq!(bob.operate(&["admin", "republish-rules"])["rule_count"], 2);
    let id = registration["user"]["id"].as_str().unwrap();
    assert_eq!(
        bob.operate(&["admin", "revoke-token", id, "--yes"])["revoked"],
        true
    );
    assert_eq!(bob.home.run(&["settings", "--server", &server]).code, 77);

    let (cyd, _) = Person::registered(&server, "cyd@example.org", &[]);
    cyd.json(&["token", "rotate"]);
    assert_eq!(cyd.json(&["token", "revoke", "--yes"])["revoked"], true);
    assert_eq!(ada.json(&["user", "rm", "--yes"])["deleted"], true);

    let (all, answered) = (methods(), answered(&metrics(&admin)));
    assert!(all.len() > 25, "{all:?}");
    let missing: Vec<_> = all.difference(&answered).collect();
    assert!(
        missing.is_empty(),
        "no command calls {missing:?}; answered were {answered:?}"
    );
    up.interrupt();
    assert_eq!(up.wait(Duration::from_secs(15)).code(), Some(0));
}
