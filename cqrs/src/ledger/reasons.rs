//! Why deliveries are not sent, where nothing that the messenger said is the reason: what `DeliveryView::reason` holds then.
//! Whoever writes to people in another language puts it into their words.

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $text;)*
        /// All of them.
        pub const ALL: &[&str] = &[$($name),*];
    };
}

reasons! {
    /// The user's chat refused a message, or none is linked any more.
    SUSPENDED = "the chat takes no messages";
    /// The rule is gone.
    RULE_DELETED = "the rule was deleted";
    /// The rule was edited or paused, or has expired.
    RULE_CHANGED = "the rule was changed";
    /// It would refer to a breach that the user never heard of.
    NOT_TOLD = "the breach was not delivered";
    /// What it would say is not so any more.
    WENT_ON = "the price went on";
    /// Of several reminders one is enough.
    REPEATED = "a newer reminder says the same";
    /// A notice of missing prices that are there.
    CAME_AGAIN = "the prices came again";
    /// A notice that prices are back, to somebody who never heard that they were gone.
    NOT_NOTICED = "the notice that prices stopped was not delivered";
    /// A notice about rules on hold, none of which is any more.
    LOOKED_AT = "the rules were looked at meanwhile";
    /// A notice about rules on hold, where a newer one names them too.
    RESTATED_AGAIN = "a newer notice names the rules";
    /// A reminder in quiet hours or while the rule is snoozed.
    HELD_REMINDER = "reminders wait; the next one tells more";
}
