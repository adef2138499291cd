#![doc = include_str!("../README.md")]

pub mod day;
pub mod log;
pub mod oracle;
pub mod process;
pub mod servers;
pub mod telegram_stub;
