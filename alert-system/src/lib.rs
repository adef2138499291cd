#![doc = include_str!("../README.md")]

mod acknowledgements;
mod checkpoint;
mod config;
mod ends;
pub mod engine;
mod error;
mod evaluator;
mod group;
mod lag;
mod metrics;
mod partition;
mod pressure;
mod restore;
mod run;
mod watchdog;
mod worker;

pub use config::Config;
pub use run::run;
