use cqrs::domain::{Rule, RuleId, RuleState, Side, Timestamp};
use cqrs::{
    Caller, DeliveryFilter, DeliveryKind, DeliveryStatus, LedgerChange, RuleEdit, RuleFilter, StoreError,
};

use crate::support::{Db, alert};

on_both_databases! {
    rules_are_listed_by_ticker_state_and_whether_their_price_is_out_of_range,
    deliveries_are_listed_newest_first_by_rule_and_status_page_by_page,
    a_page_token_is_good_for_the_filter_it_was_made_with,
}

async fn fold(db: &Db, caller: Caller, rule: RuleId, offset: i64, side: Side) {
    let at = Timestamp::now();
    let mut alert = alert(rule, caller.0, offset, at.as_micros());
    alert.side = side;
    db.ledger().fold(&[LedgerChange::Alert(alert)], at).await.unwrap();
}

async fn listed(db: &Db, caller: Caller, filter: &RuleFilter) -> Vec<RuleId> {
    let (mut ids, mut token) = (Vec::new(), None);
    loop {
        let page = db
            .queries()
            .find_rules(caller, filter, token.as_deref(), 2)
            .await
            .unwrap();
        assert!(page.items.len() <= 2);
        ids.extend(page.items.iter().map(|rule| rule.id));
        match page.next {
            None => return ids,
            next => token = next,
        }
    }
}

async fn rules_are_listed_by_ticker_state_and_whether_their_price_is_out_of_range(db: Db) {
    let (caller, other) = (db.user("ada@example.org").await, db.user("bob@example.org").await);
    db.rule(other, "AAPL").await;
    let mut rules: Vec<Rule> = Vec::new();
    for ticker in ["AAPL", "AAPL", "MSFT", "AAPL", "AAPL", "MSFT"] {
        rules.push(db.rule(caller, ticker).await);
    }
    for (index, set) in [
        (1, "paused = 1"),
        (2, "restated_at = 1, paused = 1"),
        (3, "expired = 1, restated_at = 1"),
    ] {
        let id = rules[index].id;
        db.execute(&format!("update rules set {set} where id = '{id}'"))
            .await;
    }
    let ids = |indices: &[usize]| indices.iter().map(|index| rules[*index].id).collect::<Vec<_>>();
    let states = |states: &[RuleState]| RuleFilter {
        states: states.to_vec(),
        ..RuleFilter::default()
    };
    use RuleState::{Active, Expired, OnHold, Paused};
    for (filter, expected) in [
        (states(&[]), vec![0, 1, 2, 3, 4, 5]),
        (states(&[Active]), vec![0, 4, 5]),
        (states(&[Paused]), vec![1]),
        (states(&[OnHold]), vec![2]),
        (states(&[Expired]), vec![3]),
        (states(&[Expired, Paused]), vec![1, 3]),
        (states(&[Active, Paused, OnHold, Expired]), vec![0, 1, 2, 3, 4, 5]),
    ] {
        assert_eq!(listed(&db, caller, &filter).await, ids(&expected), "{filter:?}");
    }
    for rule in db.queries().rules(caller, None, 10).await.unwrap().items {
        let filter = states(&[rule.state()]);
        assert!(listed(&db, caller, &filter).await.contains(&rule.id), "{rule:?}");
    }
    let apple = RuleFilter {
        ticker: Some("AAPL".parse().unwrap()),
        ..states(&[Active])
    };
    assert_eq!(listed(&db, caller, &apple).await, ids(&[0, 4]));

    for (index, offset, side) in [
        (0, 2, Side::Above),
        (4, 2, Side::Below),
        (4, 3, Side::In),
        (5, 2, Side::Below),
    ] {
        fold(&db, caller, rules[index].id, offset, side).await;
    }
    let out = RuleFilter {
        out_of_range: true,
        ..RuleFilter::default()
    };
    assert_eq!(listed(&db, caller, &out).await, ids(&[0, 5]));
    let all = db.queries().rules(caller, None, 10).await.unwrap().items;
    let open = db.queries().out_of_range(&all).await.unwrap();
    assert_eq!(open.len(), 2);
    assert_eq!(
        (open[&rules[0].id].side, open[&rules[5].id].side),
        (Side::Above, Side::Below)
    );
    // Another version starts from inside.
    let edit = RuleEdit {
        paused: Some(false),
        ..RuleEdit::default()
    };
    db.commands()
        .update_rule(caller, rules[0].id, edit, None)
        .await
        .unwrap();
    assert_eq!(listed(&db, caller, &out).await, ids(&[5]));
    let all = db.queries().rules(caller, None, 10).await.unwrap().items;
    assert_eq!(db.queries().out_of_range(&all).await.unwrap().len(), 1);
    assert!(db.queries().out_of_range(&[]).await.unwrap().is_empty());
}

