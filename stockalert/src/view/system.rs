use proto::v1;
use serde::Serialize;

use super::{not_empty, time};

#[derive(Debug, Serialize)]
pub(crate) struct Status {
    pub feeds: Vec<Feed>,
    pub stale_tickers: Vec<StaleTicker>,
    pub restatements: Vec<TickerRestatement>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Feed {
    pub provider: String,
    pub instance: String,
    pub breaker: Breaker,
    pub reason: Option<String>,
    pub ticker_count: i64,
    pub last_success_time: Option<jiff::Timestamp>,
    pub update_time: Option<jiff::Timestamp>,
    pub gone: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Breaker {
    Closed,
    Open,
    HalfOpen,
    /// A state that this version of the program does not know.
    Unknown,
}

#[derive(Debug, Serialize)]
pub(crate) struct StaleTicker {
    pub ticker: String,
    pub stale_time: Option<jiff::Timestamp>,
}

#[derive(Debug, Serialize)]
pub(crate) struct TickerRestatement {
    pub ticker: String,
    pub restating: Restating,
}

/// Prices that are counted anew. Null shares: thresholds can't be converted.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Restating {
    pub restate_time: Option<jiff::Timestamp>,
    pub from_price: String,
    pub to_price: String,
    pub new_shares: Option<i32>,
    pub old_shares: Option<i32>,
    pub event_time: Option<jiff::Timestamp>,
}

impl Restating {
    /// What it looks like, for people.
    pub(crate) fn name(&self) -> String {
        match (self.new_shares, self.old_shares) {
            (Some(new), Some(old)) => format!("{new}:{old} split"),
            _ => "another unit".to_owned(),
        }
    }
}

impl From<v1::Restating> for Restating {
    fn from(restating: v1::Restating) -> Self {
        let shares = |shares: i32| Some(shares).filter(|shares| *shares > 0);
        Self {
            restate_time: time(restating.restate_time),
            from_price: restating.from_price,
            to_price: restating.to_price,
            new_shares: shares(restating.new_shares),
            old_shares: shares(restating.old_shares),
            event_time: time(restating.event_time),
        }
    }
}

impl From<v1::GetStatusResponse> for Status {
    fn from(status: v1::GetStatusResponse) -> Self {
        let stale = |stale: v1::StaleTicker| StaleTicker {
            ticker: stale.ticker,
            stale_time: time(stale.stale_time),
        };
        let restatement = |restatement: v1::TickerRestatement| TickerRestatement {
            ticker: restatement.ticker,
            restating: restatement.restating.map(Into::into).unwrap_or_default(),
        };
        Self {
            feeds: status.feeds.into_iter().map(Into::into).collect(),
            stale_tickers: status.stale_tickers.into_iter().map(stale).collect(),
            restatements: status.restatements.into_iter().map(restatement).collect(),
        }
    }
}

impl From<v1::Feed> for Feed {
    fn from(feed: v1::Feed) -> Self {
        let breaker = match feed.breaker() {
            v1::feed::Breaker::Closed => Breaker::Closed,
            v1::feed::Breaker::Open => Breaker::Open,
            v1::feed::Breaker::HalfOpen => Breaker::HalfOpen,
            v1::feed::Breaker::Unspecified => Breaker::Unknown,
        };
        Self {
            provider: feed.provider,
            instance: feed.instance,
            breaker,
            reason: not_empty(feed.reason),
            ticker_count: feed.ticker_count,
            last_success_time: time(feed.last_success_time),
            update_time: time(feed.update_time),
            gone: feed.gone,
        }
    }
}
