//! What the words of the contract mean, by example.

use cqrs::domain::{Alert, Range, RuleId, RuleSnapshot, RuleVersion, Side, TickerMark, Timestamp, UserId};

use crate::engine::{Engine, QuoteFate, RearmMargin, Restoring, StateFate, Tick};

const MARGIN: RearmMargin = RearmMargin::from_permille(2);

fn rule(low: &str, high: &str) -> RuleSnapshot {
    RuleSnapshot {
        rule_id: RuleId::generate(),
        user_id: UserId::generate(),
        ticker: "AIG".parse().unwrap(),
        range: Range::new(Some(low.parse().unwrap()), Some(high.parse().unwrap())).unwrap(),
        version: RuleVersion::FIRST,
        active: true,
        expires_at: None,
        updated_at: Timestamp::from_micros(1_000),
        generation: 1,
    }
}

fn engine(rules: &[&RuleSnapshot]) -> Engine {
    let mut engine = Engine::new(MARGIN);
    for rule in rules {
        assert!(engine.change(rule));
    }
    engine
}

/// A quote that is ingested a millisecond after its event.
fn quote(engine: &mut Engine, price: &str, event: i64, offset: i64) -> (QuoteFate, Vec<Alert>) {
    let tick = Tick {
        ticker: engine.ticker("AIG").unwrap(),
        price: price.parse().unwrap(),
        event_time: Timestamp::from_micros(event),
        ingest_time: Timestamp::from_micros(event + 1_000),
        offset,
    };
    let mut transitions = Vec::new();
    let fate = engine.on_quote(&tick, &mut transitions);
    let alert = |transition| engine.alert(&tick, transition, "USD", Timestamp::EPOCH);
    (fate, transitions.iter().map(alert).collect())
}

/// Feeds (price, event time) at these and the following offsets and gives (offset, side) of each alert.
fn feed(engine: &mut Engine, quotes: &[(&str, i64)], first_offset: i64) -> Vec<(i64, Side)> {
    let alerts = quotes
        .iter()
        .zip(first_offset..)
        .flat_map(|((price, event), offset)| quote(engine, price, *event, offset).1);
    alerts.map(|alert| (alert.position.offset, alert.side)).collect()
}

#[test]
fn an_episode_is_one_alert_out_and_one_back() {
    let mut engine = engine(&[&rule("100", "200")]);
    let quotes = [
        ("150", 1),
        ("201", 2),
        ("202", 3),
        ("199.9", 4),
        ("150", 5),
        ("99", 6),
        ("300", 7),
    ];
    let expected = [
        (1, Side::Above),
        (4, Side::In),
        (5, Side::Below),
        (6, Side::Above),
    ];
    assert_eq!(feed(&mut engine, &quotes, 0), expected);
}

#[test]
fn a_late_quote_is_dropped_and_equal_times_are_taken_in_offset_order() {
    let mut engine = engine(&[&rule("100", "200")]);
    let quotes = [("150", 10), ("201", 9), ("201", 10), ("150", 10)];
    assert_eq!(feed(&mut engine, &quotes, 0), [(2, Side::Above), (3, Side::In)]);
}

#[test]
fn a_first_price_outside_says_so_and_a_later_one_does_not() {
    let mut engine = engine(&[&rule("100", "200")]);
    let (_, first) = quote(&mut engine, "250", 1, 0);
    let (_, back) = quote(&mut engine, "150", 2, 1);
    let (_, second) = quote(&mut engine, "250", 3, 2);
    assert!(first[0].already_outside && !second[0].already_outside);
    assert_eq!(
        back[0].threshold.to_string(),
        "200",
        "a return names the threshold that had been crossed"
    );
}

#[test]
fn a_new_version_starts_from_inside_and_an_old_one_changes_nothing() {
    let first = rule("100", "200");
    let mut engine = engine(&[&first]);
    assert_eq!(feed(&mut engine, &[("250", 1)], 0), [(0, Side::Above)]);
    let second = RuleSnapshot {
        version: first.version.next(),
        ..first.clone()
    };
    assert!(engine.change(&second));
    assert!(!engine.change(&first));
    assert_eq!(
        feed(&mut engine, &[("250", 2)], 1),
        [(1, Side::Above)],
        "told again for the new version"
    );
    assert_eq!(feed(&mut engine, &[("250", 3)], 2), []);
}

