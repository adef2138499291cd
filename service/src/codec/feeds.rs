//! The records of the feeds topic.

use cqrs::domain::{BreakerState, FeedChange, FeedState, Price, Restatement, Split, TickerFeed, Timestamp};
use prost::Message as _;
use proto::v1;
use proto::v1::feed_record::About;

use super::{DecodeError, field, has_control, optional_time, time};

/// The key of a feed's record.
#[must_use]
pub fn feed_key(change: &FeedChange) -> String {
    match change {
        FeedChange::Provider(feed) => format!("provider/{}/{}", feed.provider, feed.instance),
        FeedChange::Ticker(feed) => format!("ticker/{}", feed.ticker),
        FeedChange::Restated(restatement) => format!("restated/{}", restatement.ticker),
    }
}

/// Bytes of a feed's record.
#[must_use]
pub fn encode_feed(change: &FeedChange) -> Vec<u8> {
    let about = match change {
        FeedChange::Provider(feed) => About::Provider(v1::ProviderFeed {
            provider: feed.provider.clone(),
            instance: feed.instance.clone(),
            breaker: match feed.breaker {
                BreakerState::Closed => v1::BreakerState::Closed,
                BreakerState::Open => v1::BreakerState::Open,
                BreakerState::HalfOpen => v1::BreakerState::HalfOpen,
            }
            .into(),
            reason: feed.reason.clone().unwrap_or_default(),
            tickers: i64::try_from(feed.tickers).unwrap_or(i64::MAX),
            last_success_time_us: feed.last_success_at.map(Timestamp::as_micros),
            update_time_us: feed.updated_at.as_micros(),
        }),
        FeedChange::Ticker(feed) => About::Ticker(v1::TickerFeed {
            ticker: feed.ticker.to_string(),
            stale_since_us: feed.stale_since.map(Timestamp::as_micros),
            update_time_us: feed.updated_at.as_micros(),
        }),
        FeedChange::Restated(restatement) => About::Restated(v1::Restatement {
            ticker: restatement.ticker.to_string(),
            from_price: restatement.from.units(),
            to_price: restatement.to.units(),
            new_shares: restatement.split.map(Split::new_shares),
            old_shares: restatement.split.map(Split::old_shares),
            event_time_us: restatement.event_time.as_micros(),
            update_time_us: restatement.restated_at.as_micros(),
        }),
    };
    v1::FeedRecord { about: Some(about) }.encode_to_vec()
}

/// A feed's record from its key and bytes.
///
/// # Errors
/// If the bytes are not such a record, or one that makes no sense, or the key is another's.
pub fn decode_feed(key: Option<&[u8]>, bytes: &[u8]) -> Result<FeedChange, DecodeError> {
    let change = match v1::FeedRecord::decode(bytes)?.about {
        Some(About::Provider(record)) => FeedChange::Provider(provider(record)?),
        Some(About::Ticker(record)) => FeedChange::Ticker(TickerFeed {
            ticker: record.ticker.parse()?,
            stale_since: optional_time("stale_since_us", record.stale_since_us)?,
            updated_at: time("update_time_us", record.update_time_us)?,
        }),
        Some(About::Restated(record)) => FeedChange::Restated(restatement(&record)?),
        None => return Err(DecodeError::Empty),
    };
    if key == Some(feed_key(&change).as_bytes()) {
        Ok(change)
    } else {
        Err(DecodeError::Key)
    }
}

fn provider(record: v1::ProviderFeed) -> Result<FeedState, DecodeError> {
    let breaker = match record.breaker() {
        v1::BreakerState::Closed => BreakerState::Closed,
        v1::BreakerState::Open => BreakerState::Open,
        v1::BreakerState::HalfOpen => BreakerState::HalfOpen,
        v1::BreakerState::Unspecified => return Err(field("breaker", &record.breaker)),
    };
    let reason = text("reason", record.reason, FeedState::MAX_REASON)?;
    Ok(FeedState {
        provider: name("provider", record.provider, FeedState::MAX_PROVIDER)?,
        instance: name("instance", record.instance, FeedState::MAX_INSTANCE)?,
        breaker,
        reason: Some(reason).filter(|reason| !reason.is_empty()),
        tickers: u64::try_from(record.tickers).map_err(|_| field("tickers", &record.tickers))?,
        last_success_at: optional_time("last_success_time_us", record.last_success_time_us)?,
        updated_at: time("update_time_us", record.update_time_us)?,
    })
}

fn restatement(record: &v1::Restatement) -> Result<Restatement, DecodeError> {
    let split = match (record.new_shares, record.old_shares) {
        (None, None) => None,
        (new, old) => {
            let split = Split::new(new.unwrap_or_default(), old.unwrap_or_default());
            Some(split.ok_or_else(|| field("new_shares", &new.unwrap_or_default()))?)
        }
    };
    Ok(Restatement {
        ticker: record.ticker.parse()?,
        from: Price::from_units(record.from_price)?,
        to: Price::from_units(record.to_price)?,
        split,
        event_time: time("event_time_us", record.event_time_us)?,
        restated_at: time("update_time_us", record.update_time_us)?,
    })
}

