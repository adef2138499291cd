use std::time::Duration;

use cqrs::domain::{RuleId, Side, Snooze, Timestamp};
use cqrs::{Caller, CommandError, LedgerChange, RuleEdit, UserEdit};

use crate::support::{Db, alert, request};

on_both_databases! {
    a_snooze_holds_until_it_is_replaced_or_ended_and_is_no_new_version,
    only_a_rule_that_is_out_of_range_waits_for_its_return,
    one_rule_that_cannot_be_snoozed_leaves_all_as_they_were,
    an_edit_ends_the_snooze,
    a_repeated_snooze_changes_nothing_and_answers_as_the_first,
    what_was_held_is_looked_at_again_when_what_holds_it_changes,
}

async fn stored(db: &Db, caller: Caller, rule: RuleId) -> Option<Snooze> {
    db.queries().rule(caller, rule).await.unwrap().unwrap().snooze
}

/// A breach of the rule's first version, or its end.
async fn tell(db: &Db, caller: Caller, rule: RuleId, offset: i64, side: Side) {
    let now = Timestamp::now();
    let mut alert = alert(rule, caller.0, offset, now.as_micros());
    alert.side = side;
    db.ledger()
        .fold(&[LedgerChange::Alert(alert)], now)
        .await
        .unwrap();
}

fn in_an_hour() -> Snooze {
    Snooze::Until(Timestamp::now().plus(Duration::from_secs(3_600)))
}

async fn a_snooze_holds_until_it_is_replaced_or_ended_and_is_no_new_version(db: Db) {
    let caller = db.user("ada@example.org").await;
    let rules = [db.rule(caller, "AAPL").await, db.rule(caller, "AAPL").await];
    let other = db.rule(caller, "MSFT").await;
    db.publish_all().await;
    for rule in &rules {
        tell(&db, caller, rule.id, 2, Side::Above).await;
    }
    let ids = [rules[1].id, rules[0].id];
    let hour = in_an_hour();
    for snooze in [Some(hour), Some(Snooze::UntilBack), Some(hour), None] {
        let snoozed = db.commands().snooze_rules(caller, &ids, snooze).await.unwrap();
        for (answered, before) in snoozed.iter().zip([&rules[1], &rules[0]]) {
            let mut expected = before.clone();
            expected.snooze = snooze;
            assert_eq!(
                answered, &expected,
                "in the order given, and nothing else changed"
            );
            assert_eq!(stored(&db, caller, before.id).await, snooze);
        }
        assert_eq!(snoozed.len(), 2);
        assert_eq!(stored(&db, caller, other.id).await, None);
    }
    assert!(db.pending().await.is_empty(), "nothing to publish");
    let none = db.commands().snooze_rules(caller, &[], Some(hour)).await.unwrap();
    assert!(none.is_empty());
}

async fn only_a_rule_that_is_out_of_range_waits_for_its_return(db: Db) {
    let caller = db.user("ada@example.org").await;
    let rule = db.rule(caller, "AAPL").await;
    let snooze = async || {
        db.commands()
            .snooze_rules(caller, &[rule.id], Some(Snooze::UntilBack))
            .await
    };
    let refused = async |why: &str| {
        let result = snooze().await;
        assert!(
            matches!(&result, Err(CommandError::RuleInRange { ticker }) if ticker.as_str() == "AAPL"),
            "{why}: {result:?}"
        );
    };
    refused("it never alerted").await;
    tell(&db, caller, rule.id, 2, Side::Below).await;
    snooze().await.unwrap();
    tell(&db, caller, rule.id, 3, Side::In).await;
    refused("it is back").await;
    tell(&db, caller, rule.id, 4, Side::Above).await;
    snooze().await.unwrap();
    let edit = RuleEdit {
        paused: Some(false),
        ..Default::default()
    };
    db.commands()
        .update_rule(caller, rule.id, edit, None)
        .await
        .unwrap();
    refused("the breach was an older version's").await;
}

