use cqrs::domain::{FeedChange, Ticker};

use crate::codec::{
    DecodeError, decode_alert, decode_feed, decode_quote, decode_rule, decode_rule_key, decode_ticker,
    feed_key,
};
use crate::topics::{ALERTS, FEEDS, QUOTES, RULES, TICKERS, Topic};

/// The topics whose records can become dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Rules,
    Quotes,
    Alerts,
    Tickers,
    Feeds,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::Rules,
        Self::Quotes,
        Self::Alerts,
        Self::Tickers,
        Self::Feeds,
    ];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.topic().name == name)
    }

    pub(super) const fn topic(self) -> Topic {
        match self {
            Self::Rules => RULES,
            Self::Quotes => QUOTES,
            Self::Alerts => ALERTS,
            Self::Tickers => TICKERS,
            Self::Feeds => FEEDS,
        }
    }
}

/// What a record says, as far as its place in the topic goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Content {
    /// The rule, ticker or feed that it is about.
    pub(super) identity: String,
    /// Says the partition; a tombstone does not know it.
    pub(super) ticker: Option<Ticker>,
    /// Which of two records about the same is newer.
    pub(super) position: Position,
}

/// Compares records about one rule or ticker as the readers of their topic do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Position {
    /// Numbers, the most significant first.
    At([i64; 3]),
    /// Deleted, for good: newer than everything.
    Deleted,
}

impl Content {
    /// Reads a record as the consumers of its topic do, and at least as strictly.
    pub(super) fn of(kind: Kind, key: Option<&[u8]>, payload: Option<&[u8]>) -> Result<Self, DecodeError> {
        match kind {
            Kind::Rules | Kind::Alerts => Self::of_rule(kind, key, payload),
            Kind::Quotes => {
                let quote = decode_quote(payload.ok_or(DecodeError::Empty)?)?;
                Ok(Self {
                    identity: quote.ticker.to_string(),
                    position: Position::At([quote.event_time.as_micros(), 0, 0]),
                    ticker: Some(quote.ticker),
                })
            }
            Kind::Tickers => {
                let mark = decode_ticker(payload.ok_or(DecodeError::Empty)?)?;
                if key != Some(mark.ticker.as_str().as_bytes()) {
                    return Err(DecodeError::Key);
                }
                Ok(Self {
                    identity: mark.ticker.to_string(),
                    position: Position::At([mark.offset, 0, 0]),
                    ticker: Some(mark.ticker),
                })
            }
            Kind::Feeds => {
                let feed = decode_feed(key, payload.ok_or(DecodeError::Empty)?)?;
                let (ticker, updated_at) = match &feed {
                    FeedChange::Provider(feed) => (None, feed.updated_at),
                    FeedChange::Ticker(feed) => (Some(feed.ticker.clone()), feed.updated_at),
                    FeedChange::Restated(restatement) => {
                        (Some(restatement.ticker.clone()), restatement.restated_at)
                    }
                };
                Ok(Self {
                    identity: feed_key(&feed),
                    ticker,
                    position: Position::At([updated_at.as_micros(), 0, 0]),
                })
            }
        }
    }

    /// Records whose key is a rule's id.
    fn of_rule(kind: Kind, key: Option<&[u8]>, payload: Option<&[u8]>) -> Result<Self, DecodeError> {
        let id = decode_rule_key(key)?;
        let Some(payload) = payload else {
            return Ok(Self {
                identity: id.to_string(),
                ticker: None,
                position: Position::Deleted,
            });
        };
        let (rule_id, ticker, position) = if kind == Kind::Rules {
            let rule = decode_rule(payload)?;
            (rule.rule_id, rule.ticker, [rule.version.get(), 0, 0])
        } else {
            let alert = decode_alert(payload)?;
            let position = alert.position;
            let numbers = [position.version.get(), position.generation, position.offset];
            (alert.rule_id, alert.ticker, numbers)
        };
        if rule_id != id {
            return Err(DecodeError::Key);
        }
        Ok(Self {
            identity: id.to_string(),
            ticker: Some(ticker),
            position: Position::At(position),
        })
    }
}

