use cqrs::domain::{ChatId, Language, Timestamp, User};
use cqrs::{Caller, CommandError, UserEdit};

use crate::support::Db;

on_both_databases! {
    linking_notes_the_language_and_takes_messages_again,
    a_group_is_not_linked_and_the_link_stays_good,
    an_unlinked_chat_is_nobodys_and_the_rules_stay,
    who_loses_their_chat_to_somebody_else_is_not_reached_since,
    the_messengers_language_counts_until_one_is_chosen,
}

async fn stored(db: &Db, caller: Caller) -> User {
    db.queries().user(caller).await.unwrap().unwrap()
}

async fn suspend(db: &Db, caller: Caller) {
    db.execute(&format!(
        "update users set chat_suspended_at = 5 where id = '{}'",
        caller.0
    ))
    .await;
    assert_eq!(
        stored(db, caller).await.chat_suspended_at,
        Some(Timestamp::from_micros(5))
    );
}

async fn linking_notes_the_language_and_takes_messages_again(db: Db) {
    let ada = db.registration("ada@example.org").await;
    let caller = Caller(ada.user.id);
    suspend(&db, caller).await;
    let linked = db
        .commands()
        .link_chat(&ada.link.token, ChatId::new(7), Some(Language::It))
        .await
        .unwrap()
        .user;
    assert_eq!(
        (
            linked.messenger_language,
            linked.chat_suspended_at,
            linked.language()
        ),
        (Some(Language::It), None, Language::It)
    );
    assert_eq!(stored(&db, caller).await, linked);

    let link = db.commands().create_link(caller).await.unwrap();
    let linked = db
        .commands()
        .link_chat(&link.token, ChatId::new(8), None)
        .await
        .unwrap()
        .user;
    assert_eq!(linked.messenger_language, None, "it may be another person's chat");
}

async fn a_group_is_not_linked_and_the_link_stays_good(db: Db) {
    let ada = db.registration("ada@example.org").await;
    for group in [-100_123_456_789, -7, 0] {
        let result = db
            .commands()
            .link_chat(&ada.link.token, ChatId::new(group), None)
            .await;
        assert!(
            matches!(result, Err(CommandError::PrivateChatsOnly)),
            "{result:?}"
        );
    }
    assert!(!stored(&db, Caller(ada.user.id)).await.telegram_linked);
    db.commands()
        .link_chat(&ada.link.token, ChatId::new(7), None)
        .await
        .unwrap();
}

async fn an_unlinked_chat_is_nobodys_and_the_rules_stay(db: Db) {
    let ada = db.registration("ada@example.org").await;
    let caller = Caller(ada.user.id);
    let rule = db.rule(caller, "AAPL").await;
    db.commands()
        .link_chat(&ada.link.token, ChatId::new(7), Some(Language::It))
        .await
        .unwrap();
    suspend(&db, caller).await;
    for _ in 0..2 {
        db.commands().unlink_chat(caller).await.unwrap();
        let user = stored(&db, caller).await;
        assert!(!user.telegram_linked);
        assert_eq!(
            user.chat_suspended_at,
            Some(Timestamp::from_micros(5)),
            "not reached since"
        );
        assert_eq!(user.language(), Language::It, "the goodbye is in it");
    }
    assert_eq!(db.queries().caller_of_chat(ChatId::new(7)).await.unwrap(), None);
    assert_eq!(db.queries().rules(caller, None, 10).await.unwrap().items, [rule]);

    let link = db.commands().create_link(caller).await.unwrap();
    db.commands()
        .link_chat(&link.token, ChatId::new(7), None)
        .await
        .unwrap();
    assert_eq!(
        db.queries().caller_of_chat(ChatId::new(7)).await.unwrap(),
        Some(caller)
    );
}

async fn who_loses_their_chat_to_somebody_else_is_not_reached_since(db: Db) {
    let (ada, bob) = (
        db.registration("ada@example.org").await,
        db.registration("bob@example.org").await,
    );
    let chat = ChatId::new(7);
    db.commands()
        .link_chat(&ada.link.token, chat, None)
        .await
        .unwrap();
    suspend(&db, Caller(ada.user.id)).await;
    db.commands()
        .link_chat(&bob.link.token, chat, None)
        .await
        .unwrap();
    let ada = stored(&db, Caller(ada.user.id)).await;
    assert!(!ada.telegram_linked);
    assert_eq!(
        ada.chat_suspended_at,
        Some(Timestamp::from_micros(5)),
        "not reached since"
    );
    assert_eq!(stored(&db, Caller(bob.user.id)).await.chat_suspended_at, None);
}

async fn the_messengers_language_counts_until_one_is_chosen(db: Db) {
    let caller = db.user("ada@example.org").await;
    let other = db.user("bob@example.org").await;
    assert_eq!(stored(&db, caller).await.language(), Language::En);
    let commands = db.commands();
    for (said, spoken) in [
        (Some(Language::It), Language::It),
        (Some(Language::It), Language::It),
        (None, Language::En),
        (Some(Language::It), Language::It),
    ] {
        commands.note_messenger_language(caller, said).await.unwrap();
        let user = stored(&db, caller).await;
        assert_eq!((user.messenger_language, user.language()), (said, spoken));
    }
    for (chosen, spoken) in [(Some(Language::En), Language::En), (None, Language::It)] {
        let edit = UserEdit {
            language: Some(chosen),
            ..Default::default()
        };
        commands.update_user(caller, edit, None).await.unwrap();
        let user = stored(&db, caller).await;
        assert_eq!((user.chosen_language, user.language()), (chosen, spoken));
    }
    assert_eq!(stored(&db, other).await.messenger_language, None);

    db.commands().delete_user(caller).await.unwrap();
    commands
        .note_messenger_language(caller, Some(Language::It))
        .await
        .unwrap();
}
