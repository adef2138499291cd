use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cqrs::domain::UserId;
use cqrs::{AlertFeed, StoreError};
use tokio::sync::watch;

/// The number of the newest alert of each user whom a stream of this server follows.
#[derive(Debug, Default)]
pub(super) struct Heads(Mutex<HashMap<UserId, watch::Sender<i64>>>);

impl Heads {
    /// Follows a user's alerts from number `head` on. The sender goes when the user is gone.
    pub(super) fn follow(&self, user: UserId, head: i64) -> watch::Receiver<i64> {
        self.lock()
            .entry(user)
            .or_insert_with(|| watch::channel(head).0)
            .subscribe()
    }

    /// Looks for new alerts of all users who are followed, and wakes their streams.
    pub(super) async fn poll(&self, feed: &AlertFeed) -> Result<(), StoreError> {
        let users: Vec<UserId> = {
            let mut followed = self.lock();
            followed.retain(|_, head| head.receiver_count() > 0);
            followed.keys().copied().collect()
        };
        let heads = feed.heads(&users).await?;
        let mut followed = self.lock();
        for user in users {
            match (heads.get(&user), followed.get(&user)) {
                (Some(head), Some(known)) => {
                    known.send_if_modified(|known| {
                        let grown = *head > *known;
                        // Down, too, as where a database lost what it had: who is ahead of it finds that out.
                        *known = *head;
                        grown
                    });
                }
                (None, _) => {
                    followed.remove(&user);
                }
                (Some(_), None) => {}
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, watch::Sender<i64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
