use std::time::Duration;

use cqrs::domain::{Price, Split};

/// So many times the last price, or that part of it: no market moves so far from one price to the next, but a provider that
/// takes pence for pounds does (100), or mistakes one decimal place for another.
const UNIT_FACTOR: i128 = 50;
/// A split takes effect while the market is closed. A pause of this length lies between two days' sessions everywhere, and
/// between two halves of one nowhere.
const OVERNIGHT: Duration = Duration::from_secs(4 * 60 * 60);
/// Thousandths by which a price may miss a split's ratio overnight, as the market moves as well: where the split at least
/// halves or doubles the price,
const NEAR_OVERNIGHT: i128 = 100;
/// and where it is a smaller one, for which a true move (bad results, a takeover) is easily taken.
const NEAR_SMALL_OVERNIGHT: i128 = 40;
/// And within a session, when a provider begins to count in new shares late.
const NEAR_AT_ONCE: i128 = 15;
/// Thousandths by which a price that "stays there" may move from one quote to the next.
const NEAR: i128 = 100;

/// What may be wrong with a quote that differs much from the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suspicion {
    /// The source names another currency than before.
    Currency,
    /// The price is 50 times the last or more, or a fiftieth or less: pence for pounds, or the other way round.
    Unit,
    /// The price is the last one, counted in other shares.
    Split(Split),
    /// More than half as much again, or less than half.
    Jump,
}

/// What has happened when a doubtful price proves to be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The market moved.
    Move,
    /// Shares were split or merged: what was a threshold before is none now.
    Split(Split),
    /// The price is given in another unit: what was a threshold before is none now.
    Unit,
}

/// What it takes to believe a doubtful price of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// Quotes near one another, each newer than the one before.
    pub quotes: u32,
    /// The least time from the first to the last.
    pub stays: Duration,
}

impl Suspicion {
    /// What is doubtful about `to` as the next price after `from`, made `pause` later.
    pub(super) fn of(from: Price, to: Price, pause: Duration) -> Option<Self> {
        let (before, after) = (i128::from(from.units()), i128::from(to.units()));
        if after >= before * UNIT_FACTOR || after * UNIT_FACTOR <= before {
            return Some(Self::Unit);
        }
        let split = split_of(before, after, pause);
        let is_jump = after * 2 > before * 3 || after * 2 < before;
        split.map(Self::Split).or(is_jump.then_some(Self::Jump))
    }

    /// What it takes to believe it without a second source.
    ///
    /// Providers' mistakes last for one answer or one bar as a rule; wrong units for days (eleven are on record). A move is
    /// believed with the third poll at the usual interval. A split may wait longer: as long as it is doubtful nobody is
    /// told of a wrong breach, and when it is believed owners are asked about their rules.
    #[must_use]
    pub const fn proof(self) -> Proof {
        let (quotes, seconds) = match self {
            Self::Jump => (3, 20),
            Self::Split(_) | Self::Currency => (5, 5 * 60),
            Self::Unit => (5, 14 * 24 * 60 * 60),
        };
        Proof {
            quotes,
            stays: Duration::from_secs(seconds),
        }
    }

    /// What it takes where the last price is known from elsewhere only.
    #[must_use]
    pub(super) const fn proof_against_hearsay(self) -> Proof {
        match self {
            Self::Unit => Self::Currency.proof(),
            Self::Jump | Self::Split(_) | Self::Currency => self.proof(),
        }
    }

    /// What has happened if it proves to be true.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Jump => Kind::Move,
            Self::Split(split) => Kind::Split(split),
            Self::Currency | Self::Unit => Kind::Unit,
        }
    }

    /// For metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Currency => "suspect_currency",
            Self::Unit => "suspect_unit",
            Self::Split(_) => "suspect_split",
            Self::Jump => "suspect_jump",
        }
    }
}

impl Kind {
    /// Whether thresholds from before mean nothing any more, so that rules must not be compared with the price until their
    /// owners have looked at them.
    #[must_use]
    pub const fn restates_prices(self) -> bool {
        match self {
            Self::Move => false,
            Self::Split(_) | Self::Unit => true,
        }
    }

