use prost_types::Duration;
use proto::v1;
use proto::v1::get_average_request::Range;
use tonic::Code;

use super::{NO_ID, Scene, bad_tickers};
use crate::refusal::{assert_invalid, refused};

#[tokio::test]
async fn reads_and_deletions_of_rules_refuse_bad_and_unknown_ids() {
    let scene = Scene::new().await;
    let id_of = |rule_id: &str| rule_id.to_owned();
    let long = "0".repeat(100_000);
    for rule_id in [
        "x",
        "not-a-uuid",
        "0197a1b2c3d47e5f8a9b0c1d2e3f4a5b",
        "{0197a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b}",
        &long,
    ] {
        let get = v1::GetRuleRequest {
            rule_id: id_of(rule_id),
        };
        assert_invalid(
            scene.app.rules().get_rule(scene.caller.asks(get)).await,
            &["rule_id"],
            rule_id,
        );
        let delete = v1::DeleteRuleRequest {
            rule_id: id_of(rule_id),
            ..Default::default()
        };
        assert_invalid(
            scene.app.rules().delete_rule(scene.caller.asks(delete)).await,
            &["rule_id"],
            rule_id,
        );
        let list = v1::ListAlertsRequest {
            rule_id: id_of(rule_id),
            ..Default::default()
        };
        assert_invalid(
            scene.app.alerts().list_alerts(scene.caller.asks(list)).await,
            &["rule_id"],
            rule_id,
        );
    }
    let get = v1::GetRuleRequest::default();
    assert_invalid(
        scene.app.rules().get_rule(scene.caller.asks(get)).await,
        &["rule_id"],
        "no id",
    );
    let delete = v1::DeleteRuleRequest {
        rule_id: String::new(),
        request_id: "ü".into(),
        ..Default::default()
    };
    assert_invalid(
        scene.app.rules().delete_rule(scene.caller.asks(delete)).await,
        &["request_id", "rule_id"],
        "both",
    );

    let (not_found, field) = (Code::NotFound, vec!["rule_id".to_owned()]);
    let get = v1::GetRuleRequest {
        rule_id: NO_ID.into(),
    };
    let refusal = refused(scene.app.rules().get_rule(scene.caller.asks(get)).await);
    assert_eq!((refusal.code, &refusal.fields), (not_found, &field));
    let delete = v1::DeleteRuleRequest {
        rule_id: NO_ID.into(),
        ..Default::default()
    };
    let refusal = refused(scene.app.rules().delete_rule(scene.caller.asks(delete)).await);
    assert_eq!((refusal.code, &refusal.fields), (not_found, &field));
    let list = v1::ListAlertsRequest {
        rule_id: NO_ID.into(),
        ..Default::default()
    };
    let refusal = refused(scene.app.alerts().list_alerts(scene.caller.asks(list)).await);
    assert_eq!((refusal.code, &refusal.fields), (not_found, &field));
    scene.nothing_was_stored().await;
}

#[tokio::test]
async fn lists_refuse_bad_pages() {
    let scene = Scene::new().await;
    let rules = async |page_size, page_token: &str| {
        let request = v1::ListRulesRequest {
            page_size,
            page_token: page_token.into(),
            ..Default::default()
        };
        scene.app.rules().list_rules(scene.caller.asks(request)).await
    };
    let alerts = async |page_size, page_token: &str| {
        let request = v1::ListAlertsRequest {
            page_size,
            page_token: page_token.into(),
            ..Default::default()
        };
        scene.app.alerts().list_alerts(scene.caller.asks(request)).await
    };
    for size in [-1, i32::MIN] {
        assert_invalid(rules(size, "").await, &["page_size"], &size.to_string());
        assert_invalid(alerts(size, "").await, &["page_size"], &size.to_string());
    }
    let long = "x".repeat(100_000);
    for token in ["x", "ünïcode", "' or 1=1", "AAAA", "!!", &long] {
        assert_invalid(rules(0, token).await, &["page_token"], token);
        assert_invalid(alerts(0, token).await, &["page_token"], token);
    }
    assert_invalid(rules(-1, "ü").await, &["page_size", "page_token"], "both");
    scene.nothing_was_stored().await;
}

#[tokio::test]
async fn prices_refuse_bad_tickers_and_ranges() {
    let scene = Scene::new().await;
    let latest = async |ticker: &str| {
        let request = v1::GetLatestQuoteRequest {
            ticker: ticker.into(),
        };
        scene
            .app
            .quotes()
            .get_latest_quote(scene.caller.asks(request))
            .await
    };
    let average = async |ticker: &str, range| {
        let request = v1::GetAverageRequest {
            ticker: ticker.into(),
            range,
        };
        scene.app.quotes().get_average(scene.caller.asks(request)).await
    };
    for ticker in bad_tickers() {
        let shown: String = ticker.chars().take(40).collect();
        assert_invalid(latest(&ticker).await, &["ticker"], &shown);
        assert_invalid(average(&ticker, Some(Range::Last(1))).await, &["ticker"], &shown);
    }
    for last in [i32::MIN, -1, 0, 10_001, i32::MAX] {
        assert_invalid(
            average("AAPL", Some(Range::Last(last))).await,
            &["last"],
            &last.to_string(),
        );
    }
    for (seconds, nanos) in [
        (0, 0),
        (0, 999_999_999),
        (-1, 0),
        (2_592_000, 1),
        (i64::MAX, 0),
        (i64::MIN, 0),
        (i64::MIN, i32::MIN),
        (5, -2_000_000_000),
    ] {
        let window = Range::Window(Duration { seconds, nanos });
        assert_invalid(
            average("AAPL", Some(window)).await,
            &["window"],
            &format!("{seconds} {nanos}"),
        );
    }
    assert_invalid(average("AAPL", None).await, &["range"], "no range");
    assert_invalid(average("", None).await, &["ticker", "range"], "both");

    for result in [
        refused(latest("NOSUCH").await),
        refused(average("NOSUCH", Some(Range::Last(5))).await),
    ] {
        assert_eq!(
            (result.code, result.reason.as_str()),
            (Code::NotFound, "QUOTE_NOT_FOUND")
        );
        assert_eq!(result.fields, ["ticker"]);
    }
    scene.nothing_was_stored().await;
}
