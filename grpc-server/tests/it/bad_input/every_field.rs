//! Bad values in every field of every request. Fields and methods come from the descriptors, so that a new one is tested
//! without being named here. What a value is refused for is tested elsewhere; here, that it is refused as it should be, or
//! taken and then readable.

use std::time::Duration;

use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _, Value};
use proto::v1;
use tonic::Code;

use crate::app::{App, Caller, Database, PATIENCE, no_broker, record_quote, some_rule};
use crate::methods::{Ids, Needs, call, filled, methods, needs};
use crate::refusal::refusal_of;

on_both_stores! {
    no_bad_value_in_any_field_breaks_the_server_or_what_it_stores,
}

const OPERATOR: &str = "operator-0123456789abcdef0123456789abcdef";

/// How long a stream that was let in is listened to.
const LISTENED: Duration = Duration::from_millis(20);

fn bad_texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "\0",
        "A\0B",
        "\u{1b}[31m",
        "a\r\nb",
        "\u{7f}",
        "\u{85}",
        "\u{202e}LPAA",
        "\u{2066}AAPL\u{2069}",
        "\u{200b}",
        "\u{feff}AAPL",
        "\u{301}",
        "\u{301}\u{301}\u{301}",
        "🚀",
        "👩‍👩‍👧‍👦",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "-0",
        "-1",
        "0",
        "1e-9",
        "0.000000001",
        "９９",
        "٣",
        "'",
        "'; drop table users; --",
        "\" or 1=1",
        "e30",
        "bnVsbA",
        "eyJhZnRlciI6ICJ4In0",
        "../../etc/passwd",
        "/dev/null",
        "%00",
        "{}",
        "null",
        "92233720368547758.08",
        "0197a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b",
    ]
    .map(String::from)
    .into();
    texts.push("x".repeat(10_000));
    texts.push("9".repeat(10_000));
    texts.push("\u{301}".repeat(10_000));
    texts
}

/// Seconds and parts of one that are no moment, or a strange one.
const BAD_TIMES: [(i64, i32); 12] = [
    (0, 0),
    (0, -1),
    (0, i32::MIN),
    (0, i32::MAX),
    (0, 1_000_000_000),
    (-1, 999_999_999),
    (i64::MAX, 999_999_999),
    (i64::MIN, 0),
    // The years 0, 1, 9999 and 99999.
    (-62_135_596_801, 0),
    (-62_135_596_800, 0),
    (253_402_300_799, 999_999_999),
    (3_093_527_980_799, 0),
];

fn bad_masks() -> [Vec<String>; 7] {
    [
        vec![],
        vec![String::new()],
        vec!["*".into()],
        vec!["no_such_field".into()],
        vec!["note".into(), "note".into(), "note".into()],
        vec!["\u{202e}".into(), "\0".into()],
        vec!["x".repeat(10_000); 50],
    ]
}

/// The bad values of a field, of a list's elements; none of one whose fields are gone through one by one.
fn bad_values(field: &FieldDescriptor) -> Vec<(String, Value)> {
    let kind = field.kind();
    if let Some(message) = kind.as_message() {
        return bad_messages(message);
    }
    let values: Vec<Value> = if kind == Kind::String {
        bad_texts().into_iter().map(Value::String).collect()
    } else if kind == Kind::Int32 {
        [-1, 0, i32::MIN, i32::MAX].map(Value::I32).into()
    } else if kind == Kind::Int64 {
        [-1, 0, i64::MIN, i64::MAX].map(Value::I64).into()
    } else if kind.as_enum().is_some() {
        [-1, 0, 99, i32::MIN, i32::MAX].map(Value::EnumNumber).into()
    } else if kind == Kind::Bool {
        [false, true].map(Value::Bool).into()
    } else {
        panic!("{}: say what is bad for it", field.full_name())
    };
    values
        .into_iter()
        .map(|value| (format!("{value:?}").chars().take(60).collect(), value))
        .collect()
}

fn bad_messages(message: &MessageDescriptor) -> Vec<(String, Value)> {
    let dynamic =
        |bytes: Vec<u8>| Value::Message(DynamicMessage::decode(message.clone(), bytes.as_slice()).unwrap());
    match message.full_name() {
        "google.protobuf.Timestamp" | "google.protobuf.Duration" => BAD_TIMES
            .iter()
            .map(|(seconds, nanos)| {
                // The two have the same fields.
                let (seconds, nanos) = (*seconds, *nanos);
                let time = prost_types::Timestamp { seconds, nanos };
                (format!("{seconds} s {nanos} ns"), dynamic(time.encode_to_vec()))
            })
            .collect(),
        "google.protobuf.FieldMask" => bad_masks()
            .into_iter()
            .map(|paths| {
                let case = format!("{paths:.20?}").chars().take(60).collect();
                (case, dynamic(prost_types::FieldMask { paths }.encode_to_vec()))
            })
            .collect(),
        _ => vec![],
    }
}

/// One request: the field, what is wrong with it, the message.
type Spoiled = (String, String, DynamicMessage);

/// The message with each bad value in each field, one at a time.
fn spoil(message: &DynamicMessage) -> Vec<Spoiled> {
    let mut spoiled = Vec::new();
    for field in message.descriptor().fields() {
        let path = if field.is_list() {
            format!("{}[0]", field.name())
        } else {
            field.name().to_owned()
        };
        let with = |value: Value| {
            let mut message = message.clone();
            let value = if field.is_list() {
                Value::List(vec![value])
            } else {
                value
            };
            message.set_field(&field, value);
            message
        };
        for (case, value) in bad_values(&field) {
            spoiled.push((path.clone(), case, with(value)));
        }
        let mut without = message.clone();
        without.clear_field(&field);
        spoiled.push((path.clone(), "absent".to_owned(), without));
        if bad_values(&field).is_empty() && message.has_field(&field) {
            let value = message.get_field(&field);
            let inner = value.as_list().map_or(Some(&*value), |list| list.first());
            for (inner_path, case, inner) in inner.and_then(Value::as_message).map(spoil).unwrap_or_default()
            {
                let path = format!("{path}.{inner_path}");
                spoiled.push((path, case, with(Value::Message(inner))));
            }
        }
    }
    spoiled
}

