//! Whose API tokens are whose, remembered for as long as none is taken away.
//!
//! Each transaction that takes a token away counts in `token_revocations`, and its command answers [`TRUST`] after the commit. A
//! call is let in from memory only if that number was asked for less than `TRUST` before it came, or after, and was still the
//! same. So no call that comes after a revocation was answered is let in with the token, whatever server it comes to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::AnyPool;

use super::together::{Found, Rows, by_key, found, outcomes};
use crate::batches::Batches;
use crate::domain::{Timestamp, TokenHash, UserId};
use crate::{StoreError, rows, sizes};

/// How long the number of revocations is relied on, from before it was asked for.
pub(crate) const TRUST: Duration = Duration::from_millis(100);

/// From when on it is asked for again, while calls still rely on it: under load nobody waits for it.
const REFRESH: Duration = Duration::from_millis(25);

/// How often all is forgotten: what others than this program change in the database is noticed then.
const FORGET: Duration = Duration::from_secs(10);

/// Most owners remembered: some 20 MB.
const MOST: usize = 100_000;

/// A token's owner, and when it was made.
pub(super) type Owner = (UserId, Timestamp);

/// Clones share the memory.
#[derive(Debug, Clone)]
pub(super) struct Owners {
    memory: Arc<Mutex<Memory>>,
    /// Looks at the number of revocations, and reads the owners that are not known.
    asks: Batches<String, Found<Owner>>,
}

#[derive(Debug, Default)]
struct Memory {
    owners: HashMap<String, Owner>,
    /// How many revocations there had been, and from before it was asked for.
    revocations: Option<(i64, Instant)>,
    forgot: Option<Instant>,
    /// Whether somebody asks for it while it is still relied on.
    refreshing: bool,
}

impl Owners {
    pub(super) fn new(pool: AnyPool) -> Self {
        let memory = Arc::<Mutex<Memory>>::default();
        let known = Arc::clone(&memory);
        let asks = Batches::new(sizes::BATCH, move |tokens: Vec<String>| {
            let (pool, memory) = (pool.clone(), Arc::clone(&known));
            async move {
                let owners = ask(&pool, &memory, &tokens).await;
                lock(&memory).refreshing = false;
                outcomes(&tokens, owners)
            }
        });
        Self { memory, asks }
    }

    /// Whose token this is. `None`: nobody's.
    pub(super) async fn of(&self, token: &TokenHash) -> Result<Option<Owner>, StoreError> {
        let (known, refresh) = {
            let (mut memory, now) = (lock(&self.memory), Instant::now());
            (memory.owner(token.as_str(), now), memory.begin_refresh(now))
        };
        if refresh {
            let (asks, token) = (self.asks.clone(), token.as_str().to_owned());
            tokio::spawn(async move { asks.put(token).await });
        }
        match known {
            Some(owner) => Ok(Some(owner)),
            None => found(self.asks.put(token.as_str().to_owned()).await),
        }
    }
}

async fn ask(pool: &AnyPool, memory: &Mutex<Memory>, tokens: &[String]) -> Result<Rows<Owner>, StoreError> {
    let asked = Instant::now();
    let revocations = sqlx::query_scalar("select number from token_revocations where id = 1")
        .fetch_one(pool)
        .await?;
    let (mut owners, mut unknown) = (HashMap::new(), Vec::new());
    {
        let mut memory = lock(memory);
        memory.saw(revocations, asked);
        for token in tokens {
            match memory.owners.get(token) {
                Some(owner) => drop(owners.insert(token.clone(), Ok(*owner))),
                None => unknown.push(token.clone()),
            }
        }
    }
    if unknown.is_empty() {
        return Ok(owners);
    }
    let select = "select token_hash, user_id, created_at from api_tokens where token_hash ";
    // After the number was read: who is found here stands until it grows.
    let read = by_key(pool, select, "token_hash", unknown, |row| {
        let owner = rows::text(row, "api_tokens", "user_id")?;
        Ok((owner, rows::time(row, "created_at")?))
    });
    let read = read.await?;
    lock(memory).learn(revocations, &read);
    owners.extend(read);
    Ok(owners)
}

impl Memory {
    fn owner(&self, token: &str, now: Instant) -> Option<Owner> {
        let (_, asked) = self.revocations?;
        if now.duration_since(asked) >= TRUST {
            return None;
        }
        self.owners.get(token).copied()
    }

