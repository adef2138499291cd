//! Whose messages may be claimed: a look that takes no lock, so whoever claims looks again.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::QueryBuilder;

use super::rows::Reader;
use crate::domain::{DeliveryId, Timestamp, UserId};
use crate::sizes::push_in;
use crate::{Store, StoreError};

/// Deliveries looked at in one statement. A user has few that are due at a moment: they go together.
const PAGE: i64 = 200;
/// Pages of one priority, so that a look has an end however many users wait for their next turn.
const PAGES: usize = 20;

/// Whose messages looked free a moment ago.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// Messages whose claim ran out, the oldest first.
    pub(super) ran_out: Vec<(DeliveryId, UserId)>,
    /// Users with deliveries that are due, in the order of their turns.
    pub(super) users: Vec<UserId>,
}

impl Candidates {
    pub(super) fn is_empty(&self) -> bool {
        self.ran_out.is_empty() && self.users.is_empty()
    }
}

/// Finds at most `limit` of each.
pub(super) async fn find(
    store: &Store,
    now: Timestamp,
    timeout: Duration,
    limit: usize,
) -> Result<Candidates, StoreError> {
    let mut found = Candidates {
        ran_out: ran_out(store, now, timeout, limit).await?,
        users: Vec::new(),
    };
    // Those who can't get anything now, and those that were found.
    let mut seen: HashSet<UserId> = HashSet::new();
    for priority in 0..=super::compose::LAST_PRIORITY {
        for _ in 0..PAGES {
            if found.users.len() >= limit {
                return Ok(found);
            }
            let page = due(store, now, priority, &seen).await?;
            if page.is_empty() {
                break;
            }
            let free = free(store, now, &page).await?;
            let room = limit - found.users.len();
            found
                .users
                .extend(page.iter().filter(|user| free.contains(user)).take(room));
            seen.extend(page);
        }
    }
    Ok(found)
}

async fn ran_out(
    store: &Store,
    now: Timestamp,
    timeout: Duration,
    limit: usize,
) -> Result<Vec<(DeliveryId, UserId)>, StoreError> {
    let rows = sqlx::query(
        "select message_key, user_id, min(claimed_at) as first from deliveries \
         where status = 'sending' and claimed_at <= ? group by message_key, user_id order by first limit ?",
    )
    .bind(now.minus(timeout).as_micros())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(store.primary())
    .await?;
    let read = Reader("deliveries");
    rows.iter()
        .map(|row| Ok((read.parsed(row, "message_key")?, read.parsed(row, "user_id")?)))
        .collect()
}

/// The users of the deliveries of one priority that are due first, but not those in `seen`.
async fn due(
    store: &Store,
    now: Timestamp,
    priority: i64,
    seen: &HashSet<UserId>,
) -> Result<Vec<UserId>, StoreError> {
    let mut select =
        QueryBuilder::new("select user_id from deliveries where status = 'planned' and priority = ");
    select
        .push_bind(priority)
        .push(" and due_at <= ")
        .push_bind(now.as_micros());
    if !seen.is_empty() {
        let mut others = select.push(" and user_id not in (").separated(", ");
        // Filled up with repeats to a power of two, so that there are few different statements to prepare.
        for user in seen.iter().cycle().take(seen.len().next_power_of_two()) {
            others.push_bind(user.to_string());
        }
        select.push(")");
    }
    select.push(" order by due_at limit ").push_bind(PAGE);
    let read = Reader("deliveries");
    let mut users = Vec::new();
    let mut known = HashSet::new();
    for row in select.build().fetch_all(store.primary()).await? {
        let user: UserId = read.parsed(&row, "user_id")?;
        if known.insert(user) {
            users.push(user);
        }
    }
    Ok(users)
}

/// Those of the users whose chat may get a message now.
async fn free(store: &Store, now: Timestamp, users: &[UserId]) -> Result<HashSet<UserId>, StoreError> {
    let mut select = QueryBuilder::new("select u.id from users u where u.chat_next_at <= ");
    select.push_bind(now.as_micros()).push(" and u.id ");
    push_in(&mut select, users.iter().map(ToString::to_string));
    select
        .push(" and not exists (select 1 from deliveries s where s.user_id = u.id and s.status = 'sending')");
    let read = Reader("users");
    let rows = select.build().fetch_all(store.primary()).await?;
    rows.iter().map(|row| read.parsed(row, "id")).collect()
}
