//! `up` as a whole, on its embedded log and an SQLite file.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::program::Home;
use crate::provider::Provider;
use crate::up::Up;

#[test]
fn the_demo_shows_a_breach_a_reminder_and_the_way_back_and_ends_on_ctrl_c() {
    let home = Home::new();
    let mut up = Up::start(&home, &["--demo"]);
    let export = up.wait_for("STOCKALERT_TOKEN=", Duration::from_secs(60));
    let token = export
        .split("STOCKALERT_TOKEN=")
        .nth(1)
        .unwrap()
        .trim()
        .to_owned();
    let folder = std::fs::read_dir(std::env::temp_dir()).unwrap();
    assert!(folder.flatten().any(|entry| {
        entry
            .file_name()
            .to_string_lossy()
            .starts_with("stockalert-demo-")
    }));

    up.wait_for("is above|is below|is already", Duration::from_secs(60));
    let (server, args) = (up.server(), ["rule", "list", "--json"]);
    let rules = home.run(&[&args[..], &["--server", &server, "--token", &token]].concat());
    assert_eq!(rules.code, 0, "{rules:?}");
    assert!(rules.out.contains("AAPL"), "{}", rules.out);
    assert!(
        !home.profile().exists() && !home.path().join("data").exists(),
        "a demo leaves nothing at home"
    );

    up.wait_for("Reminder: ", Duration::from_secs(60));
    up.wait_for("is back in range", Duration::from_secs(60));
    up.interrupt();
    assert_eq!(up.wait(Duration::from_secs(15)).code(), Some(0));
}

#[test]
fn a_registration_survives_a_restart_with_the_embedded_log() {
    let home = Home::new();
    let args = ["--quote-provider", "synthetic", "--quote-poll-interval", "200ms"];
    let mut up = Up::start(&home, &args);
    up.wait_for("Stop with Ctrl-C", Duration::from_secs(60));
    let server = up.server();
    // Any price is above this: the first quote is an alert.
    let run = home.run(&[
        "register",
        "ada@example.org",
        "--rule",
        "AAPL::0.01",
        "--server",
        &server,
    ]);
    assert_eq!(run.code, 0, "{run:?}");
    up.wait_for("AAPL", Duration::from_secs(60));
    // The recorder may come to the quotes later than the alert.
    let deadline = Instant::now() + Duration::from_secs(60);
    while home.run(&["price", "AAPL", "--server", &server]).code != 0 {
        assert!(Instant::now() < deadline, "no price was recorded");
    }
    let second = home.run(&[
        "up",
        "--quote-provider",
        "synthetic",
        "--grpc-listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(second.code, 69, "{second:?}");
    assert!(
        second.err.contains("another `stockalert up` uses "),
        "{}",
        second.err
    );
    up.interrupt();
    assert_eq!(up.wait(Duration::from_secs(15)).code(), Some(0));

    let mut up = Up::start(&home, &args);
    up.wait_for("Stop with Ctrl-C", Duration::from_secs(60));
    let (server, profile) = (up.server(), std::fs::read_to_string(home.profile()).unwrap());
    let profile: serde_json::Value = serde_json::from_str(&profile).unwrap();
    let token = profile["token"].as_str().unwrap();
    let as_ada = |args: &[&str]| home.json(&[args, &["--server", &server, "--token", token]].concat());
    assert_eq!(as_ada(&["rule", "list"])[0]["ticker"], "AAPL");
    assert_eq!(as_ada(&["alerts"])[0]["side"], "above");
    // Prices only flow when the rule reached the new log.
    let deadline = Instant::now() + Duration::from_secs(60);
    let first = as_ada(&["price", "AAPL"])["event_time"].clone();
    while as_ada(&["price", "AAPL"])["event_time"] == first {
        assert!(Instant::now() < deadline, "no price after the restart");
        std::thread::sleep(Duration::from_millis(100));
    }
    up.interrupt();
    assert_eq!(up.wait(Duration::from_secs(15)).code(), Some(0));
}

#[test]
fn a_split_while_it_was_stopped_is_no_breach() {
    let home = Home::new();
    let provider = Provider::start("100");
    let url = provider.url();
    let args = [
        "--quote-provider=yahoo",
        "--quote-provider-url",
        &url,
        "--quote-poll-interval=1s",
    ];
    let mut up = Up::start(&home, &args);
    up.wait_for("Stop with Ctrl-C", Duration::from_secs(60));
    let server = up.server();
    let run = home.run(&[
        "register",
        "ada@example.org",
        "--rule",
        "AAPL:90:120",
        "--server",
        &server,
    ]);
    assert_eq!(run.code, 0, "{run:?}");
    let deadline = Instant::now() + Duration::from_secs(60);
    while home.run(&["price", "AAPL", "--server", &server]).code != 0 {
        assert!(Instant::now() < deadline, "no price was recorded");
    }
    up.interrupt();
    assert_eq!(up.wait(Duration::from_secs(15)).code(), Some(0));

    provider.tell("50", 0);
    let up = Up::start(&home, &args);
    provider.tell("50", 4);
    // Believed, as it is near what was known. Then a true move.
    provider.tell("95", 2);
    provider.tell("89", 1);
    up.wait_for("is below|is already below", Duration::from_secs(60));
    let prices = up.wait_for("USD", Duration::from_secs(60));
    assert!(prices.contains("89"), "{prices}");
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = Home::new().run(&["up", "--demo", "--grpc-listen", &address]);
    assert_eq!(run.code, 69, "{run:?}");
    assert!(
        run.err.contains(&format!("GRPC_LISTEN={address}")) && run.err.contains("--grpc-listen"),
        "{}",
        run.err
    );
}
