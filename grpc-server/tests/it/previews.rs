//! What a rule would have done, what was sent, and what is sent to try.

use std::time::Duration;

use cqrs::LedgerChange;
use cqrs::domain::{Alert, AlertPosition, Quote, RuleVersion, Side, Timestamp};
use proto::v1;
use service::kafka::KafkaSettings;
use tonic::Code;

use crate::app::{App, Caller, Database, no_broker, some_rule};
use crate::refusal::{assert_invalid, refused};

on_both_stores! {
    a_preview_tells_how_often_a_rule_would_have_fired_and_how_far_the_price_is,
    a_preview_goes_by_the_margin_that_is_set,
    deliveries_are_listed_for_their_user_alone,
    a_test_alert_needs_a_chat,
}

on_both_systems! {
    a_test_alert_is_answered_once_the_log_has_it,
}

fn quote(price: &str, age_seconds: u64) -> Quote {
    let time = Timestamp::now().minus(Duration::from_secs(age_seconds));
    Quote {
        ticker: "AAPL".parse().unwrap(),
        price: price.parse().unwrap(),
        currency: "USD".into(),
        volume: None,
        trade_side: None,
        event_time: time,
        ingest_time: time,
        source: "replay".into(),
    }
}

async fn a_preview_tells_how_often_a_rule_would_have_fired_and_how_far_the_price_is(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    let preview = async |low: Option<&str>, high: Option<&str>, seconds: Option<i64>| {
        let request = v1::PreviewRuleRequest {
            rule: Some(v1::NewRule {
                ticker: "AAPL".into(),
                low: low.map(Into::into),
                high: high.map(Into::into),
                ..Default::default()
            }),
            window: seconds.map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
        };
        app.rules().preview_rule(caller.asks(request)).await
    };
    let empty = preview(Some("1"), None, None).await.unwrap().into_inner();
    assert_eq!(empty, v1::PreviewRuleResponse::default());

    let quotes: Vec<_> = (0..)
        .zip([
            ("205", 3_000),
            ("190", 2_000),
            ("160", 1_000),
            ("201", 100),
            ("196.4", 10),
        ])
        .map(|(offset, (price, age))| (quote(price, age), offset))
        .collect();
    database.open().await.history().record(&quotes).await.unwrap();
    let found = preview(Some("170"), Some("200"), None)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (found.alert_count, found.quote_count, found.side()),
        (3, 5, v1::Side::In)
    );
    let alerts: Vec<_> = found
        .alerts
        .iter()
        .map(|alert| (alert.side(), alert.price.as_str()))
        .collect();
    assert_eq!(
        alerts,
        [
            (v1::Side::Above, "201"),
            (v1::Side::Below, "160"),
            (v1::Side::Above, "205")
        ]
    );
    assert_eq!(found.latest_quote.unwrap().price, "196.4");
    assert_eq!(found.low_distance_percent.as_deref(), Some("13.45"));
    assert_eq!(found.high_distance_percent.as_deref(), Some("1.84"));
    let recent = preview(None, Some("196.4"), Some(500))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (recent.alert_count, recent.quote_count, recent.side()),
        (1, 2, v1::Side::Above)
    );
    assert_eq!(recent.low_distance_percent, None);
    assert_eq!(recent.high_distance_percent.as_deref(), Some("0.00"));

    for seconds in [0, -1, 59, 2_592_001, i64::MAX] {
        assert_invalid(
            preview(Some("1"), None, Some(seconds)).await,
            &["window"],
            "window",
        );
    }
    assert_invalid(preview(None, None, Some(60)).await, &["rule.low"], "no threshold");
    let none = app
        .rules()
        .preview_rule(caller.asks(v1::PreviewRuleRequest::default()))
        .await;
    assert_invalid(none, &["rule"], "no rule");
    assert_eq!(database.row_counts().await[2], ("rules", 0));
    app.stop().await;
}

async fn a_preview_goes_by_the_margin_that_is_set(database: Database) {
    let quotes: Vec<_> = (0..)
        .zip([("201", 300), ("199", 200), ("202", 100)])
        .map(|(offset, (price, age))| (quote(price, age), offset))
        .collect();
    database.open().await.history().record(&quotes).await.unwrap();
    // Back inside at 200, 199.6 or 190.
    for (permille, fired) in [(0, 2), (2, 2), (50, 1)] {
        let app = App::start_with(&database, &no_broker(), |config| {
            config.rearm_margin_permille = permille;
        })
        .await;
        let caller = app.register().await;
        let request = v1::PreviewRuleRequest {
            rule: Some(v1::NewRule {
                ticker: "AAPL".into(),
                high: Some("200".into()),
                ..Default::default()
            }),
            window: None,
        };
        let answer = app.rules().preview_rule(caller.asks(request)).await.unwrap();
        assert_eq!(answer.into_inner().alert_count, fired, "{permille}");
        app.stop().await;
    }
}

