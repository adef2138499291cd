use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use cqrs::DeliveryKind::{self, BackInRange, Breach, Jump};
use cqrs::DeliveryStatus::Superseded;
use cqrs::LedgerChange;
use cqrs::domain::{Alert, AlertPosition, RuleId, Side, Timestamp, UserId};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::{Stage, alert, position};
use crate::support::{Db, price};

on_both_databases! {
    a_breach_and_its_return_are_told_once_each,
    a_jump_from_side_to_side_is_one_message,
    an_edited_rule_starts_inside_its_range,
    after_a_lost_log_the_same_side_is_accepted_without_a_word,
    nothing_more_is_told_of_a_deleted_rule,
    instances_that_fold_the_same_records_at_once_plan_each_message_once,
    folds_of_random_records_plan_what_a_naive_reading_plans,
}

async fn a_breach_and_its_return_are_told_once_each(db: Db) {
    let stage = Stage::set(db).await;
    let (out, back) = (stage.change(10, Side::Above), stage.change(20, Side::In));
    let old = stage.change(15, Side::Below);
    let first = stage
        .ledger
        .fold(&[out.clone(), out.clone()], stage.start)
        .await
        .unwrap();
    assert_eq!((first.taken, first.repeated, first.planned), (1, 1, 1));
    stage.fold(std::slice::from_ref(&out), 1).await;
    stage.fold(&[back.clone(), old, out, back], 2).await;
    assert_eq!(stage.kinds().await, [Breach, BackInRange]);
    let alerts = stage
        .db
        .queries()
        .alerts(stage.caller, None, None, 10)
        .await
        .unwrap();
    assert_eq!(
        alerts
            .items
            .iter()
            .map(|alert| alert.position.offset)
            .collect::<HashSet<_>>(),
        [10, 20].into()
    );
    assert!(
        stage
            .ledger
            .open_episodes(stage.caller.0)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn a_jump_from_side_to_side_is_one_message(db: Db) {
    let stage = Stage::set(db).await;
    stage.fold(&[stage.change(1, Side::Below)], 0).await;
    let first = stage.send(0).await;
    let facts = &first.items[0].facts;
    assert_eq!(
        (facts.side, facts.threshold, facts.price),
        (Side::Below, price("100"), price("99"))
    );
    stage.fold(&[stage.change(2, Side::Above)], 1).await;
    let open = stage.ledger.open_episodes(stage.caller.0).await.unwrap();
    assert_eq!(
        open.iter()
            .map(|open| (open.side, open.position.offset))
            .collect::<Vec<_>>(),
        [(Side::Above, 2)]
    );
    let second = stage.send(1).await;
    let facts = &second.items[0].facts;
    assert_eq!(
        (facts.kind, facts.side, facts.told_side),
        (Jump, Side::Above, Side::Below)
    );
    stage.fold(&[stage.change(3, Side::In)], 2).await;
    assert_eq!(stage.send(2).await.items[0].facts.side, Side::In);
    assert_eq!(stage.kinds().await, [Breach, Jump, BackInRange]);
}

async fn an_edited_rule_starts_inside_its_range(db: Db) {
    let stage = Stage::set(db).await;
    let of = |version, offset, side| {
        LedgerChange::Alert(alert(
            stage.rule.id,
            stage.caller.0,
            position(version, 1, offset),
            side,
            stage.start,
        ))
    };
    stage
        .fold(
            &[
                of(1, 10, Side::Above),
                of(2, 11, Side::Above),
                of(1, 12, Side::In),
            ],
            0,
        )
        .await;
    assert_eq!(stage.kinds().await, [Breach, Breach]);
    // Back inside for the new version; then a version that has nothing to tell.
    stage
        .fold(
            &[of(2, 13, Side::In), of(2, 14, Side::Below), of(3, 15, Side::In)],
            0,
        )
        .await;
    assert_eq!(stage.kinds().await, [Breach, Breach, BackInRange, Breach]);
    assert!(
        stage
            .ledger
            .open_episodes(stage.caller.0)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn after_a_lost_log_the_same_side_is_accepted_without_a_word(db: Db) {
    let stage = Stage::set(db).await;
    let of = |generation, offset, side| {
        LedgerChange::Alert(alert(
            stage.rule.id,
            stage.caller.0,
            position(1, generation, offset),
            side,
            stage.start,
        ))
    };
    stage
        .fold(
            &[
                of(1, 500, Side::Above),
                of(2, 3, Side::Above),
                of(1, 501, Side::In),
            ],
            0,
        )
        .await;
    assert_eq!(stage.kinds().await, [Breach]);
    stage.fold(&[of(2, 9, Side::In)], 0).await;
    assert_eq!(stage.kinds().await, [Breach, BackInRange]);
}

async fn nothing_more_is_told_of_a_deleted_rule(db: Db) {
    let stage = Stage::set(db).await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    stage
        .db
        .commands()
        .delete_rule(stage.caller, stage.rule.id, None)
        .await
        .unwrap();
    // What was planned ends when its turn comes, even before the tombstone does.
    assert!(stage.claim(1).await.is_empty());
    assert_eq!(stage.told().await, [(Breach, Superseded)]);
    let folded = stage
        .ledger
        .fold(
            &[
                stage.change(2, Side::In),
                LedgerChange::RuleDeleted(stage.rule.id),
                stage.change(3, Side::Above),
            ],
            stage.at(2),
        )
        .await
        .unwrap();
    assert_eq!((folded.taken, folded.orphaned, folded.planned), (0, 2, 0));

    let other = stage.db.rule(stage.caller, "MSFT").await;
    let of_other = LedgerChange::Alert(alert(
        other.id,
        stage.caller.0,
        position(1, 1, 1),
        Side::Above,
        stage.start,
    ));
    stage.fold(&[of_other], 3).await;
    stage.fold(&[LedgerChange::RuleDeleted(other.id)], 4).await;
    assert_eq!(stage.told().await, [(Breach, Superseded), (Breach, Superseded)]);
    assert_eq!(stage.db.number("select count(*) from episodes").await, 0);
}

async fn instances_that_fold_the_same_records_at_once_plan_each_message_once(db: Db) {
    let stage = Stage::set(db).await;
    let mut changes = Vec::new();
    for number in 0..20 {
        let rule = stage.db.rule(stage.caller, &format!("T{number}")).await;
        for (offset, side) in [(1, Side::Above), (2, Side::Below), (3, Side::In)] {
            changes.push(LedgerChange::Alert(alert(
                rule.id,
                stage.caller.0,
                position(1, 1, offset),
                side,
                stage.start,
            )));
        }
    }
    let changes = Arc::new(changes);
    let folds = (0..6).map(|instance| {
        let (ledger, changes, now) = (stage.ledger.clone(), Arc::clone(&changes), stage.at(instance));
        tokio::spawn(async move {
            for chunk in changes.chunks(7 + usize::try_from(instance).unwrap()) {
                ledger.fold(chunk, now).await.unwrap();
            }
        })
    });
    for fold in folds.collect::<Vec<_>>() {
        fold.await.unwrap();
    }
    let mut by_rule: BTreeMap<RuleId, Vec<DeliveryKind>> = BTreeMap::new();
    for delivery in stage.deliveries().await {
        by_rule.entry(delivery.rule_id).or_default().push(delivery.kind);
    }
    assert_eq!(by_rule.len(), 20);
    assert!(
        by_rule
            .values()
            .all(|kinds| kinds == &[Breach, Jump, BackInRange]),
        "{by_rule:?}"
    );
}

async fn folds_of_random_records_plan_what_a_naive_reading_plans(db: Db) {
    let stage = Stage::set(db).await;
    for seed in 0..25 {
        let mut random = StdRng::seed_from_u64(seed);
        let user = stage.db.user(&format!("user{seed}@example.org")).await;
        let mut of_rule = Vec::new();
        for _ in 0..3 {
            let rule = stage.db.rule(user, "AAPL").await;
            of_rule.push(random_records(&mut random, rule.id, user.0));
        }
        let mut rest: Vec<_> = of_rule.iter().map(|records| records.iter()).collect();
        let mut topic = Vec::new();
        while !rest.is_empty() {
            let rule = random.random_range(0..rest.len());
            match rest[rule].next() {
                Some(record) => topic.push(LedgerChange::Alert(record.clone())),
                None => drop(rest.swap_remove(rule)),
            }
        }
        // An instance reads the topic in batches, and now and then begins again at something it had.
        let mut read = 0;
        while read < topic.len() {
            let batch = random.random_range(1..=8).min(topic.len() - read);
            stage
                .ledger
                .fold(&topic[read..read + batch], stage.start)
                .await
                .unwrap();
            read += batch;
            if random.random_range(0..4) == 0 {
                let again = random.random_range(0..read);
                stage.ledger.fold(&topic[again..read], stage.start).await.unwrap();
            }
        }
        let planned = stage.ledger.deliveries(user.0, 10_000).await.unwrap();
        for records in of_rule {
            let rule = records[0].rule_id;
            let of_rule: Vec<_> = planned
                .iter()
                .filter(|it| it.rule_id == rule)
                .map(|it| (it.position, it.kind))
                .collect();
            assert_eq!(of_rule, naive(&records), "seed {seed}");
        }
    }
}

/// What the records of one rule call for: those that are newer than all before them, and of these the changes of side,
/// each version for itself.
fn naive(records: &[Alert]) -> Vec<(AlertPosition, DeliveryKind)> {
    let newest: Vec<&Alert> = (0..records.len())
        .filter(|index| {
            records[..*index]
                .iter()
                .all(|before| before.position < records[*index].position)
        })
        .map(|index| &records[index])
        .collect();
    let mut planned = Vec::new();
    for (index, record) in newest.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| newest[before]);
        let side = before
            .filter(|before| before.position.version == record.position.version)
            .map_or(Side::In, |b| b.side);
        let kind = match (side.is_out(), record.side.is_out()) {
            (false, true) => Breach,
            (true, false) => BackInRange,
            (true, true) if side != record.side => Jump,
            _ => continue,
        };
        planned.push((record.position, kind));
    }
    planned
}

/// Records of one rule: mostly forward, with repeats, old ones, edits and lost logs in between.
fn random_records(random: &mut StdRng, rule: RuleId, user: UserId) -> Vec<Alert> {
    let (mut version, mut generation, mut offset) = (1, 1, 0);
    let mut records: Vec<Alert> = Vec::new();
    for _ in 0..random.random_range(1..30) {
        let repeat = records.choose(random).cloned();
        let record = match (random.random_range(0..10), repeat) {
            (0..3, Some(old)) => old,
            (kind, _) => {
                match kind {
                    3 => version += 1,
                    4 => (generation, offset) = (generation + 1, 0),
                    _ => {}
                }
                offset += random.random_range(1..5);
                let side = [Side::In, Side::Above, Side::Below][random.random_range(0..3)];
                alert(
                    rule,
                    user,
                    position(version, generation, offset),
                    side,
                    Timestamp::from_micros(offset),
                )
            }
        };
        records.push(record);
    }
    records
}
