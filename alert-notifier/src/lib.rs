#![doc = include_str!("../README.md")]

mod bot;
pub mod buttons;
pub mod chart;
mod config;
mod delivery;
mod disposition;
mod intake;
mod metrics;
mod pacing;
mod reminders;
pub mod render;
mod run;
pub mod sender;
pub mod text;

pub use config::{Config, TelegramArgs};
pub use run::run;
