use proto::v1;
use serde::Serialize;

use super::{Quote, Side, not_empty, time};

#[derive(Debug, Serialize)]
pub(crate) struct Candle {
    pub start_time: Option<jiff::Timestamp>,
    pub open: String,
    pub high: String,
    pub low: String,
    pub close: String,
    pub quote_count: i64,
}

#[derive(Debug, Serialize)]
pub(crate) struct TickerSummary {
    pub ticker: String,
    /// Null: none was recorded yet.
    pub latest_quote: Option<Quote>,
    pub rule_count: i64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Delivery {
    pub id: String,
    pub alert_id: Option<String>,
    pub rule_id: Option<String>,
    pub ticker: String,
    /// As in the API, in lower case and without the prefix: "breach", "came_and_went".
    pub kind: String,
    pub status: String,
    pub side: Side,
    pub price: String,
    pub threshold: String,
    pub plan_time: Option<jiff::Timestamp>,
    pub due_time: Option<jiff::Timestamp>,
    /// Null: Telegram has not accepted it.
    pub send_time: Option<jiff::Timestamp>,
    pub attempt_count: i64,
    pub ambiguous_attempt_count: i64,
    pub reason: Option<String>,
}

impl From<v1::Candle> for Candle {
    fn from(candle: v1::Candle) -> Self {
        Self {
            start_time: time(candle.start_time),
            open: candle.open,
            high: candle.high,
            low: candle.low,
            close: candle.close,
            quote_count: candle.quote_count,
        }
    }
}

impl From<v1::TickerSummary> for TickerSummary {
    fn from(summary: v1::TickerSummary) -> Self {
        Self {
            ticker: summary.ticker,
            latest_quote: summary.latest_quote.map(Into::into),
            rule_count: summary.rule_count,
        }
    }
}

impl From<v1::Delivery> for Delivery {
    fn from(delivery: v1::Delivery) -> Self {
        let lower = |name: &str, prefix: &str| name.trim_start_matches(prefix).to_ascii_lowercase();
        Self {
            kind: lower(delivery.kind().as_str_name(), "KIND_"),
            status: lower(delivery.status().as_str_name(), "STATUS_"),
            side: delivery.side().into(),
            id: delivery.id,
            alert_id: not_empty(delivery.alert_id),
            rule_id: not_empty(delivery.rule_id),
            ticker: delivery.ticker,
            price: delivery.price,
            threshold: delivery.threshold,
            plan_time: time(delivery.plan_time),
            due_time: time(delivery.due_time),
            send_time: time(delivery.send_time),
            attempt_count: delivery.attempt_count,
            ambiguous_attempt_count: delivery.ambiguous_attempt_count,
            reason: not_empty(delivery.reason),
        }
    }
}