    /// Whether it is time to ask, and nobody does.
    fn begin_refresh(&mut self, now: Instant) -> bool {
        let relied_on = |(_, asked): (i64, Instant)| (REFRESH..TRUST).contains(&now.duration_since(asked));
        self.revocations.is_some_and(relied_on) && !std::mem::replace(&mut self.refreshing, true)
    }

    fn saw(&mut self, revocations: i64, asked: Instant) {
        let is_old = self.forgot.is_none_or(|at| asked.duration_since(at) >= FORGET);
        match self.revocations {
            // Whoever took long must not shorten what is known.
            Some((number, before)) if number == revocations && !is_old => {
                self.revocations = Some((number, before.max(asked)));
            }
            _ => {
                self.owners.clear();
                self.forgot = Some(asked);
                self.revocations = Some((revocations, asked));
            }
        }
    }

    /// Takes owners that were read after so many revocations.
    fn learn(&mut self, revocations: i64, read: &Rows<Owner>) {
        if self.revocations.is_none_or(|(number, _)| number != revocations) {
            return;
        }
        if self.owners.len() + read.len() > MOST {
            self.owners.clear();
        }
        let owners = read
            .iter()
            .filter_map(|(token, owner)| Some((token.clone(), *owner.as_ref().ok()?)));
        self.owners.extend(owners);
    }
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        (UserId::generate(), Timestamp::from_micros(5))
    }

    fn read(token: &str, owner: Owner) -> Rows<Owner> {
        HashMap::from([(token.to_owned(), Ok(owner))])
    }

    #[test]
    fn what_is_known_counts_until_the_number_was_asked_for_too_long_ago() {
        let (mut memory, start, ada) = (Memory::default(), Instant::now(), owner());
        assert_eq!(memory.owner("a", start), None);
        memory.saw(7, start);
        memory.learn(7, &read("a", ada));
        let last = start + TRUST - Duration::from_micros(1);
        assert_eq!(memory.owner("a", last), Some(ada));
        assert_eq!(memory.owner("b", last), None);
        assert_eq!(memory.owner("a", start + TRUST), None);
        memory.saw(7, start + TRUST);
        assert_eq!(memory.owner("a", start + TRUST), Some(ada), "nothing was revoked");
        memory.saw(7, start);
        assert_eq!(
            memory.owner("a", start + TRUST),
            Some(ada),
            "who took long knows less"
        );
    }

    #[test]
    fn a_revocation_ends_all_that_is_known() {
        let (mut memory, start, ada) = (Memory::default(), Instant::now(), owner());
        memory.saw(7, start);
        memory.learn(7, &read("a", ada));
        memory.saw(8, start);
        assert_eq!(memory.owner("a", start), None);
        memory.learn(7, &read("a", ada));
        assert_eq!(memory.owner("a", start), None, "read before the revocation");
    }

    #[test]
    fn all_is_forgotten_after_some_time() {
        let (mut memory, start) = (Memory::default(), Instant::now());
        memory.saw(7, start);
        memory.learn(7, &read("a", owner()));
        let later = start + FORGET;
        memory.saw(7, later - Duration::from_micros(1));
        assert!(memory.owners.contains_key("a"));
        memory.saw(7, later);
        assert!(memory.owners.is_empty());
    }

    #[test]
    fn one_asks_while_the_others_rely_on_what_is_known() {
        let (mut memory, start) = (Memory::default(), Instant::now());
        assert!(!memory.begin_refresh(start), "nothing is known");
        memory.saw(7, start);
        assert!(!memory.begin_refresh(start + REFRESH / 2), "too early");
        assert!(memory.begin_refresh(start + REFRESH));
        assert!(!memory.begin_refresh(start + REFRESH), "somebody does");
        memory.refreshing = false;
        assert!(!memory.begin_refresh(start + TRUST), "whoever needs it asks");
    }

    #[test]
    fn so_many_are_remembered_and_no_more() {
        let (mut memory, ada) = (Memory::default(), owner());
        memory.saw(7, Instant::now());
        for n in 0..=MOST {
            memory.learn(7, &read(&n.to_string(), ada));
        }
        assert_eq!(memory.owners.len(), 1);
    }
}
