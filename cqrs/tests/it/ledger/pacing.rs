//! How fast messages go, to all chats together and to each.

use std::time::{Duration, Instant};

use cqrs::domain::{ChatId, Side};
use cqrs::{ClaimLimits, Pace};

use super::{Stage, limits, sent};
use crate::support::Db;

on_both_databases! {
    a_chat_gets_its_messages_at_its_pace,
    instances_share_the_places_of_one_stream,
    whoever_has_no_chat_takes_no_place_in_the_stream,
    answers_take_places_too_and_hold_up_no_alert_to_their_chat,
}

const TELEGRAM: Pace = Pace {
    per_second: 30,
    per_chat: Duration::from_secs(1),
    per_group: Duration::from_secs(3),
};

async fn a_chat_gets_its_messages_at_its_pace(db: Db) {
    let stage = Stage::set(db).await;
    let limits = ClaimLimits {
        pace: TELEGRAM,
        ..limits(10)
    };
    let claim = async |seconds| {
        stage
            .ledger
            .claim("one", stage.at(seconds), limits)
            .await
            .unwrap()
    };
    for (chat, pause) in [(42, 1), (-42, 3)] {
        stage
            .db
            .execute(&format!("update users set chat_id = {chat}, chat_next_at = 0"))
            .await;
        let first = stage.other_rule("MSFT").await;
        let second = stage.other_rule("IBM").await;
        stage.fold(&[stage.change_of(&first, 1, Side::Above)], 0).await;
        let message = claim(1).await.remove(0);
        assert_eq!(message.recipient.chat, Some(ChatId::new(chat)));
        assert!(stage.ledger.finish(&message, &sent(), stage.at(1)).await.unwrap());
        stage.fold(&[stage.change_of(&second, 1, Side::Above)], 0).await;
        assert!(claim(pause).await.is_empty(), "{chat}");
        // A moment late at most: its own place in the stream came a moment after the claim.
        let next = stage.next_due().await;
        assert!(next >= stage.at(1 + pause) && next <= stage.at(1 + pause).plus(Duration::from_secs(1)));
        let message = claim(pause + 2).await.remove(0);
        assert!(
            stage
                .ledger
                .finish(&message, &sent(), stage.at(pause + 2))
                .await
                .unwrap()
        );
    }
}

/// Two messages a second.
const SLOW: Pace = Pace {
    per_second: 2,
    ..TELEGRAM
};
const STEP: Duration = Duration::from_millis(500);

/// Alerts to so many users, each with a chat.
async fn alert_users(stage: &Stage, users: i64) {
    let mut changes = Vec::new();
    for number in 0..users {
        let user = stage.db.user(&format!("user{number}@example.org")).await;
        let rule = stage.db.rule(user, "AAPL").await;
        changes.push(stage.change_of(&rule, 1, Side::Above));
        let link = stage.db.commands().create_link(user).await.unwrap();
        let linked = stage.db.commands();
        let linked = linked.link_chat(&link.token, ChatId::new(100 + number), None);
        linked.await.unwrap();
    }
    stage.fold(&changes, 0).await;
}

async fn instances_share_the_places_of_one_stream(db: Db) {
    let stage = Stage::set(db).await;
    alert_users(&stage, 8).await;
    let limits = ClaimLimits {
        pace: SLOW,
        look_ahead: 4 * STEP,
        ..limits(3)
    };
    // The first and the last moment at which each place may be: instances count from within their call.
    let mut places: Vec<(Instant, Instant)> = Vec::new();
    let start = Instant::now();
    for instance in ["one", "two", "three"] {
        let begun = Instant::now();
        let claimed = stage.ledger.claim(instance, stage.at(1), limits).await.unwrap();
        let ended = Instant::now();
        places.extend(
            claimed
                .iter()
                .map(|message| (begun + message.send_in, ended + message.send_in)),
        );
    }
    assert!(places.len() >= 5, "{places:?}");
    for pair in places.windows(2) {
        assert!(pair[1].1 >= pair[0].0 + STEP, "{places:?}");
    }
    assert!(
        places.iter().all(|place| place.0 <= Instant::now() + 4 * STEP),
        "{places:?}"
    );
    let (first, all) = (
        places[0].1.duration_since(start),
        5 + start.elapsed().as_millis() / STEP.as_millis(),
    );
    assert!(
        first <= start.elapsed() && places.len() <= usize::try_from(all).unwrap() + 1,
        "{places:?}"
    );
    let waiting = stage
        .db
        .number("select count(*) from deliveries where status = 'planned'")
        .await;
    assert_eq!(usize::try_from(waiting).unwrap(), 8 - places.len());
}

async fn whoever_has_no_chat_takes_no_place_in_the_stream(db: Db) {
    let stage = Stage::set(db).await;
    let mut changes = Vec::new();
    for number in 0..20 {
        let user = stage.db.user(&format!("user{number}@example.org")).await;
        let rule = stage.db.rule(user, "AAPL").await;
        changes.push(stage.change_of(&rule, 1, Side::Above));
    }
    stage.fold(&changes, 0).await;
    stage.link(42).await;
    stage.fold(&[stage.change(1, Side::Above)], 1).await;
    let limits = ClaimLimits {
        pace: SLOW,
        look_ahead: Duration::ZERO,
        ..limits(100)
    };
    let claimed = stage.ledger.claim("one", stage.at(1), limits).await.unwrap();
    assert_eq!(claimed.len(), 21);
    assert!(claimed.iter().all(|message| message.send_in.is_zero()));
}

async fn answers_take_places_too_and_hold_up_no_alert_to_their_chat(db: Db) {
    let stage = Stage::set(db).await;
    stage.link(42).await;
    assert!(stage.ledger.place_for_answer(SLOW).await.unwrap().is_zero());
    let begun = Instant::now();
    let wait = stage.ledger.place_for_answer(SLOW).await.unwrap();
    assert!(
        wait + begun.elapsed() > Duration::ZERO && wait <= STEP,
        "{wait:?}"
    );
    let next_at = stage.db.number("select next_at from pacing").await;
    assert!(
        next_at >= stage.start.plus(STEP).as_micros(),
        "two places are taken"
    );
    stage.fold(&[stage.change(1, Side::Above)], 0).await;
    let limits = ClaimLimits {
        pace: SLOW,
        look_ahead: 4 * STEP,
        ..limits(10)
    };
    let claimed = stage.ledger.claim("one", stage.at(0), limits).await.unwrap();
    assert_eq!(claimed.len(), 1);
}
