//! What waits to be told of one rule, folded into what is worth saying now. Pure.

use super::DeliveryKind;
use super::hold::Hold;
use super::message::{MessageFacts, MessageItem};
use super::reasons::{NOT_TOLD, REPEATED, RULE_CHANGED, RULE_DELETED, WENT_ON};
use crate::domain::{
    DeliveryId, Note, Price, Range, RuleId, RuleVersion, Side, Snooze, Ticker, Timestamp, UserId,
};

/// A delivery that waits, as its row has it.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) id: DeliveryId,
    pub(super) user_id: UserId,
    pub(super) rule_id: RuleId,
    pub(super) version: RuleVersion,
    /// The stay outside that it is of; for notices about a feed, the time without prices.
    pub(super) episode_id: DeliveryId,
    pub(super) kind: DeliveryKind,
    pub(super) side: Side,
    pub(super) planned_at: Timestamp,
    pub(super) attempts: u32,
    /// When the first try that was in vain ended.
    pub(super) tried_since: Option<Timestamp>,
    /// A try may have reached the user.
    pub(super) ambiguous: bool,
    pub(super) held: Option<Hold>,
    pub(super) ticker: Ticker,
    pub(super) price: Price,
    pub(super) threshold: Price,
    pub(super) currency: String,
    pub(super) quote_time: Timestamp,
    pub(super) quote_ingest_time: Timestamp,
    pub(super) already_outside: bool,
    pub(super) opened_at: Timestamp,
}

/// What the user believes of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) side: Side,
    /// The stay outside that it is of.
    pub(super) episode: Option<DeliveryId>,
}

impl Told {
    /// Nothing, or that the price is back.
    pub(super) const INSIDE: Self = Self {
        side: Side::In,
        episode: None,
    };
}

/// A rule that exists.
#[derive(Debug, Clone)]
pub(super) struct CurrentRule {
    pub(super) version: RuleVersion,
    pub(super) active: bool,
    pub(super) range: Range,
    pub(super) note: Note,
    pub(super) snooze: Option<Snooze>,
}

/// What is known of a rule when the turn of its deliveries comes.
#[derive(Debug, Clone)]
pub(super) struct RuleView {
    /// None: it was deleted.
    pub(super) rule: Option<CurrentRule>,
    pub(super) told: Told,
    /// The message that told it.
    pub(super) message_id: Option<i64>,
    /// The stay outside that goes on.
    pub(super) open: Option<(DeliveryId, Side)>,
}

impl RuleView {
    /// Of a rule of which nothing is known.
    pub(super) const UNKNOWN: Self = Self {
        rule: None,
        told: Told::INSIDE,
        message_id: None,
        open: None,
    };
}

/// One thing worth saying.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) item: MessageItem,
    /// The side that the price is or was on, for its peak.
    pub(super) away: Side,
    /// The message that it answers to.
    pub(super) reply_to: Option<i64>,
    /// Of its first delivery.
    pub(super) planned_at: Timestamp,
}

/// What becomes of a rule's deliveries.
#[derive(Debug, Clone, Default)]
pub(super) struct Composed {
    pub(super) drafts: Vec<Draft>,
    /// Those that need not be told any more, and why.
    pub(super) ended: Vec<(DeliveryId, &'static str)>,
}

/// 0: first. News before returns and notices, reminders last.
pub(super) const fn priority(kind: DeliveryKind) -> i64 {
    match kind {
        // Rules on hold tell no breach: the notice stands in for it.
        DeliveryKind::Breach | DeliveryKind::Jump | DeliveryKind::Test | DeliveryKind::Restated => 0,
        DeliveryKind::BackInRange
        | DeliveryKind::CameAndWent
        | DeliveryKind::FeedStale
        | DeliveryKind::FeedBack => 1,
        DeliveryKind::Reminder => 2,
    }
}

/// The last of the priorities.
pub(super) const LAST_PRIORITY: i64 = 2;

/// Folds one rule's deliveries, which come in the order in which they were planned.
pub(super) fn compose(view: &RuleView, pending: &[Pending]) -> Composed {
    let mut composed = Composed::default();
    let (mut transitions, mut reminders) = (Vec::new(), Vec::new());
    for delivery in pending {
        match (delivery.kind, &view.rule) {
            (DeliveryKind::Test | DeliveryKind::Restated, _)
            | (DeliveryKind::FeedStale | DeliveryKind::FeedBack, Some(_)) => {
                composed
                    .drafts
                    .push(draft(view, delivery.kind, view.told.side, &[delivery]));
            }
            (_, None) => composed.ended.push((delivery.id, RULE_DELETED)),
            (DeliveryKind::Breach | DeliveryKind::Jump, Some(rule)) if delivery.version < rule.version => {
                composed.ended.push((delivery.id, RULE_CHANGED));
            }
            // A return is told although the rule was changed: the user waits for it.
            (
                DeliveryKind::Breach
                | DeliveryKind::Jump
                | DeliveryKind::BackInRange
                | DeliveryKind::CameAndWent,
                Some(_),
            ) => transitions.push(delivery),
            (DeliveryKind::Reminder, Some(rule)) => reminders.push((delivery, rule)),
        }
    }
    let news = fold(view, &transitions, &mut composed.ended);
    let newest = reminders.len().saturating_sub(1);
    for (index, (reminder, rule)) in reminders.into_iter().enumerate() {
        let reason = if news.is_some() {
            Some(WENT_ON)
        } else if index < newest {
            Some(REPEATED)
        } else {
            lost_reason(view, rule, reminder)
        };
        match reason {
            Some(reason) => composed.ended.push((reminder.id, reason)),
            None => composed
                .drafts
                .push(draft(view, DeliveryKind::Reminder, view.told.side, &[reminder])),
        }
    }
    composed.drafts.extend(news);
    composed
}

/// Why a reminder need not be told any more, if so.
fn lost_reason(view: &RuleView, rule: &CurrentRule, reminder: &Pending) -> Option<&'static str> {
    if reminder.version != rule.version || !rule.active {
        Some(RULE_CHANGED)
    } else if view.open != Some((reminder.episode_id, reminder.side)) {
        Some(WENT_ON)
    } else if view.told.episode != Some(reminder.episode_id) {
        Some(NOT_TOLD)
    } else {
        None
    }
}

