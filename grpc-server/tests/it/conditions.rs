//! Commands that are bound to what the caller saw, and commands that are only validated.

use proto::v1;
use tonic::Code;

use crate::app::{App, Caller, Database, in_seconds, no_broker, some_rule};
use crate::refusal::{assert_invalid, refused};

on_both_stores! {
    an_update_or_deletion_with_an_old_etag_is_aborted,
    what_is_only_validated_is_answered_and_not_done,
    a_rule_is_snoozed_and_shown_so_until_it_is_not,
    rules_are_listed_by_ticker_and_state,
}

fn mask(paths: &[&str]) -> Option<prost_types::FieldMask> {
    Some(prost_types::FieldMask {
        paths: paths.iter().map(ToString::to_string).collect(),
    })
}

async fn get(app: &App, caller: &Caller, rule: &v1::Rule) -> v1::Rule {
    let request = v1::GetRuleRequest {
        rule_id: rule.id.clone(),
    };
    let answer = app.rules().get_rule(caller.asks(request)).await.unwrap();
    answer.into_inner().rule.unwrap()
}

fn pause(rule: &v1::Rule, etag: &str) -> v1::UpdateRuleRequest {
    v1::UpdateRuleRequest {
        rule: Some(v1::Rule {
            id: rule.id.clone(),
            paused: true,
            etag: etag.into(),
            ..Default::default()
        }),
        update_mask: mask(&["paused"]),
        ..Default::default()
    }
}

async fn an_update_or_deletion_with_an_old_etag_is_aborted(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    let first = caller.creates(&app, some_rule()).await;
    let update = async |etag: &str| app.rules().update_rule(caller.asks(pause(&first, etag))).await;
    let second = update(&first.etag).await.unwrap().into_inner().rule.unwrap();
    assert_ne!(second.etag, first.etag);
    assert_eq!(get(&app, &caller, &first).await, second);

    let refusal = refused(update(&first.etag).await);
    assert_eq!(
        (refusal.code, refusal.reason.as_str(), refusal.fields.as_slice()),
        (Code::Aborted, "CHANGED", &["rule.etag".to_owned()][..])
    );
    let delete = async |etag: &str| {
        let request = v1::DeleteRuleRequest {
            rule_id: first.id.clone(),
            etag: etag.into(),
            ..Default::default()
        };
        app.rules().delete_rule(caller.asks(request)).await
    };
    assert_eq!(refused(delete(&first.etag).await).code, Code::Aborted);
    assert_invalid(update(&"x".repeat(65)).await, &["rule.etag"], "too long");
    assert_invalid(delete("a b").await, &["etag"], "a space");
    assert_eq!(get(&app, &caller, &first).await, second);
    delete(&second.etag).await.unwrap();

    let update_user = async |etag: &str, seconds: i64| {
        let request = v1::UpdateUserRequest {
            user: Some(v1::User {
                reminder_interval_seconds: Some(seconds),
                etag: etag.into(),
                ..Default::default()
            }),
            update_mask: mask(&["reminder_interval_seconds"]),
            ..Default::default()
        };
        app.users().update_user(caller.asks(request)).await
    };
    let old = &caller.user.etag;
    let changed = update_user(old, 60).await.unwrap().into_inner().user.unwrap();
    assert_ne!(&changed.etag, old);
    let refusal = refused(update_user(old, 90).await);
    assert_eq!(
        (refusal.code, refusal.fields),
        (Code::Aborted, vec!["user.etag".to_owned()])
    );
    assert_invalid(update_user("\u{fc}", 90).await, &["user.etag"], "not ASCII");
    update_user(&changed.etag, 90).await.unwrap();
    app.stop().await;
}

async fn what_is_only_validated_is_answered_and_not_done(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    let rule = caller.creates(&app, some_rule()).await;
    let before = database.row_counts().await;
    let create = async |request_id: &str, low: &str| {
        let request = v1::CreateRuleRequest {
            rule: Some(v1::NewRule {
                low: Some(low.into()),
                ..some_rule()
            }),
            request_id: request_id.into(),
            validate_only: true,
        };
        app.rules().create_rule(caller.asks(request)).await
    };
    let shown = create("one", "150").await.unwrap().into_inner().rule.unwrap();
    assert_eq!(
        (shown.ticker.as_str(), shown.low.as_deref()),
        ("AAPL", Some("150"))
    );
    create("one", "160")
        .await
        .expect("nothing is remembered of the first");
    assert_invalid(create("", "-1").await, &["rule.low"], "negative");

    let update = v1::UpdateRuleRequest {
        validate_only: true,
        ..pause(&rule, &rule.etag)
    };
    let shown = app
        .rules()
        .update_rule(caller.asks(update.clone()))
        .await
        .unwrap();
    assert!(shown.into_inner().rule.unwrap().paused);
    let late = v1::UpdateRuleRequest {
        validate_only: true,
        ..pause(&rule, "old")
    };
    assert_eq!(
        refused(app.rules().update_rule(caller.asks(late)).await).code,
        Code::Aborted
    );
    assert_eq!(get(&app, &caller, &rule).await, rule);

    let before_users = database.row_counts().await;
    let update_user = async |email: &str| {
        let request = v1::UpdateUserRequest {
            user: Some(v1::User {
                email: email.into(),
                ..Default::default()
            }),
            update_mask: mask(&["email"]),
            validate_only: true,
            ..Default::default()
        };
        app.users().update_user(caller.asks(request)).await
    };
    let shown = update_user("new@example.org")
        .await
        .unwrap()
        .into_inner()
        .user
        .unwrap();
    assert_eq!(shown.email, "new@example.org");
    assert_invalid(update_user("nobody").await, &["user.email"], "no address");
    let user = app
        .users()
        .get_user(caller.asks(v1::GetUserRequest {}))
        .await
        .unwrap();
    assert_eq!(user.into_inner().user.unwrap(), caller.user);

    let batch = v1::BatchCreateRulesRequest {
        rules: vec![some_rule(), v1::NewRule::default()],
        validate_only: true,
        ..Default::default()
    };
    let results = app.rules().batch_create_rules(caller.asks(batch)).await.unwrap();
    assert_eq!(results.into_inner().results.len(), 2);
    assert_eq!(database.row_counts().await, before_users);
    assert_eq!(
        before[2..],
        before_users[2..],
        "rules, versions, outbox and requests"
    );
    app.stop().await;
}

