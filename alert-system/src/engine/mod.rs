//! Rules in, quotes in, transitions out. No I/O, no clock: the same input gives the same output, which is what lets a
//! crash be repaired by reading the input again.

mod evaluate;
mod rules;

pub use evaluate::{RearmMargin, side_after};
pub use rules::{Engine, QuoteFate, RuleEffect};
