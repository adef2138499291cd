//! What holds whatever comes.

use proptest::prelude::*;

use super::*;

proptest! {
    /// A walk that never moves by more than a tenth is published whole, whatever mistakes of up to two quotes lie between
    /// its quotes, and nothing else is.
    #[test]
    fn mistakes_are_held_back_and_the_market_passes(
        walk in prop::collection::vec(
            (900_i64..=1_100, prop::option::weighted(0.3, (1..=2_u64, 0_usize..8))), 1..80
        ),
        step in prop_oneof![Just(2_u64), Just(15), Just(MINUTE), Just(DAY)],
    ) {
        let factors = [(1, 2), (2, 1), (1, 7), (100, 1), (1, 100), (3, 1), (1, 20), (1_000, 1)];
        let mut ticker = Ticker::default();
        let (mut level, mut seconds) = (100 * Price::SCALE, 0);
        let of = |units, seconds| Quote { price: Price::from_units(units).unwrap(), ..quote("1", seconds) };
        prop_assert_eq!(ticker.sees(&of(level, 0)), Outcome::Accept);
        for (thousandths, mistake) in walk {
            if let Some((quotes, factor)) = mistake {
                for _ in 0..quotes {
                    seconds += step;
                    let (up, down) = factors[factor];
                    let outcome = ticker.sees(&of(level * up / down, seconds));
                    prop_assert!(matches!(outcome, Outcome::Quarantine(_)), "{:?}", outcome);
                }
            }
            seconds += step;
            level = (level * thousandths / 1_000).clamp(Price::SCALE, 100_000 * Price::SCALE);
            prop_assert_eq!(ticker.sees(&of(level, seconds)), Outcome::Accept);
        }
    }

    /// Whatever comes: no quote is published that is older than the one before, or that lies far from it without having
    /// been said twice.
    #[test]
    fn nothing_far_off_is_published_on_one_word(
        quotes in prop::collection::vec(
            (0_u64..200, 0_u64..300, prop_oneof![50_i64..150, 1_i64..20_000], 0_usize..2), 1..200
        ),
    ) {
        let mut ticker = Ticker::default();
        let mut published: Option<Quote> = None;
        let mut held = Vec::new();
        let mut now = 0;
        for (pause, age, level, source) in quotes {
            now += pause;
            let quote = Quote {
                event_time: at((now + 300).saturating_sub(age)),
                price: Price::from_units(level * Price::SCALE).unwrap(),
                source: ["first", "second"][source].into(),
                ..quote("1", 0)
            };
            let outcome = ticker.0.check(&quote, at(now + 300));
            if matches!(outcome, Outcome::Quarantine(_)) {
                held.push(level);
            }
            if !outcome.is_publishable() {
                continue;
            }
            ticker.0.published(&quote);
            if let Some(last) = published.replace(quote.clone()) {
                prop_assert!(quote.event_time >= last.event_time);
                let (one, other) = (last.price.units(), quote.price.units());
                let is_far = one * 2 < other || other * 2 < one;
                if is_far {
                    let is_near = |held: &&i64| **held * 10 <= level * 11 && level * 10 <= **held * 11;
                    prop_assert!(held.iter().any(|held| is_near(&held)), "{level} {held:?}");
                    prop_assert!(outcome != Outcome::Accept);
                }
            }
            held.clear();
        }
    }
}