    /// How thresholds from before `from` became `to` are converted, as far as the prices tell. For another unit: a hundred to
    /// one, where the prices say so; what else a unit or a currency became, nobody knows.
    #[must_use]
    pub fn conversion(self, from: Price, to: Price) -> Option<Split> {
        let (before, after) = (i128::from(from.units()), i128::from(to.units()));
        match self {
            Self::Move => None,
            Self::Split(split) => Some(split),
            Self::Unit if are_near(after * 100, before, NEAR) => Split::new(100, 1),
            Self::Unit if are_near(after, before * 100, NEAR) => Split::new(1, 100),
            Self::Unit => None,
        }
    }

    /// For metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Move => "confirmed_move",
            Self::Split(_) => "confirmed_split",
            Self::Unit => "confirmed_unit",
        }
    }
}

/// New shares for old ones in the splits that are looked for; each is also looked for the other way round. A rarer one is a
/// [`Suspicion::Jump`]. 5:4 and 4:3 are left out: true moves to four fifths and three quarters, and back, come every day,
/// and would be held back for minutes, with rules put on hold after them.
const USUAL_SPLITS: [(u32, u32); 15] = [
    (2, 1),
    (3, 1),
    (3, 2),
    (4, 1),
    (5, 1),
    (6, 1),
    (7, 1),
    (8, 1),
    (10, 1),
    (12, 1),
    (15, 1),
    (20, 1),
    (25, 1),
    (30, 1),
    (40, 1),
];

/// The usual split that turns `before` into `after`, if one does nearly: the one that does so best, as overnight several
/// come near.
fn split_of(before: i128, after: i128, pause: Duration) -> Option<Split> {
    let both_ways = USUAL_SPLITS
        .into_iter()
        .flat_map(|(new, old)| [(new, old), (old, new)]);
    let missed_by = |(new, old): (u32, u32)| {
        let near = match pause >= OVERNIGHT {
            true if new.max(old) >= 2 * new.min(old) => NEAR_OVERNIGHT,
            true => NEAR_SMALL_OVERNIGHT,
            false => NEAR_AT_ONCE,
        };
        let (one, other) = (after * i128::from(new), before * i128::from(old));
        // The larger over the smaller, in millionths.
        are_near(one, other, near).then(|| one.max(other) * 1_000_000 / one.min(other))
    };
    let near = both_ways.filter_map(|split| Some((missed_by(split)?, split)));
    let (_, (new, old)) = near.min_by_key(|(missed_by, _)| *missed_by)?;
    Split::new(new, old)
}

/// Whether a price is where the other one was.
pub(super) fn is_near(one: Price, other: Price) -> bool {
    are_near(i128::from(one.units()), i128::from(other.units()), NEAR)
}

