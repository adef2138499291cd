use proto::v1;
use tonic::Code;

use super::{BAD_PRICES, NO_ID, Scene, bad_expire_times, bad_request_ids, bad_rules, mask, strs, under};
use crate::app::{App, Caller, Database, no_broker, some_email, some_rule};
use crate::refusal::{assert_invalid, refused};

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
                ..Default::default()
            })
            .await;
        assert_invalid(result, &["request_id"], "request_id");
    }
    scene.nothing_was_stored().await;
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
