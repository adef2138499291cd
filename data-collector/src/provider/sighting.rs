//! Since when a price is what it is, where its provider does not say when it was made.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cqrs::domain::{Price, Ticker, Timestamp};

use super::Answers;

/// Longer than between two polls: a price that was not looked at for so long may have been another meanwhile.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(2 * 60 * 60);

/// The prices of a provider without times. Without this each of its answers would look like a new price, also that of a
/// market which closed on Friday.
#[derive(Debug, Default)]
pub(super) struct Sightings(Mutex<HashMap<Ticker, Sighting>>);

#[derive(Debug)]
struct Sighting {
    price: Price,
    first: Timestamp,
    last: Timestamp,
}

impl Sightings {
    /// Gives each price the time at which it was first seen, if it has been the same since. They bear the time at which they
    /// came.
    pub(super) fn date(&self, answers: &mut Answers) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for fetched in answers.prices_mut() {
            let (price, now) = (fetched.quote.price, fetched.quote.event_time);
            let sighting = seen.entry(fetched.quote.ticker.clone()).or_insert(Sighting {
                price,
                first: now,
                last: now,
            });
            if sighting.price != price || now.since(sighting.last) >= FORGOTTEN_AFTER {
                (sighting.price, sighting.first) = (price, now);
            }
            sighting.last = now;
            fetched.quote.event_time = sighting.first;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::symbol::quote;
    use crate::provider::{Fetched, Market};
    use crate::staleness::Trading;

    fn dated(seen: &Sightings, ticker: &str, price: &str, minute: i64) -> i64 {
        let ticker: Ticker = ticker.parse().unwrap();
        let at = Timestamp::from_micros(minute * 60_000_000);
        let fetched = Fetched {
            quote: quote("test", &ticker, price.parse().unwrap(), "", at, at),
            trading: Trading::Unknown,
            market: Market::Unknown,
        };
        let mut answers: Answers = [(ticker.clone(), Ok(fetched))].into_iter().collect();
        seen.date(&mut answers);
        let quote = answers.take(&ticker).unwrap().quote;
        assert_eq!(quote.ingest_time, at);
        quote.event_time.as_micros() / 60_000_000
    }

    #[test]
    fn a_price_keeps_the_time_at_which_it_was_first_seen_until_it_changes() {
        let seen = Sightings::default();
        assert_eq!(dated(&seen, "A", "1", 1_000), 1_000);
        assert_eq!(dated(&seen, "A", "1", 1_001), 1_000);
        assert_eq!(dated(&seen, "B", "1", 1_001), 1_001, "each ticker for itself");
        assert_eq!(dated(&seen, "A", "2", 1_002), 1_002);
        assert_eq!(
            dated(&seen, "A", "1", 1_003),
            1_003,
            "it is not the old one again"
        );
        assert_eq!(dated(&seen, "A", "1", 1_100), 1_003);
        assert_eq!(dated(&seen, "A", "1", 1_219), 1_003);
        assert_eq!(
            dated(&seen, "A", "1", 1_339),
            1_339,
            "who knows what it was in between"
        );
    }
}