#[test]
fn a_rule_made_between_two_that_fired_waits_for_its_own_threshold() {
    let (lower, higher) = (rule("100", "200"), rule("100", "200.2"));
    let mut engine = engine(&[&lower, &higher]);
    assert_eq!(feed(&mut engine, &[("200.2", 1), ("200.05", 2)], 0).len(), 2);
    // Both are above still, within the margin; the new one is not.
    let between = rule("100", "200.1");
    assert!(engine.change(&between));
    let (_, alerts) = quote(&mut engine, "200.1", 3, 2);
    assert_eq!(
        alerts.iter().map(|alert| alert.rule_id).collect::<Vec<_>>(),
        [between.rule_id]
    );
    assert_eq!(feed(&mut engine, &[("150", 4)], 3).len(), 3);
}

#[test]
fn paused_expired_and_not_yet_changed_rules_see_nothing() {
    let paused = RuleSnapshot {
        active: false,
        ..rule("100", "200")
    };
    let expired = RuleSnapshot {
        expires_at: Some(Timestamp::from_micros(1_500)),
        ..rule("100", "200")
    };
    let changed_later = RuleSnapshot {
        updated_at: Timestamp::from_micros(1_500),
        ..rule("100", "200")
    };
    let mut engine = engine(&[&paused, &expired, &changed_later]);
    let ids = |alerts: &[Alert]| alerts.iter().map(|alert| alert.rule_id).collect::<Vec<_>>();
    let (_, before) = quote(&mut engine, "250", 499, 0);
    assert_eq!(ids(&before), [expired.rule_id]);
    let (_, after) = quote(&mut engine, "251", 500, 1);
    assert_eq!(ids(&after), [changed_later.rule_id]);
    assert!(after[0].already_outside);
}

#[test]
fn a_deleted_rule_stays_deleted() {
    let rule = rule("100", "200");
    let mut engine = engine(&[&rule]);
    assert!(engine.delete(rule.rule_id));
    assert!(!engine.delete(rule.rule_id));
    assert!(!engine.change(&rule));
    assert_eq!(engine.rules(), 0);
    assert_eq!(quote(&mut engine, "250", 1, 0).0, QuoteFate::NotWatched);
}

#[test]
fn a_quote_at_or_before_the_recorded_one_is_skipped_whole() {
    let rule = rule("100", "200");
    let mut restoring = Restoring::new(MARGIN, 1);
    restoring.rule(&rule);
    restoring.mark(&TickerMark {
        ticker: rule.ticker.clone(),
        price: "150".parse().unwrap(),
        event_time: Timestamp::from_micros(5),
        ingest_time: Timestamp::from_micros(1_005),
        offset: 5,
        restated_at: None,
    });
    let mut engine = restoring.finish();
    assert_eq!(quote(&mut engine, "250", 9, 5).0, QuoteFate::Repeated);
    assert_eq!(quote(&mut engine, "250", 4, 6).0, QuoteFate::Late);
    let (fate, alerts) = quote(&mut engine, "250", 6, 7);
    assert_eq!(fate, QuoteFate::Evaluated);
    assert!(
        !alerts[0].already_outside,
        "a price was seen since the rule's change"
    );
}

#[test]
fn a_state_of_a_lost_log_keeps_its_side_but_not_its_offset() {
    let old_log = rule("100", "200");
    let (_, alerts) = quote(&mut engine(&[&old_log]), "250", 1, 700);
    let mut restoring = Restoring::new(MARGIN, 1);
    restoring.rule(&RuleSnapshot {
        generation: 2,
        ..old_log
    });
    let fate = restoring.state(alerts[0].rule_id, alerts[0].position, alerts[0].side);
    assert_eq!(fate, StateFate::Newest);
    let mut engine = restoring.finish();
    assert_eq!(feed(&mut engine, &[("250", 2), ("150", 3)], 0), [(1, Side::In)]);
}

#[test]
fn tickers_with_a_long_common_beginning_are_told_apart() {
    let names = [
        "ABCDEFGHIJKLMNO",
        "ABCDEFGHIJKLMNOP",
        "ABCDEFGHIJKLMNOPQ",
        "ABCDEFGHIJKLMNOPR",
    ];
    let mut engine = Engine::new(MARGIN);
    for name in names {
        assert_eq!(engine.ticker(name), None);
        let rule = RuleSnapshot {
            ticker: name.parse().unwrap(),
            ..rule("100", "200")
        };
        assert!(engine.change(&rule));
    }
    let indices: std::collections::HashSet<_> = names.map(|name| engine.ticker(name).unwrap()).into();
    assert_eq!(indices.len(), names.len());
}
