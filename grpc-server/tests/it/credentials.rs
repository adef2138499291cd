//! Every method of the API with every kind of credential, and with a request that makes sense.

use std::time::{Duration, Instant};

use prost::Message as _;
use proto::v1;
use service::kafka::KafkaSettings;
use sqlx::AnyPool;
use tonic::{Code, Status};

use crate::app::{App, Caller, Database, PATIENCE, no_broker, record_quote, some_rule};
use crate::methods::{Ids, Needs, call, filled, methods, needs};
use crate::refusal::refusal_of;

on_both_systems! {
    every_method_does_its_work_for_whom_it_is,
}

const OPERATOR: &str = "operator-0123456789abcdef0123456789abcdef";

/// How long a stream that was let in is listened to.
const LISTENED: Duration = Duration::from_millis(300);

/// A server with an operator, where tokens are good for an hour.
pub(crate) async fn start(database: &Database, kafka: &KafkaSettings) -> App {
    App::start_with(database, kafka, |config| {
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

/// The reason of a refusal by the guard; of all else that a service may say of an empty request that nobody refused, that
/// it was let in. What no service may say is said as it is.
fn outcome(result: &Result<Vec<Vec<u8>>, Status>) -> String {
    let Err(status) = result else {
        return "let in".to_owned();
    };
    let refusal = refusal_of(status);
    let by_service = ["INVALID_FIELDS", "NO_CHAT", "BROKER_UNAVAILABLE"];
    if by_service.contains(&refusal.reason.as_str()) {
        return "let in".to_owned();
    }
    refusal.reason
}

#[tokio::test]
async fn every_method_lets_in_whom_it_shall_and_nobody_else() {
    let database = Database::sqlite();
    let app = start(&database, &no_broker()).await;
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
            let result = call(&app.channel, &method, vec![], token, LISTENED).await;
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
                let result = call(&app.channel, &method, vec![], Some(token), LISTENED).await;
                assert_eq!(outcome(&result), "UNAUTHENTICATED", "{}", method.full_name());
            }
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn no_method_shows_or_changes_what_is_another_users() {
    let database = Database::sqlite();
    let app = start(&database, &no_broker()).await;
    record_quote(&database, "AAPL").await;
    let owner = app.register().await;
    let mut rule = some_rule();
    rule.note = "the owner's secret".to_owned();
    let rule = owner.creates(&app, rule).await;
    let before = things_of(&app, &owner).await;
    let ids = Ids {
        rule: &rule.id,
        user: &owner.user.id,
    };
    let mut with_ids = 0;
    for method in methods() {
        if needs(&method) == Needs::Operator {
            continue;
        }
        let name = method.full_name().to_owned();
        let (request, named) = filled(&method, ids);
        let other = app.register().await;
        let request = request.encode_to_vec();
        let result = call(&app.channel, &method, request, Some(&other.token), LISTENED).await;
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
            Err(status) => {
                let expected = match (named, method.name()) {
                    (true, _) => (Code::NotFound, "RULE_NOT_FOUND"),
                    (false, "SendTestAlert") => (Code::FailedPrecondition, "NO_CHAT"),
                    (false, _) => panic!("{name}: {status:?}"),
                };
                let refusal = refusal_of(&status);
                assert_eq!((refusal.code, refusal.reason.as_str()), expected, "{name}");
            }
        }
        with_ids += u32::from(named);
    }
    assert!(with_ids >= 6, "{with_ids}");
    app.stop().await;
}

/// A method that nobody wrote answers UNIMPLEMENTED, and the compiler does not mind.
async fn every_method_does_its_work_for_whom_it_is(database: Database, kafka: KafkaSettings) {
    let app = start(&database, &kafka).await;
    record_quote(&database, "AAPL").await;
    let mut chat = 4_711;
    for method in methods() {
        // Of its own, as some methods end a rule, a token or a user.
        let owner = app.register().await;
        let rule = owner.creates(&app, some_rule()).await;
        chat += 1;
        app.links_chat(&database, &owner, chat).await;
        let ids = Ids {
            rule: &rule.id,
            user: &owner.user.id,
        };
        let tokens = match needs(&method) {
            Needs::Nothing => vec![None],
            Needs::User => vec![Some(owner.token.as_str())],
            Needs::Operator => vec![Some(OPERATOR)],
            Needs::Either => vec![Some(owner.token.as_str()), Some(OPERATOR)],
        };
        for token in tokens {
            let (request, _) = filled(&method, ids);
            let request = request.encode_to_vec();
            let started = Instant::now();
            // A new cluster needs some seconds before it knows of any groups.
            let answers = loop {
                let answers = call(&app.channel, &method, request.clone(), token, LISTENED).await;
                match &answers {
                    Err(status)
                        if refusal_of(status).reason == "BROKER_UNAVAILABLE"
                            && started.elapsed() < PATIENCE => {}
                    _ => break answers,
                }
            };
            assert!(answers.is_ok(), "{}: {answers:?}", method.full_name());
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
