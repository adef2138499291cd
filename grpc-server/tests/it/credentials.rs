//! Every method of the API with every kind of credential. The methods come from the descriptors that reflection serves, so
//! that a new one is tested without being named here.

use std::time::Duration;

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MethodDescriptor, Value};
use proto::v1;
use sqlx::AnyPool;
use tokio_stream::StreamExt as _;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::app::{App, Caller, Database, no_broker, some_email, some_rule, with_token};
use crate::reflection::RawCodec;
use crate::refusal::refusal_of;

const OPERATOR: &str = "operator-0123456789abcdef0123456789abcdef";

/// How long a stream that was let in is listened to.
const LISTENED: Duration = Duration::from_millis(300);

/// What a method asks for, said here another time, by rules that hold for methods to come: who adds one that they don't
/// hold for has to say so here, too.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Needs {
    Nothing,
    User,
    Operator,
    Either,
}

fn needs(method: &MethodDescriptor) -> Needs {
    match (method.parent_service().name(), method.name()) {
        ("UserService", "RegisterUser") => Needs::Nothing,
        ("AdminService", _) => Needs::Operator,
        ("SystemService", "GetStatus") => Needs::Either,
        _ => Needs::User,
    }
}

fn methods() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
    let methods: Vec<_> = pool
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .collect();
    assert!(methods.len() >= 30, "{methods:?}");
    methods
}

/// Calls it and answers what came back, of a stream what came back soon.
async fn call(
    channel: &Channel,
    method: &MethodDescriptor,
    message: Vec<u8>,
    token: Option<&str>,
) -> Result<Vec<Vec<u8>>, Status> {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let path = PathAndQuery::try_from(path).unwrap();
    let request = match token {
        Some(token) => with_token(message, token),
        None => Request::new(message),
    };
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    if !method.is_server_streaming() {
        let answer = client.unary(request, path, RawCodec).await?;
        return Ok(vec![answer.into_inner()]);
    }
    let mut stream = client
        .server_streaming(request, path, RawCodec)
        .await?
        .into_inner();
    let mut answers = Vec::new();
    while let Ok(Some(answer)) = tokio::time::timeout(LISTENED, stream.next()).await {
        answers.push(answer?);
    }
    Ok(answers)
}

/// A server with an operator, where tokens are good for an hour.
pub(crate) async fn start(database: &Database) -> App {
    App::start_with(database, &no_broker(), |config| {
        config.security.operator_token = Some(OPERATOR.parse().unwrap());
        config.security.api_token_lifetime = Some(Duration::from_secs(60 * 60));
    })
    .await
}

/// A user whose token was made longer ago than tokens are good for.
pub(crate) async fn expired(app: &App, database: &Database) -> Caller {
    let caller = app.register().await;
    let pool = AnyPool::connect(&database.url).await.unwrap();
    sqlx::query("update api_tokens set created_at = created_at - 3600000000 where user_id = ?")
        .bind(caller.user.id.clone())
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
    caller
}

fn outcome(result: &Result<Vec<Vec<u8>>, Status>) -> String {
    match result {
        Err(status) if matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied) => {
            refusal_of(status).reason
        }
        _ => "let in".to_owned(),
    }
}

