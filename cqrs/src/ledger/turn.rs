//! What becomes of a user's deliveries when their turn comes: said, held or ended.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use sqlx::{AnyConnection, QueryBuilder};

use super::compose::{Composed, Draft, Pending, RuleView, compose, priority};
use super::hold::{Hold, Reasons, hold, quiet_until};
use super::load::UserView;
use super::message::Restated;
use super::reasons::{CAME_AGAIN, HELD_REMINDER, LOOKED_AT, NOT_NOTICED, RESTATED_AGAIN, SUSPENDED};
use super::rows::end;
use super::{ClaimLimits, ClaimedMessage, DeliveryKind, DeliveryStatus, Heading, MAX_ITEMS};
use crate::StoreError;
use crate::domain::{DeliveryId, RuleId, Timestamp, UserId};
use crate::sizes::push_in;

/// A message that was tried so long ago and did not get through tells of the past.
const OUTAGE: Duration = Duration::from_secs(60);

/// What the transaction knows of all that it may claim.
pub(super) struct Known {
    pub(super) users: HashMap<UserId, UserView>,
    pub(super) rules: HashMap<RuleId, RuleView>,
    pub(super) sent: HashMap<RuleId, Vec<Timestamp>>,
    /// What notices say of rules on hold.
    pub(super) restated: HashMap<DeliveryId, Restated>,
    /// Who got the notice that a time without prices began.
    pub(super) notices: HashSet<(UserId, DeliveryId)>,
    pub(super) limits: ClaimLimits,
    pub(super) now: Timestamp,
}

/// A message that may be claimed: that of a claim that ran out, or the next of a user.
pub(super) struct Turn {
    pub(super) user: UserId,
    /// Of the claim that ran out.
    pub(super) key: Option<DeliveryId>,
    pub(super) pending: Vec<Pending>,
}

/// What becomes of deliveries that are not sent now, gathered to be written together.
#[derive(Default)]
pub(super) struct Sorted {
    ended: BTreeMap<(DeliveryStatus, &'static str), Vec<DeliveryId>>,
    held: BTreeMap<(Timestamp, &'static str), Vec<DeliveryId>>,
}

impl Sorted {
    /// What of the turn's deliveries is worth saying now, the most important first.
    pub(super) fn sort(&mut self, turn: &Turn, user: &UserView, known: &Known) -> Vec<Draft> {
        if user.suspended {
            let ids = turn.pending.iter().map(|delivery| delivery.id);
            self.end(DeliveryStatus::Undeliverable, SUSPENDED, ids);
            return Vec::new();
        }
        // In the order of the rules' first deliveries.
        let mut rules: Vec<RuleId> = Vec::new();
        let mut of_rule: HashMap<RuleId, Vec<Pending>> = HashMap::new();
        for delivery in &turn.pending {
            let deliveries = of_rule.entry(delivery.rule_id).or_default();
            if deliveries.is_empty() {
                rules.push(delivery.rule_id);
            }
            deliveries.push(delivery.clone());
        }
        let quiet_until = quiet_until(user.quiet_hours, &user.recipient.time_zone, known.now);
        let mut drafts = Vec::new();
        for rule in rules {
            let view = known.rules.get(&rule).unwrap_or(&RuleView::UNKNOWN);
            let Composed {
                drafts: of_rule,
                ended,
            } = compose(view, of_rule.get(&rule).map_or(&[], Vec::as_slice));
            for (id, reason) in ended {
                self.end(DeliveryStatus::Superseded, reason, [id]);
            }
            for mut draft in of_rule {
                let reasons = Reasons {
                    quiet_until,
                    snooze: view.rule.as_ref().and_then(|rule| rule.snooze),
                    sent: known.sent.get(&rule).map_or(&[], Vec::as_slice),
                    flapping: known.limits.flapping,
                };
                let kind = draft.item.facts.kind;
                draft.item.facts.restated = restated(&draft, known).cloned();
                // What was claimed before may have reached the user: it is not held any more.
                let held = hold(kind, reasons, known.now).filter(|_| turn.key.is_none());
                match held {
                    _ if kind == DeliveryKind::FeedStale && prices_are_back(turn, &draft) => {
                        self.end(DeliveryStatus::Superseded, CAME_AGAIN, draft.item.deliveries);
                    }
                    _ if kind == DeliveryKind::Restated && draft.item.facts.restated.is_none() => {
                        self.end(DeliveryStatus::Superseded, LOOKED_AT, draft.item.deliveries);
                    }
                    _ if is_restated_again(turn, &draft) => {
                        self.end(DeliveryStatus::Superseded, RESTATED_AGAIN, draft.item.deliveries);
                    }
                    None if kind == DeliveryKind::FeedBack && !noticed(turn, &draft, known) => {
                        self.end(DeliveryStatus::Superseded, NOT_NOTICED, draft.item.deliveries);
                    }
                    None => drafts.push(draft),
                    Some(_) if kind == DeliveryKind::Reminder => {
                        self.end(DeliveryStatus::Superseded, HELD_REMINDER, draft.item.deliveries);
                    }
                    Some((until, why)) => {
                        let held = self.held.entry((until, why.as_str())).or_default();
                        held.extend(draft.item.deliveries);
                    }
                }
            }
        }
        drafts.sort_by_key(|draft| (priority(draft.item.facts.kind), draft.planned_at));
        if turn.key.is_none() {
            leave_questions_alone(&mut drafts);
            drafts.truncate(MAX_ITEMS);
        }
        drafts
    }

    fn end(
        &mut self,
        status: DeliveryStatus,
        reason: &'static str,
        ids: impl IntoIterator<Item = DeliveryId>,
    ) {
        self.ended.entry((status, reason)).or_default().extend(ids);
    }

    /// Whether there was anything to write.
    pub(super) async fn write(
        self,
        connection: &mut AnyConnection,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let any = !self.ended.is_empty() || !self.held.is_empty();
        for ((status, reason), ids) in self.ended {
            end(connection, &ids, status, reason, now).await?;
        }
        for ((until, why), ids) in self.held {
            let mut update = QueryBuilder::new("update deliveries set due_at = ");
            update
                .push_bind(until.as_micros())
                .push(", held = ")
                .push_bind(why);
            update.push(" where id ");
            push_in(&mut update, ids.iter().map(ToString::to_string));
            update.build().execute(&mut *connection).await?;
        }
        Ok(any)
    }
}

/// Whether the user was told, or may have been, that the prices stopped, which come again.
fn noticed(turn: &Turn, draft: &Draft, known: &Known) -> bool {
    of_draft(turn, draft).all(|back| {
        known.notices.contains(&(turn.user, back.episode_id))
            || turn.pending.iter().any(|notice| {
                notice.kind == DeliveryKind::FeedStale
                    && notice.episode_id == back.episode_id
                    && notice.ambiguous
            })
    })
}

/// Whether that the prices came again is to be told with a notice that they stopped: the notice was on its way just then.
fn prices_are_back(turn: &Turn, draft: &Draft) -> bool {
    of_draft(turn, draft).all(|notice| {
        turn.pending
            .iter()
            .any(|back| back.kind == DeliveryKind::FeedBack && back.episode_id == notice.episode_id)
    })
}

/// What a notice says of rules on hold.
fn restated<'a>(draft: &Draft, known: &'a Known) -> Option<&'a Restated> {
    let mut deliveries = draft.item.deliveries.iter();
    deliveries.find_map(|delivery| known.restated.get(delivery))
}

