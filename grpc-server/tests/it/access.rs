//! Who may call what.

use proto::v1;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::app::{App, Database, no_broker, some_rule, with_token};
use crate::refusal::{Refusal, refused};

/// Calls a method with an empty message.
async fn call(channel: &Channel, method: &str, request: Request<()>) -> Result<Response<()>, Status> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    client
        .unary(
            request,
            PathAndQuery::try_from(method).unwrap(),
            ProstCodec::<(), ()>::default(),
        )
        .await
}

#[tokio::test]
async fn only_one_bearer_token_as_it_was_given_lets_in() {
    let database = Database::sqlite();
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    let with_scheme = |scheme: &str| {
        let mut request = Request::new(());
        let value = MetadataValue::try_from(format!("{scheme}{}", caller.token)).unwrap();
        request.metadata_mut().insert("authorization", value);
        request
    };
    let method = "/stockalert.v1.UserService/GetUser";
    for (case, request) in [
        ("a very long token", with_token((), &"x".repeat(10_000))),
        (
            "a token in capitals",
            with_token((), &caller.token.to_uppercase()),
        ),
        ("another scheme", with_scheme("Basic ")),
        ("no scheme", with_scheme("")),
    ] {
        let result = call(&app.channel, method, request).await;
        assert_eq!(refused(result), unauthenticated(), "{case}");
    }
    assert!(call(&app.channel, method, with_scheme("bearer ")).await.is_ok());
    app.stop().await;
}

#[tokio::test]
async fn a_method_that_does_not_exist_is_unimplemented() {
    let database = Database::sqlite();
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    for method in [
        "/stockalert.v1.RuleService/Nothing",
        "/stockalert.v1.NoService/CreateRule",
    ] {
        assert_eq!(
            refused(call(&app.channel, method, Request::new(())).await),
            unauthenticated(),
            "{method}"
        );
        let refusal = refused(call(&app.channel, method, caller.asks(())).await);
        assert_eq!(
            (refusal.code, refusal.reason.as_str()),
            (Code::Unimplemented, "UNIMPLEMENTED"),
            "{method}"
        );
    }
    app.stop().await;
}

#[tokio::test]
async fn a_token_stops_working_when_it_is_replaced_and_when_its_user_goes() {
    let database = Database::sqlite();
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    let get = |token: String| {
        let mut users = app.users();
        async move { users.get_user(with_token(v1::GetUserRequest {}, &token)).await }
    };

    let rotated = app
        .users()
        .rotate_token(caller.asks(v1::RotateTokenRequest::default()))
        .await
        .unwrap()
        .into_inner()
        .api_token;
    assert_eq!(refused(get(caller.token.clone()).await), unauthenticated());
    assert_eq!(
        get(rotated.clone()).await.unwrap().into_inner().user.unwrap().id,
        caller.user.id
    );

    app.users()
        .delete_user(with_token(v1::DeleteUserRequest::default(), &rotated))
        .await
        .unwrap();
    assert_eq!(refused(get(rotated).await), unauthenticated());
    app.stop().await;
}

#[tokio::test]
async fn another_users_rules_are_not_found() {
    let database = Database::sqlite();
    let app = App::start(&database, &no_broker()).await;
    let (owner, other) = (app.register().await, app.register().await);
    let rule = owner.creates(&app, some_rule()).await;
    let before = database.row_counts().await;

    let id = rule.id.clone();
    let get = app
        .rules()
        .get_rule(other.asks(v1::GetRuleRequest { rule_id: id.clone() }))
        .await;
    assert_eq!(refused(get), not_found("rule_id"));
    let update = v1::UpdateRuleRequest {
        rule: Some(v1::Rule {
            id: id.clone(),
            paused: true,
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["paused".into()],
        }),
        ..Default::default()
    };
    assert_eq!(
        refused(app.rules().update_rule(other.asks(update)).await),
        not_found("rule.id")
    );
    let delete = v1::DeleteRuleRequest {
        rule_id: id.clone(),
        ..Default::default()
    };
    assert_eq!(
        refused(app.rules().delete_rule(other.asks(delete)).await),
        not_found("rule_id")
    );
    let alerts = v1::ListAlertsRequest {
        rule_id: id.clone(),
        ..Default::default()
    };
    assert_eq!(
        refused(app.alerts().list_alerts(other.asks(alerts.clone())).await),
        not_found("rule_id")
    );
    let list = app
        .rules()
        .list_rules(other.asks(v1::ListRulesRequest::default()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(list.rules, []);

    assert_eq!(database.row_counts().await, before);
    let kept = app
        .rules()
        .get_rule(owner.asks(v1::GetRuleRequest { rule_id: id }))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(kept.rule, Some(rule));
    assert_eq!(
        app.alerts()
            .list_alerts(owner.asks(alerts))
            .await
            .unwrap()
            .into_inner()
            .alerts,
        []
    );
    app.stop().await;
}

fn unauthenticated() -> Refusal {
    Refusal {
        code: Code::Unauthenticated,
        reason: "UNAUTHENTICATED".into(),
        fields: vec![],
    }
}

fn not_found(field: &str) -> Refusal {
    Refusal {
        code: Code::NotFound,
        reason: "RULE_NOT_FOUND".into(),
        fields: vec![field.into()],
    }
}
