use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use DeliveryKind::{BackInRange, Breach, CameAndWent, Jump, Reminder, Test};
use Side::{Above, Below, In};

const START: Timestamp = Timestamp::from_micros(1_000_000_000);

fn version(number: i64) -> RuleVersion {
    RuleVersion::try_from(number).unwrap()
}

fn pending(kind: DeliveryKind, side: Side, episode_id: DeliveryId, index: u64) -> Pending {
    let at = START.plus(Duration::from_secs(index));
    Pending {
        id: DeliveryId::generate(),
        user_id: UserId::generate(),
        rule_id: RuleId::generate(),
        version: RuleVersion::FIRST,
        episode_id,
        kind,
        side,
        planned_at: at,
        attempts: 0,
        tried_since: None,
        ambiguous: false,
        held: None,
        ticker: "AAPL".parse().unwrap(),
        price: Price::from_units(1 + i64::try_from(index).unwrap()).unwrap(),
        threshold: Price::from_units(100).unwrap(),
        currency: String::new(),
        quote_time: at,
        quote_ingest_time: at,
        already_outside: false,
        opened_at: at,
    }
}

fn view(current: i64, told: Told) -> RuleView {
    let rule = CurrentRule {
        version: version(current),
        active: true,
        range: Range::new(None, Some(Price::from_units(100).unwrap())).unwrap(),
        note: Note::default(),
        snooze: None,
    };
    RuleView {
        rule: Some(rule),
        told,
        message_id: Some(7),
        open: None,
    }
}

/// The sides entered, one after the other, told to somebody who knows of `told`.
fn folded(told: Side, sides: &[Side]) -> Vec<(DeliveryKind, u32, Option<i64>)> {
    let mut episode = DeliveryId::generate();
    let told = Told {
        side: told,
        episode: told.is_out().then_some(episode),
    };
    let mut before = told.side;
    let mut deliveries = Vec::new();
    for (index, side) in (0..).zip(sides) {
        if before == In {
            episode = DeliveryId::generate();
        }
        let kind = match (before.is_out(), side.is_out()) {
            (_, false) => BackInRange,
            (false, true) => Breach,
            (true, true) => Jump,
        };
        deliveries.push(pending(kind, *side, episode, index));
        before = *side;
    }
    let composed = compose(&view(1, told), &deliveries);
    let told: usize = composed
        .drafts
        .iter()
        .map(|draft| draft.item.deliveries.len())
        .sum();
    assert_eq!(
        told + composed.ended.len(),
        deliveries.len(),
        "each ends or is told"
    );
    composed
        .drafts
        .iter()
        .map(|draft| (draft.item.facts.kind, draft.item.facts.crossings, draft.reply_to))
        .collect()
}

/// The side told, the sides that come, and what is said: kind, crossings, the message it answers to.
type Row = (Side, &'static [Side], &'static [(DeliveryKind, u32, Option<i64>)]);

#[test]
fn changes_fold_into_one_from_what_was_told_to_what_is_so() {
    let table: &[Row] = &[
        (In, &[Above], &[(Breach, 1, None)]),
        (In, &[Above, Below], &[(Breach, 2, None)]),
        (In, &[Above, In], &[(CameAndWent, 2, None)]),
        (In, &[Above, In, Below], &[(Breach, 3, None)]),
        (In, &[Above, In, Below, In], &[(CameAndWent, 4, None)]),
        (Above, &[In], &[(BackInRange, 1, Some(7))]),
        (Above, &[Below], &[(Jump, 1, None)]),
        (Above, &[In, Above], &[(Breach, 2, None)]),
        (Above, &[Below, Above], &[(Breach, 2, None)]),
        (Above, &[In, Below], &[(Jump, 2, None)]),
        (Above, &[In, Below, In], &[(BackInRange, 3, Some(7))]),
        (Below, &[Above, In], &[(BackInRange, 2, Some(7))]),
    ];
    for (told, sides, expected) in table {
        assert_eq!(folded(*told, sides), *expected, "{told:?} {sides:?}");
    }
}

#[test]
fn a_return_is_nothing_to_those_who_heard_of_no_breach() {
    let composed = compose(
        &view(1, Told::INSIDE),
        &[pending(BackInRange, In, DeliveryId::generate(), 0)],
    );
    assert!(composed.drafts.is_empty());
    assert_eq!(composed.ended[0].1, NOT_TOLD);
}

#[test]
fn of_an_older_version_only_the_return_is_told() {
    let episode = DeliveryId::generate();
    let told = Told {
        side: Above,
        episode: Some(episode),
    };
    let deliveries = [
        pending(Jump, Below, episode, 0),
        pending(BackInRange, In, episode, 1),
    ];
    let composed = compose(&view(2, told), &deliveries);
    assert_eq!(composed.ended, [(deliveries[0].id, RULE_CHANGED)]);
    assert_eq!(composed.drafts[0].item.facts.kind, BackInRange);
}

#[test]
fn a_deleted_rule_tells_nothing_but_a_test_needs_no_rule() {
    let episode = DeliveryId::generate();
    let deliveries = [
        pending(Breach, Above, episode, 0),
        pending(Reminder, Above, episode, 1),
        pending(BackInRange, In, episode, 2),
        pending(Test, Above, DeliveryId::generate(), 3),
    ];
    let composed = compose(&RuleView::UNKNOWN, &deliveries);
    assert_eq!(composed.ended.len(), 3);
    assert!(composed.ended.iter().all(|(_, reason)| *reason == RULE_DELETED));
    assert_eq!(composed.drafts.len(), 1);
    assert_eq!(composed.drafts[0].item.facts.kind, Test);
}