fn are_near(one: i128, other: i128, thousandths: i128) -> bool {
    one.max(other) * 1_000 <= one.min(other) * (1_000 + thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(from: &str, to: &str, hours: u64) -> Option<String> {
        let pause = Duration::from_secs(hours * 3_600);
        let suspicion = Suspicion::of(from.parse().unwrap(), to.parse().unwrap(), pause)?;
        Some(match suspicion {
            Suspicion::Split(split) => split.to_string(),
            Suspicion::Currency | Suspicion::Unit | Suspicion::Jump => suspicion.label().into(),
        })
    }

    #[test]
    fn what_a_market_does_in_a_moment_is_not_doubtful() {
        for to in [
            "100", "99.99", "51", "55", "64", "68", "75", "80", "120", "140", "147",
        ] {
            assert_eq!(of("100", to, 0), None, "{to}");
        }
    }

    #[test]
    fn more_than_half_up_or_down_is_a_jump() {
        for to in ["49", "45", "30", "3", "153", "190", "210", "4900"] {
            assert_eq!(of("100", to, 0), Some("suspect_jump".into()), "{to}");
        }
    }

    #[test]
    fn every_split_is_known_both_ways_also_when_the_market_moved_overnight() {
        for (one, other) in USUAL_SPLITS {
            for (new, old) in [(one, other), (other, one)] {
                let split = format!("{new}:{old}");
                let is_small = (one, other) == (3, 2);
                for (percent, hours) in [
                    (100, 0),
                    (101, 0),
                    (103, 60),
                    (97, 60),
                    (106, 60),
                    (95, 60),
                    (109, 60),
                    (92, 60),
                ] {
                    let cents = 42_000 * old / new * percent / 100;
                    let to = format!("{}.{:02}", cents / 100, cents % 100);
                    let found = of("420", &to, hours).filter(|found| found.contains(':'));
                    let case = format!("{split}, {percent} %, {hours} h: {found:?}");
                    if is_small && !(97..=103).contains(&percent) {
                        assert_eq!(found, None, "{case}");
                    } else if (95..=106).contains(&percent) {
                        assert_eq!(found.as_ref(), Some(&split), "{case}");
                    } else {
                        // Further off another one may come nearer: it is a split all the same.
                        assert!(found.is_some(), "{case}");
                    }
                }
            }
        }
    }

    #[test]
    fn of_several_splits_that_come_near_it_is_the_nearest() {
        for (to, split) in [
            ("70", "6:1"),
            ("65", "6:1"),
            ("64", "7:1"),
            ("57", "7:1"),
            ("56", "8:1"),
        ] {
            assert_eq!(of("420", to, 60), Some(split.into()), "{to}");
        }
    }

    #[test]
    fn small_splits_that_look_like_moves_are_not_looked_for() {
        for to in ["80", "75", "125", "133.33", "133.34"] {
            for hours in [0, 60] {
                assert_eq!(of("100", to, hours), None, "{to} {hours}");
            }
        }
    }

    #[test]
    fn thresholds_are_converted_as_far_as_the_prices_tell() {
        let price = |text: &str| text.parse::<Price>().unwrap();
        let seven = Split::new(7, 1).unwrap();
        let of = |kind: Kind, from, to| {
            let split = kind.conversion(price(from), price(to));
            split.map(|split| split.to_string())
        };
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(of(Kind::Split(seven), "645.70", "92.42"), is("7:1"));
        assert_eq!(of(Kind::Move, "100", "1"), None);
        for (from, to, split) in [
            ("14.55", "0.1455", is("100:1")),
            ("14.55", "0.16", is("100:1")),
            ("14.55", "0.13227273", is("100:1")),
            ("14.55", "0.1322", None),
            ("14.55", "0.1601", None),
            ("0.1455", "14.55", is("1:100")),
            ("0.1455", "13.23", is("1:100")),
            ("0.1455", "16.1", None),
            ("14.55", "16", None),
            ("1", "1000", None),
            ("0.00000001", "92233720368.54775807", None),
            ("92233720368.54775807", "0.00000001", None),
        ] {
            assert_eq!(of(Kind::Unit, from, to), split, "{from} {to}");
        }
    }

    #[test]
    fn a_price_that_only_comes_near_a_ratio_in_a_session_is_none() {
        assert_eq!(of("100", "65", 0), None);
        assert_eq!(of("100", "65", 16), Some("3:2".into()));
        assert_eq!(of("100", "62", 16), None, "bad results");
        assert_eq!(of("100", "140", 16), None, "a takeover");
        assert_eq!(of("100", "47", 0), Some("suspect_jump".into()));
        assert_eq!(of("100", "47", 16), Some("2:1".into()));
    }

    #[test]
    fn a_hundred_times_is_a_unit_however_the_market_moved() {
        for (from, to) in [
            ("0.1455", "14.55"),
            ("14.55", "0.1455"),
            ("1", "51"),
            ("100", "1.4"),
            ("0.00000001", "92233720368.54775807"),
        ] {
            assert_eq!(of(from, to, 0), Some("suspect_unit".into()), "{from} {to}");
        }
    }
}
