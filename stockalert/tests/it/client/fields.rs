//! What `--json` prints has the fields of the API, all of them and under their names.

#![expect(clippy::unwrap_used, reason = "a test's own tools may fail loudly")]

use std::collections::BTreeSet;

use prost::Message as _;
use proto::v1;
use serde_json::Value;

use super::registered_home;
use crate::program::Home;
use crate::stub::{OPERATOR_TOKEN, Stub, TIME, alert, rule};

fn fields_of(message: &str) -> BTreeSet<String> {
    let set = prost_types::FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut messages = set.file.iter().flat_map(|file| &file.message_type);
    let message = messages.find(|known| known.name() == message);
    let fields = message.unwrap().field.iter();
    fields.map(|field| field.name().to_owned()).collect()
}

fn json(home: &Home, args: &[&str]) -> Value {
    let args = [args, &["--json"]].concat();
    let run = Home::finish(
        home.command(&args)
            .env("STOCKALERT_OPERATOR_TOKEN", OPERATOR_TOKEN),
    );
    serde_json::from_str(&run.out).unwrap_or_else(|error| unreachable!("{args:?}: {error}: {run:?}"))
}

/// A rule of which nothing is absent, and an alert.
fn fill(stub: &Stub) {
    let restating = v1::Restating {
        restate_time: Some(TIME),
        from_price: "645.7".into(),
        to_price: "92.42".into(),
        new_shares: 7,
        old_shares: 1,
        event_time: Some(TIME),
    };
    let mut full = rule(
        1,
        v1::NewRule {
            ticker: "AAPL".into(),
            low: Some("600".into()),
            ..Default::default()
        },
    );
    full.hold = Some(restating);
    full.snooze = Some(v1::Snooze {
        end: Some(v1::snooze::End::UntilBack(true)),
    });
    full.episode = Some(v1::Episode {
        side: v1::Side::Above.into(),
        start_time: Some(TIME),
        price: "1".into(),
    });
    let mut state = stub.state();
    state.rules = vec![full];
    state.alerts = vec![alert(1, v1::Side::Above)];
    state.status = v1::GetStatusResponse {
        feeds: vec![v1::Feed::default()],
        stale_tickers: vec![v1::StaleTicker::default()],
        restatements: vec![v1::TickerRestatement {
            ticker: "AAPL".into(),
            restating: Some(v1::Restating::default()),
        }],
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn json_has_every_field_of_the_api_under_its_name() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    fill(&stub);
    let file = home.path().join("rules.csv");
    std::fs::write(&file, "MSFT\n").unwrap();
    let file = file.display().to_string();
    // Where in the answer is what message; and what this program adds to it.
    let register = ["register", "a@example.org", "--no-save"];
    let average = ["average", "AAPL", "--last", "3"];
    let preview = ["rule", "preview", "AAPL", "--high", "200"];
    let candles = ["candles", "AAPL", "--since", "2013-10-07T14:00:00Z"];
    for (args, places) in [
        (&["settings"][..], &[("", "User", "")][..]),
        (&["link"], &[("", "TelegramLink", "")]),
        (
            &["rule", "list"],
            &[
                ("/0", "Rule", ""),
                ("/0/hold", "Restating", ""),
                ("/0/snooze", "Snooze", ""),
                ("/0/episode", "Episode", ""),
            ],
        ),
        (
            &preview,
            &[
                ("", "PreviewRuleResponse", ""),
                ("/alerts/0", "PreviewedAlert", ""),
            ],
        ),
        (
            &["rule", "import", &file],
            &[
                ("/0", "BatchCreateRulesResult", ""),
                ("/0/error", "RuleError", ""),
                ("/0/error/fields/0", "FieldError", ""),
            ],
        ),
        (&["alerts"], &[("/0", "Alert", "")]),
        (&["deliveries"], &[("/0", "Delivery", "")]),
        (&["price", "AAPL"], &[("", "Quote", "")]),
        (&average, &[("", "GetAverageResponse", "ticker")]),
        (&["quotes", "AAPL"], &[("/0", "Quote", "")]),
        (&candles, &[("/0", "Candle", "")]),
        (&["tickers"], &[("/0", "TickerSummary", "")]),
        (
            &["status"],
            &[
                ("", "GetStatusResponse", ""),
                ("/feeds/0", "Feed", ""),
                ("/stale_tickers/0", "StaleTicker", ""),
                ("/restatements/0", "TickerRestatement", ""),
            ],
        ),
        (&["admin", "users"], &[("/0", "UserSummary", "")]),
        (
            &["admin", "lag"],
            &[("", "GetLagResponse", ""), ("/groups/0", "GroupLag", "")],
        ),
        (
            &["admin", "republish-rules"],
            &[("", "RepublishRulesResponse", "")],
        ),
        (&register, &[("", "RegisterUserResponse", "profile")]),
        (&["token", "rotate"], &[("", "RotateTokenResponse", "profile")]),
    ] {
        let answer = json(&home, args);
        for (place, message, added) in places {
            let object = answer.pointer(place).and_then(Value::as_object);
            let object = object.unwrap_or_else(|| unreachable!("{args:?} has no {place}: {answer}"));
            let names: BTreeSet<String> = object.keys().filter(|name| name != added).cloned().collect();
            assert_eq!(names, fields_of(message), "{message} in {args:?}");
        }
    }
}
