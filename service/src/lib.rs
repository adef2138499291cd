#![doc = include_str!("../README.md")]

pub mod admin;
pub mod codec;
pub mod config;
pub mod kafka;
mod main_loop;
mod telemetry;
pub mod test_alerts;
pub mod topics;
mod trace_parent;

pub use admin::{ComponentHealth, Health};
pub use main_loop::{Context, main};
pub use telemetry::{LogArgs, LogFormat, init_telemetry, install_metrics};
pub use trace_parent::TraceParent;
