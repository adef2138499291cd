//! The client commands against a stub server.

mod admin;
mod fields;
mod live;
mod more;
mod status;
mod tls;
mod watch;

use proto::v1;
use serde_json::{Value, json};

use crate::program::Home;
use crate::stub::{Stub, TOKEN, USER_ID, alert};

const RULE_1: &str = "0198c1de-7d1c-7c3a-9d57-000000000001";

/// A home whose profile names the stub and its user.
#[expect(clippy::unwrap_used, reason = "a test's own tools may fail loudly")]
fn registered_home(stub: &Stub) -> Home {
    let home = Home::new();
    std::fs::create_dir_all(home.profile().parent().unwrap()).unwrap();
    let profile = json!({ "server": stub.url(), "token": TOKEN });
    std::fs::write(home.profile(), profile.to_string()).unwrap();
    home
}

#[tokio::test(flavor = "multi_thread")]
async fn registering_shows_the_token_once_and_keeps_it_for_further_commands() {
    let (stub, home) = (Stub::start().await, Home::new());
    let run = home.run(&[
        "register",
        "ada@example.org",
        "--rule",
        "aapl:170:200.5",
        "--server",
        &stub.url(),
    ]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let out = run.out.replace(&home.profile().display().to_string(), "PROFILE");
    insta::assert_snapshot!(out, @r"
    Registered ada@example.org.

    ID                                    TICKER  LOW   HIGH  STATE
    0198c1de-7d1c-7c3a-9d57-000000000001  AAPL    170  200.5  active

    Your API token, shown only now:
      good-token
    It is kept in PROFILE; further commands find it there.

    To get alerts in Telegram, open (until 2013-10-07):
      https://t.me/a_bot?start=LINK
    ");
    assert_eq!(home.json(&["settings"])["id"], USER_ID);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_whose_answer_got_lost_is_sent_again_under_the_same_id() {
    let (stub, home) = (Stub::start().await, Home::new());
    stub.state().lost_answers = 2;
    let answer = home.json(&[
        "register",
        "ada@example.org",
        "--no-save",
        "--server",
        &stub.url(),
    ]);
    assert_eq!(answer["api_token"], TOKEN);
    assert_eq!(answer["profile"], Value::Null);
    let ids = stub.state().request_ids.clone();
    assert_eq!(ids.len(), 3);
    assert!(
        !ids[0].is_empty() && ids.iter().all(|id| *id == ids[0]),
        "{ids:?}"
    );
    assert!(!home.profile().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn registering_never_overwrites_the_only_copy_of_a_token() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    let run = home.run(&["register", "bob@example.org"]);
    assert_eq!(run.code, 64, "{run:?}");
    assert!(
        run.err.contains("keeps another registration") && run.err.contains("--replace"),
        "{}",
        run.err
    );
    assert!(stub.state().registered.is_empty());
    assert_eq!(home.run(&["register", "bob@example.org", "--replace"]).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_token_is_never_sent_to_another_server() {
    let (stub, other) = (Stub::start().await, Stub::start().await);
    let home = registered_home(&stub);
    let run = home.run(&["rule", "list", "--server", &other.url()]);
    assert_eq!(run.code, 77);
    assert!(
        run.err.starts_with("error: there is no token for http://"),
        "{}",
        run.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_added_listed_edited_and_removed() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    assert_eq!(
        home.run(&["rule", "list"]).out.lines().count(),
        1,
        "a hint how to add one"
    );
    let args = [
        "rule",
        "add",
        "aapl",
        "--low",
        "170",
        "--high",
        "200.50",
        "--note",
        "sell half",
    ];
    assert_eq!(home.json(&args)["ticker"], "AAPL");
    home.json(&[
        "rule",
        "add",
        "BRK-B",
        "--high",
        "450",
        "--paused",
        "--expires",
        "2013-10-08T00:00:00Z",
    ]);
    home.json(&["rule", "add", "^GSPC", "--low", "4000"]);
    insta::assert_snapshot!(home.run(&["rule", "list"]).out, @r"
    ID                                    TICKER   LOW    HIGH  STATE   EXPIRES     NOTE
    0198c1de-7d1c-7c3a-9d57-000000000001  AAPL     170  200.50  active              sell half
    0198c1de-7d1c-7c3a-9d57-000000000002  BRK-B            450  paused  2013-10-08
    0198c1de-7d1c-7c3a-9d57-000000000003  ^GSPC   4000          active
    ");
    insta::assert_snapshot!(home.run(&["rule", "list", "--json"]).out.lines().next().unwrap_or_default()
        .split("},").next().unwrap_or_default(), @r#"[{"id":"0198c1de-7d1c-7c3a-9d57-000000000001","ticker":"AAPL","low":"170","high":"200.50","note":"sell half","paused":false,"expire_time":null,"version":1,"create_time":"2013-10-07T14:30:00Z","update_time":"2013-10-07T14:30:00Z","hold":null,"etag":"v1","state":"active","snooze":null,"episode":null"#);

    let edited = home.json(&["rule", "edit", RULE_1, "--low", "none", "--high", "210"]);
    assert_eq!((&edited["low"], &edited["high"]), (&Value::Null, &json!("210")));
    let mask = stub.state().updated_rules[0].update_mask.clone().unwrap();
    assert_eq!(mask.paths, ["low", "high"]);

    assert_eq!(
        home.json(&["rule", "rm", RULE_1]),
        json!({ "id": RULE_1, "deleted": true })
    );
    let run = home.run(&["rule", "rm", RULE_1]);
    assert_eq!(run.code, 66);
    assert_eq!(
        run.err,
        format!("error: there is no rule {RULE_1}; list your rules to see their ids\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_averages_and_alerts_are_shown() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    insta::assert_snapshot!(home.run(&["price", "aapl"]).out, @r"
    TICKER   PRICE  CURRENCY  TIME        SOURCE
    AAPL    187.25  USD       2013-10-07  synthetic
    ");
    insta::assert_snapshot!(home.run(&["average", "AAPL", "--window", "90m"]).out, @r"
    TICKER       AVERAGE  QUOTES  FROM        TO
    AAPL    186.33333333       3  2013-10-07  2013-10-07
    ");
    let window = v1::get_average_request::Range::Window(prost_types::Duration {
        seconds: 5_400,
        nanos: 0,
    });
    assert_eq!(stub.state().averages[0].range, Some(window));

    for (number, side) in [(1, v1::Side::Above), (2, v1::Side::In), (3, v1::Side::Below)] {
        stub.state().alerts.push(alert(number, side));
    }
    insta::assert_snapshot!(home.run(&["alerts"]).out, @r"
    TIME        TICKER   PRICE  SIDE           THRESHOLD  RULE
    2013-10-07  AAPL    200.75  below                200  0198c1de-7d1c-7c3a-9d57-000000000001
    2013-10-07  AAPL    200.75  back in range        200  0198c1de-7d1c-7c3a-9d57-000000000001
    2013-10-07  AAPL    200.75  above                200  0198c1de-7d1c-7c3a-9d57-000000000001
    ");
    let alerts = home.json(&["alerts", "--limit", "1"]);
    assert_eq!(alerts.as_array().map(Vec::len), Some(1));
    assert_eq!(alerts[0]["side"], "below");
    assert_eq!(home.json(&["alerts", "--rule", "another"]), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_links_tokens_and_accounts_are_managed() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    insta::assert_snapshot!(home.run(&["settings", "--reminders", "5m"]).out, @r"
    SETTING    VALUE
    E-mail     ada@example.org
    Reminders  every 5m while a price stays out of range
    Telegram   not connected; see `stockalert link`
    User id    0198c1de-0000-7000-8000-000000000000
    ");
    assert_eq!(
        home.json(&["settings", "--reminders", "off"])["reminder_interval_seconds"],
        Value::Null
    );
    let masks: Vec<_> = stub
        .state()
        .updated_users
        .iter()
        .map(|request| request.update_mask.clone().unwrap().paths)
        .collect();
    assert_eq!(
        masks,
        [["reminder_interval_seconds"], ["reminder_interval_seconds"]]
    );
    assert!(home.run(&["link"]).out.contains("/start LINK"));

    assert_eq!(home.json(&["token", "rotate"])["api_token"], "new-token");
    assert_eq!(
        home.run(&["rule", "list"]).code,
        0,
        "the profile has the new token"
    );

    assert_eq!(home.run(&["user", "rm"]).code, 64);
    assert!(!stub.state().user_deleted);
    assert_eq!(home.run(&["user", "rm", "--yes"]).code, 0);
    assert!(stub.state().user_deleted && !home.profile().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_input_is_explained_field_by_field() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    let run = home.run(&["rule", "add", "AAPL", "--low", "-5"]);
    assert_eq!((run.code, run.out.as_str()), (65, ""));
    insta::assert_snapshot!(run.err, @r#"
    error: the request has 1 invalid field
      rule.low: "-5" is not a price: it is negative; give a decimal number above 0
    "#);
    let run = home.run(&["rule", "add", "AAPL", "--low", "-5", "--json"]);
    insta::assert_snapshot!(run.err, @r#"{"error":{"exit_code":65,"message":"the request has 1 invalid field","remedy":null,"reason":"INVALID_FIELDS","violations":[{"field":"rule.low","description":"\"-5\" is not a price: it is negative; give a decimal number above 0"}]}}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_has_its_exit_code() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    stub.state().price = None;
    for (args, code) in [
        (&["price", "AAPL"][..], 66),
        (&["price", "NOBODY"], 70),
        (&["price", "AAPL", "--token", "wrong"], 77),
        (&["price", "AAPL", "--token", "wr\nong"], 77),
        (&["register", "ada", "--no-save"], 65),
        (&["price"], 64),
        (&["nonsense"], 64),
        (&["average", "AAPL"], 64),
        (&["average", "AAPL", "--last", "5", "--window", "1h"], 64),
        (&["rule", "edit", RULE_1], 64),
        (&["settings", "--reminders", "9s"], 64),
        (&["price", "AAPL", "--server", "localhost:50051"], 64),
        (&["--help"], 0),
        (&["--version"], 0),
    ] {
        let run = home.run(args);
        assert_eq!(run.code, code, "{args:?}: {run:?}");
        assert_eq!(run.err.is_empty(), code == 0, "{args:?}: {run:?}");
        assert!(
            !run.err.contains("wrong"),
            "a token is never repeated: {}",
            run.err
        );
    }
    std::fs::write(home.profile(), "{").unwrap();
    assert_eq!(home.run(&["price", "AAPL"]).code, 74);
}

#[test]
fn a_server_that_is_away_is_named_with_the_way_to_start_one() {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let run = Home::new().run(&["price", "AAPL", "--token", "t", "--server", &server]);
    assert_eq!(run.code, 69, "{run:?}");
    assert!(
        run.err
            .starts_with(&format!("error: no server answers at {server}: ")),
        "{}",
        run.err
    );
    assert!(
        run.err.contains("refused") && run.err.contains("stockalert up"),
        "{}",
        run.err
    );
}
