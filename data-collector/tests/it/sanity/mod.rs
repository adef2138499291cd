//! Which quotes are published: series in the shapes that markets and providers' mistakes have.

mod collected;
mod files;
mod properties;

use std::time::Duration;

use cqrs::domain::{Price, Quote, Split, Timestamp};
use data_collector::sanity::{Kind, MAX_AHEAD, Outcome, Refusal, Sanity, Suspicion};

const SECOND: u64 = 1;
const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * 60;

const CAUTIOUS: Outcome = Outcome::Quarantine(Suspicion::Jump);

fn at(seconds: u64) -> Timestamp {
    Timestamp::EPOCH.plus(Duration::from_secs(1_000_000 + seconds))
}

fn price(text: &str) -> Price {
    text.parse().unwrap()
}

fn quote(text: &str, seconds: u64) -> Quote {
    Quote {
        ticker: "AET.L".parse().unwrap(),
        price: price(text),
        currency: String::new(),
        volume: None,
        trade_side: None,
        event_time: at(seconds),
        ingest_time: at(seconds),
        source: "first".into(),
    }
}

fn from(source: &str, quote: Quote) -> Quote {
    Quote {
        source: source.into(),
        ..quote
    }
}

fn in_currency(currency: &str, quote: Quote) -> Quote {
    Quote {
        currency: currency.into(),
        ..quote
    }
}

fn confirmed(kind: Kind, before: &str) -> Outcome {
    Outcome::Confirmed {
        kind,
        from: price(before),
    }
}

/// A ticker's quotes as they come, each published when it may be.
#[derive(Default)]
struct Ticker(Sanity);

impl Ticker {
    fn at_price(text: &str) -> Self {
        let mut ticker = Self::default();
        assert_eq!(ticker.sees(&quote(text, 0)), Outcome::Accept);
        ticker
    }

    fn sees(&mut self, quote: &Quote) -> Outcome {
        let outcome = self.0.check(quote, quote.event_time);
        if outcome.is_publishable() {
            self.0.published(quote);
        }
        outcome
    }

    fn sees_all(&mut self, first: u64, step: u64, prices: &[&str]) -> Vec<Outcome> {
        let times = (0..).map(|number| first + number * step);
        times
            .zip(prices)
            .map(|(seconds, price)| self.sees(&quote(price, seconds)))
            .collect()
    }
}

fn two_for_one() -> Split {
    Split::new(2, 1).unwrap()
}

#[test]
fn trades_of_one_moment_are_all_seen_and_late_ones_are_not() {
    let mut ticker = Ticker::at_price("49.18");
    for (text, seconds, outcome) in [
        ("49.19", 1, Outcome::Accept),
        ("49.17", 1, Outcome::Accept),
        ("49.17", 1, Outcome::Refuse(Refusal::Unchanged)),
        ("48.70", 0, Outcome::Refuse(Refusal::Late)),
        ("49.16", 1, Outcome::Accept),
        ("49.16", 2, Outcome::Accept),
    ] {
        assert_eq!(ticker.sees(&quote(text, seconds)), outcome, "{text} {seconds}");
    }
    let with_volume = |volume| Quote {
        volume: Some(volume),
        ..quote("49.16", 2)
    };
    assert_eq!(ticker.sees(&with_volume(100)), Outcome::Accept, "another trade");
    assert_eq!(
        ticker.sees(&with_volume(100)),
        Outcome::Refuse(Refusal::Unchanged)
    );
}

#[test]
fn a_quote_from_the_future_is_refused_even_if_it_is_the_first() {
    let now = at(0);
    let ahead = |more| Quote {
        event_time: now.plus(MAX_AHEAD + more),
        ..quote("1", 0)
    };
    for mut sanity in [Sanity::default(), Sanity::after(price("1"), at(0))] {
        assert_eq!(sanity.check(&ahead(Duration::ZERO), now), Outcome::Accept);
        assert_eq!(
            sanity.check(&ahead(Duration::from_micros(1)), now),
            Outcome::Refuse(Refusal::Future)
        );
    }
}

#[test]
fn a_unit_that_is_wrong_for_days_is_never_published_and_the_right_one_is_at_once() {
    let mut ticker = Ticker::at_price("0.1455");
    let wrong = ticker.sees_all(DAY, DAY, &["14.55"; 11]);
    assert_eq!(wrong, [Outcome::Quarantine(Suspicion::Unit); 11]);
    let right = ticker.sees_all(12 * DAY, DAY, &["0.1455", "0.1460"]);
    assert_eq!(right, [Outcome::Accept; 2]);
    // Within a day, polled every 15 s, it is no truer.
    let wrong = ticker.sees_all(14 * DAY, 15, &["14.6"; 2_000]);
    assert!(wrong.iter().all(|o| *o == Outcome::Quarantine(Suspicion::Unit)));
}