async fn a_rule_is_snoozed_and_shown_so_until_it_is_not(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let (caller, other) = (app.register().await, app.register().await);
    let rule = caller.creates(&app, some_rule()).await;
    let snooze = async |who: &Caller, end: Option<v1::snooze::End>, is_set: bool| {
        let request = v1::SnoozeRuleRequest {
            rule_id: rule.id.clone(),
            snooze: is_set.then_some(v1::Snooze { end }),
            ..Default::default()
        };
        app.rules().snooze_rule(who.asks(request)).await
    };
    use v1::snooze::End::{UntilBack, UntilTime};
    let until = in_seconds(3_600);
    let snoozed = snooze(&caller, Some(UntilTime(until)), true).await.unwrap();
    let snoozed = snoozed.into_inner().rule.unwrap();
    assert_eq!(
        snoozed.snooze,
        Some(v1::Snooze {
            end: Some(UntilTime(until))
        })
    );
    assert_eq!(snoozed.version, rule.version);
    assert_ne!(snoozed.etag, rule.etag);
    assert_eq!(get(&app, &caller, &rule).await, snoozed);
    let ended = snooze(&caller, None, false)
        .await
        .unwrap()
        .into_inner()
        .rule
        .unwrap();
    assert_eq!(ended, rule);

    let refusal = refused(snooze(&caller, Some(UntilBack(true)), true).await);
    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (Code::FailedPrecondition, "RULE_IN_RANGE")
    );
    assert_eq!(
        refused(snooze(&other, Some(UntilTime(until)), true).await).code,
        Code::NotFound
    );
    assert_invalid(snooze(&caller, None, true).await, &["snooze"], "no end");
    assert_invalid(
        snooze(&caller, Some(UntilBack(false)), true).await,
        &["snooze.until_back"],
        "false",
    );
    assert_invalid(
        snooze(&caller, Some(UntilTime(in_seconds(-5))), true).await,
        &["snooze"],
        "past",
    );
    let no_time = prost_types::Timestamp {
        seconds: 0,
        nanos: -1,
    };
    let bad = snooze(&caller, Some(UntilTime(no_time)), true).await;
    assert_invalid(bad, &["snooze.until_time"], "no time");
    assert_eq!(get(&app, &caller, &rule).await, rule);
    app.stop().await;
}

async fn rules_are_listed_by_ticker_and_state(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    let of = |ticker: &str, paused| v1::NewRule {
        ticker: ticker.into(),
        paused,
        ..some_rule()
    };
    let mut ids = Vec::new();
    for rule in [of("AAPL", false), of("MSFT", true), of("AAPL", true)] {
        let rule = caller.creates(&app, rule).await;
        let state = if rule.paused {
            v1::rule::State::Paused
        } else {
            v1::rule::State::Active
        };
        assert_eq!(rule.state(), state);
        ids.push(rule.id);
    }
    let list = async |ticker: &str, states: &[i32], out_of_range| {
        let request = v1::ListRulesRequest {
            ticker: ticker.into(),
            states: states.to_vec(),
            out_of_range,
            ..Default::default()
        };
        app.rules().list_rules(caller.asks(request)).await
    };
    let (active, paused) = (v1::rule::State::Active.into(), v1::rule::State::Paused.into());
    for (ticker, states, out_of_range, expected) in [
        ("", &[][..], false, &ids[..]),
        ("AAPL", &[], false, &[ids[0].clone(), ids[2].clone()]),
        ("", &[paused], false, &ids[1..]),
        ("", &[paused, active, active], false, &ids[..]),
        ("AAPL", &[paused], false, &ids[2..]),
        ("IBM", &[], false, &[]),
        ("", &[], true, &[]),
    ] {
        let found = list(ticker, states, out_of_range).await.unwrap().into_inner();
        let found: Vec<_> = found.rules.into_iter().map(|rule| rule.id).collect();
        assert_eq!(found, expected, "{ticker} {states:?}");
    }
    let bad = list("aapl", &[active, 0, 9, -1], false).await;
    assert_invalid(
        bad,
        &["ticker", "states[1]", "states[2]", "states[3]"],
        "all of it",
    );
    app.stop().await;
}
