use cqrs::DeliveryKind::{Breach, FeedBack, FeedStale};
use cqrs::DeliveryStatus::{Sent, Superseded};
use cqrs::Outcome;
use cqrs::domain::{FeedChange, Side, TickerFeed};

use super::{LedgerChange, Stage, said, sent};
use crate::support::Db;

on_both_databases! {
    a_rule_that_crossed_twenty_thousand_times_in_a_night_is_one_message,
    a_notice_that_was_not_sent_before_prices_came_again_is_not_sent,
    a_notice_that_may_have_arrived_is_followed_by_its_end,
    what_is_first_tried_late_has_its_time_to_be_tried,
    a_peak_lies_beyond_the_threshold,
}

/// A statement has room for so many values only.
async fn a_rule_that_crossed_twenty_thousand_times_in_a_night_is_one_message(db: Db) {
    let stage = Stage::set(db).await;
    let night: Vec<LedgerChange> = (1..=20_001)
        .map(|offset| stage.change(offset, if offset % 2 == 0 { Side::In } else { Side::Above }))
        .collect();
    stage.fold(&night, 0).await;
    let mut told = 0;
    for seconds in 1..=4 {
        for message in stage.claim(seconds).await {
            told += said(&message).iter().map(|(_, crossings)| crossings).sum::<u32>();
            let end = sent();
            assert!(
                stage
                    .ledger
                    .finish(&message, &end, stage.at(seconds))
                    .await
                    .unwrap()
            );
        }
    }
    assert_eq!(told, 20_001);
}

fn feed(stage: &Stage, stale: bool, seconds: u64) -> FeedChange {
    FeedChange::Ticker(TickerFeed {
        ticker: stage.rule.ticker.clone(),
        stale_since: stale.then(|| stage.at(seconds)),
        updated_at: stage.at(seconds),
    })
}

async fn fold_feed(stage: &Stage, stale: bool, seconds: u64) {
    let change = feed(stage, stale, seconds);
    let folded = stage.ledger.fold_feeds(&[change], stage.at(seconds)).await;
    assert_eq!(folded.unwrap().planned, 1);
}

fn retry(stage: &Stage, seconds: u64, ambiguous: bool) -> Outcome {
    Outcome::Retry {
        at: stage.at(seconds),
        reason: "no answer".to_owned(),
        ambiguous,
    }
}

/// The prices come again while the notice that they stopped is on its way.
async fn overtaken_notice(db: Db, ambiguous: bool) -> Stage {
    let stage = Stage::set(db).await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    stage.send(1).await;
    fold_feed(&stage, true, 10).await;
    let notice = stage.claim(11).await.remove(0);
    fold_feed(&stage, false, 12).await;
    let outcome = retry(&stage, 14, ambiguous);
    assert!(
        stage
            .ledger
            .finish(&notice, &outcome, stage.at(13))
            .await
            .unwrap()
    );
    stage
}

async fn a_notice_that_was_not_sent_before_prices_came_again_is_not_sent(db: Db) {
    let stage = overtaken_notice(db, false).await;
    assert_eq!(stage.claim(15).await, []);
    assert_eq!(
        stage.told().await,
        [(Breach, Sent), (FeedStale, Superseded), (FeedBack, Superseded)]
    );
}

async fn a_notice_that_may_have_arrived_is_followed_by_its_end(db: Db) {
    let stage = overtaken_notice(db, true).await;
    stage.send(15).await;
    assert_eq!(
        stage.told().await,
        [(Breach, Sent), (FeedStale, Superseded), (FeedBack, Sent)]
    );
}

/// What was held for days, or joins what is tried in vain, is not as old as the first try of the other.
async fn what_is_first_tried_late_has_its_time_to_be_tried(db: Db) {
    let stage = Stage::set(db).await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    let day = 24 * 60 * 60;
    assert_eq!(
        stage.end(retry(&stage, 2 * day, false), day).await.tried_since,
        None
    );
    let tried = stage.end(retry(&stage, 3 * day, false), 2 * day).await;
    assert_eq!(tried.tried_since, Some(stage.at(day)));
    let other = stage.other_rule("MSFT").await;
    stage
        .fold(&[stage.change_of(&other, 1, Side::Above)], 3 * day)
        .await;
    assert_eq!(stage.send(3 * day + 1).await.tried_since, None);
}

async fn a_peak_lies_beyond_the_threshold(db: Db) {
    let stage = Stage::set(db).await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    stage.send(1).await;
    // All that is recorded so far is the way back.
    stage.latest("199", 0).await;
    stage.fold(&[stage.change(2, Side::In)], 2).await;
    assert_eq!(stage.send(3).await.items[0].facts.peak, None);
}
