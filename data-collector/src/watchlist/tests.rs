use cqrs::domain::{Range, UserId};

use super::*;

const NOW: Timestamp = Timestamp::from_micros(1_000);

fn rule(ticker: &str, version: i64) -> RuleSnapshot {
    RuleSnapshot {
        rule_id: RuleId::generate(),
        user_id: UserId::generate(),
        ticker: ticker.parse().unwrap(),
        range: Range::new(None, Some("500".parse().unwrap())).unwrap(),
        version: version.try_into().unwrap(),
        active: true,
        expires_at: None,
        updated_at: NOW,
        generation: 0,
    }
}

fn watch(ticker: &str) -> Vec<WatchChange> {
    vec![WatchChange::Watch(ticker.parse().unwrap())]
}

fn unwatch(ticker: &str) -> Vec<WatchChange> {
    vec![WatchChange::Unwatch(ticker.parse().unwrap())]
}

fn list() -> Watchlist {
    let mut list = Watchlist::new(12, vec![]);
    assert_eq!(list.assign(0), []);
    list
}

#[test]
fn the_first_rule_starts_a_ticker_and_the_last_deletion_stops_it() {
    let mut list = list();
    let (one, two) = (rule("AAPL", 1), rule("AAPL", 1));
    assert_eq!(list.change(0, &one, NOW), watch("AAPL"));
    assert_eq!(list.change(0, &two, NOW), []);
    assert_eq!(list.delete(0, one.rule_id), []);
    assert_eq!(list.delete(0, one.rule_id), [], "a tombstone twice");
    assert_eq!(list.delete(0, two.rule_id), unwatch("AAPL"));
    assert_eq!(list.delete(0, RuleId::generate()), [], "an unknown rule");
}

#[test]
fn a_pause_stops_and_a_change_of_range_does_not_interrupt() {
    let mut list = list();
    let first = rule("AAPL", 1);
    assert_eq!(list.change(0, &first, NOW), watch("AAPL"));
    assert_eq!(
        list.change(
            0,
            &RuleSnapshot {
                version: first.version.next(),
                ..first.clone()
            },
            NOW
        ),
        []
    );
    let paused = RuleSnapshot {
        version: first.version.next().next(),
        active: false,
        ..first.clone()
    };
    assert_eq!(list.change(0, &paused, NOW), unwatch("AAPL"));
    let again = RuleSnapshot {
        version: paused.version.next(),
        active: true,
        ..paused
    };
    assert_eq!(list.change(0, &again, NOW), watch("AAPL"));
}

#[test]
fn an_older_version_after_a_newer_changes_nothing_and_a_newer_log_does() {
    let mut list = list();
    let new = RuleSnapshot {
        active: false,
        ..rule("AAPL", 5)
    };
    let old = RuleSnapshot {
        active: true,
        version: RuleVersion::FIRST,
        ..new.clone()
    };
    assert_eq!(list.change(0, &new, NOW), []);
    assert_eq!(list.change(0, &old, NOW), []);
    assert_eq!(
        list.change(
            0,
            &RuleSnapshot {
                active: true,
                ..new.clone()
            },
            NOW
        ),
        [],
        "the same version"
    );
    assert_eq!(
        list.change(
            0,
            &RuleSnapshot {
                active: true,
                generation: 1,
                ..new
            },
            NOW
        ),
        watch("AAPL")
    );
}

#[test]
fn nothing_comes_back_after_a_tombstone() {
    let mut list = list();
    let rule = rule("AAPL", 9);
    assert_eq!(list.delete(0, rule.rule_id), []);
    assert_eq!(list.change(0, &rule, NOW), []);
}

#[test]
fn a_rule_stops_when_its_time_has_passed() {
    let mut list = list();
    let expires = |micros| Some(Timestamp::from_micros(micros));
    let rule = RuleSnapshot {
        expires_at: expires(2_000),
        ..rule("AAPL", 1)
    };
    assert_eq!(list.change(0, &rule, NOW), watch("AAPL"));
    assert_eq!(list.expire(Timestamp::from_micros(1_999)), []);
    assert_eq!(list.expire(Timestamp::from_micros(2_000)), unwatch("AAPL"));
    assert_eq!(list.expire(Timestamp::from_micros(9_000)), []);
    assert_eq!(list.delete(0, rule.rule_id), [], "it is not taken away twice");
    let longer = RuleSnapshot {
        expires_at: expires(3_000),
        ..self::rule("MSFT", 1)
    };
    assert_eq!(list.change(0, &longer, NOW), watch("MSFT"));
    let for_ever = RuleSnapshot {
        expires_at: None,
        version: longer.version.next(),
        ..longer
    };
    assert_eq!(list.change(0, &for_ever, NOW), []);
    assert_eq!(
        list.expire(Timestamp::from_micros(5_000)),
        [],
        "the expiry was taken back"
    );
    let gone = RuleSnapshot {
        expires_at: expires(500),
        ..self::rule("IBM", 1)
    };
    assert_eq!(list.change(0, &gone, NOW), [], "expired before it was read");
}

#[test]
fn a_revoked_partition_is_forgotten_and_read_anew() {
    let mut list = list();
    assert_eq!(list.share(), (1, 12));
    list.assign(3);
    assert_eq!(list.share(), (2, 12));
    let (one, other) = (rule("AAPL", 4), rule("MSFT", 1));
    list.change(0, &one, NOW);
    list.change(3, &other, NOW);
    assert_eq!(list.revoke(0), unwatch("AAPL"));
    assert_eq!(list.share(), (1, 12));
    assert_eq!(list.change(0, &one, NOW), [], "not ours");
    assert_eq!(list.delete(3, other.rule_id), unwatch("MSFT"));
    list.assign(0);
    assert_eq!(
        list.change(
            0,
            &RuleSnapshot {
                version: RuleVersion::FIRST,
                ..one
            },
            NOW
        ),
        watch("AAPL")
    );
    assert_eq!(
        list.assign(0),
        unwatch("AAPL"),
        "assigned again without a revocation"
    );
}

#[test]
fn a_pinned_ticker_is_polled_by_who_holds_its_partition_and_outlives_its_rules() {
    let pinned: Ticker = "AAPL".parse().unwrap();
    let home = partition_of(&pinned, 12);
    let mut list = Watchlist::new(12, vec![pinned]);
    assert_eq!(list.assign((home + 1) % 12), []);
    assert_eq!(list.assign(home), watch("AAPL"));
    let rule = rule("AAPL", 1);
    assert_eq!(list.change(home, &rule, NOW), []);
    assert_eq!(list.delete(home, rule.rule_id), []);
    assert_eq!(list.revoke(home), unwatch("AAPL"));
}
