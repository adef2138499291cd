use crate::domain::{
    Alert, AlertPosition, ChatId, DeliveryId, Note, Price, RuleId, Side, Ticker, Timestamp, UserId,
};
use crate::{Store, StoreError};

/// One record of the alerts topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerChange {
    /// The rule's new state.
    Alert(Alert),
    /// The rule is gone.
    RuleDeleted(RuleId),
}

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryKind {
    /// The price left the range.
    Breach,
    /// It jumped from one side to the other.
    Jump,
    /// It is still outside.
    Reminder,
    /// It is back.
    BackInRange,
}

/// All that a message's text is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageFacts {
    pub kind: DeliveryKind,
    pub ticker: Ticker,
    pub note: Note,
    /// Side entered (for a reminder: the side it is on).
    pub side: Side,
    /// For a reminder the latest price, otherwise the alert's.
    pub price: Price,
    pub threshold: Price,
    pub currency: String,
    pub quote_time: Timestamp,
    pub already_outside: bool,
    /// Event time of the quote that opened the episode, for durations.
    pub episode_opened_at: Timestamp,
}

/// A delivery that this instance may send now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedDelivery {
    pub id: DeliveryId,
    pub user_id: UserId,
    pub rule_id: RuleId,
    /// None: the user has linked no chat.
    pub chat: Option<ChatId>,
    pub facts: MessageFacts,
    /// Sends tried before this one.
    pub attempts: u32,
    pub planned_at: Timestamp,
}

/// How a send ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Sent { message_id: Option<i64> },
    Retry { at: Timestamp, reason: String, ambiguous: bool },
    Undeliverable { reason: String },
    Superseded { reason: String },
}

/// What `/list` shows of an open episode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenEpisode {
    pub rule_id: RuleId,
    pub side: Side,
    pub position: AlertPosition,
    pub opened_at: Timestamp,
}

/// Who a chat belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChatLink {
    pub user_id: UserId,
    pub chat: ChatId,
}

/// What users were told, and what they are to be told.
#[derive(Debug, Clone)]
pub struct Ledger {
    store: Store,
}

impl Ledger {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Folds records of the alerts topic into the ledger, in one transaction.
    pub async fn fold(&self, changes: &[LedgerChange]) -> Result<(), StoreError> {
        todo!()
    }
}
