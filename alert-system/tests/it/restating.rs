//! A ticker's prices are counted anew: rules from before are left in peace, over a restart too.

use cqrs::domain::{Range, RuleSnapshot, Side, Timestamp};
use service::topics::ALERTS;

use crate::harness::{Harness, rule};

#[tokio::test(flavor = "multi_thread")]
async fn rules_from_before_a_split_see_no_price_after_it_and_renewed_ones_do() {
    let harness = Harness::start().await;
    let running = harness.run_alert_system().await;
    let (renewed, left) = (rule("AAPL", "600", "700"), rule("AAPL", "500", "700"));
    harness.write_rule(&renewed).await;
    harness.write_rule(&left).await;
    // Both are known, and seen to work.
    harness.write_quotes_until_alerts("AAPL", "710", 2).await;
    harness.write_quotes_until_alerts("AAPL", "645", 4).await;

    let restated_at = Timestamp::now();
    harness.write_restated_quote("AAPL", "92.42", restated_at).await;
    harness.write_quotes("AAPL", &["92", "93"]).await;
    let renewed = RuleSnapshot {
        version: renewed.version.next(),
        range: Range::new(Some("85".parse().unwrap()), Some("100".parse().unwrap())).unwrap(),
        updated_at: restated_at,
        ..renewed
    };
    harness.write_rule(&renewed).await;
    harness.write_quotes_until_alerts("AAPL", "101", 5).await;
    running.stop().await;

    let running = harness.run_alert_system().await;
    harness.write_quotes_until_alerts("AAPL", "95", 6).await;
    running.stop().await;

    let alerts = harness.alerts_until(harness.read_all(ALERTS).await.len()).await;
    let of = |wanted: &RuleSnapshot| -> Vec<Side> {
        let wanted = alerts.iter().filter(|alert| alert.rule_id == wanted.rule_id);
        wanted.map(|alert| alert.side).collect()
    };
    assert_eq!(of(&left), [Side::Above, Side::In]);
    assert_eq!(of(&renewed), [Side::Above, Side::In, Side::Above, Side::In]);
}
