use cqrs::domain::Timestamp;

use crate::provider::Market;

/// When a ticker is traded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Trading {
    /// Nobody has said yet.
    #[default]
    Unknown,
    /// At all times.
    Always,
    /// From `start` to before `end`; at other times it is not known to be.
    Between {
        /// The market opens.
        start: Timestamp,
        /// It closes.
        end: Timestamp,
    },
}

impl Trading {
    /// When the session that `now` falls in began. None: the market is closed, or nobody knows.
    #[must_use]
    pub fn session_at(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Unknown => None,
            Self::Always => Some(Timestamp::EPOCH),
            Self::Between { start, end } => (start <= now && now < end).then_some(start),
        }
    }
}

/// When a ticker is traded, as its providers' answers tell it one after the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hours {
    /// As it was last said.
    trading: Trading,
    /// Where no hours say it: since when the market has been called open.
    open_since: Option<Timestamp>,
}

impl Hours {
    /// Takes note of what an answer says that came at `now`. Where it has no hours, a session begins when the market is first
    /// called open, and ends when it is no longer.
    pub fn take(&mut self, trading: Trading, market: Market, now: Timestamp) {
        if trading != Trading::Unknown {
            (self.trading, self.open_since) = (trading, None);
            return;
        }
        match market {
            Market::Open => self.open_since = self.open_since.or(Some(now)),
            Market::Extended | Market::Closed => self.open_since = None,
            Market::Unknown => {}
        }
    }

    /// When the session that `now` falls in began. None: the market is closed, or nobody knows.
    #[must_use]
    pub fn session_at(self, now: Timestamp) -> Option<Timestamp> {
        match self.trading {
            // Hours that are over say nothing of the next.
            Trading::Between { end, .. } if end <= now => self.open_since,
            Trading::Unknown => self.open_since,
            Trading::Always | Trading::Between { .. } => self.trading.session_at(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: i64 = 9 * 3_600;
    const CLOSE: i64 = 17 * 3_600;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn hours() -> Trading {
        Trading::Between {
            start: at(OPEN),
            end: at(CLOSE),
        }
    }

    #[test]
    fn the_session_has_its_first_moment_and_not_its_last() {
        for (now, session) in [
            (OPEN - 1, None),
            (OPEN, Some(OPEN)),
            (CLOSE - 1, Some(OPEN)),
            (CLOSE, None),
        ] {
            assert_eq!(hours().session_at(at(now)), session.map(at), "{now}");
        }
        assert_eq!(Trading::Unknown.session_at(at(OPEN)), None);
        assert_eq!(Trading::Always.session_at(at(OPEN)), Some(Timestamp::EPOCH));
    }

    #[test]
    fn where_no_hours_say_it_a_session_lasts_while_the_market_is_called_open() {
        let mut word = Hours::default();
        let mut session = |trading, market, now| {
            word.take(trading, market, at(now));
            word.session_at(at(now))
                .map(|start| start.as_micros() / 1_000_000)
        };
        let unknown = Trading::Unknown;
        assert_eq!(session(unknown, Market::Unknown, 1), None);
        assert_eq!(session(unknown, Market::Extended, 2), None);
        assert_eq!(session(unknown, Market::Open, 3), Some(3));
        assert_eq!(session(unknown, Market::Open, 4), Some(3));
        assert_eq!(
            session(unknown, Market::Unknown, 5),
            Some(3),
            "not everybody says it"
        );
        assert_eq!(session(unknown, Market::Closed, 6), None);
        assert_eq!(session(unknown, Market::Open, 7), Some(7), "the next session");
        assert_eq!(session(unknown, Market::Extended, 8), None);
        // Who knows the hours is believed as long as they last.
        assert_eq!(session(unknown, Market::Open, 9), Some(9));
        assert_eq!(session(hours(), Market::Closed, OPEN - 2), None);
        assert_eq!(session(unknown, Market::Open, OPEN - 1), None);
        assert_eq!(session(hours(), Market::Open, OPEN + 5), Some(OPEN));
        assert_eq!(session(unknown, Market::Closed, CLOSE - 1), Some(OPEN));
        assert_eq!(session(unknown, Market::Unknown, CLOSE), None);
        assert_eq!(session(unknown, Market::Open, CLOSE + 9), Some(CLOSE + 9));
        assert_eq!(session(Trading::Always, Market::Open, CLOSE + 10), Some(0));
    }
}