#[test]
fn a_reminder_yields_to_news_and_to_a_newer_reminder() {
    let episode = DeliveryId::generate();
    let told = Told {
        side: Above,
        episode: Some(episode),
    };
    let mut view = view(1, told);
    view.open = Some((episode, Above));
    let (old, new) = (
        pending(Reminder, Above, episode, 0),
        pending(Reminder, Above, episode, 1),
    );
    let composed = compose(&view, &[old.clone(), new.clone()]);
    assert_eq!(composed.ended, [(old.id, REPEATED)]);
    let draft = &composed.drafts[0];
    assert_eq!((draft.item.facts.kind, draft.reply_to), (Reminder, Some(7)));
    // The price is back, and that is known.
    view.open = None;
    let composed = compose(&view, std::slice::from_ref(&new));
    assert_eq!(composed.ended, [(new.id, WENT_ON)]);
    let back = pending(BackInRange, In, episode, 2);
    let composed = compose(&view, &[new.clone(), back]);
    assert_eq!(composed.ended, [(new.id, WENT_ON)]);
    assert_eq!(composed.drafts[0].item.facts.kind, BackInRange);
}

#[test]
fn a_return_counts_from_the_first_stay_that_it_ends_and_news_from_the_last() {
    let (first, second) = (DeliveryId::generate(), DeliveryId::generate());
    let deliveries = [
        pending(Breach, Above, first, 0),
        pending(BackInRange, In, first, 10),
        pending(Breach, Below, second, 20),
        pending(BackInRange, In, second, 30),
    ];
    let composed = compose(&view(1, Told::INSIDE), &deliveries);
    let draft = &composed.drafts[0];
    assert_eq!(draft.item.facts.opened_at, START);
    assert_eq!((draft.away, draft.item.facts.side), (Below, In));
    let composed = compose(&view(1, Told::INSIDE), &deliveries[..3]);
    assert_eq!(
        composed.drafts[0].item.facts.opened_at,
        START.plus(Duration::from_secs(20))
    );
}

/// A life of one rule: what was told of it, and what waits.
#[derive(Debug, Clone)]
struct Life {
    told: Told,
    current: i64,
    deliveries: Vec<Pending>,
}

/// Steps: a side entered, or an edit, which starts the rule inside without a word. The first so many were told.
fn life() -> impl Strategy<Value = Life> {
    let step =
        prop_oneof![4 => Just(Some(In)), 4 => Just(Some(Above)), 4 => Just(Some(Below)), 1 => Just(None)];
    (prop::collection::vec(step, 0..14), 0_usize..6).prop_map(|(steps, told)| {
        let (mut side, mut current, mut episode) = (In, 1, None);
        let mut deliveries: Vec<Pending> = Vec::new();
        for (index, step) in (0..).zip(steps) {
            let Some(next) = step else {
                (side, episode) = (In, None);
                current += 1;
                continue;
            };
            let kind = match (side, next) {
                (before, after) if before == after => continue,
                (In, _) => Breach,
                (_, In) => BackInRange,
                _ => Jump,
            };
            let stay = *episode.get_or_insert_with(DeliveryId::generate);
            let mut delivery = pending(kind, next, stay, index);
            delivery.version = version(current);
            deliveries.push(delivery);
            side = next;
            if side == In {
                episode = None;
            }
        }
        let rest = deliveries.split_off(told.min(deliveries.len()));
        let told = deliveries.last().map_or(Told::INSIDE, |last| Told {
            side: last.side,
            episode: last.side.is_out().then_some(last.episode_id),
        });
        Life {
            told,
            current,
            deliveries: rest,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// The oracle tells each delivery by itself, as if there were no digests: a return if its stay was told, the rest
    /// unless it is of an old version. The one message must leave the user with the same belief, count what the single
    /// ones would have been, and end every delivery once.
    #[test]
    fn one_message_says_what_single_ones_would_have_said(life in life()) {
        let mut told_stays: HashSet<DeliveryId> = life.told.episode.into_iter().collect();
        let mut single: Vec<&Pending> = Vec::new();
        for delivery in &life.deliveries {
            let is_told = if delivery.side == In {
                told_stays.remove(&delivery.episode_id)
            } else if delivery.version.get() == life.current {
                told_stays.insert(delivery.episode_id);
                true
            } else {
                false
            };
            if is_told {
                single.push(delivery);
            }
        }
        let composed = compose(&view(life.current, life.told), &life.deliveries);
        let mut ends: Vec<DeliveryId> = composed.ended.iter().map(|(id, _)| *id).collect();
        ends.extend(composed.drafts.iter().flat_map(|draft| &draft.item.deliveries));
        ends.sort();
        let mut all: Vec<DeliveryId> = life.deliveries.iter().map(|delivery| delivery.id).collect();
        all.sort();
        prop_assert_eq!(ends, all);

        let Some(last) = single.last() else {
            prop_assert!(composed.drafts.is_empty());
            return Ok(());
        };
        prop_assert_eq!(composed.drafts.len(), 1);
        let item = &composed.drafts[0].item;
        let names: Vec<DeliveryId> = single.iter().map(|delivery| delivery.id).collect();
        prop_assert_eq!(&item.deliveries, &names);
        prop_assert_eq!(item.facts.side, last.side);
        prop_assert_eq!(item.facts.price, last.price);
        prop_assert_eq!(item.facts.crossings as usize, single.len());
        // What the user believed when the first was told: nothing, if it is of another stay than they knew of.
        let before = if life.told.episode == Some(single[0].episode_id) { life.told.side } else { In };
        prop_assert_eq!(item.facts.told_side, before);
        let expected = match (before.is_out(), last.side.is_out()) {
            (false, false) => CameAndWent,
            (true, false) => BackInRange,
            (true, true) if before != last.side => Jump,
            (_, true) => Breach,
        };
        prop_assert_eq!(item.facts.kind, expected);
    }
}
