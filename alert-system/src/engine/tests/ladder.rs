//! A ladder against a sorted list of rungs with a flag each.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::engine::ladder::{Ladder, Rung};

#[derive(Debug, Clone)]
enum Event {
    Insert { rung: Rung, fired: bool },
    Remove { nth: usize },
    Price(i64),
    Rebuild,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0_i64..40, 0_u32..200, any::<bool>())
            .prop_map(|(key, slot, fired)| Event::Insert { rung: Rung { key, slot }, fired }),
        4 => (0_usize..60).prop_map(|nth| Event::Remove { nth }),
        2 => (-2_i64..44).prop_map(Event::Price),
        1 => Just(Event::Rebuild),
    ]
}

fn rearms_at(key: i64) -> i64 {
    key - 3
}

/// The rungs with whether each has fired; those that have are a prefix.
type Model = BTreeMap<Rung, bool>;

fn pass(ladder: &mut Ladder, model: &mut Model, price: i64) {
    let mut passed = Vec::new();
    ladder.advance(price, &mut passed);
    ladder.retreat(price, rearms_at, &mut passed);
    let mut expected = Vec::new();
    for (rung, fired) in model {
        let after = price >= rung.key || (*fired && price > rearms_at(rung.key));
        if after != *fired {
            expected.push(rung.slot);
        }
        *fired = after;
    }
    passed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(passed, expected);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_ladder_is_a_sorted_list_of_which_a_prefix_has_fired(events in prop::collection::vec(event(), 1..200)) {
        let (mut ladder, mut model) = (Ladder::default(), Model::new());
        for event in events {
            match event {
                Event::Insert { rung, fired } if !model.contains_key(&rung) => {
                    let fits = model.iter().all(|(other, has_fired)| *has_fired == fired || (*other < rung) == *has_fired);
                    prop_assert_eq!(ladder.admits(rung, fired), fits);
                    if fits {
                        ladder.insert(rung, fired);
                        model.insert(rung, fired);
                    }
                }
                Event::Insert { rung, .. } => {
                    prop_assert!(ladder.remove(rung));
                    prop_assert!(!ladder.remove(rung));
                    model.remove(&rung);
                }
                Event::Remove { nth } => {
                    if let Some(rung) = model.keys().nth(nth).copied() {
                        prop_assert!(ladder.remove(rung));
                        model.remove(&rung);
                    }
                }
                Event::Price(price) => pass(&mut ladder, &mut model, price),
                Event::Rebuild => {
                    let rungs: Vec<_> = model.keys().copied().collect();
                    let fired = model.values().filter(|fired| **fired).count();
                    ladder = Ladder::from_sorted(&rungs, fired);
                }
            }
            let armed = model.iter().find(|(_, fired)| !**fired).map(|(rung, _)| rung.key);
            let fired = model.iter().rfind(|(_, fired)| **fired).map(|(rung, _)| rung.key);
            prop_assert_eq!(ladder.next_to_fire(), armed);
            prop_assert_eq!(ladder.last_fired(), fired);
        }
    }
}