#[tokio::test]
async fn every_method_lets_in_whom_it_shall_and_nobody_else() {
    let database = Database::sqlite();
    let app = start(&database).await;
    let expired = expired(&app, &database).await.token;
    for method in methods() {
        // Of its own, as some methods end a token.
        let user = app.register().await;
        let longer = format!("{}x", user.token);
        // A token that only became too old is good for two of them, and the first call with it may end it.
        let of_late = match method.name() {
            "RotateToken" | "DeleteUser" | "RegisterUser" => "let in",
            _ => "UNAUTHENTICATED",
        };
        let late = if of_late == "let in" {
            self::expired(&app, &database).await.token
        } else {
            expired.clone()
        };
        let (of_user, of_operator, of_nobody) = match needs(&method) {
            Needs::Nothing => ("let in", "let in", "let in"),
            Needs::User => ("let in", "USERS_ONLY", "UNAUTHENTICATED"),
            Needs::Operator => ("OPERATOR_ONLY", "let in", "UNAUTHENTICATED"),
            Needs::Either => ("let in", "let in", "UNAUTHENTICATED"),
        };
        for (credential, token, expected) in [
            ("none", None, of_nobody),
            ("empty", Some(""), of_nobody),
            (
                "wrong",
                Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
                of_nobody,
            ),
            ("longer", Some(longer.as_str()), of_nobody),
            ("a user's id", Some(user.user.id.as_str()), of_nobody),
            ("expired", Some(late.as_str()), of_late),
            ("almost the operator's", Some(&OPERATOR[1..]), of_nobody),
            ("the operator's", Some(OPERATOR), of_operator),
            ("a user's", Some(user.token.as_str()), of_user),
        ] {
            let result = call(&app.channel, &method, vec![], token).await;
            assert_eq!(
                outcome(&result),
                expected,
                "{} with {credential}: {result:?}",
                method.full_name()
            );
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn without_a_setting_nobody_is_the_operator() {
    let database = Database::sqlite();
    let app = App::start(&database, &no_broker()).await;
    for method in methods() {
        if needs(&method) == Needs::Operator {
            for token in [OPERATOR, ""] {
                let result = call(&app.channel, &method, vec![], Some(token)).await;
                assert_eq!(outcome(&result), "UNAUTHENTICATED", "{}", method.full_name());
            }
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn no_method_shows_or_changes_what_is_another_users() {
    let database = Database::sqlite();
    let app = start(&database).await;
    let owner = app.register().await;
    let mut rule = some_rule();
    rule.note = "the owner's secret".to_owned();
    let rule = owner.creates(&app, rule).await;
    let before = things_of(&app, &owner).await;
    let mut with_ids = 0;
    for method in methods() {
        if needs(&method) != Needs::User {
            continue;
        }
        let name = method.full_name().to_owned();
        let mut named = false;
        let request = filled(method.input().full_name(), &method, &rule.id, &mut named).encode_to_vec();
        let other = app.register().await;
        let result = call(&app.channel, &method, request, Some(&other.token)).await;
        assert_eq!(
            things_of(&app, &owner).await,
            before,
            "{name} changed what is another's"
        );
        match result {
            Ok(answers) => {
                assert!(!named, "{name} answered to another user's id: {answers:?}");
                for secret in [
                    &owner.user.id,
                    &owner.user.email,
                    &rule.id,
                    &rule.note,
                    &owner.token,
                ] {
                    let shown = answers
                        .iter()
                        .any(|answer| answer.windows(secret.len()).any(|part| part == secret.as_bytes()));
                    assert!(!shown, "{name} shows {secret}");
                }
            }
            Err(status) if named => {
                let allowed = [Code::NotFound, Code::Unimplemented];
                assert!(allowed.contains(&status.code()), "{name}: {status:?}");
            }
            Err(_) => {}
        }
        with_ids += u32::from(named);
    }
    assert!(with_ids >= 6, "{with_ids}");

    // The same requests do find what is there: by its owner. Last those that end it.
    let mut methods = methods();
    methods.sort_by_key(|method| method.name().starts_with("Delete"));
    for method in methods {
        if needs(&method) != Needs::User {
            continue;
        }
        let mut named = false;
        let request = filled(method.input().full_name(), &method, &rule.id, &mut named).encode_to_vec();
        if named {
            let code = match call(&app.channel, &method, request, Some(&owner.token)).await {
                Ok(_) => Code::Ok,
                Err(status) => status.code(),
            };
            assert!(
                matches!(code, Code::Ok | Code::Unimplemented),
                "{}: {code:?}",
                method.full_name()
            );
        }
    }
    app.stop().await;
}

/// What an owner sees of their own.
async fn things_of(app: &App, owner: &Caller) -> (v1::User, Vec<v1::Rule>) {
    let user = app
        .users()
        .get_user(owner.asks(v1::GetUserRequest {}))
        .await
        .unwrap();
    let rules = app
        .rules()
        .list_rules(owner.asks(v1::ListRulesRequest::default()))
        .await
        .unwrap();
    (user.into_inner().user.unwrap(), rules.into_inner().rules)
}

/// A request that makes sense where it can be known from its fields' names, and names `rule` wherever an id is asked for.
/// Who adds an id of something else has to say here whose.
fn filled(message: &str, method: &MethodDescriptor, rule: &str, named: &mut bool) -> DynamicMessage {
    let descriptor = method.parent_pool().get_message_by_name(message).unwrap();
    let mut filled = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        let value = match (field.kind(), field.name()) {
            (Kind::String, "id" | "rule_id") => {
                *named = true;
                Value::String(rule.to_owned())
            }
            (Kind::String, "request_id") => continue,
            (Kind::String, name) if name.ends_with("_id") || name.ends_with("_ids") => {
                panic!("{}: whose is it? Give the owner's", field.full_name())
            }
            (Kind::String, "ticker") => Value::String("AAPL".to_owned()),
            (Kind::String, "low") => Value::String("170.5".to_owned()),
            (Kind::String, "high") => Value::String("200.25".to_owned()),
            (Kind::String, "email") => Value::String(some_email()),
            (Kind::Message(inner), _) => match inner.full_name() {
                "google.protobuf.FieldMask" => {
                    let path = if method.name() == "UpdateUser" {
                        "email"
                    } else {
                        "note"
                    };
                    let mask = prost_types::FieldMask {
                        paths: vec![path.to_owned()],
                    };
                    Value::Message(dynamic(&inner, &mask))
                }
                "google.protobuf.Timestamp" | "google.protobuf.Duration" | "stockalert.v1.Snooze" => continue,
                "stockalert.v1.User" => {
                    // Its id is the caller's own, and is not read.
                    let user = v1::User {
                        email: some_email(),
                        ..Default::default()
                    };
                    Value::Message(dynamic(&inner, &user))
                }
                name if field.is_list() => {
                    Value::List(vec![Value::Message(self::filled(name, method, rule, named))])
                }
                name => Value::Message(self::filled(name, method, rule, named)),
            },
            _ => continue,
        };
        // A list of ids or tickers has one.
        let value = if field.is_list() && matches!(value, Value::String(_)) {
            Value::List(vec![value])
        } else {
            value
        };
        filled.set_field(&field, value);
    }
    filled
}

fn dynamic(descriptor: &prost_reflect::MessageDescriptor, message: &impl prost::Message) -> DynamicMessage {
    DynamicMessage::decode(descriptor.clone(), message.encode_to_vec().as_slice()).unwrap()
}
