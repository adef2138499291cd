//! Who shows a token that was replaced, revoked or is too old gets no other, but for the very request that replaced it.

use std::sync::Arc;
use std::time::Duration;

use cqrs::domain::{ChatId, Timestamp, Token};
use cqrs::{Caller, CommandError, Holder, LateToken, Registration, Store};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::support::{Db, new_rule, request, settings};

on_both_databases! {
    a_rotated_token_stops_the_old_one_and_all_that_was_given_before,
    a_revoked_token_does_not_come_back_by_a_repeat_of_the_registration,
    a_token_that_was_replaced_or_revoked_gives_and_takes_nothing,
    a_repeated_rotation_answers_its_replaced_token_and_nobody_elses,
    another_rotation_or_a_revocation_ends_the_repeats_of_the_one_before,
    a_token_that_is_too_old_is_known_for_a_month,
    a_token_that_was_taken_away_is_let_in_by_no_server,
    a_registration_repeated_while_its_token_is_replaced_gives_nothing_of_that_user,
}

const MINUTE: i64 = 60 * 1_000_000;

async fn who(db: &Db, token: &Token) -> Option<Caller> {
    db.queries().authenticate(&token.hash()).await.unwrap()
}

fn holder(user: &Registration, token: &Token) -> Holder {
    Holder {
        caller: Caller(user.user.id),
        token: Some(token.hash()),
    }
}

fn assert_invalid<T: std::fmt::Debug>(result: Result<T, CommandError>) {
    assert!(matches!(result, Err(CommandError::TokenInvalid)), "{result:?}");
}

async fn a_rotated_token_stops_the_old_one_and_all_that_was_given_before(db: Db) {
    let commands = db.commands();
    let register = async || {
        let email = "ada@example.org".parse().unwrap();
        let rules = vec![new_rule("AAPL")];
        commands
            .register_user(email, rules, request("register", "x"))
            .await
            .unwrap()
    };
    let ada = register().await;
    let bob = db.registration("bob@example.org").await;
    let caller = Caller(ada.user.id);
    let rule = commands.create_rule(caller, new_rule("AAPL"), request("rule", "x"));
    let rule = rule.await.unwrap();
    let fresh = commands
        .rotate_token(holder(&ada, &ada.api_token), None)
        .await
        .unwrap();
    assert_eq!(who(&db, &ada.api_token).await, None);
    assert_eq!(who(&db, &fresh).await, Some(caller));
    assert_eq!(who(&db, &bob.api_token).await, Some(Caller(bob.user.id)));
    let linked = commands.link_chat(&ada.link.token, ChatId::new(7), None).await;
    assert!(matches!(linked, Err(CommandError::LinkInvalid)), "{linked:?}");
    commands
        .link_chat(&bob.link.token, ChatId::new(8), None)
        .await
        .unwrap();
    // A repeat of the registration makes a user of its own.
    assert_ne!(register().await.user.id, ada.user.id);
    assert_eq!(who(&db, &fresh).await, Some(caller));
    // Other repeats are what they were.
    let again = commands.create_rule(caller, new_rule("AAPL"), request("rule", "x"));
    assert_eq!(again.await.unwrap(), rule);
}

async fn a_revoked_token_does_not_come_back_by_a_repeat_of_the_registration(db: Db) {
    let commands = db.commands();
    for by_operator in [false, true] {
        let register = async || {
            let (email, id) = ("ada@example.org".parse().unwrap(), by_operator.to_string());
            let registered = commands.register_user(email, vec![], request(&id, "register"));
            registered.await.unwrap()
        };
        let ada = register().await;
        if by_operator {
            db.store.operators().revoke_api_token(ada.user.id).await.unwrap();
        } else {
            commands.revoke_token(holder(&ada, &ada.api_token)).await.unwrap();
        }
        // It makes a user of its own.
        let again = register().await;
        assert_ne!(again.user.id, ada.user.id);
        assert_eq!(who(&db, &again.api_token).await, Some(Caller(again.user.id)));
        assert_eq!(who(&db, &ada.api_token).await, None);
    }
}

