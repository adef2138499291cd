//! Where the notifier is killed.

/// How far an alert has come when the notifier is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Read from the topic; the fold waits for the rule's row.
    Consumed,
    /// In the ledger; the broker does not take the commit.
    Folded,
    /// In the ledger; no claim gets through.
    Planned,
    /// Claimed, and the request sent; Telegram has not taken the message.
    Requested,
    /// Telegram has the message; its answer does not come.
    Taken,
    /// The answer is here; writing it down waits for the delivery's row.
    Answered,
    /// All is done.
    WrittenDown,
}

impl Step {
    pub(crate) const ALL: [Self; 7] = [
        Self::Consumed,
        Self::Folded,
        Self::Planned,
        Self::Requested,
        Self::Taken,
        Self::Answered,
        Self::WrittenDown,
    ];

    /// Those at which a return is on its way too, to somebody told of the breach before: what leads here is the same for both.
    pub(super) const OF_RETURNS: [Self; 3] = [Self::Requested, Self::Taken, Self::Answered];

    /// Whether Telegram has the message, and nobody on this side knows.
    pub(super) const fn leads_to_a_copy(self) -> bool {
        matches!(self, Self::Taken | Self::Answered)
    }
}
