//! Between the messages of the API and the domain: the only place that knows both.

mod deliveries;
mod fields;
mod history;
mod input;
mod output;
mod rules;

pub(crate) use deliveries::{delivery, delivery_filter};
pub(crate) use fields::Fields;
pub(crate) use history::{candle, candle_range, listed_ticker, time_range};
pub(crate) use input::{
    average_range, email, expire_time, idempotency, mask, new_rule, new_rules, optional_price, page,
    random_request_id, range, reminder_interval, request_id,
};
pub(crate) use output::{
    alert, episode, feed, link, quote, restatement, rule, stale_ticker, timestamp, user,
};
pub(crate) use rules::{batch_size, preview, preview_window, rule_filter, snooze};
