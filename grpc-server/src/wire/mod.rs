//! Between the messages of the API and the domain: the only place that knows both.

mod fields;
mod input;
mod output;

pub(crate) use fields::Fields;
pub(crate) use input::{
    average_range, email, expire_time, idempotency, mask, new_rule, new_rules, optional_price, page,
    random_request_id, range, reminder_interval, request_id,
};
pub(crate) use output::{alert, feed, link, quote, restatement, rule, stale_ticker, timestamp, user};