async fn deliveries_are_listed_newest_first_by_rule_and_status_page_by_page(db: Db) {
    let (caller, other) = (db.user("ada@example.org").await, db.user("bob@example.org").await);
    let rules = [db.rule(caller, "AAPL").await, db.rule(caller, "AAPL").await];
    let his = db.rule(other, "AAPL").await;
    fold(&db, other, his.id, 2, Side::Above).await;
    for (rule, offset, side) in [
        (0, 2, Side::Above),
        (1, 3, Side::Below),
        (0, 4, Side::Below),
        (0, 5, Side::In),
    ] {
        fold(&db, caller, rules[rule].id, offset, side).await;
    }
    let list = async |filter: &DeliveryFilter, token: Option<&str>| {
        let page = db.queries().deliveries(caller, filter, token, 2).await.unwrap();
        let shown: Vec<_> = page
            .items
            .iter()
            .map(|listed| (listed.view.rule_id, listed.view.kind, listed.side))
            .collect();
        (shown, page.next)
    };
    let all = [
        (rules[0].id, DeliveryKind::BackInRange, Side::In),
        (rules[0].id, DeliveryKind::Jump, Side::Below),
        (rules[1].id, DeliveryKind::Breach, Side::Below),
        (rules[0].id, DeliveryKind::Breach, Side::Above),
    ];
    let everything = DeliveryFilter::default();
    let (first, next) = list(&everything, None).await;
    assert_eq!(first, all[..2]);
    let (second, end) = list(&everything, next.as_deref()).await;
    assert_eq!((second.as_slice(), end), (&all[2..], None));
    let of_rule = DeliveryFilter {
        rule: Some(rules[1].id),
        ..DeliveryFilter::default()
    };
    assert_eq!(list(&of_rule, None).await, (vec![all[2]], None));
    let id = rules[1].id;
    db.execute(&format!(
        "update deliveries set status = 'sent' where rule_id = '{id}'"
    ))
    .await;
    let in_status = |statuses: &[DeliveryStatus]| DeliveryFilter {
        statuses: statuses.to_vec(),
        ..DeliveryFilter::default()
    };
    assert_eq!(list(&in_status(&[DeliveryStatus::Sent]), None).await.0, [all[2]]);
    let none = in_status(&[DeliveryStatus::Undeliverable, DeliveryStatus::Superseded]);
    assert_eq!(list(&none, None).await.0, []);
    let two = in_status(&[DeliveryStatus::Planned, DeliveryStatus::Sent]);
    assert_eq!(list(&two, None).await.0, all[..2]);
    for token in ["x", "e30", "eyJwbGFubmVkX2F0IjoxLCJkZWxpdmVyeV9pZCI6IngifQ"] {
        let result = db.queries().deliveries(caller, &everything, Some(token), 2).await;
        assert!(
            matches!(result, Err(StoreError::PageToken { .. })),
            "{token}: {result:?}"
        );
    }
}

async fn a_page_token_is_good_for_the_filter_it_was_made_with(db: Db) {
    let caller = db.user("ada@example.org").await;
    for offset in [2, 4] {
        let rule = db.rule(caller, "AAPL").await.id;
        fold(&db, caller, rule, offset, Side::Above).await;
    }
    let queries = db.queries();
    let (all, apple) = (
        RuleFilter::default(),
        RuleFilter {
            ticker: Some("AAPL".parse().unwrap()),
            ..RuleFilter::default()
        },
    );
    let token = queries.find_rules(caller, &apple, None, 1).await.unwrap().next;
    let other = queries.find_rules(caller, &all, token.as_deref(), 1).await;
    assert!(matches!(other, Err(StoreError::PageToken { .. })), "{other:?}");
    let same = queries
        .find_rules(caller, &apple, token.as_deref(), 1)
        .await
        .unwrap();
    assert_eq!(same.items.len(), 1);

    let (all, planned) = (
        DeliveryFilter::default(),
        DeliveryFilter {
            statuses: vec![DeliveryStatus::Planned],
            ..DeliveryFilter::default()
        },
    );
    let token = queries.deliveries(caller, &planned, None, 1).await.unwrap().next;
    let other = queries.deliveries(caller, &all, token.as_deref(), 1).await;
    assert!(matches!(other, Err(StoreError::PageToken { .. })), "{other:?}");
    let same = queries
        .deliveries(caller, &planned, token.as_deref(), 1)
        .await
        .unwrap();
    assert_eq!(same.items.len(), 1);

    let rules = queries.rules(caller, None, 2).await.unwrap().items;
    let (first, second) = (rules[0].id, rules[1].id);
    let token = queries.alerts(caller, None, None, 1).await.unwrap().next;
    let other = queries.alerts(caller, Some(first), token.as_deref(), 1).await;
    assert!(matches!(other, Err(StoreError::PageToken { .. })), "{other:?}");
    fold(&db, caller, first, 6, Side::Below).await;
    let token = queries
        .alerts(caller, Some(first), None, 1)
        .await
        .unwrap()
        .next
        .unwrap();
    for rule in [None, Some(second)] {
        let other = queries.alerts(caller, rule, Some(&token), 1).await;
        assert!(matches!(other, Err(StoreError::PageToken { .. })), "{other:?}");
    }
    let same = queries
        .alerts(caller, Some(first), Some(&token), 1)
        .await
        .unwrap();
    assert_eq!(same.items.len(), 1);
}
