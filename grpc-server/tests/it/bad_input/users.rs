use proto::v1;
use uuid::Uuid;

use super::{Scene, bad_request_ids, bad_rules, mask, strs, under};
use crate::app::{some_email, some_rule};
use crate::refusal::assert_invalid;

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
async fn no_answer_tells_whether_an_address_is_known() {
    let scene = Scene::new().await;
    let register = async |email: String| {
        let request = v1::RegisterUserRequest {
            email,
            rules: vec![some_rule()],
            ..Default::default()
        };
        let answer = scene.register(request).await.unwrap().into_inner();
        let user = answer.user.unwrap();
        assert_ne!(user.id, scene.caller.user.id);
        let shape = (
            user.telegram_linked,
            user.reminder_interval_seconds,
            answer.rules.len(),
        );
        (
            shape,
            answer.api_token.len(),
            answer.telegram_link.unwrap().token.len(),
        )
    };
    let unknown = register(some_email()).await;
    assert_eq!(register(scene.caller.user.email.clone()).await, unknown);
    assert_eq!(register(scene.caller.user.email.to_uppercase()).await, unknown);
    let update = v1::UpdateUserRequest {
        user: Some(v1::User {
            email: some_email(),
            ..Default::default()
        }),
        update_mask: mask(&["email"]),
        ..Default::default()
    };
    let other = scene.app.register().await;
    let mut known = update.clone();
    known
        .user
        .as_mut()
        .unwrap()
        .email
        .clone_from(&scene.caller.user.email);
    for request in [update, known] {
        let email = request.user.clone().unwrap().email;
        let answer = scene.app.users().update_user(other.asks(request)).await.unwrap();
        assert_eq!(answer.into_inner().user.unwrap().email, email);
    }
    scene.app.stop().await;
}

#[tokio::test]
async fn update_user_refuses_what_it_cant_change() {
    let scene = Scene::new().await;
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
