//! Whatever a caller sends, the answer says what is wrong with which field, and nothing is stored.

mod every_field;
mod history;
mod reads;
mod requests;
mod rules;
mod users;

use prost_types::{FieldMask, Timestamp};
use proto::v1;

use crate::app::{App, Caller, Database, in_seconds, no_broker, some_rule};

const NO_ID: &str = "0197a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b";

fn bad_tickers() -> Vec<String> {
    [
        "",
        "aapl",
        "ÄAPL",
        "АAPL",
        "AAPL ",
        "AA PL",
        "A..B",
        "^",
        "A\nB",
        "A\0B",
        "'; drop table rules; --",
        "🚀",
    ]
    .map(String::from)
    .into_iter()
    .chain(["A".repeat(33), "A".repeat(1_000_000)])
    .collect()
}

const BAD_PRICES: [&str; 16] = [
    "",
    "-1",
    "-0.5",
    "0",
    "0.00000000",
    "NaN",
    "nan",
    "inf",
    "-Infinity",
    "1e5",
    "1,5",
    "0x10",
    " 1",
    "0.000000001",
    "123456789012345678901234567890",
    "1.234567890123456789012345678901",
];

/// One way to spoil a rule, with the fields that are then wrong.
fn bad_rules() -> Vec<(String, v1::NewRule, Vec<&'static str>)> {
    let mut rules = Vec::new();
    for ticker in bad_tickers() {
        let shown: String = ticker.chars().take(40).collect();
        rules.push((
            format!("ticker {shown:?}"),
            v1::NewRule {
                ticker,
                ..some_rule()
            },
            vec!["ticker"],
        ));
    }
    for price in BAD_PRICES {
        let (low, high) = (Some(price.to_owned()), Some(price.to_owned()));
        rules.push((
            format!("low {price:?}"),
            v1::NewRule {
                low: low.clone(),
                ..some_rule()
            },
            vec!["low"],
        ));
        rules.push((
            format!("high {price:?}"),
            v1::NewRule {
                high: high.clone(),
                ..some_rule()
            },
            vec!["high"],
        ));
        rules.push((
            format!("both {price:?}"),
            v1::NewRule {
                low,
                high,
                ..some_rule()
            },
            vec!["low", "high"],
        ));
    }
    for (low, high) in [("200", "200"), ("200.00000001", "200"), ("200", "1")] {
        let (low, high) = (Some(low.to_owned()), Some(high.to_owned()));
        rules.push((
            format!("{low:?} to {high:?}"),
            v1::NewRule {
                low,
                high,
                ..some_rule()
            },
            vec!["low"],
        ));
    }
    rules.push((
        "no threshold".into(),
        v1::NewRule {
            low: None,
            high: None,
            ..some_rule()
        },
        vec!["low"],
    ));
    for note in [
        "x".repeat(501),
        "é".repeat(501),
        "two\nlines".into(),
        "nul\0".into(),
        "x".repeat(1 << 20),
    ] {
        let shown: String = note.chars().take(10).collect();
        rules.push((
            format!("note {shown:?}"),
            v1::NewRule { note, ..some_rule() },
            vec!["note"],
        ));
    }
    for time in bad_expire_times() {
        let rule = v1::NewRule {
            expire_time: Some(time),
            ..some_rule()
        };
        rules.push((format!("expire_time {time:?}"), rule, vec!["expire_time"]));
    }
    let all_at_once = v1::NewRule {
        ticker: "?".into(),
        low: Some("x".into()),
        high: Some("y".into()),
        note: "\n".into(),
        expire_time: Some(in_seconds(-1)),
        ..some_rule()
    };
    rules.push((
        "all at once".into(),
        all_at_once,
        vec!["ticker", "low", "high", "note", "expire_time"],
    ));
    rules
}

fn bad_expire_times() -> [Timestamp; 7] {
    [
        Timestamp { seconds: 0, nanos: 0 },
        in_seconds(-1),
        Timestamp {
            nanos: -1,
            ..in_seconds(3_600)
        },
        Timestamp {
            nanos: 1_000_000_000,
            ..in_seconds(3_600)
        },
        Timestamp {
            seconds: i64::MAX,
            nanos: 0,
        },
        Timestamp {
            seconds: i64::MIN,
            nanos: 0,
        },
        Timestamp {
            seconds: 253_402_300_800,
            nanos: 0,
        },
    ]
}

fn bad_request_ids() -> [String; 5] {
    [
        "x".repeat(65),
        "with space".into(),
        "ünïcode".into(),
        "line\nbreak".into(),
        "x".repeat(100_000),
    ]
}

fn under(path: &str, fields: &[&str]) -> Vec<String> {
    fields.iter().map(|field| format!("{path}.{field}")).collect()
}

fn strs(fields: &[String]) -> Vec<&str> {
    fields.iter().map(String::as_str).collect()
}

/// A server with one user and one rule, and what is stored then.
struct Scene {
    database: Database,
    app: App,
    caller: Caller,
    rule: v1::Rule,
    before: Vec<(&'static str, i64)>,
}

impl Scene {
    async fn new() -> Self {
        let database = Database::sqlite();
        let app = App::start(&database, &no_broker()).await;
        let caller = app.register().await;
        let rule = caller.creates(&app, some_rule()).await;
        let before = database.row_counts().await;
        Self {
            database,
            app,
            caller,
            rule,
            before,
        }
    }

    async fn nothing_was_stored(self) {
        assert_eq!(self.database.row_counts().await, self.before);
        let request = self.caller.asks(v1::GetRuleRequest {
            rule_id: self.rule.id.clone(),
        });
        assert_eq!(
            self.app
                .rules()
                .get_rule(request)
                .await
                .unwrap()
                .into_inner()
                .rule,
            Some(self.rule)
        );
        self.app.stop().await;
    }

    async fn register(
        &self,
        request: v1::RegisterUserRequest,
    ) -> Result<tonic::Response<v1::RegisterUserResponse>, tonic::Status> {
        self.app.users().register_user(request).await
    }

    async fn create(
        &self,
        request: v1::CreateRuleRequest,
    ) -> Result<tonic::Response<v1::CreateRuleResponse>, tonic::Status> {
        self.app.rules().create_rule(self.caller.asks(request)).await
    }

    async fn update(
        &self,
        rule: v1::Rule,
        paths: &[&str],
    ) -> Result<tonic::Response<v1::UpdateRuleResponse>, tonic::Status> {
        let request = v1::UpdateRuleRequest {
            rule: Some(rule),
            update_mask: mask(paths),
            ..Default::default()
        };
        self.app.rules().update_rule(self.caller.asks(request)).await
    }
}

fn mask(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask {
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
    })
}