async fn a_token_that_was_replaced_or_revoked_gives_and_takes_nothing(db: Db) {
    let commands = db.commands();
    let ada = db.registration("ada@example.org").await;
    let bob = db.registration("bob@example.org").await;
    let nothing_by = async |holder: Holder| {
        assert_invalid(commands.rotate_token(holder.clone(), None).await);
        assert_invalid(
            commands
                .rotate_token(holder.clone(), request("1", "rotate"))
                .await,
        );
        assert_invalid(commands.create_link(holder.clone()).await);
        assert_invalid(commands.revoke_token(holder.clone()).await);
        assert_invalid(commands.delete_user(holder).await);
    };
    nothing_by(holder(&ada, &bob.api_token)).await;
    let old = holder(&ada, &ada.api_token);
    let fresh = commands.rotate_token(old.clone(), None).await.unwrap();
    nothing_by(old.clone()).await;
    assert_eq!(who(&db, &fresh).await, Some(Caller(ada.user.id)));
    let link = commands.create_link(holder(&ada, &fresh)).await.unwrap();
    commands.revoke_token(holder(&ada, &fresh)).await.unwrap();
    nothing_by(holder(&ada, &fresh)).await;
    nothing_by(old).await;
    let linked = commands.link_chat(&link.token, ChatId::new(7), None).await;
    assert!(matches!(linked, Err(CommandError::LinkInvalid)), "{linked:?}");

    // The operator's way.
    db.store.operators().revoke_api_token(bob.user.id).await.unwrap();
    nothing_by(holder(&bob, &bob.api_token)).await;
    let linked = commands.link_chat(&bob.link.token, ChatId::new(7), None).await;
    assert!(matches!(linked, Err(CommandError::LinkInvalid)), "{linked:?}");
}

async fn a_repeated_rotation_answers_its_replaced_token_and_nobody_elses(db: Db) {
    let commands = db.commands();
    let ada = db.registration("ada@example.org").await;
    let (caller, old) = (Caller(ada.user.id), holder(&ada, &ada.api_token));
    let rotate =
        async |holder: &Holder, id: &str| commands.rotate_token(holder.clone(), request(id, "rotate")).await;
    let lost = rotate(&old, "secret").await.unwrap();
    let late = db.queries().late_token(&ada.api_token.hash()).await.unwrap();
    assert_eq!(late, Some(LateToken::Replaced(caller)));
    assert_invalid(rotate(&old, "guessed").await);
    assert_invalid(commands.rotate_token(old.clone(), None).await);
    let second = rotate(&old, "secret").await.unwrap();
    assert_eq!(
        (who(&db, &lost).await, who(&db, &second).await),
        (None, Some(caller))
    );
    // Whichever answer arrived, it repeats the same.
    let third = rotate(&holder(&ada, &lost), "secret").await.unwrap();
    assert_eq!(
        (who(&db, &second).await, who(&db, &third).await),
        (None, Some(caller))
    );
    let used = commands
        .snooze_rule(
            caller,
            db.rule(caller, "AAPL").await.id,
            None,
            request("secret", "snooze"),
        )
        .await;
    assert!(matches!(used, Err(CommandError::RequestIdReused)), "{used:?}");

    db.execute(&format!(
        "update replaced_tokens set replaced_at = replaced_at - 10 * {MINUTE}"
    ))
    .await;
    assert_invalid(rotate(&old, "secret").await);
    assert_eq!(
        db.queries().late_token(&ada.api_token.hash()).await.unwrap(),
        None
    );
    // What is outdated is swept away, and nothing else.
    let bob = db.registration("bob@example.org").await;
    rotate(&holder(&bob, &bob.api_token), "bobs").await.unwrap();
    commands.expire_rules(Timestamp::now(), 10).await.unwrap();
    assert_eq!(db.number("select count(*) from replaced_tokens").await, 1);
    commands.delete_user(Caller(bob.user.id)).await.unwrap();
    assert_eq!(db.number("select count(*) from replaced_tokens").await, 0);
}

async fn another_rotation_or_a_revocation_ends_the_repeats_of_the_one_before(db: Db) {
    let commands = db.commands();
    let ada = db.registration("ada@example.org").await;
    let rotate = async |token: &Token, id: &str| {
        commands
            .rotate_token(holder(&ada, token), request(id, "rotate"))
            .await
    };
    let first = rotate(&ada.api_token, "1").await.unwrap();
    let second = rotate(&first, "2").await.unwrap();
    assert_invalid(rotate(&ada.api_token, "1").await);
    assert_eq!(who(&db, &second).await, Some(Caller(ada.user.id)));
    commands.revoke_token(holder(&ada, &second)).await.unwrap();
    for (token, id) in [(&ada.api_token, "1"), (&first, "2"), (&second, "2")] {
        assert_invalid(rotate(token, id).await);
        assert_eq!(db.queries().late_token(&token.hash()).await.unwrap(), None);
    }
}

