//! Why what could be said waits. Pure.

use std::time::Duration;

use super::DeliveryKind;
use crate::domain::{QuietHours, Snooze, TimeZone, Timestamp};

/// Why a delivery waits or waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Hold {
    /// The user is left in peace.
    Quiet,
    /// The rule is.
    Snooze,
    /// The rule told much already.
    Flapping,
}

impl Hold {
    /// As stored.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Snooze => "snooze",
            Self::Flapping => "flapping",
        }
    }

    /// As it was stored.
    pub(super) fn of(text: &str) -> Option<Self> {
        [Self::Quiet, Self::Snooze, Self::Flapping]
            .into_iter()
            .find(|hold| hold.as_str() == text)
    }
}

/// When changes of one rule are told together instead of each by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flapping {
    /// So many messages about changes of one rule...
    pub messages: u32,
    /// ...in so long a time; then the next waits until there were fewer.
    pub window: Duration,
}

impl Default for Flapping {
    /// Four in ten minutes.
    fn default() -> Self {
        Self {
            messages: 4,
            window: Duration::from_secs(600),
        }
    }
}

/// Messages held through quiet hours go this long after their end, so that reminders planned at the end join them.
pub(super) const AFTER_QUIET: Duration = Duration::from_secs(2);
/// A rule snoozed until the price is back is looked at again after this: most are released before.
const LOOK_AGAIN: Duration = Duration::from_secs(10 * 60);

/// All that a hold rests on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reasons<'a> {
    /// When the user's quiet hours end, if they are on.
    pub(super) quiet_until: Option<Timestamp>,
    pub(super) snooze: Option<Snooze>,
    /// When messages about changes of the rule were sent lately, newest first.
    pub(super) sent: &'a [Timestamp],
    pub(super) flapping: Flapping,
}

/// Until when a part of a message waits, and why. None: it may go.
pub(super) fn hold(kind: DeliveryKind, reasons: Reasons<'_>, now: Timestamp) -> Option<(Timestamp, Hold)> {
    let quiet = reasons
        .quiet_until
        .map(|end| (end.plus(AFTER_QUIET), Hold::Quiet));
    let snooze = match reasons.snooze {
        Some(Snooze::Until(end)) if now < end => Some((end, Hold::Snooze)),
        Some(Snooze::UntilBack) => Some((now.plus(LOOK_AGAIN), Hold::Snooze)),
        Some(Snooze::Until(_)) | None => None,
    };
    match kind {
        DeliveryKind::Test => None,
        DeliveryKind::FeedStale | DeliveryKind::FeedBack | DeliveryKind::Restated => quiet,
        DeliveryKind::Reminder => quiet.or(snooze),
        // The return ends the snooze that waits for it.
        DeliveryKind::BackInRange | DeliveryKind::CameAndWent
            if reasons.snooze == Some(Snooze::UntilBack) =>
        {
            quiet.or_else(|| calm_at(reasons, now))
        }
        DeliveryKind::Breach | DeliveryKind::Jump | DeliveryKind::BackInRange | DeliveryKind::CameAndWent => {
            quiet.or(snooze).or_else(|| calm_at(reasons, now))
        }
    }
}

/// When the rule may tell of its next change, if not now.
fn calm_at(reasons: Reasons<'_>, now: Timestamp) -> Option<(Timestamp, Hold)> {
    let Flapping { messages, window } = reasons.flapping;
    let index = usize::try_from(messages.checked_sub(1)?).ok()?;
    let over = reasons.sent.get(index)?.plus(window);
    (now < over).then_some((over, Hold::Flapping))
}

/// When the quiet hours that `now` falls in end.
pub(super) fn quiet_until(hours: Option<QuietHours>, zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
    hours?.end_after(now, zone)
}

/// When quiet hours ended that were on `ago` before now.
pub(super) fn quiet_ended(
    hours: Option<QuietHours>,
    zone: &TimeZone,
    now: Timestamp,
    ago: Duration,
) -> Option<Timestamp> {
    hours?.end_after(now.minus(ago), zone).filter(|end| *end <= now)
}

#[cfg(test)]
mod tests {
    use DeliveryKind::{BackInRange, Breach, CameAndWent, FeedStale, Jump, Reminder, Restated, Test};

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000_000_000);
    const ALL: [DeliveryKind; 8] = [
        Breach,
        Jump,
        Reminder,
        BackInRange,
        CameAndWent,
        Test,
        FeedStale,
        Restated,
    ];

    fn later(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    /// Which kinds wait, and until when.
    fn held(reasons: Reasons<'_>) -> Vec<(DeliveryKind, Timestamp, Hold)> {
        ALL.into_iter()
            .filter_map(|kind| hold(kind, reasons, NOW).map(|(until, why)| (kind, until, why)))
            .collect()
    }

    const NONE: Reasons<'_> = Reasons {
        quiet_until: None,
        snooze: None,
        sent: &[],
        flapping: Flapping {
            messages: 4,
            window: Duration::from_secs(600),
        },
    };

    #[test]
    fn quiet_hours_hold_all_but_tests_until_a_moment_after_their_end() {
        assert_eq!(held(NONE), []);
        let end = later(100);
        let reasons = Reasons {
            quiet_until: Some(end),
            snooze: Some(Snooze::Until(later(5_000))),
            ..NONE
        };
        let expected = ALL
            .into_iter()
            .filter(|kind| *kind != Test)
            .map(|kind| (kind, end.plus(AFTER_QUIET), Hold::Quiet));
        assert_eq!(held(reasons), expected.collect::<Vec<_>>());
    }

    #[test]
    fn a_snooze_holds_what_is_of_the_rule_until_its_end() {
        let end = later(100);
        let reasons = Reasons {
            snooze: Some(Snooze::Until(end)),
            ..NONE
        };
        let kinds = [Breach, Jump, Reminder, BackInRange, CameAndWent];
        assert_eq!(held(reasons), kinds.map(|kind| (kind, end, Hold::Snooze)));
        assert_eq!(
            held(Reasons {
                snooze: Some(Snooze::Until(NOW)),
                ..NONE
            }),
            []
        );
    }

    #[test]
    fn a_snooze_until_the_price_is_back_lets_the_return_through() {
        let reasons = Reasons {
            snooze: Some(Snooze::UntilBack),
            ..NONE
        };
        let kinds: Vec<_> = held(reasons).into_iter().map(|(kind, _, _)| kind).collect();
        assert_eq!(kinds, [Breach, Jump, Reminder]);
    }

    #[test]
    fn who_told_four_changes_in_ten_minutes_waits_until_there_were_three() {
        let sent: Vec<Timestamp> = [1, 2, 3, 500, 599]
            .map(|ago| NOW.minus(Duration::from_secs(ago)))
            .into();
        let end = later(100);
        let reasons = Reasons { sent: &sent, ..NONE };
        let kinds = [Breach, Jump, BackInRange, CameAndWent];
        assert_eq!(held(reasons), kinds.map(|kind| (kind, end, Hold::Flapping)));
        assert_eq!(
            held(Reasons {
                sent: &sent[..3],
                ..NONE
            }),
            []
        );
        let never = Flapping {
            messages: 0,
            ..NONE.flapping
        };
        assert_eq!(
            held(Reasons {
                sent: &sent,
                flapping: never,
                ..NONE
            }),
            []
        );
    }
}
