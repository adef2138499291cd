mod candidates;
mod claim;
mod compose;
mod episode;
mod feeds;
mod finish;
mod fold;
mod held;
mod hold;
mod load;
mod message;
mod peak;
mod places;
pub mod reasons;
mod reminders;
mod restating;
mod resume;
mod rows;
mod settings;
mod turn;

use std::time::Duration;

use crate::domain::{
    Alert, AlertPosition, ChatId, DeliveryId, FeedChange, Price, ReminderInterval, RuleId, Side, Ticker,
    Timestamp, UserId,
};
use crate::{Store, StoreError};

pub(crate) use held::release_held;
pub use message::{
    ClaimLimits, ClaimedMessage, DeliveryKind, Flapping, Heading, HeldRule, MAX_ITEMS, MessageFacts,
    MessageItem, Outcome, Pace, Recipient, Restated,
};
pub(crate) use reminders::reschedule as reschedule_reminders;
pub(crate) use resume::resume_in;
pub(crate) use rows::{DELIVERY_COLUMNS, delivery};

/// One record of the alerts topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerChange {
    /// The rule's new state.
    Alert(Alert),
    /// A breach that a user asked for, to see that messages arrive. Its rule id names no rule, only the test.
    TestAlert(Alert),
    /// The rule is gone.
    RuleDeleted(RuleId),
}

/// What a fold did, to be counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Folded {
    /// Alerts that were newer than what the ledger knew.
    pub taken: u64,
    /// Alerts that it knew, or knew newer ones of.
    pub repeated: u64,
    /// Alerts of rules that were deleted meanwhile.
    pub orphaned: u64,
    /// Messages planned.
    pub planned: u64,
}

/// Where a message is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeliveryStatus {
    /// Waits for its time, or for the user's messages before it.
    Planned,
    /// An instance is sending it.
    Sending,
    /// It reached the messenger.
    Sent,
    /// It never will.
    Undeliverable,
    /// There is no more reason to send it.
    Superseded,
}

impl DeliveryStatus {
    /// As stored.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Undeliverable => "undeliverable",
            Self::Superseded => "superseded",
        }
    }
}

/// What a look at due episodes did, to be counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Episodes looked at.
    pub episodes: u64,
    /// Reminders planned.
    pub reminders: u64,
    /// Episodes closed without a message: the rule was edited, paused or deleted, or has expired.
    pub closed: u64,
    /// Episodes closed with a message because the log that would have told was lost.
    pub repaired: u64,
}

/// What a list of rules shows of one that is out of range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenEpisode {
    /// The rule.
    pub rule_id: RuleId,
    /// Above or below.
    pub side: Side,
    /// Which of the rule's states this is.
    pub position: AlertPosition,
    /// Event time of the quote that began it.
    pub opened_at: Timestamp,
}

/// A message, as people look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryView {
    /// Its name.
    pub id: DeliveryId,
    /// Of which rule.
    pub rule_id: RuleId,
    /// The state of the rule that it tells of.
    pub position: AlertPosition,
    /// What it is about.
    pub kind: DeliveryKind,
    /// What the rule watches.
    pub ticker: Ticker,
    /// The price it names.
    pub price: Price,
    /// Where it is on its way.
    pub status: DeliveryStatus,
    /// When it was decided to send it.
    pub planned_at: Timestamp,
    /// Sends begun.
    pub attempts: u32,
    /// Those of which nobody knows whether they reached the user.
    pub ambiguous_sends: u32,
    /// When the messenger took it.
    pub sent_at: Option<Timestamp>,
    /// The message's name there; several deliveries may be told in one.
    pub message_id: Option<i64>,
    /// Why it was not sent, or not yet.
    pub reason: Option<String>,
}

/// What a user hears whose chat takes messages again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// Changes of rules that were not told since the chat took no messages.
    pub missed: u64,
    /// What is out of range now; it counts as told.
    pub open: Vec<OpenEpisode>,
}

/// What a fold of feed changes did, to be counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FoldedFeeds {
    /// Notices planned.
    pub planned: u64,
}

/// Messages that are not yet sent, of all users.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many.
    pub waiting: u64,
}

/// What users were told, and what they are to be told.
///
/// Any number of instances may use one ledger at once. Methods that write are one transaction each (`fold`: one for each
/// 200 changes) and may be repeated after an error. None reads the clock: `now` is passed in.
#[derive(Debug, Clone)]
pub struct Ledger {
    store: Store,
}

impl Ledger {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Folds records of the alerts topic into the ledger, in their order, and plans the messages they call for.
    ///
    /// An alert counts only if its position is newer than what the ledger knows of its rule, and calls for a message only
    /// if the side changes (a newer version of the rule starts inside its range), so repeats and old records are harmless.
    ///
    /// # Errors
    /// If the store fails; changes before the failing one may have been folded, all may be folded again.
    pub async fn fold(&self, changes: &[LedgerChange], now: Timestamp) -> Result<Folded, StoreError> {
        let mut all = Folded::default();
        for chunk in changes.chunks(fold::MAX_CHANGES) {
            let chunk = fold::fold(&self.store, chunk, now).await?;
            all.taken += chunk.taken;
            all.repeated += chunk.repeated;
            all.orphaned += chunk.orphaned;
            all.planned += chunk.planned;
        }
        Ok(all)
    }