/// Names all fields that can change, so that all are looked at.
fn with_full_mask(mut message: DynamicMessage, method: &str) -> DynamicMessage {
    let paths = match method {
        "UpdateRule" => vec!["low", "high", "note", "paused", "expire_time"],
        "UpdateUser" => vec!["email", "reminder_interval_seconds"],
        _ => return message,
    };
    let mask = prost_types::FieldMask {
        paths: paths.into_iter().map(str::to_owned).collect(),
    };
    let field = message.descriptor().get_field_by_name("update_mask").unwrap();
    let kind = field.kind();
    let descriptor = kind.as_message().unwrap().clone();
    let mask = DynamicMessage::decode(descriptor, mask.encode_to_vec().as_slice()).unwrap();
    message.set_field(&field, Value::Message(mask));
    message
}

/// Whether a violation of `named` tells a caller that `spoiled` is at fault: it, a part of it, what it is a part of, or
/// what makes sense only together with it.
fn tells(named: &str, spoiled: &str) -> bool {
    let spoiled = spoiled.strip_suffix("[0]").unwrap_or(spoiled);
    let parent = |path: &str| path.rsplit_once('.').map(|(parent, _)| parent.to_owned());
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let pairs = [
        ("low", "high"),
        ("start_time", "end_time"),
        ("interval", "start_time"),
        ("interval", "end_time"),
    ];
    let (a, b) = (last(named), last(spoiled));
    let together = pairs
        .iter()
        .any(|(x, y)| (a == *x && b == *y) || (a == *y && b == *x));
    spoiled.starts_with(named)
        || named.starts_with(spoiled)
        || (together && parent(named) == parent(spoiled))
        // Neither of two that exclude each other.
        || (named == "range" && ["last", "window"].contains(&spoiled))
}

/// What the server may say of bad input, whatever it is.
fn check(name: &str, path: &str, case: &str, status: &tonic::Status) {
    let refusal = refusal_of(status);
    let context = format!("{name}, {path}: {case}: {status:?}");
    if refusal.code == Code::InvalidArgument {
        assert_eq!(refusal.reason, "INVALID_FIELDS", "{context}");
        let told = refusal.fields.iter().any(|field| tells(field, path));
        assert!(told, "another field is named; {context}");
        return;
    }
    // Ids of nothing, ids of requests that were used, etags that are old.
    let allowed = [
        Code::NotFound,
        Code::AlreadyExists,
        Code::Aborted,
        Code::OutOfRange,
        Code::FailedPrecondition,
    ];
    assert!(
        allowed.contains(&refusal.code),
        "no answer to bad input; {context}"
    );
}

/// All that this caller has can be shown.
async fn everything_is_readable(app: &App, caller: &Caller) {
    let mut request = v1::ListRulesRequest::default();
    loop {
        let page = app
            .rules()
            .list_rules(caller.asks(request.clone()))
            .await
            .unwrap();
        request.page_token = page.into_inner().next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let user = app.users().get_user(caller.asks(v1::GetUserRequest {})).await;
    assert!(user.unwrap().into_inner().user.is_some());
    let tickers = v1::ListTickersRequest {
        own: true,
        ..Default::default()
    };
    app.quotes().list_tickers(caller.asks(tickers)).await.unwrap();
    let deliveries = v1::ListDeliveriesRequest::default();
    app.alerts()
        .list_deliveries(caller.asks(deliveries))
        .await
        .unwrap();
}

async fn no_bad_value_in_any_field_breaks_the_server_or_what_it_stores(database: Database) {
    let app = App::start_with(&database, &no_broker(), |config| {
        config.security.operator_token = Some(OPERATOR.parse().unwrap());
        config.max_rules_per_user = 10_000;
    })
    .await;
    record_quote(&database, "AAPL").await;
    let (mut refused, mut taken) = (0, 0);
    for method in methods() {
        let caller = app.register().await;
        let rule = caller.creates(&app, some_rule()).await;
        let token = match needs(&method) {
            Needs::Nothing => None,
            Needs::Operator => Some(OPERATOR),
            Needs::User | Needs::Either => Some(caller.token.as_str()),
        };
        let ids = Ids {
            rule: &rule.id,
            user: &caller.user.id,
        };
        let good = with_full_mask(filled(&method, ids).0, method.name());
        let ends_token = ["RotateToken", "RevokeToken", "DeleteUser"].contains(&method.name());
        for (path, case, message) in spoil(&good) {
            let bytes = message.encode_to_vec();
            // Whatever is taken, the next one needs a token.
            let own = if ends_token {
                Some(app.register().await.token)
            } else {
                None
            };
            let token = own.as_deref().or(token);
            let call = call(&app.channel, &method, bytes, token, LISTENED);
            let answer = tokio::time::timeout(PATIENCE, call).await;
            match answer.unwrap_or_else(|_| panic!("{}: {path}: {case}: no answer", method.full_name())) {
                Ok(_) => taken += 1,
                Err(status) => {
                    refused += 1;
                    check(method.full_name(), &path, &case, &status);
                }
            }
        }
        // Of operators' methods, one may have ended it.
        if needs(&method) != Needs::Operator {
            everything_is_readable(&app, &caller).await;
        }
    }
    assert!(refused > 1_000 && taken > 100, "{refused} refused, {taken} taken");
    app.stop().await;
}