/// Folds changes of side into one: from the side that the user was told of to the last one.
fn fold(
    view: &RuleView,
    transitions: &[&Pending],
    ended: &mut Vec<(DeliveryId, &'static str)>,
) -> Option<Draft> {
    let Told {
        mut side,
        mut episode,
    } = view.told;
    let mut before = None;
    let mut told = Vec::new();
    for transition in transitions {
        if episode != Some(transition.episode_id) {
            // Whatever was open before ended without a word: the rule was changed.
            (side, episode) = (Side::In, Some(transition.episode_id));
        }
        if transition.side == Side::In && side == Side::In {
            // Nobody is told of the end of what they were not told of.
            ended.push((transition.id, NOT_TOLD));
            continue;
        }
        before.get_or_insert(side);
        side = transition.side;
        if side == Side::In {
            episode = None;
        }
        told.push(*transition);
    }
    let kind = match (before?, side) {
        (Side::In, Side::In) => DeliveryKind::CameAndWent,
        (Side::Above | Side::Below, Side::In) => DeliveryKind::BackInRange,
        (Side::Above, Side::Below) | (Side::Below, Side::Above) => DeliveryKind::Jump,
        (Side::In | Side::Above, Side::Above) | (Side::In | Side::Below, Side::Below) => DeliveryKind::Breach,
    };
    Some(draft(view, kind, before?, &told))
}

/// `deliveries` is not empty; the last one says what is so now.
fn draft(view: &RuleView, kind: DeliveryKind, told_side: Side, deliveries: &[&Pending]) -> Draft {
    let first = deliveries[0];
    let last = deliveries[deliveries.len() - 1];
    // Of a return, all that it ends; otherwise the stay that goes on.
    let opened_at = if last.side == Side::In {
        first.opened_at
    } else {
        last.opened_at
    };
    let away = deliveries
        .iter()
        .rev()
        .map(|delivery| delivery.side)
        .find(|side| side.is_out())
        .unwrap_or(told_side);
    let replies = matches!(kind, DeliveryKind::Reminder | DeliveryKind::BackInRange)
        && view.told.episode == Some(first.episode_id);
    Draft {
        item: MessageItem {
            deliveries: deliveries.iter().map(|delivery| delivery.id).collect(),
            rule_id: last.rule_id,
            facts: MessageFacts {
                kind,
                ticker: last.ticker.clone(),
                note: view
                    .rule
                    .as_ref()
                    .map(|rule| rule.note.clone())
                    .unwrap_or_default(),
                range: view.rule.as_ref().map(|rule| rule.range),
                side: last.side,
                told_side,
                price: last.price,
                threshold: last.threshold,
                currency: last.currency.clone(),
                quote_time: last.quote_time,
                quote_ingest_time: last.quote_ingest_time,
                already_outside: last.already_outside && deliveries.len() == 1,
                opened_at,
                peak: None,
                crossings: u32::try_from(deliveries.len()).unwrap_or(u32::MAX),
                restated: None,
            },
        },
        away,
        reply_to: view.message_id.filter(|_| replies),
        planned_at: first.planned_at,
    }
}

#[cfg(test)]
mod tests;
