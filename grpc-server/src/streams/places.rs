use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cqrs::domain::UserId;
use tonic::{Code, Status};

use crate::status::refusal;

/// Most streams of this server: each holds some KiB and a part of every poll.
const MOST: u32 = 2_000;

/// Most streams of one user: a page, a phone and some programs, and nobody takes all.
const MOST_OF_A_USER: u32 = 20;

/// How many streams are open.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    all: u32,
    by_user: HashMap<UserId, u32>,
}

/// Given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    user: UserId,
}

impl Places {
    /// A place for one more stream.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED if this user has, or all have, as many as there may be.
    pub(super) fn take(self: &Arc<Self>, user: UserId) -> Result<Place, Status> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= MOST {
            let message = format!("the server has {MOST} streams open; try again later");
            return Err(refusal(Code::ResourceExhausted, "SERVER_BUSY", message));
        }
        let of_user = taken.by_user.entry(user).or_default();
        if *of_user >= MOST_OF_A_USER {
            let message = format!("you have {MOST_OF_A_USER} streams open; end one before you open another");
            return Err(refusal(Code::ResourceExhausted, "TOO_MANY_STREAMS", message));
        }
        *of_user += 1;
        taken.all += 1;
        metrics::gauge!("stockalert_grpc_streams").set(taken.all);
        Ok(Place {
            places: Arc::clone(self),
            user,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        metrics::gauge!("stockalert_grpc_streams").set(taken.all);
        if let Some(count) = taken.by_user.get_mut(&self.user) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.by_user.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_gets_so_many_places_and_each_comes_back() {
        let places = Arc::<Places>::default();
        let (ada, bob) = (UserId::generate(), UserId::generate());
        let mut held: Vec<_> = (0..MOST_OF_A_USER).map(|_| places.take(ada).unwrap()).collect();
        assert_eq!(places.take(ada).unwrap_err().code(), Code::ResourceExhausted);
        assert!(places.take(bob).is_ok(), "others are not concerned");
        held.pop();
        held.push(places.take(ada).unwrap());
        drop(held);
        let taken = places.0.lock().unwrap();
        assert_eq!((taken.all, taken.by_user.len()), (0, 0));
    }
}