#[test]
fn a_unit_that_stays_for_two_weeks_is_the_unit() {
    let mut ticker = Ticker::at_price("2");
    let outcomes = ticker.sees_all(DAY, DAY, &["200"; 16]);
    assert_eq!(outcomes[..14], [Outcome::Quarantine(Suspicion::Unit); 14]);
    assert_eq!(outcomes[14..], [confirmed(Kind::Unit, "2"), Outcome::Accept]);
}

#[test]
fn a_halving_for_a_day_and_its_return_are_nothing() {
    let mut ticker = Ticker::at_price("476");
    // Counted in other shares, and not quite.
    for wrong in ["238", "218.4"] {
        let mut ticker = Ticker(ticker.0.clone());
        let outcomes = ticker.sees_all(DAY, DAY, &[wrong, "457", "456"]);
        assert!(matches!(outcomes[0], Outcome::Quarantine(_)), "{outcomes:?}");
        assert_eq!(outcomes[1..], [Outcome::Accept; 2]);
    }
    // Polled every 15 s: the same quote again and again proves nothing.
    for number in 0..100 {
        let outcome = ticker.0.check(&quote("218.4", DAY), at(DAY + 15 * number));
        assert_eq!(outcome, Outcome::Quarantine(Suspicion::Split(two_for_one())));
    }
}

#[test]
fn a_split_over_a_weekend_is_believed_after_five_minutes() {
    let mut ticker = Ticker::default();
    ticker.sees_all(0, MINUTE, &["644.10", "645.90", "645.70"]);
    let monday = 56 * 60 * MINUTE;
    let prices = ["92.42", "92.50", "92.30", "92.40", "92.44", "92.60", "92.70"];
    let outcomes = ticker.sees_all(monday, MINUTE, &prices);
    let seven = Split::new(7, 1).unwrap();
    assert_eq!(seven.to_string(), "7:1");
    assert_eq!(outcomes[..5], [Outcome::Quarantine(Suspicion::Split(seven)); 5]);
    assert_eq!(
        outcomes[5..],
        [confirmed(Kind::Split(seven), "645.70"), Outcome::Accept]
    );
    assert!(Kind::Split(seven).restates_prices() && Kind::Unit.restates_prices());
    assert!(!Kind::Move.restates_prices());
}

#[test]
fn a_crash_is_believed_with_the_third_poll_also_if_it_goes_on() {
    let mut ticker = Ticker::at_price("100");
    assert_eq!(
        ticker.sees_all(15, 15, &["41", "39", "37", "30"]),
        [CAUTIOUS, CAUTIOUS, confirmed(Kind::Move, "100"), Outcome::Accept]
    );
    // Ticks come faster, and are believed as late.
    let mut ticker = Ticker::at_price("100");
    let outcomes = ticker.sees_all(1, SECOND, &["155"; 30]);
    assert_eq!(outcomes[..20], [CAUTIOUS; 20]);
    assert_eq!(outcomes[20], confirmed(Kind::Move, "100"));
    assert_eq!(outcomes[21..], [Outcome::Accept; 9]);
}

#[test]
fn a_market_that_falls_step_by_step_is_never_held_back() {
    let mut ticker = Ticker::at_price("100");
    let outcomes = ticker.sees_all(1, SECOND, &["80", "60", "49", "40", "28", "25"]);
    assert_eq!(outcomes, [Outcome::Accept; 6]);
}

#[test]
fn prices_that_jump_about_prove_nothing() {
    let mut ticker = Ticker::at_price("100");
    let outcomes = ticker.sees_all(15, 15, &["40", "200", "41", "300", "40", "230", "101"]);
    assert!(outcomes[..6].iter().all(|o| matches!(o, Outcome::Quarantine(_))));
    assert_eq!(outcomes[6], Outcome::Accept);
    // Nor does one that another source contradicts in between.
    for round in 0..10 {
        let seconds = 1_000 + 30 * round;
        assert_eq!(ticker.sees(&quote("40", seconds)), CAUTIOUS);
        assert_eq!(
            ticker.sees(&from("second", quote("100", seconds + 15))),
            Outcome::Accept
        );
    }
}

#[test]
fn a_second_source_confirms_at_once() {
    for (text, kind) in [("40", Kind::Move), ("50", Kind::Split(two_for_one()))] {
        let mut ticker = Ticker::at_price("100");
        assert!(matches!(
            ticker.sees(&quote(text, 15)),
            Outcome::Quarantine(suspicion) if suspicion.kind() == kind
        ));
        let other = from("second", quote(text, 14));
        assert_eq!(ticker.sees(&other), confirmed(kind, "100"));
        assert_eq!(ticker.sees(&quote(text, 30)), Outcome::Accept);
    }
}