#[cfg(test)]
mod tests {
    use cqrs::domain::{
        Alert, AlertPosition, Price, RuleId, RuleVersion, Side, TickerFeed, TickerMark, Timestamp, UserId,
    };

    use super::*;
    use crate::codec::{encode_alert, encode_feed, encode_ticker};

    fn price() -> Price {
        "1.5".parse().unwrap()
    }

    /// An alert's record; the position is version, generation and offset.
    fn alert(rule_id: RuleId, [version, generation, offset]: [i64; 3]) -> Vec<u8> {
        encode_alert(&Alert {
            rule_id,
            user_id: UserId::generate(),
            ticker: "AAPL".parse().unwrap(),
            position: AlertPosition {
                version: RuleVersion::try_from(version).unwrap(),
                generation,
                offset,
            },
            side: Side::Below,
            price: price(),
            threshold: price(),
            currency: String::new(),
            quote_time: Timestamp::EPOCH,
            quote_ingest_time: Timestamp::EPOCH,
            raised_at: Timestamp::EPOCH,
            already_outside: false,
        })
    }

    fn mark(offset: i64) -> Vec<u8> {
        encode_ticker(&TickerMark {
            ticker: "AAPL".parse().unwrap(),
            price: price(),
            event_time: Timestamp::EPOCH,
            ingest_time: Timestamp::EPOCH,
            offset,
            restated_at: None,
        })
    }

    #[test]
    fn of_a_rules_alerts_the_version_counts_first_then_the_log_then_the_quote() {
        let id = RuleId::generate();
        let key = id.to_string();
        let position = |payload: Option<Vec<u8>>| {
            let content = Content::of(Kind::Alerts, Some(key.as_bytes()), payload.as_deref()).unwrap();
            assert_eq!(content.identity, key);
            content.position
        };
        let order = [[1, 0, 9], [1, 1, 0], [1, 1, 5], [2, 0, 0]].map(|at| position(Some(alert(id, at))));
        assert!(order.is_sorted_by(|older, newer| older < newer), "{order:?}");
        assert!(position(None) > order[3]);
    }

    #[test]
    fn of_a_tickers_marks_the_later_quote_counts() {
        let of =
            |key: &[u8], payload: Option<Vec<u8>>| Content::of(Kind::Tickers, Some(key), payload.as_deref());
        assert!(of(b"AAPL", Some(mark(3))).unwrap().position < of(b"AAPL", Some(mark(20))).unwrap().position);
        assert!(matches!(of(b"MSFT", Some(mark(3))), Err(DecodeError::Key)));
        assert!(matches!(of(b"AAPL", None), Err(DecodeError::Empty)));
    }

    #[test]
    fn of_a_feeds_records_the_later_update_counts() {
        let position = |micros| {
            let feed = FeedChange::Ticker(TickerFeed {
                ticker: "AAPL".parse().unwrap(),
                stale_since: None,
                updated_at: Timestamp::from_micros(micros),
            });
            let content = Content::of(Kind::Feeds, Some(b"ticker/AAPL"), Some(&encode_feed(&feed))).unwrap();
            assert_eq!(content.identity, "ticker/AAPL");
            content.position
        };
        assert!(position(3) < position(20));
        assert!(matches!(
            Content::of(Kind::Feeds, Some(b"ticker/AAPL"), None),
            Err(DecodeError::Empty)
        ));
    }

    #[test]
    fn a_key_that_is_another_rules_is_refused() {
        let (one, other) = (RuleId::generate().to_string(), RuleId::generate());
        let payload = alert(other, [1, 0, 0]);
        let content = Content::of(Kind::Alerts, Some(one.as_bytes()), Some(&payload));
        assert!(matches!(content, Err(DecodeError::Key)));
    }
}
