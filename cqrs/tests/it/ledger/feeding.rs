use std::time::Duration;

use cqrs::DeliveryKind::{Breach, FeedBack, FeedStale, Reminder};
use cqrs::DeliveryStatus::{Planned, Sent, Superseded};
use cqrs::LedgerChange;
use cqrs::domain::{BreakerState, FeedChange, FeedState, Side, TickerFeed, Timestamp};

use super::{INTERVAL, Stage, said};
use crate::support::Db;

on_both_databases! {
    who_was_told_of_a_breach_is_told_once_that_prices_stopped_and_once_that_they_came_again,
    who_was_not_told_that_prices_stopped_is_not_told_that_they_came_again,
    that_prices_came_again_is_told_although_the_rule_that_said_they_stopped_is_gone,
    the_newest_word_on_a_provider_stays_for_a_day,
}

fn ticker(stage: &Stage, stale_since: Option<u64>, updated_at: u64) -> FeedChange {
    FeedChange::Ticker(TickerFeed {
        ticker: "AAPL".parse().unwrap(),
        stale_since: stale_since.map(|seconds| stage.at(seconds)),
        updated_at: stage.at(updated_at),
    })
}

async fn planned(stage: &Stage, change: FeedChange, seconds: u64) -> u64 {
    stage
        .ledger
        .fold_feeds(&[change], stage.at(seconds))
        .await
        .unwrap()
        .planned
}

async fn who_was_told_of_a_breach_is_told_once_that_prices_stopped_and_once_that_they_came_again(db: Db) {
    let stage = Stage::set(db).await;
    let second = stage.other_rule("AAPL").await;
    let bob = stage.db.user("bob@example.org").await;
    let bobs = stage.db.rule(bob, "AAPL").await;
    stage
        .fold(
            &[
                stage.change(1, Side::Above),
                stage.change_of(&second, 1, Side::Above),
            ],
            0,
        )
        .await;
    stage.send(0).await;
    // Bob is out of range and has not heard of it.
    stage.fold(&[stage.change_of(&bobs, 1, Side::Above)], 1).await;
    assert_eq!(planned(&stage, ticker(&stage, Some(5), 10), 10).await, 1);
    assert_eq!(planned(&stage, ticker(&stage, Some(5), 10), 10).await, 0);
    assert_eq!(
        planned(&stage, ticker(&stage, Some(6), 11), 11).await,
        0,
        "the same time without prices"
    );
    assert_eq!(
        planned(&stage, ticker(&stage, None, 9), 12).await,
        0,
        "an older word"
    );
    for message in stage.claim(12).await {
        if message.user_id == stage.caller.0 {
            assert_eq!(said(&message), [(FeedStale, 1)]);
            assert_eq!(message.items[0].facts.opened_at, stage.at(5));
        }
        assert!(
            stage
                .ledger
                .finish(&message, &super::sent(), stage.at(12))
                .await
                .unwrap()
        );
    }
    // A state that is frozen is not reminded of.
    let due = INTERVAL.as_secs() + 12;
    assert_eq!(stage.check(due).await.reminders, 0);
    assert_eq!(planned(&stage, ticker(&stage, None, due), due).await, 1);
    assert_eq!(said(&stage.send(due + 1).await), [(FeedBack, 1)]);
    assert_eq!(stage.check(due + 31).await.reminders, 3);
    assert_eq!(stage.told_to(bob).await, [(Breach, Sent), (Reminder, Planned)]);
    // Once more, and this time both have heard.
    assert_eq!(
        planned(&stage, ticker(&stage, Some(due + 40), due + 50), due + 50).await,
        2
    );
}

async fn who_was_not_told_that_prices_stopped_is_not_told_that_they_came_again(db: Db) {
    let stage = Stage::set(db).await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    stage.send(0).await;
    assert_eq!(planned(&stage, ticker(&stage, Some(5), 10), 10).await, 1);
    assert_eq!(planned(&stage, ticker(&stage, None, 20), 20).await, 0);
    assert!(stage.claim(21).await.is_empty());
    assert_eq!(stage.told().await, [(Breach, Sent), (FeedStale, Superseded)]);
    // On its way when the prices came again, and then it never arrived.
    assert_eq!(planned(&stage, ticker(&stage, Some(25), 30), 30).await, 1);
    let message = stage.claim(31).await.remove(0);
    assert_eq!(planned(&stage, ticker(&stage, None, 40), 40).await, 1);
    assert!(
        stage
            .ledger
            .finish(&message, &super::undeliverable(), stage.at(41))
            .await
            .unwrap()
    );
    assert!(stage.claim(42).await.is_empty());
    assert_eq!(stage.told().await[3], (FeedBack, Superseded));
}

async fn that_prices_came_again_is_told_although_the_rule_that_said_they_stopped_is_gone(db: Db) {
    let stage = Stage::set(db).await;
    let second = stage.other_rule("AAPL").await;
    let both = [
        stage.change(1, Side::Above),
        stage.change_of(&second, 1, Side::Above),
    ];
    stage.fold(&both, 0).await;
    stage.send(0).await;
    assert_eq!(planned(&stage, ticker(&stage, Some(5), 10), 10).await, 1);
    let notice = stage.send(12).await;
    let (named, other) = if notice.items[0].rule_id == stage.rule.id {
        (&stage.rule, &second)
    } else {
        (&second, &stage.rule)
    };
    stage.fold(&[LedgerChange::RuleDeleted(named.id)], 13).await;
    assert_eq!(planned(&stage, ticker(&stage, None, 20), 20).await, 1);
    let back = stage.send(21).await;
    assert_eq!(said(&back), [(FeedBack, 1)]);
    assert_eq!(back.items[0].rule_id, other.id);
    assert_eq!(back.items[0].facts.opened_at, stage.at(5));
}

async fn the_newest_word_on_a_provider_stays_for_a_day(db: Db) {
    let stage = Stage::set(db).await;
    let state = |instance: &str, breaker, updated_at| {
        FeedChange::Provider(FeedState {
            provider: "yahoo".to_owned(),
            instance: instance.to_owned(),
            breaker,
            reason: Some("429".to_owned()),
            tickers: 7,
            last_success_at: Some(stage.at(0)),
            updated_at,
        })
    };
    let known = async || {
        let feeds = stage.db.queries().feeds().await.unwrap();
        feeds
            .into_iter()
            .map(|feed| (feed.instance, feed.breaker))
            .collect::<Vec<_>>()
    };
    let day = Duration::from_secs(24 * 60 * 60);
    let fold =
        async |changes: &[FeedChange], now: Timestamp| stage.ledger.fold_feeds(changes, now).await.unwrap();
    fold(
        &[
            state("one", BreakerState::Open, stage.at(10)),
            state("one", BreakerState::Closed, stage.at(9)),
            state("two", BreakerState::HalfOpen, stage.at(30)),
        ],
        stage.at(30),
    )
    .await;
    let two = ("two".to_owned(), BreakerState::HalfOpen);
    assert_eq!(
        known().await,
        [("one".to_owned(), BreakerState::Open), two.clone()]
    );
    fold(&[], stage.at(20).plus(day)).await;
    assert_eq!(known().await.len(), 2, "nothing was said, so nobody looked");
    fold(
        &[state("two", BreakerState::HalfOpen, stage.at(30))],
        stage.at(20).plus(day),
    )
    .await;
    assert_eq!(known().await, [two]);
}