#[test]
fn a_second_source_confirms_a_unit_only_if_both_name_it() {
    let wrong = |source, currency, seconds| from(source, in_currency(currency, quote("1455", seconds)));
    for (first, second, outcome) in [
        ("GBp", "GBp", confirmed(Kind::Unit, "14.55")),
        ("GBp", "", Outcome::Quarantine(Suspicion::Unit)),
        ("", "GBp", Outcome::Quarantine(Suspicion::Unit)),
        ("", "", Outcome::Quarantine(Suspicion::Unit)),
    ] {
        let mut ticker = Ticker::at_price("14.55");
        assert_eq!(
            ticker.sees(&wrong("first", first, 15)),
            Outcome::Quarantine(Suspicion::Unit)
        );
        assert_eq!(
            ticker.sees(&wrong("second", second, 16)),
            outcome,
            "{first} {second}"
        );
    }
}

#[test]
fn a_source_that_names_another_currency_is_doubted_until_it_sticks_to_it() {
    let mut ticker = Ticker::default();
    assert_eq!(
        ticker.sees(&in_currency("GBp", quote("1455", 0))),
        Outcome::Accept
    );
    let pounds = |seconds| in_currency("GBP", quote("14.55", seconds));
    let doubted = Outcome::Quarantine(Suspicion::Currency);
    assert_eq!(ticker.sees(&pounds(15)), doubted);
    assert_eq!(
        ticker.sees(&in_currency("GBp", quote("1456", 30))),
        Outcome::Accept,
        "it was a slip"
    );
    for minute in 1..=5 {
        assert_eq!(ticker.sees(&pounds(minute * MINUTE)), doubted, "{minute}");
    }
    assert_eq!(ticker.sees(&pounds(6 * MINUTE)), confirmed(Kind::Unit, "1456"));
    assert_eq!(ticker.sees(&pounds(7 * MINUTE)), Outcome::Accept);
    // A number that stays while its unit changes is as doubtful.
    assert_eq!(
        ticker.sees(&in_currency("ZAc", quote("14.55", 8 * MINUTE))),
        doubted
    );
}

#[test]
fn a_second_source_in_another_unit_is_of_no_use() {
    let mut ticker = Ticker::default();
    ticker.sees(&in_currency("GBp", quote("1455", 0)));
    for number in 1..100 {
        let pounds = from("second", in_currency("GBP", quote("14.55", number * MINUTE)));
        assert_eq!(ticker.sees(&pounds), Outcome::Refuse(Refusal::OtherCurrency));
    }
    // One that names none is compared by its number, and leaves what is known of the unit alone.
    let unnamed = from("second", quote("1460", 101 * MINUTE));
    assert_eq!(ticker.sees(&unnamed), Outcome::Accept);
    let pounds = from("second", in_currency("GBP", quote("1461", 102 * MINUTE)));
    assert_eq!(ticker.sees(&pounds), Outcome::Refuse(Refusal::OtherCurrency));
}

#[test]
fn a_ticker_taken_over_is_compared_with_what_is_known_of_it() {
    let mut ticker = Ticker(Sanity::after(price("0.1455"), at(0)));
    assert_eq!(
        ticker.sees(&quote("14.55", 15)),
        Outcome::Quarantine(Suspicion::Unit)
    );
    assert_eq!(
        ticker.sees(&quote("0.1455", 0)),
        Outcome::Accept,
        "once more, for rules that were made meanwhile"
    );
    assert_eq!(
        ticker.sees(&quote("0.1455", 0)),
        Outcome::Refuse(Refusal::Unchanged)
    );
    assert_eq!(ticker.sees(&quote("0.1456", 15)), Outcome::Accept);
}

#[test]
fn a_unit_that_is_another_one_from_the_first_quote_on_is_believed_after_five_minutes() {
    let mut ticker = Ticker(Sanity::after(price("50"), at(0)));
    let seen = ticker.sees_all(60, 100, &["60000", "60100", "60200", "60300", "60400"]);
    assert_eq!(seen[3], Outcome::Quarantine(Suspicion::Unit));
    assert_eq!(seen[4], confirmed(Kind::Unit, "50"));
    // From there on it is known at first hand.
    let seen = ticker.sees_all(600, 100, &["600", "601", "602", "603", "604", "605"]);
    assert_eq!(seen.last(), Some(&Outcome::Quarantine(Suspicion::Unit)));
}

#[test]
fn a_quote_that_could_not_be_published_gets_the_same_outcome_again() {
    let mut sanity = Sanity::after(price("100"), at(0));
    for _ in 0..3 {
        assert_eq!(sanity.check(&quote("101", 15), at(15)), Outcome::Accept);
    }
    for (seconds, outcome) in [(30, CAUTIOUS), (45, CAUTIOUS), (60, confirmed(Kind::Move, "100"))] {
        for _ in 0..3 {
            assert_eq!(sanity.check(&quote("40", seconds), at(seconds)), outcome);
        }
    }
}
