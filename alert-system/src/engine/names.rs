use std::hash::BuildHasher as _;

use cqrs::domain::Ticker;

use super::chunked::Chunked;
use super::sharded::Sharded;

/// Tickers' indices by name. Every quote is looked up here, so that the names are where the search is: 16 bytes, of which
/// hardly a ticker needs more.
#[derive(Debug)]
pub(super) struct Names {
    table: Sharded<Named>,
}

#[derive(Debug, Clone, Copy)]
struct Named {
    prefix: Prefix,
    index: u32,
}

/// The first bytes of a name, and zeros where it is shorter, which no name contains.
type Prefix = [u64; 2];

const PREFIX: usize = size_of::<Prefix>();
/// As many as keep the pause of one that grows far below a millisecond, with a million tickers.
const SHARDS: usize = 256;

impl Default for Names {
    fn default() -> Self {
        Self {
            table: Sharded::new(SHARDS),
        }
    }
}

impl Names {
    #[inline]
    pub(super) fn find(&self, name: &str, tickers: &Chunked<Ticker>) -> Option<u32> {
        let prefix = prefix(name);
        let found = self.table.find(&prefix, |named| {
            named.prefix == prefix && (name.len() < PREFIX || tickers[named.index].as_str() == name)
        });
        Some(found?.index)
    }

    /// Adds a name that is not there.
    pub(super) fn insert(&mut self, name: &str, index: u32) {
        let prefix = prefix(name);
        let named = Named { prefix, index };
        self.table
            .insert(&prefix, named, |hasher, named| hasher.hash_one(named.prefix));
    }
}

fn prefix(name: &str) -> Prefix {
    let mut bytes = [0; PREFIX];
    let length = name.len().min(PREFIX);
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    let whole = u128::from_le_bytes(bytes);
    // Two halves of it, on purpose.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    [whole as u64, (whole >> 64) as u64]
}
