//! e2e
pub mod telegram_stub;
