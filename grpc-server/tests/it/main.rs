//! The gRPC server as its callers see it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking; clippy.toml allows it in test functions alone"
)]

mod access;
mod app;
mod bad_input;
mod commands;
mod health;
mod queries;
mod refusal;
mod reflection;
mod relay;
mod rules_topic;
