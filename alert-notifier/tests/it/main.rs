//! The notifier against a Bot API stub, an embedded broker and SQLite.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that can't go on fails; the setting for tests does not reach helper functions"
)]

mod bot;
mod bot_buttons;
mod bot_conversation;
mod bot_pace;
mod bot_standing;
mod bot_start;
mod bot_updates;
mod deliveries;
mod deliveries_fairness;
mod deliveries_many;
mod deliveries_outage;
mod feeds;
mod intake;
mod restating;
mod secrets;
mod stage;
