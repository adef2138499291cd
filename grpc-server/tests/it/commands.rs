//! What callers can do.

use prost_types::FieldMask;
use proto::v1;
use tonic::Code;
use uuid::Uuid;

use crate::app::{App, Caller, Database, in_seconds, no_broker, some_email, some_rule, with_token};
use crate::refusal::refused;

on_both_stores! {
    a_user_registers_with_rules_and_finds_them,
    a_repeated_registration_answers_the_same_user_with_a_fresh_token,
    a_user_changes_address_and_reminders,
    a_link_names_the_bot_once_a_bot_has_run,
    a_rule_changes_in_the_named_fields_only,
    a_repeated_command_has_one_effect_and_one_answer,
    pages_cover_all_rules_in_order_without_repeats,
    the_largest_registration_that_makes_sense_is_taken,
}

fn mask(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask {
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
    })
}

async fn list(app: &App, caller: &Caller, page_size: i32, page_token: String) -> v1::ListRulesResponse {
    let request = v1::ListRulesRequest {
        page_size,
        page_token,
        ..Default::default()
    };
    app.rules()
        .list_rules(caller.asks(request))
        .await
        .unwrap()
        .into_inner()
}

async fn a_user_registers_with_rules_and_finds_them(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let rules = vec![
        v1::NewRule {
            ticker: "EURUSD=X".into(),
            low: None,
            high: Some("1.2345".into()),
            ..Default::default()
        },
        v1::NewRule {
            paused: true,
            expire_time: Some(in_seconds(3_600)),
            ..some_rule()
        },
    ];
    let request = v1::RegisterUserRequest {
        email: "Ada@Example.ORG".into(),
        rules,
        ..Default::default()
    };
    let answer = app.users().register_user(request).await.unwrap().into_inner();

    let user = answer.user.unwrap();
    assert_eq!(user.email, "ada@example.org");
    assert!(!user.telegram_linked);
    assert_eq!(user.reminder_interval_seconds, Some(900));
    let link = answer.telegram_link.unwrap();
    assert_eq!((link.token.len(), link.url.as_str()), (22, ""));
    let caller = Caller {
        token: answer.api_token,
        user,
    };
    let got = app
        .users()
        .get_user(caller.asks(v1::GetUserRequest {}))
        .await
        .unwrap()
        .into_inner()
        .user;
    assert_eq!(got.as_ref(), Some(&caller.user));

    let [first, second] = answer.rules.as_slice() else {
        panic!("{:?}", answer.rules)
    };
    assert_eq!(
        (first.ticker.as_str(), first.low.as_deref(), first.high.as_deref()),
        ("EURUSD=X", None, Some("1.2345"))
    );
    assert_eq!(
        (second.low.as_deref(), second.high.as_deref()),
        (Some("170.5"), Some("200.25"))
    );
    assert!(second.paused && second.expire_time.is_some() && first.expire_time.is_none());
    assert_eq!((first.version, second.note.as_str()), (1, "earnings week"));
    assert_eq!(list(&app, &caller, 0, String::new()).await.rules, answer.rules);
    app.stop().await;
}

async fn a_repeated_registration_answers_the_same_user_with_a_fresh_token(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let request = v1::RegisterUserRequest {
        email: some_email(),
        rules: vec![some_rule()],
        request_id: Uuid::new_v4().to_string(),
    };
    let first = app
        .users()
        .register_user(request.clone())
        .await
        .unwrap()
        .into_inner();
    let again = app.users().register_user(request).await.unwrap().into_inner();
    assert_eq!((&again.user, &again.rules), (&first.user, &first.rules));
    assert_ne!(again.api_token, first.api_token);
    let get = |token: &str| with_token(v1::GetUserRequest {}, token);
    assert_eq!(
        refused(app.users().get_user(get(&first.api_token)).await).code,
        Code::Unauthenticated
    );
    assert_eq!(
        app.users()
            .get_user(get(&again.api_token))
            .await
            .unwrap()
            .into_inner()
            .user,
        first.user
    );
    app.stop().await;
}

async fn a_user_changes_address_and_reminders(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    let update = async |email: &str, seconds: Option<i64>, paths: &[&str]| {
        let user = v1::User {
            email: email.into(),
            reminder_interval_seconds: seconds,
            ..Default::default()
        };
        let request = v1::UpdateUserRequest {
            user: Some(user),
            update_mask: mask(paths),
            ..Default::default()
        };
        app.users()
            .update_user(caller.asks(request))
            .await
            .unwrap()
            .into_inner()
            .user
            .unwrap()
    };
    let user = update("New-Address@example.org", Some(10), &["email"]).await;
    assert_eq!(
        (user.email.as_str(), user.reminder_interval_seconds),
        ("new-address@example.org", Some(900))
    );
    let user = update("", Some(10), &["reminder_interval_seconds"]).await;
    assert_eq!(
        (user.email.as_str(), user.reminder_interval_seconds),
        ("new-address@example.org", Some(10))
    );
    let user = update("", None, &["reminder_interval_seconds"]).await;
    assert_eq!(user.reminder_interval_seconds, None);
    assert_eq!(
        app.users()
            .get_user(caller.asks(v1::GetUserRequest {}))
            .await
            .unwrap()
            .into_inner()
            .user,
        Some(user)
    );
    app.stop().await;
}

