#![doc = include_str!("../README.md")]

mod alerts;
mod bot;
pub mod buttons;
pub mod chart;
mod clock;
mod config;
mod delivery;
mod disposition;
mod feeds;
mod intake;
mod metrics;
mod reminders;
mod run;
pub mod sender;
mod test_alert;
pub mod text;

pub use config::{Config, Retries, TelegramArgs, WebhookArgs};
pub use run::run;
