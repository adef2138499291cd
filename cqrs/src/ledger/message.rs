//! What is sent: the types that the ledger and those who deliver have in common.

use std::time::Duration;

pub use super::hold::Flapping;
use crate::domain::{
    ChatId, DeliveryId, Language, Note, Price, Range, Restatement, RuleId, Side, Ticker, TimeZone, Timestamp,
    UserId,
};

/// What a message, or a part of one, is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryKind {
    /// The price left the range.
    Breach,
    /// It jumped from one side to the other.
    Jump,
    /// It is still outside.
    Reminder,
    /// It is back.
    BackInRange,
    /// It was outside and is back, and the user hears of both at once. Only composed, never planned.
    CameAndWent,
    /// A breach that the user asked for, to see that messages arrive.
    Test,
    /// Prices of the ticker stopped coming while its market is open.
    FeedStale,
    /// They come again.
    FeedBack,
    /// Prices of the ticker are counted anew, and rules are on hold.
    Restated,
}

/// Why a message tells of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Heading {
    /// It does not: it is news.
    Plain,
    /// What came about in the user's quiet hours.
    AfterQuietHours,
    /// What came about while the rules were snoozed.
    AfterSnooze,
    /// What could not be delivered before.
    AfterOutage,
    /// What a rule that flaps told of together.
    AfterFlapping,
}

/// Whom a message is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// None: no chat is linked.
    pub chat: Option<ChatId>,
    /// What it is written in.
    pub language: Language,
    /// Times are shown in it.
    pub time_zone: TimeZone,
}

/// A rule on hold, as a message about it names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRule {
    /// Its thresholds, which are from before.
    pub range: Range,
    /// What they would be now. None: they can't be converted.
    pub adjusted: Option<Range>,
}

/// Why rules are on hold, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restated {
    /// The newest of the ticker that the message knows of.
    pub restatement: Restatement,
    /// All of the user's rules on it that are on hold, oldest first.
    pub rules: Vec<HeldRule>,
}

/// All that the text about one rule is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageFacts {
    /// What it is about.
    pub kind: DeliveryKind,
    /// What the rule watches.
    pub ticker: Ticker,
    /// The rule's note, as it is now.
    pub note: Note,
    /// The rule's range, as it is now; none: there is no such rule (a test).
    pub range: Option<Range>,
    /// Side entered (for a reminder: the side it is on).
    pub side: Side,
    /// The side that the user was last told of.
    pub told_side: Side,
    /// For a reminder the latest price, otherwise the alert's.
    pub price: Price,
    /// The threshold crossed; for a return, the one it had crossed.
    pub threshold: Price,
    /// As the source spells it; empty: not known.
    pub currency: String,
    /// Event time of the quote that the price is of.
    pub quote_time: Timestamp,
    /// When that quote entered the system.
    pub quote_ingest_time: Timestamp,
    /// The first price seen for this version of the rule was already outside.
    pub already_outside: bool,
    /// Event time of the quote that began the stay outside the range, for durations. (For notices about a feed: when its
    /// prices stopped.)
    pub opened_at: Timestamp,
    /// The price of the stay that was furthest from the range, as far as it is known.
    pub peak: Option<Price>,
    /// How often the price crossed a threshold since the user was last told; 1 where there is only this to tell.
    pub crossings: u32,
    /// Some exactly where the message is about rules on hold; price and threshold are the prices after and before then.
    pub restated: Option<Restated>,
}

/// What a message says about one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageItem {
    /// The deliveries that it ends.
    pub deliveries: Vec<DeliveryId>,
    /// The rule.
    pub rule_id: RuleId,
    /// What to say.
    pub facts: MessageFacts,
}

/// Most items of one message: one line of each fits into a message in every language, whatever their tickers and prices.
pub const MAX_ITEMS: usize = 35;

/// One message to one user that this instance may send now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedMessage {
    /// Its name; the same again where a claim that ran out is repeated.
    pub key: DeliveryId,
    /// To whom.
    pub user_id: UserId,
    /// Where, and how.
    pub recipient: Recipient,
    /// From 1 to `MAX_ITEMS`, the most important first.
    pub items: Vec<MessageItem>,
    /// Why it tells of the past.
    pub heading: Heading,
    /// The message that this one is an answer to: that of the breach.
    pub reply_to: Option<i64>,
    /// This attempt's number, from 1.
    pub attempt: u32,
    /// The instance that claimed it.
    pub claimed_by: String,
    /// When. With the instance, the claim's name: whoever takes the message over claims it later.
    pub claimed_at: Timestamp,
    /// An earlier claim ran out without an outcome.
    pub reclaimed: bool,
    /// For this or another reason, the user may have some of it already.
    pub may_be_repeat: bool,
    /// When the oldest of what it tells was planned.
    pub planned_at: Timestamp,
    /// Since when the newest of what it tells is tried in vain. None: some of it was not tried yet.
    pub tried_since: Option<Timestamp>,
    /// Its place in the messenger's stream: wait so long after `claim` returned.
    pub send_in: Duration,
}

/// How a send ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The messenger took it.
    Sent {
        /// Its name there, if it has one.
        message_id: Option<i64>,
    },
    /// It was not taken, and may be later.
    Retry {
        /// Not before.
        at: Timestamp,
        /// Shown to people; at most 200 characters are kept.
        reason: String,
        /// It may have reached the user after all.
        ambiguous: bool,
    },
    /// It was not taken, and the chat takes nothing for a while.
    HoldChat {
        /// Not before.
        until: Timestamp,
        /// Shown to people; at most 200 characters are kept.
        reason: String,
    },
    /// It will never be taken.
    Undeliverable {
        /// Shown to people; at most 200 characters are kept.
        reason: String,
    },
    /// The chat takes no messages until the user says so: all that waits for it ends.
    ChatSuspended {
        /// Shown to people; at most 200 characters are kept.
        reason: String,
    },
}

/// Most messages a messenger takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Most messages in a second, to all chats.
    pub per_second: u32,
    /// Shortest time between two messages to one chat.
    pub per_chat: Duration,
    /// The same for a group.
    pub per_group: Duration,
}

impl Pace {
    /// Shortest time between two messages to this chat.
    pub(super) fn between(self, chat: ChatId) -> Duration {
        if chat.is_private() {
            self.per_chat
        } else {
            self.per_group
        }
    }
}

/// How much an instance takes on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimLimits {
    /// A claim that got no outcome for so long (its instance died) is taken over.
    pub timeout: Duration,
    /// Most messages.
    pub messages: u32,
    /// What the messenger takes.
    pub pace: Pace,
    /// Only messages whose place in the messenger's stream comes so soon.
    pub look_ahead: Duration,
    /// When changes of one rule are told together.
    pub flapping: Flapping,
}

impl ClaimedMessage {
    /// The names of all deliveries that it ends.
    pub fn deliveries(&self) -> impl Iterator<Item = DeliveryId> {
        self.items.iter().flat_map(|item| item.deliveries.iter().copied())
    }
}