async fn a_link_names_the_bot_once_a_bot_has_run(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    database
        .open()
        .await
        .ledger()
        .set_bot_username("stock_alerts_bot")
        .await
        .unwrap();
    let request = caller.asks(v1::CreateLinkTokenRequest::default());
    let link = app
        .users()
        .create_link_token(request)
        .await
        .unwrap()
        .into_inner()
        .telegram_link
        .unwrap();
    assert_eq!(
        link.url,
        format!("https://t.me/stock_alerts_bot?start={}", link.token)
    );
    assert!(link.expire_time.unwrap().seconds > in_seconds(14 * 60).seconds);
    app.stop().await;
}

async fn a_rule_changes_in_the_named_fields_only(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    let created = caller
        .creates(
            &app,
            v1::NewRule {
                expire_time: Some(in_seconds(3_600)),
                ..some_rule()
            },
        )
        .await;
    let update = async |rule: v1::Rule, paths: &[&str]| {
        let rule = v1::Rule {
            id: created.id.clone(),
            ..rule
        };
        let request = v1::UpdateRuleRequest {
            rule: Some(rule),
            update_mask: mask(paths),
            ..Default::default()
        };
        app.rules()
            .update_rule(caller.asks(request))
            .await
            .unwrap()
            .into_inner()
            .rule
            .unwrap()
    };
    let with = |low: &str| v1::Rule {
        low: Some(low.into()),
        high: Some("1".into()),
        note: "x".into(),
        ..Default::default()
    };
    let first = update(with("150"), &["low"]).await;
    let expected = v1::Rule {
        low: Some("150".into()),
        version: 2,
        update_time: first.update_time,
        etag: first.etag.clone(),
        ..created.clone()
    };
    assert_eq!(first, expected);
    assert_ne!(first.update_time, created.update_time);
    assert_ne!(first.etag, created.etag);
    // Named but absent: cleared.
    let second = update(
        v1::Rule {
            paused: true,
            ..Default::default()
        },
        &["low", "note", "paused", "expire_time"],
    )
    .await;
    assert_eq!(
        (second.low, second.high.as_deref(), second.note.as_str()),
        (None, Some("200.25"), "")
    );
    assert_eq!(
        (second.paused, second.expire_time, second.version),
        (true, None, 3)
    );
    // Only together do these two make a range.
    let moved = v1::Rule {
        low: Some("900".into()),
        high: Some("1000".into()),
        ..Default::default()
    };
    let third = update(moved, &["low", "high"]).await;
    assert_eq!(
        (third.low.as_deref(), third.high.as_deref()),
        (Some("900"), Some("1000"))
    );
    let got = app
        .rules()
        .get_rule(caller.asks(v1::GetRuleRequest {
            rule_id: created.id.clone(),
        }))
        .await
        .unwrap();
    assert_eq!(got.into_inner().rule, Some(third));

    let delete = v1::DeleteRuleRequest {
        rule_id: created.id.clone(),
        ..Default::default()
    };
    app.rules()
        .delete_rule(caller.asks(delete.clone()))
        .await
        .unwrap();
    assert_eq!(
        refused(app.rules().delete_rule(caller.asks(delete)).await).code,
        Code::NotFound
    );
    app.stop().await;
}

async fn a_repeated_command_has_one_effect_and_one_answer(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    let create = v1::CreateRuleRequest {
        rule: Some(some_rule()),
        request_id: "create-1".into(),
        ..Default::default()
    };
    let first = app
        .rules()
        .create_rule(caller.asks(create.clone()))
        .await
        .unwrap()
        .into_inner();
    let before = database.row_counts().await;
    assert_eq!(
        app.rules()
            .create_rule(caller.asks(create))
            .await
            .unwrap()
            .into_inner(),
        first
    );
    assert_eq!(database.row_counts().await, before);

    let delete = v1::DeleteRuleRequest {
        rule_id: first.rule.unwrap().id,
        request_id: "delete-1".into(),
        ..Default::default()
    };
    app.rules()
        .delete_rule(caller.asks(delete.clone()))
        .await
        .unwrap();
    app.rules().delete_rule(caller.asks(delete)).await.unwrap();
    app.stop().await;
}

async fn pages_cover_all_rules_in_order_without_repeats(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let request = v1::RegisterUserRequest {
        email: some_email(),
        rules: vec![some_rule(); 120],
        ..Default::default()
    };
    let answer = app.users().register_user(request).await.unwrap().into_inner();
    let caller = Caller {
        token: answer.api_token,
        user: answer.user.unwrap(),
    };
    let mut pages = Vec::new();
    let mut rules = Vec::new();
    let mut token = String::new();
    loop {
        let page = list(&app, &caller, 50, token).await;
        pages.push(page.rules.len());
        rules.extend(page.rules);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(pages, [50, 50, 20]);
    assert_eq!(rules, answer.rules);
    assert_eq!(list(&app, &caller, 0, String::new()).await.rules.len(), 50);
    assert_eq!(list(&app, &caller, 10_000, String::new()).await.rules.len(), 120);
    app.stop().await;
}

async fn the_largest_registration_that_makes_sense_is_taken(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let rules = vec![
        v1::NewRule {
            note: "😀".repeat(500),
            ..some_rule()
        };
        200
    ];
    let request = v1::RegisterUserRequest {
        email: some_email(),
        rules,
        ..Default::default()
    };
    let answer = app.users().register_user(request).await.unwrap().into_inner();
    assert_eq!(answer.rules.len(), 200);
    app.stop().await;
}
