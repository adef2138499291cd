use std::time::Duration;

use cqrs::domain::{ChatId, Language, QuietHours, RuleChange, Timestamp, Token, User};
use cqrs::{Caller, CommandError, LedgerChange, Limits, UserEdit};

use crate::support::{Db, alert, new_rule, request};

on_both_databases! {
    registering_gives_a_user_with_rules_and_working_secrets,
    an_address_that_is_known_is_no_other_than_one_that_is_not,
    a_registration_with_a_bad_rule_leaves_nothing,
    settings_change_one_by_one,
    settings_of_messages_change_one_by_one,
    a_link_binds_a_chat_once,
    an_expired_link_binds_nothing,
    a_chat_moves_to_the_user_who_linked_it_last,
    deleting_a_user_erases_all_that_is_theirs_and_nothing_else,
    a_user_who_is_gone_can_do_nothing,
}

async fn registering_gives_a_user_with_rules_and_working_secrets(db: Db) {
    let before = Timestamp::now();
    let rules = vec![new_rule("AAPL"), new_rule("MSFT"), new_rule("AAPL")];
    let registered = db
        .commands()
        .register_user("Ada@Example.org".parse().unwrap(), rules, None)
        .await
        .unwrap();
    let caller = Caller(registered.user.id);

    assert_eq!(
        db.queries().user(caller).await.unwrap().as_ref(),
        Some(&registered.user)
    );
    assert_eq!(registered.user.email.as_str(), "ada@example.org");
    assert!(!registered.user.telegram_linked);
    assert_eq!(
        registered
            .user
            .reminder_interval
            .map(|interval| interval.as_secs()),
        Some(900)
    );
    assert!(registered.user.created_at >= before);

    assert_eq!(
        db.queries().rules(caller, None, 10).await.unwrap().items,
        registered.rules
    );
    let tickers: Vec<_> = registered.rules.iter().map(|rule| rule.ticker.as_str()).collect();
    assert_eq!(tickers, ["AAPL", "MSFT", "AAPL"]);
    assert_eq!(db.pending().await.len(), 3);

    assert_eq!(
        db.queries()
            .authenticate(&registered.api_token.hash())
            .await
            .unwrap(),
        Some(caller)
    );
    let user = db
        .commands()
        .link_chat(&registered.link.token, ChatId::new(7), None)
        .await
        .unwrap()
        .user;
    assert!(user.telegram_linked);
    assert_eq!(registered.link.bot_username, None);
}

async fn an_address_that_is_known_is_no_other_than_one_that_is_not(db: Db) {
    let ada = db.user("ada@example.org").await;
    for address in ["ada@example.org", "ADA@example.org"] {
        let again = db
            .commands()
            .register_user(address.parse().unwrap(), vec![new_rule("AAPL")], None)
            .await
            .unwrap();
        assert_eq!(
            (again.user.email.as_str(), again.rules.len()),
            ("ada@example.org", 1)
        );
    }
    let bob = db.user("bob@example.org").await;
    let edit = UserEdit {
        email: Some("ada@example.org".parse().unwrap()),
        ..Default::default()
    };
    db.commands().update_user(bob, edit, None).await.unwrap();
    assert_eq!(db.queries().rules(ada, None, 50).await.unwrap().items, []);
}

async fn a_registration_with_a_bad_rule_leaves_nothing(db: Db) {
    let mut late = new_rule("AAPL");
    late.expires_at = Some(Timestamp::now().minus(Duration::from_secs(1)));
    let email = || "ada@example.org".parse().unwrap();
    let result = db
        .commands()
        .register_user(email(), vec![new_rule("AAPL"), late], None)
        .await;
    assert!(
        matches!(result, Err(CommandError::ExpiryInPast { .. })),
        "{result:?}"
    );
    let commands = db.store.commands(Limits {
        rules_per_user: 1,
        rules_in_all: None,
    });
    let result = commands
        .register_user(email(), vec![new_rule("AAPL"), new_rule("AAPL")], None)
        .await;
    assert!(
        matches!(result, Err(CommandError::TooManyRules { limit: 1 })),
        "{result:?}"
    );

    assert_eq!(db.number("select count(*) from users").await, 0);
    assert_eq!(db.number("select count(*) from rules").await, 0);
    assert!(db.pending().await.is_empty());
}

