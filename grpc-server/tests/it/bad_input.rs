//! Whatever a caller sends, the answer says what is wrong with which field, and nothing is stored.

use prost_types::{Duration, FieldMask, Timestamp};
use proto::v1;
use proto::v1::get_average_request::Range;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request};
use uuid::Uuid;

use crate::app::{App, Caller, Database, in_seconds, no_broker, some_email, some_rule, with_token};
use crate::reflection::RawCodec;
use crate::refusal::{assert_invalid, refused};

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
        ..some_rule()
    };
    rules.push((
        "all at once".into(),
        all_at_once,
        vec!["ticker", "low", "high", "note"],
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

#[tokio::test]
async fn create_rule_refuses_every_rule_that_makes_no_sense() {
    let scene = Scene::new().await;
    for (case, rule, fields) in bad_rules() {
        let result = scene
            .create(v1::CreateRuleRequest {
                rule: Some(rule),
                ..Default::default()
            })
            .await;
        assert_invalid(result, &strs(&under("rule", &fields)), &case);
    }
    assert_invalid(
        scene.create(v1::CreateRuleRequest::default()).await,
        &["rule"],
        "no rule",
    );
    for request_id in bad_request_ids() {
        let result = scene
            .create(v1::CreateRuleRequest {
                rule: Some(some_rule()),
                request_id,
            })
            .await;
        assert_invalid(result, &["request_id"], "request_id");
    }
    scene.nothing_was_stored().await;
}

#[tokio::test]
async fn register_user_refuses_bad_addresses_rules_and_request_ids() {
    let scene = Scene::new().await;
    let long = format!("{}@example.org", "a".repeat(250));
    for email in [
        "",
        "ada",
        "@example.org",
        "ada@",
        "ada@localhost",
        "a b@example.org",
        "ädä@example.org",
        "a@b@c.org",
        &long,
    ] {
        let request = v1::RegisterUserRequest {
            email: email.into(),
            ..Default::default()
        };
        assert_invalid(scene.register(request).await, &["email"], email);
    }
    for (case, rule, fields) in bad_rules() {
        let rules = vec![some_rule(), rule];
        let request = v1::RegisterUserRequest {
            email: some_email(),
            rules,
            ..Default::default()
        };
        assert_invalid(
            scene.register(request).await,
            &strs(&under("rules[1]", &fields)),
            &case,
        );
    }
    let request = v1::RegisterUserRequest {
        email: some_email(),
        rules: vec![some_rule(); 201],
        ..Default::default()
    };
    assert_invalid(scene.register(request).await, &["rules"], "too many rules");
    let version_7 = Uuid::now_v7().to_string();
    for request_id in bad_request_ids()
        .into_iter()
        .chain(["guessable".into(), "1".into(), version_7])
    {
        let request = v1::RegisterUserRequest {
            email: some_email(),
            request_id,
            ..Default::default()
        };
        assert_invalid(scene.register(request).await, &["request_id"], "request_id");
    }
    scene.nothing_was_stored().await;
}

#[tokio::test]
async fn an_address_is_taken_once_in_whatever_case() {
    let scene = Scene::new().await;
    for email in [
        scene.caller.user.email.clone(),
        scene.caller.user.email.to_uppercase(),
    ] {
        let request = v1::RegisterUserRequest {
            email,
            rules: vec![some_rule()],
            ..Default::default()
        };
        let refusal = refused(scene.register(request).await);
        assert_eq!(
            (refusal.code, refusal.reason.as_str()),
            (Code::AlreadyExists, "EMAIL_TAKEN")
        );
        assert_eq!(refusal.fields, ["email"]);
    }
    scene.nothing_was_stored().await;
}

#[tokio::test]
async fn update_user_refuses_what_it_cant_change() {
    let scene = Scene::new().await;
    let other = scene.app.register().await;
    let before = scene.database.row_counts().await;
    let update = async |user: Option<v1::User>, paths: &[&str]| {
        let request = v1::UpdateUserRequest {
            user,
            update_mask: mask(paths),
            ..Default::default()
        };
        scene.app.users().update_user(scene.caller.asks(request)).await
    };
    let user = |email: &str, reminder: Option<i64>| {
        Some(v1::User {
            email: email.into(),
            reminder_interval_seconds: reminder,
            ..Default::default()
        })
    };
    for email in ["", "ada", "ädä@example.org"] {
        assert_invalid(
            update(user(email, None), &["email"]).await,
            &["user.email"],
            email,
        );
    }
    for seconds in [i64::MIN, -1, 0, 9, 604_801, i64::MAX] {
        let result = update(user("", Some(seconds)), &["reminder_interval_seconds"]).await;
        assert_invalid(result, &["user.reminder_interval_seconds"], &seconds.to_string());
    }
    for path in ["", "*", "id", "telegram_linked", "user.email", "Email"] {
        assert_invalid(
            update(user("a@example.org", None), &[path]).await,
            &["update_mask"],
            path,
        );
    }
    assert_invalid(
        update(user("a@example.org", None), &[]).await,
        &["update_mask"],
        "empty mask",
    );
    assert_invalid(update(None, &["email"]).await, &["user"], "no user");
    let result = update(
        user("ada", Some(1)),
        &["email", "reminder_interval_seconds", "id"],
    )
    .await;
    assert_invalid(
        result,
        &["update_mask", "user.email", "user.reminder_interval_seconds"],
        "all at once",
    );
    let no_mask = v1::UpdateUserRequest {
        user: user("a@example.org", None),
        ..Default::default()
    };
    assert_invalid(
        scene.app.users().update_user(scene.caller.asks(no_mask)).await,
        &["update_mask"],
        "no mask",
    );

    let refusal = refused(update(user(&other.user.email, None), &["email"]).await);
    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (Code::AlreadyExists, "EMAIL_TAKEN")
    );
    assert_eq!(refusal.fields, ["user.email"]);
    assert_eq!(scene.database.row_counts().await, before);
    let user = scene
        .app
        .users()
        .get_user(scene.caller.asks(v1::GetUserRequest {}))
        .await
        .unwrap()
        .into_inner()
        .user;
    assert_eq!(user, Some(scene.caller.user.clone()));
    scene.app.stop().await;
}

#[tokio::test]
async fn update_rule_refuses_what_it_cant_change() {
    let scene = Scene::new().await;
    let rule = |low: Option<&str>, high: Option<&str>| v1::Rule {
        id: scene.rule.id.clone(),
        low: low.map(str::to_owned),
        high: high.map(str::to_owned),
        ..Default::default()
    };
    for price in BAD_PRICES {
        assert_invalid(
            scene.update(rule(Some(price), None), &["low"]).await,
            &["rule.low"],
            price,
        );
        assert_invalid(
            scene.update(rule(None, Some(price)), &["high"]).await,
            &["rule.high"],
            price,
        );
    }
    // The stored range is 170.5 to 200.25.
    for (case, low, high, paths) in [
        ("inverted", Some("5"), Some("4"), &["low", "high"][..]),
        ("equal", Some("5"), Some("5.0"), &["low", "high"]),
        ("both cleared", None, None, &["low", "high"]),
        ("low at the stored high", Some("200.25"), None, &["low"]),
        ("high below the stored low", None, Some("1"), &["high"]),
    ] {
        assert_invalid(scene.update(rule(low, high), paths).await, &["rule.low"], case);
    }
    let id = scene.rule.id.clone();
    for note in ["x".repeat(501), "two\nlines".into(), "x".repeat(1 << 20)] {
        let rule = v1::Rule {
            id: id.clone(),
            note,
            ..Default::default()
        };
        assert_invalid(scene.update(rule, &["note"]).await, &["rule.note"], "note");
    }
    for time in bad_expire_times() {
        let rule = v1::Rule {
            id: id.clone(),
            expire_time: Some(time),
            ..Default::default()
        };
        assert_invalid(
            scene.update(rule, &["expire_time"]).await,
            &["rule.expire_time"],
            &format!("{time:?}"),
        );
    }
    for path in ["", "*", "ticker", "id", "version", "rule.low", "LOW", "snoozed"] {
        assert_invalid(
            scene.update(rule(Some("1"), None), &[path]).await,
            &["update_mask"],
            path,
        );
    }
    assert_invalid(
        scene.update(rule(Some("1"), None), &[]).await,
        &["update_mask"],
        "empty mask",
    );
    let request = v1::UpdateRuleRequest {
        update_mask: mask(&["low"]),
        ..Default::default()
    };
    assert_invalid(
        scene.app.rules().update_rule(scene.caller.asks(request)).await,
        &["rule"],
        "no rule",
    );
    for id in ["", "x", "1", &"9".repeat(100_000)] {
        let rule = v1::Rule {
            id: id.into(),
            ..Default::default()
        };
        assert_invalid(scene.update(rule, &["paused"]).await, &["rule.id"], "id");
    }
    let unknown = v1::Rule {
        id: NO_ID.into(),
        ..Default::default()
    };
    let refusal = refused(scene.update(unknown, &["paused"]).await);
    assert_eq!(
        (refusal.code, refusal.fields),
        (Code::NotFound, vec!["rule.id".to_owned()])
    );
    scene.nothing_was_stored().await;
}

#[tokio::test]
async fn reads_and_deletions_of_rules_refuse_bad_and_unknown_ids() {
    let scene = Scene::new().await;
    let id_of = |rule_id: &str| rule_id.to_owned();
    let long = "0".repeat(100_000);
    for rule_id in [
        "x",
        "not-a-uuid",
        "0197a1b2c3d47e5f8a9b0c1d2e3f4a5b",
        "{0197a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b}",
        &long,
    ] {
        let get = v1::GetRuleRequest {
            rule_id: id_of(rule_id),
        };
        assert_invalid(
            scene.app.rules().get_rule(scene.caller.asks(get)).await,
            &["rule_id"],
            rule_id,
        );
        let delete = v1::DeleteRuleRequest {
            rule_id: id_of(rule_id),
            ..Default::default()
        };
        assert_invalid(
            scene.app.rules().delete_rule(scene.caller.asks(delete)).await,
            &["rule_id"],
            rule_id,
        );
        let list = v1::ListAlertsRequest {
            rule_id: id_of(rule_id),
            ..Default::default()
        };
        assert_invalid(
            scene.app.alerts().list_alerts(scene.caller.asks(list)).await,
            &["rule_id"],
            rule_id,
        );
    }
    let get = v1::GetRuleRequest::default();
    assert_invalid(
        scene.app.rules().get_rule(scene.caller.asks(get)).await,
        &["rule_id"],
        "no id",
    );
    let delete = v1::DeleteRuleRequest {
        rule_id: String::new(),
        request_id: "ü".into(),
    };
    assert_invalid(
        scene.app.rules().delete_rule(scene.caller.asks(delete)).await,
        &["request_id", "rule_id"],
        "both",
    );

    let (not_found, field) = (Code::NotFound, vec!["rule_id".to_owned()]);
    let get = v1::GetRuleRequest {
        rule_id: NO_ID.into(),
    };
    let refusal = refused(scene.app.rules().get_rule(scene.caller.asks(get)).await);
    assert_eq!((refusal.code, &refusal.fields), (not_found, &field));
    let delete = v1::DeleteRuleRequest {
        rule_id: NO_ID.into(),
        ..Default::default()
    };
    let refusal = refused(scene.app.rules().delete_rule(scene.caller.asks(delete)).await);
    assert_eq!((refusal.code, &refusal.fields), (not_found, &field));
    let list = v1::ListAlertsRequest {
        rule_id: NO_ID.into(),
        ..Default::default()
    };
    let refusal = refused(scene.app.alerts().list_alerts(scene.caller.asks(list)).await);
    assert_eq!((refusal.code, &refusal.fields), (not_found, &field));
    scene.nothing_was_stored().await;
}

#[tokio::test]
async fn lists_refuse_bad_pages() {
    let scene = Scene::new().await;
    let rules = async |page_size, page_token: &str| {
        let request = v1::ListRulesRequest {
            page_size,
            page_token: page_token.into(),
        };
        scene.app.rules().list_rules(scene.caller.asks(request)).await
    };
    let alerts = async |page_size, page_token: &str| {
        let request = v1::ListAlertsRequest {
            page_size,
            page_token: page_token.into(),
            ..Default::default()
        };
        scene.app.alerts().list_alerts(scene.caller.asks(request)).await
    };
    for size in [-1, i32::MIN] {
        assert_invalid(rules(size, "").await, &["page_size"], &size.to_string());
        assert_invalid(alerts(size, "").await, &["page_size"], &size.to_string());
    }
    let long = "x".repeat(100_000);
    for token in ["x", "ünïcode", "' or 1=1", "AAAA", "!!", &long] {
        assert_invalid(rules(0, token).await, &["page_token"], token);
        assert_invalid(alerts(0, token).await, &["page_token"], token);
    }
    assert_invalid(rules(-1, "ü").await, &["page_size", "page_token"], "both");
    scene.nothing_was_stored().await;
}

#[tokio::test]
async fn prices_refuse_bad_tickers_and_ranges() {
    let scene = Scene::new().await;
    let latest = async |ticker: &str| {
        let request = v1::GetLatestQuoteRequest {
            ticker: ticker.into(),
        };
        scene
            .app
            .quotes()
            .get_latest_quote(scene.caller.asks(request))
            .await
    };
    let average = async |ticker: &str, range| {
        let request = v1::GetAverageRequest {
            ticker: ticker.into(),
            range,
        };
        scene.app.quotes().get_average(scene.caller.asks(request)).await
    };
    for ticker in bad_tickers() {
        let shown: String = ticker.chars().take(40).collect();
        assert_invalid(latest(&ticker).await, &["ticker"], &shown);
        assert_invalid(average(&ticker, Some(Range::Last(1))).await, &["ticker"], &shown);
    }
    for last in [i32::MIN, -1, 0, 10_001, i32::MAX] {
        assert_invalid(
            average("AAPL", Some(Range::Last(last))).await,
            &["last"],
            &last.to_string(),
        );
    }
    for (seconds, nanos) in [
        (0, 0),
        (0, 999_999_999),
        (-1, 0),
        (2_592_000, 1),
        (i64::MAX, 0),
        (i64::MIN, 0),
        (i64::MIN, i32::MIN),
        (5, -2_000_000_000),
    ] {
        let window = Range::Window(Duration { seconds, nanos });
        assert_invalid(
            average("AAPL", Some(window)).await,
            &["window"],
            &format!("{seconds} {nanos}"),
        );
    }
    assert_invalid(average("AAPL", None).await, &["range"], "no range");
    assert_invalid(average("", None).await, &["ticker", "range"], "both");

    for result in [
        refused(latest("NOSUCH").await),
        refused(average("NOSUCH", Some(Range::Last(5))).await),
    ] {
        assert_eq!(
            (result.code, result.reason.as_str()),
            (Code::NotFound, "QUOTE_NOT_FOUND")
        );
        assert_eq!(result.fields, ["ticker"]);
    }
    scene.nothing_was_stored().await;
}

#[tokio::test]
async fn a_request_id_with_another_body_is_refused() {
    let scene = Scene::new().await;
    let reused = |refusal: crate::refusal::Refusal| {
        assert_eq!(
            (refusal.code, refusal.reason.as_str()),
            (Code::AlreadyExists, "REQUEST_ID_REUSED")
        );
        assert_eq!(refusal.fields, ["request_id"]);
    };
    let request_id = Uuid::new_v4().to_string();
    let register = v1::RegisterUserRequest {
        email: some_email(),
        request_id: request_id.clone(),
        ..Default::default()
    };
    scene.register(register.clone()).await.unwrap();
    let create = v1::CreateRuleRequest {
        rule: Some(some_rule()),
        request_id: request_id.clone(),
    };
    let created = scene
        .create(create.clone())
        .await
        .unwrap()
        .into_inner()
        .rule
        .unwrap();
    let before = scene.database.row_counts().await;

    reused(refused(
        scene
            .register(v1::RegisterUserRequest {
                email: some_email(),
                ..register.clone()
            })
            .await,
    ));
    reused(refused(
        scene
            .register(v1::RegisterUserRequest {
                rules: vec![some_rule()],
                ..register
            })
            .await,
    ));
    let other = v1::NewRule {
        paused: true,
        ..some_rule()
    };
    reused(refused(
        scene
            .create(v1::CreateRuleRequest {
                rule: Some(other),
                ..create.clone()
            })
            .await,
    ));
    let update = v1::UpdateRuleRequest {
        rule: Some(v1::Rule {
            id: created.id.clone(),
            paused: true,
            ..Default::default()
        }),
        update_mask: mask(&["paused"]),
        request_id: request_id.clone(),
    };
    reused(refused(
        scene.app.rules().update_rule(scene.caller.asks(update)).await,
    ));
    let delete = v1::DeleteRuleRequest {
        rule_id: created.id.clone(),
        request_id: request_id.clone(),
    };
    reused(refused(
        scene.app.rules().delete_rule(scene.caller.asks(delete)).await,
    ));
    let user = v1::User {
        reminder_interval_seconds: Some(60),
        ..Default::default()
    };
    let update = v1::UpdateUserRequest {
        user: Some(user),
        update_mask: mask(&["reminder_interval_seconds"]),
        request_id,
    };
    reused(refused(
        scene.app.users().update_user(scene.caller.asks(update)).await,
    ));
    assert_eq!(scene.database.row_counts().await, before);
    scene.app.stop().await;
}

#[tokio::test]
async fn more_rules_than_allowed_are_refused() {
    let database = Database::sqlite();
    let app = App::start_with(&database, &no_broker(), |config| {
        config.max_rules_per_user = 2;
        config.rules_in_all = Some(3);
    })
    .await;
    let (first, second) = (app.register().await, app.register().await);
    let create = async |caller: &Caller| {
        let request = v1::CreateRuleRequest {
            rule: Some(some_rule()),
            ..Default::default()
        };
        app.rules().create_rule(caller.asks(request)).await
    };
    create(&first).await.unwrap();
    create(&first).await.unwrap();
    let refusal = refused(create(&first).await);
    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (Code::ResourceExhausted, "TOO_MANY_RULES")
    );
    create(&second).await.unwrap();
    let refusal = refused(create(&second).await);
    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (Code::ResourceExhausted, "EMBEDDED_LOG_FULL")
    );
    let request = v1::RegisterUserRequest {
        email: some_email(),
        rules: vec![some_rule(); 3],
        ..Default::default()
    };
    let before = database.row_counts().await;
    assert_eq!(
        refused(app.users().register_user(request).await).code,
        Code::ResourceExhausted
    );
    assert_eq!(database.row_counts().await, before);
    app.stop().await;
}

