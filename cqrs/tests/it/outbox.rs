use std::collections::HashMap;

use cqrs::RuleEdit;
use cqrs::domain::{RuleChange, RuleId};

use crate::support::{Db, new_rule};

on_both_databases! {
    a_rules_versions_come_in_order_whatever_the_clocks_said,
    only_what_was_published_is_forgotten,
    requeueing_brings_the_newest_version_or_the_deletion,
    requeueing_twice_changes_nothing,
    a_requeued_deletion_comes_after_what_still_waits,
    everything_is_published_again_and_a_new_log_has_a_new_generation,
}

async fn a_rules_versions_come_in_order_whatever_the_clocks_said(db: Db) {
    let caller = db.user("ada@example.org").await;
    let (early, late) = (db.rule(caller, "AAPL").await, db.rule(caller, "MSFT").await);
    // Another server's clock, an hour ahead, made the last change of one of them.
    let ahead = 3_600_000_000_i64;
    for table in ["rules", "outbox"] {
        let id = if table == "rules" { "id" } else { "rule_id" };
        db.execute(&format!(
            "update {table} set updated_at = updated_at + {ahead} where {id} = '{}'",
            late.id
        ))
        .await;
    }
    let edit = RuleEdit {
        paused: Some(true),
        ..Default::default()
    };
    for _ in 0..3 {
        for rule in [&late, &early] {
            db.commands()
                .update_rule(caller, rule.id, edit.clone(), None)
                .await
                .unwrap();
        }
    }
    db.commands().delete_rule(caller, late.id, None).await.unwrap();

    let mut versions = HashMap::<RuleId, Vec<i64>>::new();
    for entry in db.pending().await {
        versions
            .entry(entry.rule_id())
            .or_default()
            .push(entry.version.get());
    }
    assert_eq!(versions[&early.id], [1, 2, 3, 4]);
    assert_eq!(versions[&late.id], [1, 2, 3, 4, 5]);
    let first = db.outbox().pending(2).await.unwrap();
    assert_eq!(first, db.pending().await[..2]);
}

async fn only_what_was_published_is_forgotten(db: Db) {
    let caller = db.user("ada@example.org").await;
    let rules = vec![new_rule("AAPL"); 450];
    let commands = db.store.commands(cqrs::Limits {
        rules_per_user: 1_000,
        rules_in_all: None,
    });
    commands
        .register_user("bob@example.org".parse().unwrap(), rules, None)
        .await
        .unwrap();
    let taken = db.outbox().pending(430).await.unwrap();
    assert_eq!(taken.len(), 430);
    // Meanwhile a newer version of one of them, and another rule.
    let owner = cqrs::Caller(match &taken[0].change {
        RuleChange::Changed(snapshot) => snapshot.user_id,
        RuleChange::Deleted { .. } => panic!("{taken:?}"),
    });
    commands
        .update_rule(owner, taken[0].rule_id(), RuleEdit::default(), None)
        .await
        .unwrap();
    db.rule(caller, "MSFT").await;

    db.outbox().delete(&taken).await.unwrap();
    db.outbox().delete(&[]).await.unwrap();

    let left = db.pending().await;
    assert_eq!(left.len(), 450 - 430 + 2);
    assert!(left.iter().all(|entry| !taken.contains(entry)));
    let newer = left
        .iter()
        .find(|entry| entry.rule_id() == taken[0].rule_id())
        .unwrap();
    assert_eq!(newer.version.get(), 2);
}

