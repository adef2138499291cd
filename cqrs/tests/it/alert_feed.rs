//! Who follows a user's alerts misses none and sees none twice, whatever order they are committed in.

use std::time::Duration;

use cqrs::domain::{RuleId, Timestamp, UserId};
use cqrs::{Caller, LedgerChange};

use crate::support::{Db, alert};

on_both_databases! {
    an_alert_that_appears_behind_a_younger_one_comes_after_it,
    followers_see_every_alert_once_and_in_the_same_order_while_others_write,
    a_long_history_is_numbered_without_gaps,
    a_rules_alerts_stay_in_their_order_whatever_the_clocks_say,
    a_user_who_is_gone_has_no_feed,
    many_users_alerts_are_numbered_at_the_same_time,
    a_rule_is_known_while_it_or_an_alert_of_it_is_there,
}

async fn fold(db: &Db, alerts: Vec<cqrs::domain::Alert>) {
    let changes: Vec<_> = alerts.into_iter().map(LedgerChange::Alert).collect();
    db.ledger().fold(&changes, Timestamp::now()).await.unwrap();
}

async fn head(db: &Db, user: UserId) -> Option<i64> {
    let heads = db.store.alert_feed().heads(&[user]).await.unwrap();
    heads.get(&user).copied()
}

/// Raise times, which name the alerts in these tests.
async fn after(db: &Db, caller: Caller, number: i64) -> Vec<(i64, i64)> {
    let found = db.store.alert_feed().after(caller, number, 1_000).await.unwrap();
    found
        .iter()
        .map(|found| (found.number, found.alert.raised_at.as_micros()))
        .collect()
}

async fn an_alert_that_appears_behind_a_younger_one_comes_after_it(db: Db) {
    let caller = db.user("ada@example.org").await;
    let (first, second) = (db.rule(caller, "AAPL").await.id, db.rule(caller, "AAPL").await.id);
    assert_eq!(head(&db, caller.0).await, Some(0));
    fold(&db, vec![alert(first, caller.0, 0, 2_000)]).await;
    assert_eq!(
        after(&db, caller, 0).await,
        [],
        "nobody has asked for numbers yet"
    );
    assert_eq!(head(&db, caller.0).await, Some(1));
    assert_eq!(after(&db, caller, 0).await, [(1, 2_000)]);

    // Raised before, recorded later: by time it would be behind the reader.
    fold(&db, vec![alert(second, caller.0, 0, 1_000)]).await;
    assert_eq!(head(&db, caller.0).await, Some(2));
    assert_eq!(after(&db, caller, 1).await, [(2, 1_000)]);
    assert_eq!(after(&db, caller, 2).await, []);
}

async fn a_long_history_is_numbered_without_gaps(db: Db) {
    let caller = db.user("ada@example.org").await;
    let rule = db.rule(caller, "AAPL").await.id;
    for part in 0..3 {
        let offsets = part * 90..(part + 1) * 90;
        let alerts = offsets.map(|offset| alert(rule, caller.0, offset, 1_000 + offset));
        fold(&db, alerts.collect()).await;
    }
    assert_eq!(head(&db, caller.0).await, Some(270));
    let expected: Vec<_> = (1..=270).map(|number| (number, 999 + number)).collect();
    assert_eq!(after(&db, caller, 0).await, expected);
}

async fn a_rules_alerts_stay_in_their_order_whatever_the_clocks_say(db: Db) {
    let caller = db.user("ada@example.org").await;
    let (one, two) = (db.rule(caller, "AAPL").await.id, db.rule(caller, "AAPL").await.id);
    // The second and third of the first rule were raised by an alert system whose clock is behind.
    let raised = [
        (one, 0, 1_000),
        (one, 1, 300),
        (one, 2, 200),
        (two, 0, 100),
        (two, 1, 1_100),
    ];
    let alerts = raised.map(|(rule, offset, time)| alert(rule, caller.0, offset, time));
    fold(&db, alerts.to_vec()).await;
    head(&db, caller.0).await;
    let times: Vec<_> = after(&db, caller, 0)
        .await
        .iter()
        .map(|(_, time)| *time)
        .collect();
    assert_eq!(times, [100, 1_000, 300, 200, 1_100]);
}

