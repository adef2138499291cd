//! Where a stream is, as its caller keeps it: hexadecimal digits that mean nothing to anybody else.

use std::collections::HashMap;

use cqrs::domain::{Quote, Ticker, UserId};
use sha2::{Digest as _, Sha256};

/// Which layout follows.
const ALERTS: u8 = 1;
const QUOTES: u8 = 3;

/// The text is no cursor of this caller's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a cursor of this stream; give the one of the last answer, or none to begin anew")]
pub(super) struct NotACursor;

/// A ticker, shortened.
type TickerKey = [u8; 4];

/// A price: its event time, by which another is older or newer, and the rest shortened, which is only compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    event_micros: i64,
    rest: [u8; 4],
}

/// After the alert of this number.
pub(super) fn write_alerts(number: i64, user: UserId) -> String {
    let mut bytes = vec![ALERTS];
    bytes.extend(number.to_be_bytes());
    bytes.extend(shortened::<4>(&format!("{user} {number}")));
    hex::encode(bytes)
}

/// The number of an alert of this user.
pub(super) fn read_alerts(text: &str, user: UserId) -> Result<i64, NotACursor> {
    let mut bytes = [0; 13];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| NotACursor)?;
    let [kind, number @ .., _, _, _, _] = bytes;
    let number = i64::from_be_bytes(number);
    // Another user's numbers would leave out this one's alerts.
    if kind == ALERTS && number >= 0 && write_alerts(number, user) == text {
        Ok(number)
    } else {
        Err(NotACursor)
    }
}

/// What a caller has of each ticker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct QuotesCursor(HashMap<TickerKey, Mark>);

impl QuotesCursor {
    pub(super) fn read(text: &str) -> Result<Self, NotACursor> {
        const MOST: usize = 8_192;
        if text.len() > MOST {
            return Err(NotACursor);
        }
        let bytes = hex::decode(text).map_err(|_| NotACursor)?;
        let Some((&QUOTES, entries)) = bytes.split_first() else {
            return Err(NotACursor);
        };
        let (entries, []) = entries.as_chunks::<16>() else {
            return Err(NotACursor);
        };
        let entry = |&[a, b, c, d, time @ .., e, f, g, h]: &[u8; 16]| {
            let event_micros = i64::from_be_bytes(time);
            let rest = [e, f, g, h];
            ([a, b, c, d], Mark { event_micros, rest })
        };
        Ok(Self(entries.iter().map(entry).collect()))
    }

    pub(super) fn write(&self) -> String {
        let mut bytes = vec![QUOTES];
        let mut entries: Vec<_> = self.0.iter().collect();
        entries.sort_unstable();
        for (ticker, mark) in entries {
            bytes.extend(ticker);
            bytes.extend(mark.event_micros.to_be_bytes());
            bytes.extend(mark.rest);
        }
        hex::encode(bytes)
    }

    /// Whether the caller has this price already, or a newer one, as where this server reads from a replica that is behind.
    pub(super) fn has(&self, quote: &Quote) -> bool {
        let new = mark(quote);
        self.0
            .get(&key(&quote.ticker))
            .is_some_and(|known| *known == new || known.event_micros > new.event_micros)
    }

    /// The caller has this price now.
    pub(super) fn take(&mut self, quote: &Quote) {
        self.0.insert(key(&quote.ticker), mark(quote));
    }

    /// Forgets all other tickers, so that the cursor stays as long as the list.
    pub(super) fn retain(&mut self, tickers: &[Ticker]) {
        let keys: Vec<TickerKey> = tickers.iter().map(key).collect();
        self.0.retain(|known, _| keys.contains(known));
    }
}

fn key(ticker: &Ticker) -> TickerKey {
    shortened(ticker.as_str())
}

fn mark(quote: &Quote) -> Mark {
    let ingest_micros = quote.ingest_time.as_micros();
    Mark {
        event_micros: quote.event_time.as_micros(),
        rest: shortened(&format!("{ingest_micros} {}", quote.price.units())),
    }
}

fn shortened<const BYTES: usize>(text: &str) -> [u8; BYTES] {
    let digest = Sha256::digest(text.as_bytes());
    let mut short = [0; BYTES];
    for (to, from) in short.iter_mut().zip(digest) {
        *to = from;
    }
    short
}

#[cfg(test)]
mod tests {
    use cqrs::domain::Timestamp;

    use super::*;

    fn quote(ticker: &str, price: &str) -> Quote {
        Quote {
            ticker: ticker.parse().unwrap(),
            price: price.parse().unwrap(),
            currency: String::new(),
            volume: None,
            trade_side: None,
            event_time: Timestamp::from_micros(5),
            ingest_time: Timestamp::from_micros(6),
            source: "test".into(),
        }
    }

    #[test]
    fn a_place_among_alerts_is_read_as_written_and_by_its_user_alone() {
        let (ada, bob) = (UserId::generate(), UserId::generate());
        for number in [0, 1, i64::MAX] {
            let text = write_alerts(number, ada);
            assert_eq!(read_alerts(&text, ada), Ok(number));
            assert_eq!(read_alerts(&text, bob), Err(NotACursor));
        }
        let changed = write_alerts(7, ada).replacen("07", "08", 1);
        for wrong in ["", "7", "zz", &"0".repeat(26), &"f".repeat(600), changed.as_str()] {
            assert_eq!(read_alerts(wrong, ada), Err(NotACursor), "{wrong}");
        }
    }

    #[test]
    fn what_a_caller_has_of_each_ticker_is_read_as_written() {
        let mut cursor = QuotesCursor::default();
        cursor.take(&quote("AAPL", "100"));
        cursor.take(&quote("AAPL", "101"));
        cursor.take(&quote("MSFT", "5"));
        let read = QuotesCursor::read(&cursor.write()).unwrap();
        assert_eq!(read, cursor);
        assert!(read.has(&quote("AAPL", "101")) && read.has(&quote("MSFT", "5")));
        assert!(!read.has(&quote("AAPL", "100")) && !read.has(&quote("IBM", "5")));
        assert_eq!(
            QuotesCursor::read(&QuotesCursor::default().write()),
            Ok(QuotesCursor::default())
        );
        let mut older = quote("AAPL", "101");
        older.event_time = Timestamp::from_micros(4);
        assert!(read.has(&older), "from a replica that is behind");
        older.event_time = Timestamp::from_micros(6);
        assert!(!read.has(&older));
        for wrong in ["", "01", "03ff", "02", "xx", &"03".repeat(5_000)] {
            assert!(QuotesCursor::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_longest_cursor_is_within_what_the_api_promises() {
        let mut cursor = QuotesCursor::default();
        for number in 0..200 {
            cursor.take(&quote(&format!("T{number}"), "1"));
        }
        assert!(cursor.write().len() <= 8_192);
        cursor.retain(&["T7".parse().unwrap()]);
        assert_eq!(cursor.write().len(), 2 + 32);
    }
}
