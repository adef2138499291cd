use std::collections::HashSet;

use cqrs::domain::Ticker;

use crate::engine::naive::Engine;

/// One partition that this instance works on.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) engine: Engine,
    /// Offset of the next record of the rules topic.
    pub(crate) next_rule: i64,
    /// Offset of the next quote, once one was handled.
    pub(crate) next_quote: Option<i64>,
    /// Where the tickers topic ended when it was read.
    pub(crate) tickers_end: i64,
    /// Tickers whose last evaluated quote is newer than their record.
    pub(crate) touched: HashSet<Ticker>,
    /// Something was handled since the last commit.
    pub(crate) uncommitted: bool,
}
