//! The collector against a provider that misbehaves and a broker.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail by panicking"
)]

mod baselines;
mod breaker;
mod breaker_model;
mod collect;
mod provider_bodies;
mod provider_calls;
mod provider_faults;
mod provider_stub;
mod provider_trouble;
mod provider_yahoo_chart;
mod replay;
mod restating;
mod sanity;
mod sharing;
mod stale;
mod stub;
mod trial;
