#![doc = include_str!("../README.md")]

pub mod alert_comparison;
pub mod committed;
pub mod day;
pub mod feed;
pub mod log;
pub mod market;
pub mod oracle;
pub mod process;
pub mod report;
pub mod rule_book;
pub mod rule_history;
pub mod servers;
pub mod telegram_stub;
