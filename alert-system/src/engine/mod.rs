//! Rules in, quotes in, transitions out. No I/O, no clock: the same input gives the same output, which is what lets a
//! crash be repaired by reading the input again.

mod book;
mod chunked;
mod entry;
mod evaluate;
mod ladder;
mod matcher;
mod restoring;
/// The former index, until the loop moves.
pub mod naive {
    pub use super::rules::{Engine, QuoteFate, RuleEffect};
}
mod rules;
mod sharded;
#[cfg(test)]
mod tests;
mod waiting;

pub use evaluate::{RearmMargin, side_after};
pub use matcher::{Engine, QuoteFate, Tick, TickerIndex, Transition};
pub use restoring::{Restoring, StateFate};