async fn settings_change_one_by_one(db: Db) {
    let caller = db.user("ada@example.org").await;
    let commands = db.commands();
    let edit = UserEdit {
        reminder_interval: Some(Some("30s".parse().unwrap())),
        ..Default::default()
    };
    let user = commands.update_user(caller, edit, None).await.unwrap();
    assert_eq!(
        user.reminder_interval.map(|interval| interval.as_secs()),
        Some(30)
    );
    let edit = UserEdit {
        email: Some("countess@example.org".parse().unwrap()),
        ..Default::default()
    };
    commands.update_user(caller, edit, None).await.unwrap();
    let stored = db.queries().user(caller).await.unwrap().unwrap();
    assert_eq!(
        (stored.email.as_str(), stored.reminder_interval),
        ("countess@example.org", user.reminder_interval)
    );
    let edit = UserEdit {
        reminder_interval: Some(None),
        ..Default::default()
    };
    commands.update_user(caller, edit, None).await.unwrap();
    let stored = db.queries().user(caller).await.unwrap().unwrap();
    assert_eq!(
        (stored.email.as_str(), stored.reminder_interval),
        ("countess@example.org", None)
    );
}

/// What an edit is to do.
type Change = fn(&mut User);

async fn settings_of_messages_change_one_by_one(db: Db) {
    let caller = db.user("ada@example.org").await;
    let mut expected = db.queries().user(caller).await.unwrap().unwrap();
    assert_eq!(expected.time_zone.name(), "UTC");
    assert_eq!((expected.chosen_language, expected.quiet_hours), (None, None));
    let night: QuietHours = "22:30-07:05".parse().unwrap();
    let edit = UserEdit::default;
    let steps: [(UserEdit, Change); 6] = [
        (
            UserEdit {
                language: Some(Some(Language::It)),
                ..edit()
            },
            |user| user.chosen_language = Some(Language::It),
        ),
        (
            UserEdit {
                time_zone: Some("America/Argentina/Buenos_Aires".parse().unwrap()),
                ..edit()
            },
            |user| user.time_zone = "America/Argentina/Buenos_Aires".parse().unwrap(),
        ),
        (
            UserEdit {
                quiet_hours: Some(Some(night)),
                ..edit()
            },
            |user| user.quiet_hours = Some("22:30-07:05".parse().unwrap()),
        ),
        (edit(), |_| ()),
        (
            UserEdit {
                language: Some(None),
                ..edit()
            },
            |user| user.chosen_language = None,
        ),
        (
            UserEdit {
                quiet_hours: Some(None),
                ..edit()
            },
            |user| user.quiet_hours = None,
        ),
    ];
    for (edit, change) in steps {
        let answered = db.commands().update_user(caller, edit, None).await.unwrap();
        change(&mut expected);
        assert_eq!(answered, expected);
        assert_eq!(db.queries().user(caller).await.unwrap().unwrap(), expected);
    }
}

async fn a_link_binds_a_chat_once(db: Db) {
    let ada = db.registration("ada@example.org").await;
    let caller = Caller(ada.user.id);
    let link = db.commands().create_link(caller).await.unwrap();
    assert!(link.expires_at > Timestamp::now());
    let refused = async |token: &Token| {
        let result = db.commands().link_chat(token, ChatId::new(666), None).await;
        assert!(matches!(result, Err(CommandError::LinkInvalid)), "{result:?}");
    };
    refused(&ada.link.token).await;
    refused(&Token::presented("guess")).await;
    refused(&ada.api_token).await;
    db.commands()
        .link_chat(&link.token, ChatId::new(100_123_456_789), None)
        .await
        .unwrap();
    refused(&link.token).await;
    assert_eq!(
        db.queries()
            .caller_of_chat(ChatId::new(100_123_456_789))
            .await
            .unwrap(),
        Some(caller)
    );
    assert_eq!(db.queries().caller_of_chat(ChatId::new(666)).await.unwrap(), None);
}

async fn an_expired_link_binds_nothing(db: Db) {
    let ada = db.registration("ada@example.org").await;
    let now = Timestamp::now().as_micros();
    db.execute(&format!("update link_tokens set expires_at = {now}"))
        .await;
    let result = db
        .commands()
        .link_chat(&ada.link.token, ChatId::new(7), None)
        .await;
    assert!(matches!(result, Err(CommandError::LinkInvalid)), "{result:?}");
    assert_eq!(db.number("select count(*) from link_tokens").await, 1);
    db.commands().expire_rules(Timestamp::now(), 10).await.unwrap();
    assert_eq!(db.number("select count(*) from link_tokens").await, 0);
}

