#![doc = include_str!("../README.md")]

mod acknowledgements;
mod config;
pub mod engine;
mod partition;
mod rebalance;
mod restore;
mod run;
mod worker;

pub use config::Config;
pub use run::run;
