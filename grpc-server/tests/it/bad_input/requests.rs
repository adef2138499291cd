use proto::v1;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request};
use uuid::Uuid;

use super::{Scene, mask};
use crate::app::{some_email, some_rule, with_token};
use crate::reflection::RawCodec;
use crate::refusal::{Refusal, refused};

#[tokio::test]
async fn a_request_id_with_another_body_is_refused() {
    let scene = Scene::new().await;
    let reused = |refusal: Refusal| {
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
        ..Default::default()
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
        ..Default::default()
    };
    reused(refused(
        scene.app.rules().update_rule(scene.caller.asks(update)).await,
    ));
    let delete = v1::DeleteRuleRequest {
        rule_id: created.id.clone(),
        request_id: request_id.clone(),
        ..Default::default()
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
        ..Default::default()
    };
    reused(refused(
        scene.app.users().update_user(scene.caller.asks(update)).await,
    ));
    assert_eq!(scene.database.row_counts().await, before);
    scene.app.stop().await;
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