async fn requeueing_brings_the_newest_version_or_the_deletion(db: Db) {
    let caller = db.user("ada@example.org").await;
    let (kept, gone) = (db.rule(caller, "AAPL").await, db.rule(caller, "MSFT").await);
    let edit = RuleEdit {
        paused: Some(true),
        ..Default::default()
    };
    let kept = db
        .commands()
        .update_rule(caller, kept.id, edit, None)
        .await
        .unwrap();
    let mut touched = db.outbox().touched().await.unwrap();
    touched.sort();
    let mut both = vec![(kept.id, kept.ticker.clone()), (gone.id, gone.ticker.clone())];
    both.sort();
    assert_eq!(touched, both);

    db.commands().delete_rule(caller, gone.id, None).await.unwrap();
    db.publish_all().await;
    db.outbox().requeue(&touched).await.unwrap();

    let pending = db.pending().await;
    assert_eq!(pending.len(), 2);
    let entry = |id| pending.iter().find(|entry| entry.rule_id() == id).unwrap();
    assert_eq!(entry(kept.id).version, kept.version);
    let RuleChange::Changed(snapshot) = &entry(kept.id).change else {
        panic!("{pending:?}")
    };
    assert_eq!((snapshot.active, snapshot.updated_at), (false, kept.updated_at));
    assert_eq!(
        entry(gone.id).change,
        RuleChange::Deleted {
            rule_id: gone.id,
            ticker: gone.ticker.clone()
        }
    );
    assert!(entry(gone.id).version > gone.version.next());
    db.publish_all().await;
    assert!(db.pending().await.is_empty());
}

async fn requeueing_twice_changes_nothing(db: Db) {
    let caller = db.user("ada@example.org").await;
    let rule = db.rule(caller, "AAPL").await;
    let touched = db.outbox().touched().await.unwrap();
    db.outbox().requeue(&touched).await.unwrap();
    db.outbox().requeue(&touched).await.unwrap();
    assert_eq!(db.pending().await.len(), 1);
    db.commands().delete_rule(caller, rule.id, None).await.unwrap();
    db.publish_all().await;
    db.outbox().requeue(&touched).await.unwrap();
    db.outbox().requeue(&touched).await.unwrap();
    assert_eq!(db.pending().await.len(), 1);
}

async fn a_requeued_deletion_comes_after_what_still_waits(db: Db) {
    let caller = db.user("ada@example.org").await;
    let rule = db.rule(caller, "AAPL").await;
    db.execute("update rules set updated_at = updated_at + 3600000000")
        .await;
    db.commands()
        .update_rule(caller, rule.id, RuleEdit::default(), None)
        .await
        .unwrap();
    db.commands().delete_rule(caller, rule.id, None).await.unwrap();
    db.outbox().requeue(&[(rule.id, rule.ticker)]).await.unwrap();
    let pending = db.pending().await;
    assert_eq!(pending.len(), 4);
    assert!(pending.is_sorted_by_key(|entry| entry.version));
    assert!(matches!(pending[3].change, RuleChange::Deleted { .. }));
}

async fn everything_is_published_again_and_a_new_log_has_a_new_generation(db: Db) {
    let commands = db.store.commands(cqrs::Limits {
        rules_per_user: 2_000,
        rules_in_all: None,
    });
    let rules = vec![new_rule("AAPL"); 1_203];
    let registered = commands
        .register_user("ada@example.org".parse().unwrap(), rules, None)
        .await
        .unwrap();
    db.publish_all().await;
    assert_eq!(db.outbox().republish_all(false).await.unwrap(), 1_203);
    let pending = db.pending().await;
    assert_eq!(pending.len(), 1_203);
    let generation = |change: &RuleChange| match change {
        RuleChange::Changed(snapshot) => snapshot.generation,
        RuleChange::Deleted { .. } => panic!("{change:?}"),
    };
    assert!(pending.iter().all(|entry| generation(&entry.change) == 1));
    assert_eq!(db.outbox().republish_all(true).await.unwrap(), 1_203);
    let pending = db.pending().await;
    assert_eq!(pending.len(), 1_203);
    assert!(pending.iter().all(|entry| generation(&entry.change) == 2));
    let mut ids: Vec<_> = pending.iter().map(cqrs::OutboxEntry::rule_id).collect();
    ids.sort();
    assert_eq!(
        ids,
        registered.rules.iter().map(|rule| rule.id).collect::<Vec<_>>()
    );
}