async fn many_users_alerts_are_numbered_at_the_same_time(db: Db) {
    let mut users = Vec::new();
    for number in 0..10 {
        let caller = db.user(&format!("user{number}@example.org")).await;
        let rule = db.rule(caller, "AAPL").await.id;
        let alerts = (0..=number).map(|offset| alert(rule, caller.0, offset, 1_000 + offset));
        fold(&db, alerts.collect()).await;
        users.push(caller.0);
    }
    let heads = db.store.alert_feed().heads(&users).await.unwrap();
    let heads: Vec<_> = users.iter().map(|user| heads[user]).collect();
    assert_eq!(heads, (1..=10).collect::<Vec<_>>());
}

async fn a_rule_is_known_while_it_or_an_alert_of_it_is_there(db: Db) {
    let (caller, other) = (db.user("ada@example.org").await, db.user("bob@example.org").await);
    let (quiet, fired) = (db.rule(caller, "AAPL").await.id, db.rule(caller, "AAPL").await.id);
    fold(&db, vec![alert(fired, caller.0, 0, 1_000)]).await;
    let feed = db.store.alert_feed();
    for (rule, known_after) in [(quiet, false), (fired, true)] {
        assert!(feed.knows(caller, rule).await.unwrap());
        assert!(!feed.knows(other, rule).await.unwrap());
        db.commands().delete_rule(caller, rule, None).await.unwrap();
        assert_eq!(feed.knows(caller, rule).await.unwrap(), known_after);
    }
}

async fn a_user_who_is_gone_has_no_feed(db: Db) {
    let caller = db.user("ada@example.org").await;
    let other = db.user("bob@example.org").await;
    db.commands().delete_user(caller).await.unwrap();
    let heads = db.store.alert_feed().heads(&[caller.0, other.0]).await.unwrap();
    assert_eq!(heads.into_iter().collect::<Vec<_>>(), [(other.0, 0)]);
}

async fn followers_see_every_alert_once_and_in_the_same_order_while_others_write(db: Db) {
    const WRITERS: usize = 4;
    const EACH: i64 = 40;
    let caller = db.user("ada@example.org").await;
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let (db, rule) = (db.clone(), db.rule(caller, "AAPL").await.id);
        writers.push(tokio::spawn(write(db, rule, caller.0, writer, EACH)));
    }
    let all = WRITERS * usize::try_from(EACH).unwrap();
    let follow = |pause: u64| {
        let db = db.clone();
        tokio::spawn(async move {
            let (mut seen, mut number) = (Vec::new(), 0);
            while seen.len() < all {
                head(&db, caller.0).await;
                let new = after(&db, caller, number).await;
                number = new.last().map_or(number, |(number, _)| *number);
                seen.extend(new);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            seen
        })
    };
    let (quick, slow) = (follow(1), follow(30));
    for writer in writers {
        writer.await.unwrap();
    }
    let seen = tokio::time::timeout(Duration::from_secs(60), quick)
        .await
        .expect("the quick follower sees all")
        .unwrap();
    assert_eq!(slow.await.unwrap(), seen);
    let numbers: Vec<_> = seen.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=i64::try_from(all).unwrap()).collect::<Vec<_>>());
    let mut times: Vec<_> = seen.iter().map(|(_, time)| *time).collect();
    times.sort_unstable();
    times.dedup();
    assert_eq!(times.len(), all, "none twice");
}

/// Times of different writers lie between one another.
async fn write(db: Db, rule: RuleId, user: UserId, writer: usize, count: i64) {
    for offset in 0..count {
        let time = 1_000 + offset * 10 + i64::try_from(writer).unwrap();
        fold(&db, vec![alert(rule, user, offset, time)]).await;
    }
}