async fn a_chat_moves_to_the_user_who_linked_it_last(db: Db) {
    let users = [
        db.registration("a@example.org").await,
        db.registration("b@example.org").await,
        db.registration("c@example.org").await,
        db.registration("d@example.org").await,
    ];
    let tasks: Vec<_> = users
        .iter()
        .map(|user| {
            let (commands, token) = (db.commands(), user.link.token.clone());
            tokio::spawn(async move { commands.link_chat(&token, ChatId::new(7), None).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(db.number("select count(*) from users where chat_id = 7").await, 1);
    let owner = db
        .queries()
        .caller_of_chat(ChatId::new(7))
        .await
        .unwrap()
        .unwrap();
    for user in users {
        let linked = db
            .queries()
            .user(Caller(user.user.id))
            .await
            .unwrap()
            .unwrap()
            .telegram_linked;
        assert_eq!(linked, owner.0 == user.user.id);
    }
}

async fn deleting_a_user_erases_all_that_is_theirs_and_nothing_else(db: Db) {
    let ada = db.registration("ada@example.org").await;
    let bob = db.registration("bob@example.org").await;
    for user in [&ada, &bob] {
        let caller = Caller(user.user.id);
        let rule = db
            .commands()
            .create_rule(caller, new_rule("AAPL"), request("1", "x"))
            .await
            .unwrap();
        db.commands()
            .link_chat(&user.link.token, ChatId::new(rule.created_at.as_micros()), None)
            .await
            .unwrap();
        db.commands().create_link(caller).await.unwrap();
        let raised = Timestamp::now().as_micros();
        db.ledger()
            .fold(
                &[LedgerChange::Alert(alert(rule.id, caller.0, 4, raised))],
                Timestamp::now(),
            )
            .await
            .unwrap();
    }
    let tables = [
        "users",
        "rules",
        "api_tokens",
        "link_tokens",
        "requests",
        "alerts",
        "episodes",
        "deliveries",
    ];
    for table in tables {
        assert_eq!(
            db.number(&format!("select count(*) from {table}")).await,
            2,
            "{table}"
        );
    }
    let theirs = db
        .queries()
        .rules(Caller(ada.user.id), None, 10)
        .await
        .unwrap()
        .items;
    db.publish_all().await;

    db.commands().delete_user(Caller(ada.user.id)).await.unwrap();

    for table in tables {
        let column = if table == "users" { "id" } else { "user_id" };
        assert_eq!(
            db.number(&format!("select count(*) from {table}")).await,
            1,
            "{table}"
        );
        let bobs = format!("select count(*) from {table} where {column} = '{}'", bob.user.id);
        assert_eq!(db.number(&bobs).await, 1, "{table}");
    }
    let pending = db.pending().await;
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0].version, theirs[0].version.next());
    let deleted = RuleChange::Deleted {
        rule_id: theirs[0].id,
        ticker: theirs[0].ticker.clone(),
    };
    assert_eq!(pending[0].change, deleted);
    // The address is free again.
    db.user("ada@example.org").await;
}

async fn a_user_who_is_gone_can_do_nothing(db: Db) {
    let ada = db.registration("ada@example.org").await;
    let caller = Caller(ada.user.id);
    let commands = db.commands();
    commands.delete_user(caller).await.unwrap();
    assert!(matches!(
        commands.delete_user(caller).await,
        Err(CommandError::UserNotFound)
    ));
    assert!(matches!(
        commands.create_link(caller).await,
        Err(CommandError::UserNotFound)
    ));
    assert!(matches!(
        commands.rotate_token(caller, None).await,
        Err(CommandError::UserNotFound)
    ));
    let result = commands.update_user(caller, UserEdit::default(), None).await;
    assert!(matches!(result, Err(CommandError::UserNotFound)));
    let result = commands.create_rule(caller, new_rule("AAPL"), None).await;
    assert!(matches!(result, Err(CommandError::UserNotFound)));
    assert_eq!(db.queries().user(caller).await.unwrap(), None);
    assert_eq!(
        db.queries().authenticate(&ada.api_token.hash()).await.unwrap(),
        None
    );
}