async fn one_rule_that_cannot_be_snoozed_leaves_all_as_they_were(db: Db) {
    let (ada, bob) = (db.user("ada@example.org").await, db.user("bob@example.org").await);
    let (hers, his) = (db.rule(ada, "AAPL").await, db.rule(bob, "AAPL").await);
    let result = db
        .commands()
        .snooze_rules(ada, &[hers.id, his.id], Some(in_an_hour()))
        .await;
    assert!(
        matches!(result, Err(CommandError::RuleNotFound(id)) if id == his.id),
        "{result:?}"
    );
    let past = Snooze::Until(Timestamp::now());
    let result = db.commands().snooze_rules(ada, &[hers.id], Some(past)).await;
    assert!(
        matches!(result, Err(CommandError::SnoozeInPast { .. })),
        "{result:?}"
    );
    let inside = db.rule(ada, "MSFT").await;
    tell(&db, ada, hers.id, 2, Side::Above).await;
    for order in [[hers.id, inside.id], [inside.id, hers.id]] {
        let result = db
            .commands()
            .snooze_rules(ada, &order, Some(Snooze::UntilBack))
            .await;
        assert!(
            matches!(&result, Err(CommandError::RuleInRange { ticker }) if ticker.as_str() == "MSFT"),
            "{result:?}"
        );
    }
    assert_eq!(stored(&db, ada, hers.id).await, None);
    assert_eq!(stored(&db, bob, his.id).await, None);
}

async fn a_repeated_snooze_changes_nothing_and_answers_as_the_first(db: Db) {
    let caller = db.user("ada@example.org").await;
    let (rule, hour) = (db.rule(caller, "AAPL").await.id, Some(in_an_hour()));
    let commands = db.commands();
    let snooze = async |snooze: Option<Snooze>, id: &str, body: &str| {
        commands
            .snooze_rule(caller, rule, snooze, request(id, body))
            .await
    };
    let first = snooze(hour, "1", "an hour").await.unwrap();
    assert_eq!(first.snooze, hour);
    assert_eq!(snooze(None, "2", "none").await.unwrap().snooze, None);
    assert_eq!(snooze(hour, "1", "an hour").await.unwrap(), first);
    assert_eq!(stored(&db, caller, rule).await, None);
    let other = snooze(None, "1", "none").await;
    assert!(matches!(other, Err(CommandError::RequestIdReused)), "{other:?}");
}

async fn an_edit_ends_the_snooze(db: Db) {
    let caller = db.user("ada@example.org").await;
    let rule = db.rule(caller, "AAPL").await;
    db.commands()
        .snooze_rules(caller, &[rule.id], Some(in_an_hour()))
        .await
        .unwrap();
    let edited = db
        .commands()
        .update_rule(caller, rule.id, RuleEdit::default(), None)
        .await
        .unwrap();
    assert_eq!(edited.snooze, None);
    assert_eq!(stored(&db, caller, rule.id).await, None);
}

async fn what_was_held_is_looked_at_again_when_what_holds_it_changes(db: Db) {
    let (ada, bob) = (db.user("ada@example.org").await, db.user("bob@example.org").await);
    let rule = db.rule(ada, "AAPL").await;
    for (user, rule) in [(ada, rule.id), (bob, db.rule(bob, "AAPL").await.id)] {
        tell(&db, user, rule, 2, Side::Above).await;
    }
    let late = Timestamp::now().plus(Duration::from_secs(86_400)).as_micros();
    let waiting = async |user: Caller| {
        let now = Timestamp::now().as_micros();
        db.number(&format!(
            "select count(*) from deliveries where user_id = '{}' and status = 'planned' and due_at > {now}",
            user.0
        ))
        .await
    };
    let commands = db.commands();
    let settings = [
        UserEdit {
            quiet_hours: Some(None),
            ..Default::default()
        },
        UserEdit {
            time_zone: Some("Europe/Rome".parse().unwrap()),
            ..Default::default()
        },
    ];
    let hold = async || {
        db.execute(&format!("update deliveries set held = 'quiet', due_at = {late}"))
            .await;
        assert_eq!((waiting(ada).await, waiting(bob).await), (1, 1));
    };
    for edit in settings {
        hold().await;
        commands.update_user(ada, edit, None).await.unwrap();
        assert_eq!((waiting(ada).await, waiting(bob).await), (0, 1));
    }
    for snooze in [Some(in_an_hour()), None] {
        hold().await;
        commands.snooze_rules(ada, &[rule.id], snooze).await.unwrap();
        assert_eq!((waiting(ada).await, waiting(bob).await), (0, 1));
    }
    commands
        .snooze_rules(ada, &[rule.id], Some(in_an_hour()))
        .await
        .unwrap();
    hold().await;
    commands
        .update_rule(ada, rule.id, RuleEdit::default(), None)
        .await
        .unwrap();
    assert_eq!((waiting(ada).await, waiting(bob).await), (0, 1));
    // A message that waits for another reason, such as a messenger that does not answer, goes on waiting.
    db.execute(&format!("update deliveries set held = null, due_at = {late}"))
        .await;
    commands.snooze_rules(ada, &[rule.id], None).await.unwrap();
    assert_eq!((waiting(ada).await, waiting(bob).await), (1, 1));
}
