use sqlx::Row as _;

use crate::commands::{answered_when_noticed, revoke};
use crate::domain::{Timestamp, UserId};
use crate::queries::Page;
use crate::queries::listing::Listing;
use crate::{Caller, CommandError, Store, StoreError, rows};

/// What an operator sees of a user: nothing that says who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSummary {
    /// The user.
    pub id: UserId,
    /// When they registered.
    pub created_at: Timestamp,
    /// Whether a chat is linked.
    pub telegram_linked: bool,
    /// How many rules they have.
    pub rules: i64,
    /// How many prices are out of range of these.
    pub open_episodes: i64,
}

/// What waits for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub count: i64,
    /// Since when the first of them does. `None`: none waits.
    pub since: Option<Timestamp>,
}

/// What operators see and do. It asks nobody whether it may: whoever has one has checked that.
#[derive(Debug, Clone)]
pub struct Operators {
    store: Store,
}

impl Operators {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// All users, oldest first, at most `limit` on a page.
    ///
    /// # Errors
    /// [`StoreError::PageToken`]: `page` is not this list's.
    pub async fn users(&self, page: Option<&str>, limit: u32) -> Result<Page<UserSummary>, StoreError> {
        let list = Listing::new("users", &(), page, limit);
        let after = list.after::<UserId>()?.map(|last| last.to_string());
        let found = sqlx::query(
            "select id, created_at, chat_id,
                    (select count(*) from rules where rules.user_id = users.id) as rule_count,
                    (select count(*) from episodes
                     where episodes.user_id = users.id and episodes.episode_id is not null) as open_count
             from users where id > ? order by id limit ?",
        )
        .bind(after.unwrap_or_default())
        .bind(list.rows())
        .fetch_all(&self.store.read)
        .await?;
        let summary = |row: &sqlx::any::AnyRow| {
            Ok(UserSummary {
                id: rows::text(row, "users", "id")?,
                created_at: rows::time(row, "created_at")?,
                telegram_linked: row.try_get::<Option<i64>, _>("chat_id")?.is_some(),
                rules: row.try_get("rule_count")?,
                open_episodes: row.try_get("open_count")?,
            })
        };
        list.page(&found, summary, |user| user.id)
    }

    /// As `Commands::revoke_token`, of any user.
    ///
    /// # Errors
    /// `UserNotFound`.
    pub async fn revoke_api_token(&self, user: UserId) -> Result<(), CommandError> {
        let revoking = self
            .store
            .transaction(move |tx| Box::pin(async move { revoke(tx, &Caller(user).into()).await }));
        answered_when_noticed(revoking).await
    }

    /// Changes that the relay has not published.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn unpublished(&self) -> Result<Waiting, StoreError> {
        let select = "select count(*) as waiting, min(updated_at) as since from outbox";
        waiting(&sqlx::query(select).fetch_one(self.store.primary()).await?)
    }

    /// Messages that are due and not sent.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn unsent(&self) -> Result<Waiting, StoreError> {
        let select = "select count(*) as waiting, min(due_at) as since from deliveries
                      where status = 'planned' and due_at <= ?";
        let now = Timestamp::now().as_micros();
        waiting(
            &sqlx::query(select)
                .bind(now)
                .fetch_one(self.store.primary())
                .await?,
        )
    }
}

fn waiting(row: &sqlx::any::AnyRow) -> Result<Waiting, StoreError> {
    Ok(Waiting {
        count: row.try_get("waiting")?,
        since: row
            .try_get::<Option<i64>, _>("since")?
            .map(Timestamp::from_micros),
    })
}
