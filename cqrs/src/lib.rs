#![doc = include_str!("../README.md")]

pub mod domain;

mod batches;
mod commands;
mod dialect;
mod error;
mod history;
mod leases;
mod ledger;
mod operators;
mod outbox;
mod queries;
mod rows;
mod sizes;
mod store;
mod transaction;

pub use commands::{
    Caller, Commands, HoldAnswer, Holder, Idempotency, IssuedLink, Limits, Linked, Registration, Released,
    RuleEdit, RuleRefusal, UserEdit,
};
pub use error::{CommandError, StoreError};
pub use history::QuoteHistory;
pub use leases::{Lease, Leases};
pub use ledger::{
    Backlog, Checked, ClaimLimits, ClaimedMessage, DeliveryKind, DeliveryStatus, DeliveryView, Flapping,
    Folded, FoldedFeeds, Heading, HeldRule, Ledger, LedgerChange, MAX_ITEMS, MessageFacts, MessageItem,
    OpenEpisode, Outcome, Pace, Recipient, Restated, Resumed, reasons,
};
pub use operators::{Operators, UserSummary, Waiting};
pub use outbox::{Outbox, OutboxEntry};
pub use queries::history::{Candle, ListedTicker};
pub use queries::{
    AlertFeed, AlertView, Average, AverageRange, Breach, DeliveryFilter, LateToken, ListedDelivery,
    NumberedAlert, OpenRange, Page, Preview, PreviewLimits, PricePoint, Queries, RuleFilter,
};
pub use store::{Store, StoreSettings};