/// A text of at least one character, without the slash that separates the parts of a key.
fn name(field_name: &'static str, value: String, most: usize) -> Result<String, DecodeError> {
    if value.is_empty() || value.contains('/') {
        return Err(field(field_name, &value));
    }
    text(field_name, value, most)
}

fn text(field_name: &'static str, value: String, most: usize) -> Result<String, DecodeError> {
    if value.chars().count() > most || has_control(&value) {
        return Err(field(field_name, &value));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> FeedState {
        FeedState {
            provider: "yahoo".into(),
            instance: "3f2a9c1d".into(),
            breaker: BreakerState::HalfOpen,
            reason: Some("HTTP 503".into()),
            tickers: 7,
            last_success_at: Some(Timestamp::from_micros(5)),
            updated_at: Timestamp::from_micros(6),
        }
    }

    fn restated(split: Option<Split>) -> Restatement {
        Restatement {
            ticker: "AAPL".parse().unwrap(),
            from: "645.70".parse().unwrap(),
            to: "92.42".parse().unwrap(),
            split,
            event_time: Timestamp::from_micros(3),
            restated_at: Timestamp::from_micros(4),
        }
    }

    fn trip(change: &FeedChange) -> Result<FeedChange, DecodeError> {
        decode_feed(Some(feed_key(change).as_bytes()), &encode_feed(change))
    }

    #[test]
    fn feeds_survive_the_trip() {
        let ticker = |stale_since| {
            FeedChange::Ticker(TickerFeed {
                ticker: "^GSPC".parse().unwrap(),
                stale_since,
                updated_at: Timestamp::from_micros(9),
            })
        };
        let silent = FeedState {
            reason: None,
            last_success_at: None,
            ..state()
        };
        for change in [
            FeedChange::Provider(state()),
            FeedChange::Provider(silent),
            ticker(None),
            ticker(Some(Timestamp::from_micros(8))),
        ] {
            assert_eq!(trip(&change).unwrap(), change);
        }
        for split in [None, Split::new(7, 1)] {
            let change = FeedChange::Restated(restated(split));
            assert_eq!(trip(&change).unwrap(), change);
            assert_eq!(feed_key(&change), "restated/AAPL");
        }
        assert_eq!(
            feed_key(&FeedChange::Provider(state())),
            "provider/yahoo/3f2a9c1d"
        );
        assert_eq!(feed_key(&ticker(None)), "ticker/^GSPC");
    }

    #[test]
    fn feeds_that_make_no_sense_are_refused() {
        type Change = fn(&mut FeedState);
        let changes: [(Change, &str); 7] = [
            (|feed| feed.provider.clear(), "provider"),
            (|feed| feed.provider = "a/b".into(), "provider"),
            (|feed| feed.provider = "x".repeat(33), "provider"),
            (|feed| feed.instance = "x\n".into(), "instance"),
            (|feed| feed.reason = Some("x".repeat(201)), "reason"),
            (
                |feed| feed.updated_at = Timestamp::from_micros(-1),
                "update_time_us",
            ),
            (
                |feed| feed.last_success_at = Some(Timestamp::from_micros(i64::MAX)),
                "last_success_time_us",
            ),
        ];
        for (change, expected) in changes {
            let mut feed = state();
            change(&mut feed);
            let result = trip(&FeedChange::Provider(feed));
            assert!(
                matches!(result, Err(DecodeError::Field { field, .. }) if field == expected),
                "{result:?}"
            );
        }
        for (new_shares, old_shares) in [(Some(7), None), (None, Some(1)), (Some(0), Some(1))] {
            let mut record =
                v1::FeedRecord::decode(&*encode_feed(&FeedChange::Restated(restated(None)))).unwrap();
            let Some(About::Restated(about)) = &mut record.about else {
                panic!("{record:?}");
            };
            (about.new_shares, about.old_shares) = (new_shares, old_shares);
            let decoded = decode_feed(Some(b"restated/AAPL"), &record.encode_to_vec());
            assert!(
                matches!(
                    decoded,
                    Err(DecodeError::Field {
                        field: "new_shares",
                        ..
                    })
                ),
                "{decoded:?}"
            );
        }
        let bytes = encode_feed(&FeedChange::Provider(state()));
        for key in [None, Some("provider/yahoo/x".as_bytes())] {
            assert!(matches!(decode_feed(key, &bytes), Err(DecodeError::Key)));
        }
        assert!(matches!(decode_feed(None, b""), Err(DecodeError::Empty)));
        assert!(decode_feed(None, b"\xff\xff").is_err());
    }
}
