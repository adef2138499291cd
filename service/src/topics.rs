//! Names and partitioner of the topics.

use std::time::Duration;

use cqrs::domain::Ticker;

/// How a topic drops old records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleanup {
    /// Keeps the last record of each key; records younger than this are all kept.
    Compact(Duration),
    /// Keeps all records for this long.
    Delete(Duration),
}

/// One topic of this system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topic {
    /// Its name in Kafka.
    pub name: &'static str,
    /// How it drops old records.
    pub cleanup: Cleanup,
    /// Whether a record's partition follows from its ticker, so that all such topics need equally many partitions.
    pub by_ticker: bool,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Key: rule id. The newest version of every rule.
pub const RULES: Topic = Topic {
    name: "stockalert.rules.v1",
    cleanup: Cleanup::Compact(DAY.saturating_mul(7)),
    by_ticker: true,
};
/// Key: ticker. Prices.
pub const QUOTES: Topic = Topic {
    name: "stockalert.quotes.v1",
    cleanup: Cleanup::Delete(DAY.saturating_mul(7)),
    by_ticker: true,
};
/// Key: rule id. Each rule's state. The lag is load-bearing: it must be longer than any instance can be paused, and
/// than the notifier may lag behind.
pub const ALERTS: Topic = Topic {
    name: "stockalert.alerts.v1",
    cleanup: Cleanup::Compact(DAY.saturating_mul(7)),
    by_ticker: true,
};
/// Key: ticker. The last evaluated quote of each.
pub const TICKERS: Topic = Topic {
    name: "stockalert.tickers.v1",
    cleanup: Cleanup::Compact(Duration::from_secs(10 * 60)),
    by_ticker: true,
};
/// Key: `provider/PROVIDER/INSTANCE` or `ticker/TICKER`. How market data comes in. Small, so one partition is enough.
pub const FEEDS: Topic = Topic {
    name: "stockalert.feeds.v1",
    cleanup: Cleanup::Compact(Duration::from_secs(10 * 60)),
    by_ticker: false,
};
/// Key: as received. Records that could not be handled.
pub const DEAD_LETTERS: Topic = Topic {
    name: "stockalert.dead-letters.v1",
    cleanup: Cleanup::Delete(DAY.saturating_mul(30)),
    by_ticker: false,
};

/// All of them.
pub const ALL: [Topic; 6] = [RULES, QUOTES, ALERTS, TICKERS, FEEDS, DEAD_LETTERS];

/// The partition of everything about `ticker`: what Java's default partitioner would choose for the key `ticker`.
#[must_use]
pub fn partition_of(ticker: &Ticker, partitions: i32) -> i32 {
    let positive = murmur2(ticker.as_str().as_bytes()) & 0x7fff_ffff;
    i32::try_from(positive % u32::try_from(partitions.max(1)).unwrap_or(1)).unwrap_or(0)
}

/// Murmur2 with Kafka's seed, as in `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_is_javas() {
        // From Apache Kafka's own UtilsTest.
        for (text, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()), hash.cast_unsigned(), "{text}");
        }
    }

    #[test]
    fn every_partition_is_in_range() {
        for number in 0..1_000 {
            let ticker: Ticker = format!("T{number}").parse().unwrap();
            assert!((0..12).contains(&partition_of(&ticker, 12)));
        }
    }
}