/// Whether another notice names the same rules: that of a newer restatement, or of a later look.
fn is_restated_again(turn: &Turn, draft: &Draft) -> bool {
    let newer = |notice: &Pending| {
        turn.pending.iter().any(|other| {
            other.kind == DeliveryKind::Restated
                && other.ticker == notice.ticker
                && (other.opened_at, other.planned_at, other.id)
                    > (notice.opened_at, notice.planned_at, notice.id)
        })
    };
    draft.item.facts.kind == DeliveryKind::Restated && of_draft(turn, draft).any(newer)
}

/// What has buttons of its own is a message of its own: the others, or it, go next.
fn leave_questions_alone(drafts: &mut Vec<Draft>) {
    let is_question = |draft: &Draft| draft.item.facts.kind == DeliveryKind::Restated;
    match drafts.first() {
        Some(first) if is_question(first) => drafts.truncate(1),
        _ => drafts.retain(|draft| !is_question(draft)),
    }
}

fn of_draft<'a>(turn: &'a Turn, draft: &Draft) -> impl Iterator<Item = &'a Pending> {
    turn.pending
        .iter()
        .filter(|delivery| draft.item.deliveries.contains(&delivery.id))
}

/// Its items are filled in later.
pub(super) fn message(
    turn: &Turn,
    drafts: &[Draft],
    user: &UserView,
    instance: &str,
    send_in: Duration,
    now: Timestamp,
) -> ClaimedMessage {
    let told: HashSet<DeliveryId> = drafts
        .iter()
        .flat_map(|draft| draft.item.deliveries.iter().copied())
        .collect();
    let told = || turn.pending.iter().filter(|delivery| told.contains(&delivery.id));
    let planned_at = told()
        .map(|delivery| delivery.planned_at)
        .min()
        .unwrap_or(Timestamp::EPOCH);
    ClaimedMessage {
        key: turn.key.unwrap_or_else(DeliveryId::generate),
        user_id: turn.user,
        recipient: user.recipient.clone(),
        items: Vec::new(),
        heading: heading(told(), now),
        reply_to: match drafts {
            [draft] => draft.reply_to,
            _ => None,
        },
        attempt: told()
            .map(|delivery| delivery.attempts)
            .max()
            .unwrap_or(0)
            .saturating_add(1),
        claimed_by: instance.to_owned(),
        claimed_at: now,
        reclaimed: turn.key.is_some(),
        may_be_repeat: turn.key.is_some() || told().any(|delivery| delivery.ambiguous),
        planned_at,
        // One that was not tried yet decides.
        tried_since: told()
            .map(|delivery| delivery.tried_since)
            .reduce(|one, other| one.zip(other).map(|(one, other)| one.max(other)))
            .flatten(),
        send_in,
    }
}

fn heading<'a>(deliveries: impl Iterator<Item = &'a Pending> + Clone, now: Timestamp) -> Heading {
    let held = |why| deliveries.clone().any(|delivery| delivery.held == Some(why));
    let mut tried = deliveries.clone().filter(|delivery| delivery.attempts > 0);
    if held(Hold::Quiet) {
        Heading::AfterQuietHours
    } else if held(Hold::Snooze) {
        Heading::AfterSnooze
    } else if tried.any(|delivery| now.since(delivery.planned_at) >= OUTAGE) {
        Heading::AfterOutage
    } else if held(Hold::Flapping) {
        Heading::AfterFlapping
    } else {
        Heading::Plain
    }
}