    /// Takes up to `limits.messages` due messages for `instance` to send, at most one of each user, and none while another
    /// of that user is being sent. A claim that got no outcome within `limits.timeout` (its instance died) is taken over.
    /// Deliveries that lost their reason on the way here end as superseded.
    ///
    /// `instance` is unique for each start of a process, at most 64 characters.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn claim(
        &self,
        instance: &str,
        now: Timestamp,
        limits: ClaimLimits,
    ) -> Result<Vec<ClaimedMessage>, StoreError> {
        claim::claim(&self.store, instance, now, limits).await
    }

    /// Takes a place in the messenger's stream for an answer to what a user wrote: gives how long to wait for it.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn place_for_answer(&self, pace: Pace) -> Result<Duration, StoreError> {
        places::take_one(&self.store, pace).await
    }

    /// The database's clock. Instances that take their `now` from it need not agree on the time.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn clock(&self) -> Result<Timestamp, StoreError> {
        places::clock(&self.store).await
    }

    /// Writes down how a send ended. False: the claim was taken over meanwhile, and nothing was written.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn finish(
        &self,
        message: &ClaimedMessage,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        finish::finish(&self.store, message, outcome, now).await
    }

    /// Gives back a message that was not sent at all: it is as if it had not been claimed.
    ///
    /// # Errors
    /// If the store fails; the claim then runs out by itself.
    pub async fn release_claim(&self, message: &ClaimedMessage) -> Result<(), StoreError> {
        finish::release(&self.store, message).await
    }

    /// The user's chat takes messages again, because they said so there. None: it took them all the time. What is open
    /// counts as told, so the answer has to tell it.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn resume_chat(&self, user: UserId, now: Timestamp) -> Result<Option<Resumed>, StoreError> {
        resume::resume(&self.store, user, now).await
    }

    /// Folds records of the feeds topic into the ledger. When the prices of a ticker stop, users who were told that it is
    /// out of range are told so once; and once more when they come again. When they are counted anew, the ticker's rules
    /// from before are put on hold, in transactions of bounded size, and each owner is asked once. Repeats and old records
    /// are harmless.
    ///
    /// # Errors
    /// If the store fails; changes before the failing one may have been folded, all may be folded again.
    pub async fn fold_feeds(
        &self,
        changes: &[FeedChange],
        now: Timestamp,
    ) -> Result<FoldedFeeds, StoreError> {
        let mut all = FoldedFeeds::default();
        for chunk in changes.chunks(feeds::MAX_CHANGES) {
            all.planned += feeds::fold(&self.store, chunk, now).await?.planned;
        }
        for change in changes {
            if let FeedChange::Restated(restatement) = change {
                all.planned += restating::fold(&self.store, restatement, now).await?;
            }
        }
        if !changes.is_empty() {
            // Collectors say something all the time, so this comes soon enough.
            all.planned += restating::look_again(&self.store, now).await?;
        }
        Ok(all)
    }

    /// Looks at up to `limit` open episodes whose time has come: plans reminders, and closes those whose rule was edited,
    /// paused or deleted, or whose return into the range went down with a lost log.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn check_episodes(&self, now: Timestamp, limit: u32) -> Result<Checked, StoreError> {
        reminders::check(&self.store, now, limit).await
    }

    /// When `check_episodes` has something to look at next.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn next_check(&self) -> Result<Option<Timestamp>, StoreError> {
        reminders::next_check(&self.store).await
    }

    /// A user's rules that are out of range now, the longest first.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn open_episodes(&self, user: UserId) -> Result<Vec<OpenEpisode>, StoreError> {
        rows::open_episodes(&self.store.read, user).await
    }

    /// A user's messages, oldest first, at most `limit` of the newest.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn deliveries(&self, user: UserId, limit: u32) -> Result<Vec<DeliveryView>, StoreError> {
        rows::deliveries(&self.store, user, limit).await
    }

    /// How many messages wait.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn backlog(&self) -> Result<Backlog, StoreError> {
        rows::backlog(&self.store).await
    }

    /// A chat got another id from the messenger. False: the new id belongs to another user already; nothing was changed.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn move_chat(&self, from: ChatId, to: ChatId) -> Result<bool, StoreError> {
        rows::move_chat(&self.store, from, to).await
    }

    /// Remembers the bot's user name, so that links to it can be made.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn set_bot_username(&self, username: &str) -> Result<(), StoreError> {
        rows::set_bot_username(&self.store, username).await
    }
}

/// How long after a message of an episode to look at it again.
fn check_interval(reminder: Option<ReminderInterval>) -> Duration {
    reminder.unwrap_or(ReminderInterval::DEFAULT).duration()
}