#[tokio::test]
async fn a_request_that_is_too_large_or_no_message_is_refused_in_the_same_form() {
    let scene = Scene::new().await;
    let rule = v1::NewRule {
        note: "x".repeat(grpc_server::MAX_REQUEST_BYTES),
        ..some_rule()
    };
    let refusal = refused(
        scene
            .create(v1::CreateRuleRequest {
                rule: Some(rule),
                ..Default::default()
            })
            .await,
    );
    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (Code::ResourceExhausted, "MESSAGE_TOO_LARGE")
    );

    // A length that the bytes don't have; a field of another type; text that is not UTF-8.
    for bytes in [
        &[0x0a, 0xff, 0xff, 0x03][..],
        &[0x08, 0x01],
        &[0x12, 0x02, 0xc3, 0x28],
        &[0xff; 40],
    ] {
        let mut client = tonic::client::Grpc::new(scene.app.channel.clone());
        client.ready().await.unwrap();
        let path = PathAndQuery::from_static("/stockalert.v1.RuleService/CreateRule");
        let request: Request<Vec<u8>> = with_token(bytes.to_vec(), &scene.caller.token);
        let refusal = refused(client.unary(request, path, RawCodec).await);
        assert_eq!(
            (refusal.code, refusal.reason.as_str()),
            (Code::InvalidArgument, "MALFORMED_REQUEST"),
            "{bytes:?}"
        );
    }
    scene.nothing_was_stored().await;
}