/// Both servers are asked for the token all the while, so that both know it when it is taken away.
async fn a_token_that_was_taken_away_is_let_in_by_no_server(db: Db) {
    let mut servers = Vec::new();
    for _ in 0..2 {
        servers.push(Store::open(&settings(&db.url)).await.unwrap());
    }
    let commands = db.commands();
    for (round, way) in ["rotate", "revoke", "operator", "register", "delete"]
        .iter()
        .cycle()
        .take(15)
        .enumerate()
    {
        let register = async || {
            let email = "ada@example.org".parse().unwrap();
            let id = request(&format!("register {round}"), "x");
            commands.register_user(email, vec![], id).await.unwrap()
        };
        let ada = register().await;
        let (known, mut asking) = (Arc::new(Barrier::new(3)), JoinSet::new());
        let queries: Vec<_> = servers.iter().map(Store::queries).collect();
        for queries in &queries {
            let (queries, token, known) = (queries.clone(), ada.api_token.hash(), Arc::clone(&known));
            asking.spawn(async move {
                assert!(queries.authenticate(&token).await.unwrap().is_some());
                known.wait().await;
                while queries.authenticate(&token).await.unwrap().is_some() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
        }
        known.wait().await;
        match *way {
            "rotate" => drop(
                commands
                    .rotate_token(holder(&ada, &ada.api_token), None)
                    .await
                    .unwrap(),
            ),
            "revoke" => commands.revoke_token(holder(&ada, &ada.api_token)).await.unwrap(),
            "operator" => db.store.operators().revoke_api_token(ada.user.id).await.unwrap(),
            "register" => drop(register().await),
            _ => commands.delete_user(holder(&ada, &ada.api_token)).await.unwrap(),
        }
        for queries in &queries {
            let caller = queries.authenticate(&ada.api_token.hash()).await.unwrap();
            assert_eq!(caller, None, "{way}");
        }
        while let Some(asked) = asking.join_next().await {
            asked.unwrap();
        }
    }
    for server in servers {
        server.close().await;
    }
}

async fn a_token_that_is_too_old_is_known_for_a_month(db: Db) {
    const DAY: i64 = 24 * 60 * MINUTE;
    let ada = db.registration("ada@example.org").await;
    let lifetime = Some(Duration::from_secs(60 * 60));
    let aged = async |by: i64| {
        db.execute(&format!("update api_tokens set created_at = created_at - {by}"))
            .await;
        let queries = db.queries().with_api_token_lifetime(lifetime);
        let hash = ada.api_token.hash();
        (
            queries.authenticate(&hash).await.unwrap(),
            queries.late_token(&hash).await.unwrap(),
        )
    };
    let late = Some(LateToken::TooOld(Caller(ada.user.id)));
    assert_eq!(aged(60 * MINUTE).await, (None, late));
    assert_eq!(aged(30 * DAY - MINUTE).await, (None, late));
    assert_eq!(aged(MINUTE).await, (None, None));
    let wrong = db
        .queries()
        .late_token(&Token::generate_api().hash())
        .await
        .unwrap();
    assert_eq!(wrong, None);
}

async fn a_registration_repeated_while_its_token_is_replaced_gives_nothing_of_that_user(db: Db) {
    let commands = db.commands();
    for round in 0..10 {
        let id = format!("register {round}");
        let register = {
            let (commands, id) = (commands.clone(), id.clone());
            async move |tries: u32| {
                let mut registration = None;
                for _ in 0..tries {
                    let email = "ada@example.org".parse().unwrap();
                    let made = commands.register_user(email, vec![], request(&id, "x")).await;
                    registration = Some(made.unwrap());
                }
                registration.unwrap()
            }
        };
        let ada = register(1).await;
        let repeating = tokio::spawn(async move { register(5).await });
        // By nobody's token, as it may be replaced by the repeats.
        let fresh = commands.rotate_token(Caller(ada.user.id), None).await.unwrap();
        repeating.await.unwrap();
        assert_eq!(who(&db, &fresh).await, Some(Caller(ada.user.id)));
    }
}
