//! What operators do, with a token of their own.

use serde_json::json;

use super::registered_home;
use crate::program::Home;
use crate::stub::{OPERATOR_TOKEN, Stub};

fn run(home: &Home, args: &[&str]) -> crate::program::Run {
    Home::finish(
        home.command(args)
            .env("STOCKALERT_OPERATOR_TOKEN", OPERATOR_TOKEN),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_list_users_see_what_waits_publish_rules_and_revoke() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    insta::assert_snapshot!(run(&home, &["admin", "users"]).out, @r"
    ID                                    REGISTERED  TELEGRAM  RULES  OUT OF RANGE
    0198c1de-0000-7000-8000-000000000000  2013-10-07  no            3             1
    second                                2013-10-07  yes           3             1
    ");
    insta::assert_snapshot!(run(&home, &["admin", "lag"]).out, @r"
    WAITS FOR     IN                    COUNT  SINCE       NOTE
    alert-system  stockalert.quotes.v1     17              nothing committed of 2 partitions
    the relay     the outbox                1  2013-10-07
    Telegram      due messages              0
    ");
    let lag = run(&home, &["admin", "lag", "--json"]).out;
    let lag: serde_json::Value = serde_json::from_str(&lag).unwrap();
    assert_eq!(lag["groups"][0]["record_count"], 17);
    assert_eq!(lag["due_delivery_oldest_time"], json!(null));
    assert!(
        run(&home, &["admin", "republish-rules"])
            .out
            .starts_with("12 rules")
    );
    assert_eq!(
        run(&home, &["admin", "revoke-token", "USER"]).code,
        64,
        "without --yes"
    );
    assert_eq!(run(&home, &["admin", "revoke-token", "USER", "--yes"]).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_token_is_no_operators_and_is_not_tried() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    let none = home.run(&["admin", "users"]);
    assert_eq!(none.code, 77);
    assert!(none.err.contains("STOCKALERT_OPERATOR_TOKEN"), "{}", none.err);
    let mut wrong = home.command(["admin", "users"]);
    let wrong = Home::finish(wrong.env("STOCKALERT_OPERATOR_TOKEN", "wrong"));
    assert_eq!(wrong.code, 77);
    assert!(
        wrong.err.contains("OPERATOR_TOKEN") && !wrong.err.contains("register"),
        "{}",
        wrong.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_token_comes_from_a_file_or_the_environment_but_is_no_argument() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    let file = home.path().join("operator-token");
    std::fs::write(&file, format!("{OPERATOR_TOKEN}\n")).unwrap();
    let file = file.display().to_string();
    let from = |file: &str| home.run(&["admin", "users", "--operator-token-file", file]);
    assert_eq!(from(&file).code, 0, "{:?}", from(&file));
    assert_eq!(from("/no/such/file").code, 74);
    assert_eq!(from("/dev/null").code, 77);
    let argument = home.run(&["admin", "users", "--operator-token", OPERATOR_TOKEN]);
    assert_eq!(argument.code, 64, "{argument:?}");
}
