//! How many things are in hand at once, in all and of each caller.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Places for things in hand. The memory is bounded by the places: who has none in hand is not remembered.
#[derive(Debug)]
pub(crate) struct Slots<K: Eq + Hash + Copy> {
    most: usize,
    most_of_one: usize,
    taken: Arc<Mutex<Taken<K>>>,
}

#[derive(Debug)]
struct Taken<K> {
    all: usize,
    of: HashMap<K, usize>,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot<K: Eq + Hash + Copy> {
    key: K,
    taken: Arc<Mutex<Taken<K>>>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// All places are taken.
    All,
    /// This caller has as many as one may have.
    OfOne,
}

impl<K: Eq + Hash + Copy> Slots<K> {
    pub(crate) fn new(most: usize, most_of_one: usize) -> Self {
        let taken = Taken {
            all: 0,
            of: HashMap::new(),
        };
        Self {
            most,
            most_of_one,
            taken: Arc::new(Mutex::new(taken)),
        }
    }

    /// A place for `key`.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn take(&self, key: K) -> Result<Slot<K>, Full> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.most {
            return Err(Full::All);
        }
        if taken.of.get(&key).is_some_and(|count| *count >= self.most_of_one) {
            return Err(Full::OfOne);
        }
        taken.all += 1;
        *taken.of.entry(key).or_default() += 1;
        Ok(Slot {
            key,
            taken: Arc::clone(&self.taken),
        })
    }
}

impl<K: Eq + Hash + Copy> Drop for Slot<K> {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        if let Some(count) = taken.of.get_mut(&self.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.of.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_can_take_some_all_together_all_and_none_is_remembered_without_a_place() {
        let slots = Slots::new(3, 2);
        let first = slots.take('a').unwrap();
        let second = slots.take('a').unwrap();
        assert_eq!(slots.take('a').unwrap_err(), Full::OfOne);
        let third = slots.take('b').unwrap();
        assert_eq!(slots.take('c').unwrap_err(), Full::All);
        drop(second);
        let fourth = slots.take('c').unwrap();
        drop((first, third, fourth));
        let taken = slots.taken.lock().unwrap();
        assert_eq!((taken.all, taken.of.len()), (0, 0));
    }
}
