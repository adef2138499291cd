use cqrs::domain::{Alert, BreakerState, FeedState, Side, TickerFeed, Timestamp};
use cqrs::{Breach, LedgerChange, StoreError};

use crate::support::{Db, alert, new_rule, price};

on_both_databases! {
    rules_are_listed_page_by_page,
    what_comes_and_goes_between_pages_disturbs_nothing_else,
    alerts_are_listed_newest_first_page_by_page,
    breaches_of_a_ticker_are_found_however_much_else_happened,
    a_page_token_of_another_kind_is_refused,
    rules_of_one_ticker_are_found,
    feeds_are_listed_as_they_were_told,
}

async fn rules_are_listed_page_by_page(db: Db) {
    let rules = vec![new_rule("AAPL"); 7];
    let ada = db
        .commands()
        .register_user("ada@example.org".parse().unwrap(), rules, None)
        .await
        .unwrap();
    let caller = cqrs::Caller(ada.user.id);
    db.rule(db.user("bob@example.org").await, "MSFT").await;
    for size in [1, 3, 6, 7, 100] {
        let (mut found, mut token, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = db.queries().rules(caller, token.as_deref(), size).await.unwrap();
            assert!(page.items.len() <= usize::try_from(size).unwrap());
            found.extend(page.items);
            pages += 1;
            token = page.next;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(found, ada.rules);
        assert_eq!(pages, 7_u32.div_ceil(size));
    }
}

async fn what_comes_and_goes_between_pages_disturbs_nothing_else(db: Db) {
    let rules = vec![new_rule("AAPL"); 6];
    let ada = db
        .commands()
        .register_user("ada@example.org".parse().unwrap(), rules, None)
        .await
        .unwrap();
    let caller = cqrs::Caller(ada.user.id);
    let first = db.queries().rules(caller, None, 3).await.unwrap();
    // The page's last rule and one to come.
    for gone in [2, 4] {
        db.commands()
            .delete_rule(caller, ada.rules[gone].id, None)
            .await
            .unwrap();
    }
    let new = db.rule(caller, "AAPL").await;
    let second = db
        .queries()
        .rules(caller, first.next.as_deref(), 10)
        .await
        .unwrap();
    assert_eq!(second.items, [ada.rules[3].clone(), ada.rules[5].clone(), new]);
    assert_eq!(second.next, None);
}

async fn alerts_are_listed_newest_first_page_by_page(db: Db) {
    let caller = db.user("ada@example.org").await;
    let (one, two) = (db.rule(caller, "AAPL").await, db.rule(caller, "AAPL").await);
    let bob = db.user("bob@example.org").await;
    let other = db.rule(bob, "AAPL").await;
    let start = Timestamp::now().as_micros();
    // Several at the same moment, so that the pages' borders fall among them.
    let mut alerts: Vec<_> = (0..12)
        .map(|n| {
            alert(
                if n % 3 == 0 { one.id } else { two.id },
                caller.0,
                n,
                start + n / 5,
            )
        })
        .collect();
    let mut changes: Vec<_> = alerts.iter().cloned().map(LedgerChange::Alert).collect();
    changes.push(LedgerChange::Alert(alert(other.id, bob.0, 0, start)));
    db.ledger().fold(&changes, Timestamp::now()).await.unwrap();
    alerts.sort_by_key(|alert| (alert.raised_at, alert.rule_id.to_string(), alert.position));
    alerts.reverse();

    for size in [1, 4, 12, 50] {
        for rule in [None, Some(one.id), Some(two.id)] {
            let (mut found, mut token) = (Vec::new(), None);
            loop {
                let page = db
                    .queries()
                    .alerts(caller, rule, token.as_deref(), size)
                    .await
                    .unwrap();
                found.extend(page.items);
                token = page.next;
                if token.is_none() {
                    break;
                }
            }
            let expected: Vec<_> = alerts
                .iter()
                .filter(|alert| rule.is_none_or(|rule| alert.rule_id == rule))
                .cloned()
                .collect();
            assert_eq!(found, expected, "{size} {rule:?}");
        }
    }
    assert!(
        db.queries()
            .alerts(caller, Some(other.id), None, 10)
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

async fn breaches_of_a_ticker_are_found_however_much_else_happened(db: Db) {
    let (ada, bob) = (db.user("ada@example.org").await, db.user("bob@example.org").await);
    let (one, two) = (db.rule(ada, "AAPL").await, db.rule(ada, "AAPL").await);
    let other = db.rule(ada, "MSFT").await;
    let bobs = db.rule(bob, "AAPL").await;
    let start = Timestamp::now().as_micros();
    let below = Alert {
        side: Side::Below,
        price: price("99"),
        ..alert(two.id, ada.0, 4, start + 3)
    };
    // Odd offsets are returns; both rules are left at once.
    let mut changes = vec![
        alert(one.id, ada.0, 0, start),
        alert(one.id, ada.0, 1, start + 1),
        alert(one.id, ada.0, 2, start + 2),
        alert(two.id, ada.0, 2, start + 2),
        below,
        alert(bobs.id, bob.0, 0, start + 3),
    ];
    changes.extend((0..300).map(|n| Alert {
        ticker: other.ticker.clone(),
        ..alert(other.id, ada.0, 2 * n, start + 4 + n)
    }));
    let changes: Vec<_> = changes.into_iter().map(LedgerChange::Alert).collect();
    db.ledger().fold(&changes, Timestamp::now()).await.unwrap();
    let breach = |at, value, side| Breach {
        time: Timestamp::from_micros(start + at - 20),
        price: price(value),
        side,
    };
    let expected = [
        breach(3, "99", Side::Below),
        breach(2, "201.5", Side::Above),
        breach(0, "201.5", Side::Above),
    ];
    for (from, limit, count) in [(0, 200, 3), (0, 2, 2), (2, 200, 2), (4, 200, 0)] {
        let from = Timestamp::from_micros(start + from - 20);
        let found = db
            .queries()
            .breaches(ada, &one.ticker, from, limit)
            .await
            .unwrap();
        assert_eq!(found, expected[..count], "{from} {limit}");
    }
}

async fn a_page_token_of_another_kind_is_refused(db: Db) {
    let caller = db.user("ada@example.org").await;
    for _ in 0..2 {
        db.rule(caller, "AAPL").await;
    }
    let rules_token = db.queries().rules(caller, None, 1).await.unwrap().next.unwrap();
    for token in ["", "x", "!!", "bnVsbA", &rules_token[1..]] {
        let result = db.queries().rules(caller, Some(token), 1).await;
        assert!(
            matches!(result, Err(StoreError::PageToken { .. })),
            "{token}: {result:?}"
        );
    }
    let result = db.queries().alerts(caller, None, Some(&rules_token), 1).await;
    assert!(matches!(result, Err(StoreError::PageToken { .. })), "{result:?}");
}

async fn feeds_are_listed_as_they_were_told(db: Db) {
    assert!(db.queries().feeds().await.unwrap().is_empty());
    for row in [
        "('yahoo', 'b', 'half-open', null, 0, null, 30)",
        "('yahoo', 'a', 'open', 'HTTP 429', 3, 20, 40)",
        "('synthetic', 'z', 'closed', null, 7, 10, 20)",
    ] {
        db.execute(&format!(
            "insert into feeds (provider, instance, breaker, reason, tickers, last_success_at, updated_at) values {row}"
        ))
        .await;
    }
    let time = Timestamp::from_micros;
    let feed = |provider: &str, instance: &str, breaker, tickers, updated_at| FeedState {
        provider: provider.to_owned(),
        instance: instance.to_owned(),
        breaker,
        reason: None,
        tickers,
        last_success_at: None,
        updated_at: time(updated_at),
    };
    let expected = [
        FeedState {
            last_success_at: Some(time(10)),
            ..feed("synthetic", "z", BreakerState::Closed, 7, 20)
        },
        FeedState {
            reason: Some("HTTP 429".to_owned()),
            last_success_at: Some(time(20)),
            ..feed("yahoo", "a", BreakerState::Open, 3, 40)
        },
        feed("yahoo", "b", BreakerState::HalfOpen, 0, 30),
    ];
    assert_eq!(db.queries().feeds().await.unwrap(), expected);

    for row in ["('AAPL', 50, 60)", "('MSFT', null, 70)", "('TSLA', 40, 80)"] {
        db.execute(&format!(
            "insert into stale_tickers (ticker, stale_since, updated_at) values {row}"
        ))
        .await;
    }
    let stale = |ticker: &str, since, updated_at| TickerFeed {
        ticker: ticker.parse().unwrap(),
        stale_since: Some(time(since)),
        updated_at: time(updated_at),
    };
    let expected = [stale("TSLA", 40, 80), stale("AAPL", 50, 60)];
    assert_eq!(db.queries().stale_tickers(10).await.unwrap(), expected);
    assert_eq!(db.queries().stale_tickers(1).await.unwrap(), expected[..1]);
}

async fn rules_of_one_ticker_are_found(db: Db) {
    let (ada, bob) = (db.user("ada@example.org").await, db.user("bob@example.org").await);
    let first = db.rule(ada, "AAPL").await;
    db.rule(ada, "AAP").await;
    db.rule(bob, "AAPL").await;
    let second = db.rule(ada, "AAPL").await;
    let of = async |ticker: &str| {
        db.queries()
            .rules_of(ada, &ticker.parse().unwrap())
            .await
            .unwrap()
    };
    assert_eq!(of("AAPL").await, [first, second]);
    assert!(of("MSFT").await.is_empty());
}
