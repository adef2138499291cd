use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cqrs::DeliveryKind::{self, BackInRange, Breach, CameAndWent, Reminder};
use cqrs::DeliveryStatus::{Planned, Sending, Sent, Superseded, Undeliverable};
use cqrs::Outcome;
use cqrs::domain::{ChatId, Side, UserId};

use super::{INTERVAL, Stage, limits, said, sent, undeliverable};
use crate::support::Db;

on_both_databases! {
    what_waits_for_a_user_is_claimed_together_and_nothing_more_until_it_is_sent,
    instances_together_send_each_message_once_and_in_order,
    a_claim_that_runs_out_is_taken_over_and_counted_as_ambiguous,
    news_goes_before_returns_and_reminders_of_others_that_were_due_first,
    a_message_that_is_tried_again_holds_up_only_its_user,
    a_return_is_told_only_to_those_who_were_told_of_the_breach,
    a_chat_moves_unless_the_new_one_is_taken,
}

async fn what_waits_for_a_user_is_claimed_together_and_nothing_more_until_it_is_sent(db: Db) {
    let stage = Stage::set(db).await;
    stage.link(42).await;
    stage
        .fold(
            &[
                stage.change(1, Side::Above),
                stage.change(2, Side::In),
                stage.change(3, Side::Below),
            ],
            0,
        )
        .await;
    let claimed = stage.claim(1).await;
    assert_eq!(claimed.iter().map(said).collect::<Vec<_>>(), [[(Breach, 3)]]);
    assert_eq!(claimed[0].recipient.chat, Some(ChatId::new(42)));
    assert_eq!(claimed[0].items[0].facts.side, Side::Below);
    stage.fold(&[stage.change(4, Side::In)], 1).await;
    assert!(stage.claim(2).await.is_empty());
    assert_eq!(
        stage.told().await,
        [
            (Breach, Sending),
            (BackInRange, Sending),
            (Breach, Sending),
            (BackInRange, Planned)
        ]
    );
    stage
        .ledger
        .finish(&claimed[0], &sent(), stage.at(3))
        .await
        .unwrap();
    assert_eq!(said(&stage.send(4).await), [(BackInRange, 1)]);
    assert!(stage.claim(6).await.is_empty());
    assert_eq!(stage.ledger.backlog().await.unwrap().waiting, 0);
    assert!(
        stage
            .deliveries()
            .await
            .iter()
            .all(|delivery| delivery.message_id == Some(7))
    );
}

async fn instances_together_send_each_message_once_and_in_order(db: Db) {
    const USERS: usize = 5;
    const MESSAGES: i64 = 8;
    let stage = Stage::set(db).await;
    let side = |offset| if offset % 2 == 0 { Side::Above } else { Side::In };
    let mut rules = HashMap::new();
    for user in 0..USERS {
        let user = stage.db.user(&format!("user{user}@example.org")).await;
        let rule = stage.db.rule(user, "AAPL").await;
        stage.fold(&[stage.change_of(&rule, 0, side(0))], 0).await;
        rules.insert(user.0, rule);
    }
    // What each user got, and to whom a message is on its way.
    let got: Arc<Mutex<BTreeMap<UserId, Vec<DeliveryKind>>>> = Arc::default();
    let on_the_way: Arc<Mutex<HashSet<UserId>>> = Arc::default();
    let (stage, rules) = (Arc::new(stage), Arc::new(rules));
    let instances = (0..4).map(|instance| {
        let (stage, rules) = (Arc::clone(&stage), Arc::clone(&rules));
        let (got, on_the_way) = (Arc::clone(&got), Arc::clone(&on_the_way));
        let now = stage.at(1);
        tokio::spawn(async move {
            let all = USERS * usize::try_from(MESSAGES).unwrap();
            while got.lock().unwrap().values().map(Vec::len).sum::<usize>() < all {
                let claimed = stage
                    .ledger
                    .claim(&format!("instance {instance}"), now, limits(3))
                    .await
                    .unwrap();
                for message in &claimed {
                    assert!(
                        on_the_way.lock().unwrap().insert(message.user_id),
                        "two at once to one user"
                    );
                }
                // Time for the others to claim what they must not.
                tokio::time::sleep(Duration::from_millis(2)).await;
                for message in claimed {
                    let next = {
                        let mut got = got.lock().unwrap();
                        let kinds = got.entry(message.user_id).or_default();
                        kinds.push(message.items[0].facts.kind);
                        i64::try_from(kinds.len()).unwrap()
                    };
                    assert!(on_the_way.lock().unwrap().remove(&message.user_id));
                    assert!(stage.ledger.finish(&message, &sent(), now).await.unwrap());
                    if next < MESSAGES {
                        let change = stage.change_of(&rules[&message.user_id], next, side(next));
                        stage.ledger.fold(&[change], stage.start).await.unwrap();
                    }
                }
            }
        })
    });
    for instance in instances.collect::<Vec<_>>() {
        tokio::time::timeout(Duration::from_secs(120), instance)
            .await
            .expect("all is sent in time")
            .unwrap();
    }
    for (user, kinds) in got.lock().unwrap().iter() {
        let expected: Vec<_> = (0..MESSAGES)
            .map(|it| if it % 2 == 0 { Breach } else { BackInRange })
            .collect();
        assert_eq!(kinds, &expected, "{user}");
    }
}