async fn deliveries_are_listed_for_their_user_alone(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let (caller, other) = (app.register().await, app.register().await);
    let rule = caller.creates(&app, some_rule()).await;
    let alert = |offset: i64, side| Alert {
        rule_id: rule.id.parse().unwrap(),
        user_id: caller.user.id.parse().unwrap(),
        ticker: "AAPL".parse().unwrap(),
        position: AlertPosition {
            version: RuleVersion::FIRST,
            generation: 1,
            offset,
        },
        side,
        price: "201".parse().unwrap(),
        threshold: "200.25".parse().unwrap(),
        currency: "USD".into(),
        quote_time: Timestamp::now(),
        quote_ingest_time: Timestamp::now(),
        raised_at: Timestamp::now(),
        already_outside: false,
    };
    let store = database.open().await;
    for (offset, side) in [(1, Side::Above), (2, Side::In)] {
        let changes = [LedgerChange::Alert(alert(offset, side))];
        store.ledger().fold(&changes, Timestamp::now()).await.unwrap();
    }
    let list = async |who: &Caller, rule_id: &str, statuses: &[i32], page_token: &str| {
        let request = v1::ListDeliveriesRequest {
            page_size: 1,
            page_token: page_token.into(),
            rule_id: rule_id.into(),
            statuses: statuses.to_vec(),
        };
        let answer = app.alerts().list_deliveries(who.asks(request)).await?;
        Ok::<_, tonic::Status>(answer.into_inner())
    };
    let first = list(&caller, &rule.id, &[], "").await.unwrap();
    let second = list(&caller, &rule.id, &[], &first.next_page_token)
        .await
        .unwrap();
    let ([back], [breach]) = (first.deliveries.as_slice(), second.deliveries.as_slice()) else {
        panic!("{first:?} {second:?}")
    };
    assert_eq!(
        (back.kind(), breach.kind()),
        (v1::delivery::Kind::Back, v1::delivery::Kind::Breach)
    );
    assert_eq!((back.side(), breach.side()), (v1::Side::In, v1::Side::Above));
    assert_eq!(breach.status(), v1::delivery::Status::Planned);
    assert_eq!(breach.alert_id, format!("{}.1.1.1", rule.id));
    assert_eq!(
        (breach.rule_id.as_str(), breach.threshold.as_str()),
        (rule.id.as_str(), "200.25")
    );
    assert_eq!(second.next_page_token, "");
    let sent = v1::delivery::Status::Sent.into();
    assert_eq!(list(&caller, "", &[sent], "").await.unwrap().deliveries, []);
    assert_eq!(list(&other, "", &[], "").await.unwrap().deliveries, []);
    let refusal = crate::refusal::refusal_of(&list(&other, &rule.id, &[], "").await.unwrap_err());
    assert_eq!(refusal.reason, "RULE_NOT_FOUND");
    let bad = v1::ListDeliveriesRequest {
        page_size: -1,
        rule_id: "x".into(),
        statuses: vec![sent, 0, 77],
        ..Default::default()
    };
    assert_invalid(
        app.alerts().list_deliveries(caller.asks(bad)).await,
        &["page_size", "rule_id", "statuses[1]", "statuses[2]"],
        "all of it",
    );
    app.stop().await;
}

async fn a_test_alert_needs_a_chat(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    let send = async || {
        let request = caller.asks(v1::SendTestAlertRequest::default());
        app.alerts().send_test_alert(request).await
    };
    let refusal = refused(send().await);
    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (Code::FailedPrecondition, "NO_CHAT")
    );
    app.links_chat(&database, &caller, 4_711).await;
    let refusal = refused(send().await);
    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (Code::Unavailable, "LOG_UNAVAILABLE")
    );
    let pool = sqlx::AnyPool::connect(&database.url).await.unwrap();
    let suspend = "update users set chat_suspended_at = 1 where id = ?";
    sqlx::query(suspend)
        .bind(caller.user.id.clone())
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
    let refusal = refused(send().await);
    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (Code::FailedPrecondition, "CHAT_SUSPENDED")
    );
    app.stop().await;
}

async fn a_test_alert_is_answered_once_the_log_has_it(database: Database, kafka: KafkaSettings) {
    let app = App::start(&database, &kafka).await;
    let caller = app.register().await;
    app.links_chat(&database, &caller, 4_712).await;
    let send = async |request_id: &str| {
        let request = v1::SendTestAlertRequest {
            request_id: request_id.to_owned(),
        };
        let answer = app.alerts().send_test_alert(caller.asks(request)).await?;
        Ok::<_, tonic::Status>(answer.into_inner().alert.unwrap())
    };
    let alert = send("first").await.unwrap();
    assert_eq!((alert.ticker.as_str(), alert.side()), ("TEST", v1::Side::Above));
    let list = caller.asks(v1::ListAlertsRequest::default());
    let listed = app.alerts().list_alerts(list).await.unwrap().into_inner();
    assert_eq!(listed.alerts, []);
    assert_eq!(send("first").await.unwrap(), alert, "a repeat raises no other");
    let status = send("second").await.unwrap_err();
    let refusal = crate::refusal::refusal_of(&status);
    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (Code::ResourceExhausted, "TOO_MANY_CALLS")
    );
    app.stop().await;
}
