use cqrs::DeliveryKind::{BackInRange, Breach, FeedBack, FeedStale};
use cqrs::DeliveryStatus::{Planned, Sending, Sent, Superseded};
use cqrs::domain::{FeedChange, Side, TickerFeed};
use cqrs::{MAX_ITEMS, Outcome};

use super::{LedgerChange, Stage, TIMEOUT, said, sent};
use crate::support::Db;

on_both_databases! {
    a_rule_that_crossed_twenty_thousand_times_in_a_night_is_one_message,
    a_notice_that_was_not_sent_before_prices_came_again_is_not_sent,
    a_notice_that_may_have_arrived_is_followed_by_its_end,
    what_is_first_tried_late_has_its_time_to_be_tried,
    a_peak_lies_beyond_the_threshold,
    messages_go_without_a_peak_when_prices_cannot_be_read,
    a_message_tells_of_so_many_rules_only_and_the_next_of_the_rest,
    a_claim_that_ran_out_frees_nothing_of_the_next_claim_of_the_same_instance,
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

async fn messages_go_without_a_peak_when_prices_cannot_be_read(db: Db) {
    let stage = Stage::set(db).await;
    let other = stage.other_rule("MSFT").await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    stage.send(1).await;
    stage.db.execute("alter table quotes rename to away").await;
    let changes = [stage.change(2, Side::In), stage.change_of(&other, 1, Side::Above)];
    stage.fold(&changes, 2).await;
    let message = stage.send(3).await;
    assert_eq!(said(&message), [(Breach, 1), (BackInRange, 1)]);
    assert!(!message.may_be_repeat);
}

async fn a_message_tells_of_so_many_rules_only_and_the_next_of_the_rest(db: Db) {
    let stage = Stage::set(db).await;
    let mut changes = Vec::new();
    for number in 0..MAX_ITEMS + 5 {
        let rule = stage.other_rule(&format!("T{number}")).await;
        changes.push(stage.change_of(&rule, 1, Side::Above));
    }
    stage.fold(&changes, 0).await;
    assert_eq!(stage.send(1).await.items.len(), MAX_ITEMS);
    assert_eq!(stage.send(2).await.items.len(), 5);
    // There may be two things to say of one rule.
    stage.fold(&[stage.change(1, Side::Above)], 2).await;
    stage.send(3).await;
    fold_feed(&stage, true, 10).await;
    stage.send(11).await;
    fold_feed(&stage, false, 20).await;
    let mut changes = vec![stage.change(2, Side::In)];
    for number in 1..MAX_ITEMS {
        let rule = stage.other_rule(&format!("U{number}")).await;
        changes.push(stage.change_of(&rule, 1, Side::Above));
    }
    stage.fold(&changes, 20).await;
    assert_eq!(stage.send(21).await.items.len(), MAX_ITEMS);
    assert_eq!(stage.send(22).await.items.len(), 1);
    assert_eq!(stage.ledger.backlog().await.unwrap().waiting, 0);
}

async fn a_claim_that_ran_out_frees_nothing_of_the_next_claim_of_the_same_instance(db: Db) {
    let stage = Stage::set(db).await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    let first = stage.claim(1).await.remove(0);
    let again = stage.claim(1 + TIMEOUT.as_secs()).await.remove(0);
    assert_eq!(again.key, first.key);
    stage.ledger.release_claim(&first).await.unwrap();
    assert_eq!(stage.told().await, [(Breach, Sending)]);
    stage.ledger.release_claim(&again).await.unwrap();
    assert_eq!(stage.told().await, [(Breach, Planned)]);
}
