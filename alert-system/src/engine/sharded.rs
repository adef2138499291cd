use std::hash::{BuildHasher, Hash};

use hashbrown::{DefaultHashBuilder, HashTable};

/// A hash table of small values that grows a shard at a time: no insertion waits for millions of others to be moved. The
/// values say where their keys are; hash and equality are the caller's.
#[derive(Debug)]
pub(super) struct Sharded<V> {
    shards: Box<[HashTable<V>]>,
    hasher: DefaultHashBuilder,
}

impl<V: Copy> Sharded<V> {
    /// `shards` is a power of two: as many as keep a shard below some thousands of values.
    pub(super) fn new(shards: usize) -> Self {
        Self {
            shards: (0..shards.next_power_of_two())
                .map(|_| HashTable::new())
                .collect(),
            hasher: DefaultHashBuilder::default(),
        }
    }

    /// Makes room for so many values in all, at once instead of step by step.
    pub(super) fn reserve(&mut self, values: usize) {
        let share = values / self.shards.len();
        // Keys do not spread evenly; three times the deviation covers nearly all shards.
        let share = share + 3 * share.isqrt();
        for shard in self.shards.iter_mut().filter(|shard| shard.is_empty()) {
            *shard = HashTable::with_capacity(share);
        }
    }

    /// Gives room back that was made for more.
    pub(super) fn shrink(&mut self, rehash: impl Fn(&DefaultHashBuilder, V) -> u64) {
        let hasher = &self.hasher;
        for shard in &mut self.shards {
            shard.shrink_to_fit(|value| rehash(hasher, *value));
        }
    }

    pub(super) fn find(&self, key: &(impl Hash + ?Sized), is_key: impl Fn(V) -> bool) -> Option<V> {
        let hash = self.hasher.hash_one(key);
        self.shards[self.shard(hash)]
            .find(hash, |value| is_key(*value))
            .copied()
    }

    /// For a key that is not there yet. `rehash` hashes the key of any value.
    pub(super) fn insert(
        &mut self,
        key: &(impl Hash + ?Sized),
        value: V,
        rehash: impl Fn(&DefaultHashBuilder, V) -> u64,
    ) {
        let hash = self.hasher.hash_one(key);
        let shard = self.shard(hash);
        let hasher = &self.hasher;
        self.shards[shard].insert_unique(hash, value, |value| rehash(hasher, *value));
    }

    pub(super) fn remove(&mut self, key: &(impl Hash + ?Sized), is_key: impl Fn(V) -> bool) -> Option<V> {
        let hash = self.hasher.hash_one(key);
        let shard = self.shard(hash);
        let entry = self.shards[shard].find_entry(hash, |value| is_key(*value)).ok()?;
        Some(entry.remove().0)
    }

    /// Bits that the table inside does not use: it takes the lowest and the highest.
    fn shard(&self, hash: u64) -> usize {
        usize::try_from((hash >> 32) & 0xff_ffff).unwrap_or(0) & (self.shards.len() - 1)
    }
}
