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
pub mod rules_topic;
pub mod servers;
pub mod telegram_stub;

/// Whether tests take the sizes that show the promises: `E2E_FULL=1`. Smaller ones take part in `make test`.
#[must_use]
pub fn is_full() -> bool {
    std::env::var_os("E2E_FULL").is_some_and(|full| full == "1")
}
