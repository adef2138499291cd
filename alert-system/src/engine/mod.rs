//! Rules in, quotes in, transitions out. No I/O, no clock: the same input gives the same output, which is what lets a
//! crash be repaired by reading the input again.
//!
//! | module | what it does |
//! |---|---|
//! | `matcher` | `Engine`: rules by id, quotes by ticker, transitions |
//! | `book` | one ticker's rules, each in the place where the quote that changes its side finds it |
//! | `ladder` | sorted thresholds with a cursor: almost all rules are here |
//! | `waiting` | the others: rules whose state a cursor can't express, rules that must not see a quote |
//! | `restoring` | an engine from the compacted topics |
//! | `names` | tickers' indices, for every quote |
//! | `chunked`, `sharded` | an array and a hash table that grow without standing still |
//!
//! # A quote
//!
//! Each ticker has a *band*: the prices between the nearest thresholds on either side. A quote inside it changes nothing,
//! and is known to by one cache line, whatever the number of rules. One outside moves the cursors of the ticker's two
//! ladders, past those thresholds that it reaches, and those rules are looked at one by one: `side_after`, the definition
//! (in `cqrs::domain`), decides. So the ladders only nominate; a mistake of theirs could delay an alert, but never make a
//! wrong one.
//!
//! # Invariants
//!
//! - In a ladder, those before the cursor have fired, those after it have not. Whoever would break that is kept loose, with
//!   triggers of its own.
//! - The band never contains a price that changes a rule's side. It may be narrower than needed.
//! - A rule that must not see a quote (made after it, expired before it, or already changed by it) keeps its state and sleeps
//!   until a quote that it may see.
//! - A rule from before its ticker's prices were restated keeps its state and sees no quote.
//! - No change moves more than a segment of 256 thresholds, a shard of the hash table, or the list of segments.

mod book;
mod chunked;
mod entry;
mod ladder;
mod matcher;
mod names;
mod restoring;
mod sharded;
#[cfg(test)]
mod tests;
mod waiting;

pub use cqrs::domain::{RearmMargin, side_after};
pub use matcher::{Engine, QuoteFate, Tick, TickerIndex, Transition};
pub use restoring::{Restoring, StateFate};