async fn a_claim_that_runs_out_is_taken_over_and_counted_as_ambiguous(db: Db) {
    let stage = Stage::set(db).await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    let dead = stage.claim(0).await.remove(0);
    assert!(!dead.reclaimed);
    assert!(
        stage
            .ledger
            .claim("two", stage.at(59), limits(10))
            .await
            .unwrap()
            .is_empty()
    );
    let alive = stage
        .ledger
        .claim("two", stage.at(60), limits(10))
        .await
        .unwrap()
        .remove(0);
    assert!(alive.reclaimed && alive.attempt == 2);
    assert!(
        stage
            .ledger
            .claim("three", stage.at(61), limits(10))
            .await
            .unwrap()
            .is_empty()
    );
    // It was only slow, and comes back.
    assert!(!stage.ledger.finish(&dead, &sent(), stage.at(62)).await.unwrap());
    assert_eq!(stage.told().await, [(Breach, Sending)]);
    assert!(stage.ledger.finish(&alive, &sent(), stage.at(63)).await.unwrap());
    let delivery = stage.deliveries().await.remove(0);
    assert_eq!(
        (delivery.status, delivery.attempts, delivery.ambiguous_sends),
        (Sent, 2, 1)
    );
}

async fn news_goes_before_returns_and_reminders_of_others_that_were_due_first(db: Db) {
    let stage = Stage::set(db).await;
    let reminded = stage.caller;
    let [back, out] = [
        stage.db.user("bob@example.org").await,
        stage.db.user("eve@example.org").await,
    ];
    let rule_back = stage.db.rule(back, "AAPL").await;
    let rule_out = stage.db.rule(out, "AAPL").await;
    for breach in [
        stage.change(1, Side::Above),
        stage.change_of(&rule_back, 1, Side::Above),
    ] {
        stage.fold(&[breach], 0).await;
        stage.send(0).await;
    }
    let due = INTERVAL.as_secs();
    assert_eq!(stage.check(due).await.reminders, 2);
    stage
        .fold(&[stage.change_of(&rule_back, 2, Side::In)], due + 1)
        .await;
    stage
        .fold(&[stage.change_of(&rule_out, 1, Side::Above)], due + 2)
        .await;
    for (caller, kind) in [(out, Breach), (back, BackInRange), (reminded, Reminder)] {
        let claimed = stage.ledger.claim("one", stage.at(due + 3), limits(1)).await;
        let claimed = claimed.unwrap().remove(0);
        assert_eq!((claimed.user_id, said(&claimed)), (caller.0, vec![(kind, 1)]));
    }
}

async fn a_message_that_is_tried_again_holds_up_only_its_user(db: Db) {
    let stage = Stage::set(db).await;
    let other = stage.db.user("bob@example.org").await;
    let others_rule = stage.db.rule(other, "AAPL").await;
    let again = |at| Outcome::Retry {
        at,
        reason: "502".to_owned(),
        ambiguous: true,
    };
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    stage.end(again(stage.at(10)), 0).await;
    stage
        .fold(
            &[
                stage.change(2, Side::In),
                stage.change_of(&others_rule, 1, Side::Above),
            ],
            1,
        )
        .await;
    assert_eq!(stage.send(2).await.user_id, other.0);
    // What came meanwhile waits too: it must not overtake.
    assert!(stage.claim(9).await.is_empty());
    assert_eq!(stage.next_due().await, stage.at(10));
    let message = stage.end(again(stage.at(11)), 10).await;
    assert_eq!((said(&message), message.attempt), (vec![(CameAndWent, 2)], 2));
    assert_eq!(stage.send(11).await.attempt, 3);
    let deliveries = stage.deliveries().await;
    assert_eq!(
        deliveries.iter().map(|it| it.ambiguous_sends).collect::<Vec<_>>(),
        [2, 1]
    );
}

async fn a_return_is_told_only_to_those_who_were_told_of_the_breach(db: Db) {
    let stage = Stage::set(db).await;
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    stage.end(undeliverable(), 1).await;
    stage.fold(&[stage.change(2, Side::In)], 1).await;
    assert!(stage.claim(2).await.is_empty());
    assert_eq!(
        stage.told().await,
        [(Breach, Undeliverable), (BackInRange, Superseded)]
    );
    // Told of leaving, not of the jump: told of the return.
    stage.fold(&[stage.change(3, Side::Above)], 3).await;
    stage.send(4).await;
    stage.fold(&[stage.change(4, Side::Below)], 4).await;
    stage.end(undeliverable(), 5).await;
    stage.fold(&[stage.change(5, Side::In)], 5).await;
    let back = stage.send(6).await;
    assert_eq!((said(&back), back.reply_to), (vec![(BackInRange, 1)], Some(7)));
}

async fn a_chat_moves_unless_the_new_one_is_taken(db: Db) {
    let stage = Stage::set(db).await;
    let other = stage.db.user("bob@example.org").await;
    for (caller, chat) in [(stage.caller, 1), (other, 2)] {
        let link = stage.db.commands().create_link(caller).await.unwrap();
        stage
            .db
            .commands()
            .link_chat(&link.token, ChatId::new(chat), None)
            .await
            .unwrap();
    }
    assert!(
        !stage
            .ledger
            .move_chat(ChatId::new(1), ChatId::new(2))
            .await
            .unwrap()
    );
    assert!(
        stage
            .ledger
            .move_chat(ChatId::new(1), ChatId::new(-1003))
            .await
            .unwrap()
    );
    assert_eq!(
        stage
            .db
            .queries()
            .caller_of_chat(ChatId::new(-1003))
            .await
            .unwrap(),
        Some(stage.caller)
    );
    assert_eq!(
        stage.db.queries().caller_of_chat(ChatId::new(2)).await.unwrap(),
        Some(other)
    );
}
