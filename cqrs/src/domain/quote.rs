use super::{Price, Ticker, Timestamp};

/// Which side initiated a trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TradeSide {
    /// The buyer.
    Buy,
    /// The seller.
    Sell,
}

/// A price of a ticker at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// Of what.
    pub ticker: Ticker,
    /// In `currency`.
    pub price: Price,
    /// As the source spells it ("GBp" is pence, not "GBP"); empty: not known. At most 16 characters.
    pub currency: String,
    /// Traded amount in units of 1e-8, not negative.
    pub volume: Option<i64>,
    /// Who initiated the trade, where the source knows.
    pub trade_side: Option<TradeSide>,
    /// When the price was made, by the source's clock.
    pub event_time: Timestamp,
    /// When it entered this system.
    pub ingest_time: Timestamp,
    /// The provider's name, at most 32 characters.
    pub source: String,
}

/// The last evaluated quote of a ticker: what the `tickers` topic keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TickerMark {
    /// Of what.
    pub ticker: Ticker,
    /// Its price.
    pub price: Price,
    /// By the source's clock.
    pub event_time: Timestamp,
    /// When it entered this system.
    pub ingest_time: Timestamp,
    /// Its offset in the quotes topic, or [`Self::NOT_OF_THIS_LOG`].
    pub offset: i64,
    /// When it was known that the ticker's prices are counted anew, the latest time: rules from before see no quote.
    pub restated_at: Option<Timestamp>,
}

impl TickerMark {
    /// The offset of a quote that was evaluated before the log was built anew: all of the log's are after it.
    pub const NOT_OF_THIS_LOG: i64 = -1;
}
