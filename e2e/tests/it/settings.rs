use std::process::Command;

/// Enough for each program to start; nothing listens there, so a program that connects first would try for a minute.
const GOOD: [(&str, &str); 4] = [
    ("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1"),
    (
        "DATABASE_URL",
        "mysql://stockalert:hunter2@127.0.0.1:1/stockalert",
    ),
    ("QUOTE_PROVIDER", "synthetic"),
    ("GRPC_LISTEN", "127.0.0.1:0"),
];

/// Program, setting, bad value, and what the message must say of the values that are allowed.
const BAD: [(&str, &str, &str, &str); 21] = [
    ("grpc-server", "GRPC_LISTEN", "localhost", "127.0.0.1:50051"),
    (
        "grpc-server",
        "DATABASE_URL",
        "postgres://stockalert:hunter2@localhost/x",
        "mysql://",
    ),
    ("grpc-server", "DATABASE_READ_URL", "hunter2", "sqlite://"),
    ("grpc-server", "MAX_RULES_PER_USER", "0", "1..=10000"),
    ("grpc-server", "KAFKA_PARTITIONS", "1025", "1..=1024"),
    ("grpc-server", "OPERATOR_TOKEN", "hunter2", "32 to 128"),
    ("grpc-server", "API_TOKEN_LIFETIME", "0", "90d"),
    ("grpc-server", "CALLS_PER_SECOND", "0", "1..=1000000"),
    ("grpc-server", "TRUSTED_PROXIES", "proxy", "172.16.0.0/12"),
    (
        "data-collector",
        "QUOTE_PROVIDER",
        "bloomberg",
        "synthetic, replay, yahoo",
    ),
    ("data-collector", "QUOTE_POLL_INTERVAL", "1ms", "100ms"),
    (
        "data-collector",
        "REPLAY_FILE",
        "/nowhere/trades.csv",
        "trades.csv",
    ),
    ("data-collector", "REPLAY_SPEED", "-1", "0"),
    (
        "data-collector",
        "QUOTE_PROVIDER_URL",
        "ftp://example.org",
        "http",
    ),
    (
        "alert-system",
        "KAFKA_BOOTSTRAP_SERVERS",
        "localhost",
        "HOST:PORT",
    ),
    ("alert-system", "KAFKA_PROPERTIES", "acks=1", "acks"),
    ("alert-system", "REARM_MARGIN_PERMILLE", "101", "0..=100"),
    (
        "alert-notifier",
        "TELEGRAM_BOT_TOKEN",
        "hunter2",
        "DIGITS:LETTERS",
    ),
    (
        "alert-notifier",
        "TELEGRAM_API_URL",
        "telegram",
        "https://api.telegram.org",
    ),
    ("quote-recorder", "LOG_FORMAT", "xml", "text, json"),
    ("quote-recorder", "RUST_LOG", "=[", "info"),
];

#[test]
#[ignore = "needs the built programs; run by make test"]
fn a_bad_setting_ends_each_program_before_it_connects_and_names_the_variable_and_what_is_allowed() {
    let folder = std::env::var("STOCKALERT_BIN_DIR").expect("STOCKALERT_BIN_DIR is set by make test");
    for (program, variable, value, allowed) in BAD {
        let output = Command::new(format!("{folder}/{program}"))
            .envs(GOOD)
            .env(variable, value)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(64),
            "{program} {variable}={value}: {said}"
        );
        assert!(said.contains(variable), "{program} {variable}={value}: {said}");
        assert!(said.contains(allowed), "{program} {variable}={value}: {said}");
        assert!(!said.contains("hunter2"), "a secret is repeated: {said}");
    }
}
