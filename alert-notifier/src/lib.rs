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
pub mod text;

pub use config::{Config, Retries, TelegramArgs, WebhookArgs};
pub use run::run;
