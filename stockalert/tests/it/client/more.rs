//! Previews, imports, snoozes, history and messages.

use serde_json::{Value, json};

use super::{RULE_1, registered_home};
use crate::program::Home;
use crate::stub::Stub;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_rules_is_added_line_by_line_and_the_refused_ones_are_named() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    let file = home.path().join("rules.csv");
    std::fs::write(&file, "aapl,170,200,sell half\nMSFT\n\nIBM,,300\n").unwrap();
    let file = file.display().to_string();
    let dry = home.run(&["rule", "import", &file, "--dry-run"]);
    assert_eq!((dry.code, stub.state().rules.len()), (65, 0));
    assert!(
        dry.err.contains("1 line would be refused, and 2 rules added"),
        "{}",
        dry.err
    );
    assert!(
        dry.out.contains("would be added") && !dry.out.contains("0198c1de"),
        "an id that is nobody's: {}",
        dry.out
    );
    assert!(
        dry.out.ends_with("This was a dry run: nothing was changed.\n"),
        "{}",
        dry.out
    );
    stub.state().lost_answers = 1;
    let run = home.run(&["rule", "import", &file]);
    assert_eq!(run.code, 65);
    assert!(
        run.err.contains("refused 1 line, and added 2 rules"),
        "{}",
        run.err
    );
    assert!(
        run.out
            .contains("2  MSFT    refused  low: neither low nor high is given"),
        "{}",
        run.out
    );
    let ids = stub.state().request_ids.clone();
    assert_eq!(ids[1], ids[2], "sent again under the same id");
    assert_eq!(home.run(&["rule", "import", "/no/such/file"]).code, 74);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_too_long_is_refused_and_not_cut() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    let file = home.path().join("rules.csv");
    // The rule is within the limit; what is cut would have been another, and half a character.
    let text = format!("AAPL,170\n#{}", "\u{20ac}".repeat(700_000));
    std::fs::write(&file, text).unwrap();
    let run = home.run(&["rule", "import", &file.display().to_string()]);
    assert_eq!(run.code, 64, "{run:?}");
    assert!(
        run.err.contains("2 MiB") && run.err.contains("split"),
        "{}",
        run.err
    );
    assert!(stub.state().rules.is_empty());
    std::fs::write(&file, b"AAPL,170,,caf\xe9\n").unwrap();
    let latin = home.run(&["rule", "import", &file.display().to_string()]);
    assert_eq!(latin.code, 74);
    assert!(latin.err.contains("UTF-8"), "{}", latin.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_that_nothing_was_changed_and_names_no_rule() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    let note = "\nThis was a dry run: nothing was changed.\n";
    let add = ["rule", "add", "AAPL", "--low", "170"];
    let run = home.run(&[&add[..], &["--dry-run"]].concat());
    assert!(
        run.out.ends_with(note) && !run.out.contains("0198c1de"),
        "{}",
        run.out
    );
    let dry = home.json(&[&add[..], &["--dry-run"]].concat());
    assert_eq!((&dry["id"], &dry["etag"]), (&Value::Null, &Value::Null));
    assert!(stub.state().rules.is_empty());
    assert!(!home.run(&add).out.contains("dry run"));
    for args in [
        &["rule", "edit", RULE_1, "--low", "1"][..],
        &["settings", "--reminders", "off"],
    ] {
        let run = home.run(&[args, &["--dry-run"]].concat());
        assert!(run.out.ends_with(note), "{}", run.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_answer_got_lost_is_sent_again_under_the_same_id() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    home.json(&["rule", "add", "AAPL", "--low", "170"]);
    for args in [
        &["link"][..],
        &["rule", "snooze", RULE_1, "2h"],
        &["token", "rotate"],
    ] {
        stub.state().request_ids.clear();
        stub.state().lost_answers = 1;
        home.json(args);
        let ids = stub.state().request_ids.clone();
        assert_eq!(ids.len(), 2, "{args:?}");
        assert!(ids[0].len() == 36 && ids[0] == ids[1], "{args:?}: {ids:?}");
    }
    assert_eq!(home.run(&["rule", "list"]).code, 0, "the new token is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_guarded_by_their_etag() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    let etag = home.json(&["settings"])["etag"].as_str().unwrap().to_owned();
    let change = |etag: &str| home.run(&["settings", "--reminders", "off", "--etag", etag]);
    assert_eq!(change("old").code, 65);
    assert!(stub.state().updated_users.is_empty());
    assert_eq!(change(&etag).code, 0);
    assert_eq!(
        home.run(&["settings", "--etag", &etag]).code,
        64,
        "nothing to change"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_shown_snoozed_and_guarded_by_their_etag() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    home.json(&["rule", "add", "AAPL", "--low", "170"]);
    assert_eq!(home.json(&["rule", "show", RULE_1])["snooze"], Value::Null);
    let snoozed = home.json(&["rule", "snooze", RULE_1, "back"]);
    assert_eq!(
        snoozed["snooze"],
        json!({ "until_time": null, "until_back": true })
    );
    assert!(home.run(&["rule", "list"]).out.contains("until back"));
    let timed = home.json(&["rule", "snooze", RULE_1, "2013-10-08T00:00:00Z"]);
    assert_eq!(timed["snooze"]["until_time"], "2013-10-08T00:00:00Z");
    assert_eq!(
        home.json(&["rule", "snooze", RULE_1, "off"])["snooze"],
        Value::Null
    );
    assert_eq!(home.run(&["rule", "show", "nothing"]).code, 66);

    let edit = |etag: &str| home.run(&["rule", "edit", RULE_1, "--high", "300", "--etag", etag]);
    let changed = edit("old");
    assert_eq!(
        changed.code, 65,
        "a rule that changed meanwhile is not tried again: {changed:?}"
    );
    assert!(changed.err.contains("present etag"), "{}", changed.err);
    assert!(stub.state().updated_rules.is_empty());
    assert_eq!(edit("v1").code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_says_how_often_and_how_far() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    let args = ["rule", "preview", "aapl", "--high", "200"];
    insta::assert_snapshot!(home.run(&args).out, @r"
    Would have fired 7 times since 2013-10-07, by 120 recorded prices.
    AAPL is at 196.4 now, in range; 1.83 % below the high threshold.

    TIME        SIDE    PRICE
    2013-10-07  above  200.75
    ");
    assert_eq!(home.json(&args)["high_distance_percent"], "1.83");
}

#[tokio::test(flavor = "multi_thread")]
async fn history_messages_and_tickers_are_listed() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    let prices = |args: &[&str]| {
        let quotes = home.json(args);
        let quotes = quotes.as_array().unwrap().clone();
        quotes
            .into_iter()
            .map(|quote| quote["price"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(prices(&["quotes", "aapl"]), ["100", "101", "102", "103", "104"]);
    assert_eq!(prices(&["quotes", "aapl", "--limit", "3"]), ["100", "101", "102"]);
    insta::assert_snapshot!(home.run(&["candles", "AAPL", "--since", "2013-10-07T14:00:00Z"]).out, @r"
    FROM        OPEN   HIGH  LOW   CLOSE  QUOTES
    2013-10-07   100  101.5   99  100.25      60
    ");
    let none = home.run(&["candles", "AAPL", "--interval", "5m"]).out;
    assert_eq!(none, "No price was recorded in this time.\n");
    insta::assert_snapshot!(home.run(&["tickers"]).out, @r"
    TICKER   PRICE  CURRENCY  TIME        RULES
    AAPL    187.25  USD       2013-10-07      0
    NEW                                       1
    ");
    assert_eq!(home.json(&["tickers", "--own"])[0]["latest_quote"], Value::Null);
    insta::assert_snapshot!(home.run(&["deliveries"]).out, @r"
    PLANNED     TICKER  ABOUT           PRICE  STATUS         TRIES  RULE                                  WHY
    2013-10-07  AAPL    came and went  200.75  undeliverable      1  0198c1de-7d1c-7c3a-9d57-000000000001  the chat blocked the bot
    2013-10-07  AAPL    breach         200.75  sent               1  0198c1de-7d1c-7c3a-9d57-000000000001
    ");
    let sent = home.json(&["deliveries", "--status", "sent"]);
    assert_eq!(sent.as_array().unwrap().len(), 1);
    assert_eq!(sent[0]["kind"], "breach");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_alert_without_a_chat_is_refused_and_says_what_to_do() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    let run = home.run(&["test-alert"]);
    assert_eq!(run.code, 65);
    assert!(run.err.contains("no chat is linked"), "{}", run.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_goes_from_the_profile() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    assert_eq!(home.run(&["token", "revoke"]).code, 64, "without --yes");
    assert_eq!(
        home.json(&["token", "revoke", "--yes"]),
        json!({ "revoked": true })
    );
    assert!(!home.profile().exists());
}

#[test]
fn every_shell_gets_its_completions() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        let run = home.run(&["completions", shell]);
        assert_eq!((run.code, run.err.as_str()), (0, ""));
        assert!(
            run.out.contains("stockalert") && run.out.contains("republish-rules"),
            "{shell}"
        );
    }
    assert_eq!(home.run(&["completions", "tcsh"]).code, 64);
}
