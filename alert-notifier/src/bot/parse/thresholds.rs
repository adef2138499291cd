//! `170 200`, `170 -`, `+5% -3%`.

use cqrs::domain::{Language, Price, Range};

use super::{PercentFault, Wrong, price, shown};

/// What keyboards make of a minus sign or a dash.
const DASHES: [&str; 4] = ["-", "\u{2212}", "\u{2013}", "\u{2014}"];

/// A signed part of a price, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bot) struct Percent(i64);

/// One side of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bot) enum Threshold {
    None,
    At(Price),
    /// From the latest price.
    Relative(Percent),
}

/// Both sides of a rule, at least one of them set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bot) struct Thresholds {
    pub(in crate::bot) low: Threshold,
    pub(in crate::bot) high: Threshold,
}

impl Percent {
    const ONE: i64 = 10_000;
    /// 10,000%.
    const MOST: i64 = 10_000 * Self::ONE;

    fn parse(word: &str, language: Language) -> Result<Self, Wrong> {
        let fail = |fault| Wrong::Percent {
            value: shown(word),
            fault,
        };
        let number = word
            .strip_suffix('%')
            .ok_or_else(|| fail(PercentFault::NoPercentSign))?;
        let minus = DASHES.iter().find_map(|dash| number.strip_prefix(dash));
        let (negative, digits) = match (number.strip_prefix('+'), minus) {
            (Some(digits), _) => (false, digits),
            (None, Some(digits)) => (true, digits),
            (None, None) => return Err(fail(PercentFault::NoSign)),
        };
        if digits.bytes().all(|byte| b"0.,".contains(&byte)) && digits.contains('0') {
            return Err(fail(PercentFault::Zero));
        }
        // A price's number has eight decimals.
        let per_unit = Price::SCALE / Self::ONE;
        let units = match price(digits, language) {
            Ok(number) => number.units(),
            Err(unclear @ Wrong::Thousands { .. }) => return Err(unclear),
            Err(_) => return Err(fail(PercentFault::NotANumber)),
        };
        if units % per_unit != 0 {
            return Err(fail(PercentFault::TooFine));
        }
        match units / per_unit {
            millionths if millionths > Self::MOST => Err(fail(PercentFault::TooLarge)),
            millionths if negative && millionths >= 100 * Self::ONE => Err(fail(PercentFault::WholePrice)),
            millionths => Ok(Self(if negative { -millionths } else { millionths })),
        }
    }

    const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// So far from `price`, rounded to its decimals, but to two at least and (below 1) to four digits.
    fn of(self, price: Price) -> Option<Price> {
        let whole = i128::from(100 * Self::ONE);
        let exact = i128::from(price.units()) * (whole + i128::from(self.0));
        let coarsest = i128::from(Price::SCALE / 100);
        let own_step = (0..=8)
            .map(|zeros| 10_i128.pow(zeros))
            .take_while(|step| i128::from(price.units()) % step == 0)
            .last()
            .unwrap_or(1);
        let mut step = coarsest.min(own_step);
        while step > 1 && exact < whole * step * 1_000 {
            step /= 10;
        }
        let rounded = (exact + whole * step / 2) / (whole * step) * step;
        Price::from_units(i64::try_from(rounded).ok()?).ok()
    }
}

impl Threshold {
    fn parse(word: &str, language: Language) -> Result<Self, Wrong> {
        if DASHES.contains(&word) {
            return Ok(Self::None);
        }
        let signed = word.starts_with('+')
            || DASHES
                .iter()
                .any(|dash| word.strip_prefix(dash).is_some_and(|rest| !rest.is_empty()));
        if signed || word.ends_with('%') {
            return Percent::parse(word, language).map(Self::Relative);
        }
        Ok(Self::At(price(word, language)?))
    }

    fn at(self, latest: Price) -> Result<Option<Price>, Wrong> {
        match self {
            Self::None => Ok(None),
            Self::At(price) => Ok(Some(price)),
            Self::Relative(percent) => percent.of(latest).map(Some).ok_or_else(|| Wrong::Percent {
                value: latest.to_string(),
                fault: PercentFault::TooLarge,
            }),
        }
    }
}

impl Thresholds {
    /// One or two words. A signed percentage goes to the side of its sign, wherever it stands; a number to the low side if
    /// it comes first.
    pub(in crate::bot) fn parse(words: &[&str], language: Language) -> Result<Self, Wrong> {
        let shape = || Wrong::Shape {
            entry: shown(&words.join(" ")),
        };
        let thresholds = match words {
            [one] => match Threshold::parse(one, language)? {
                relative @ Threshold::Relative(_) => Self::placed(relative, Threshold::None)?,
                Threshold::None | Threshold::At(_) => return Err(shape()),
            },
            [first, second] => Self::placed(
                Threshold::parse(first, language)?,
                Threshold::parse(second, language)?,
            )?,
            _ => return Err(shape()),
        };
        // What can be told without the latest price is told at once.
        if !thresholds.is_relative() {
            thresholds.range(None)?;
        }
        Ok(thresholds)
    }

    fn placed(first: Threshold, second: Threshold) -> Result<Self, Wrong> {
        let is_high = |threshold| match threshold {
            Threshold::Relative(percent) => Some(!percent.is_negative()),
            Threshold::None | Threshold::At(_) => None,
        };
        let (low, high) = match (is_high(first), is_high(second)) {
            (Some(one), Some(other)) if one == other => return Err(Wrong::SameSide),
            (Some(true), _) | (None, Some(false)) => (second, first),
            (Some(false), _) | (None, Some(true) | None) => (first, second),
        };
        Ok(Self { low, high })
    }

    /// Whether it takes the latest price to know them.
    pub(in crate::bot) const fn is_relative(self) -> bool {
        matches!(self.low, Threshold::Relative(_)) || matches!(self.high, Threshold::Relative(_))
    }

    /// The range that they are. `latest` is the latest price, for relative ones.
    ///
    /// # Errors
    /// If they make no range; if there is no price for a relative one, as if there were no threshold.
    pub(in crate::bot) fn range(self, latest: Option<Price>) -> Result<Range, Wrong> {
        let price = |threshold: Threshold| match (threshold, latest) {
            (Threshold::None, _) | (Threshold::Relative(_), None) => Ok(None),
            (Threshold::At(price), _) => Ok(Some(price)),
            (relative, Some(latest)) => relative.at(latest),
        };
        Ok(Range::new(price(self.low)?, price(self.high)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str, latest: &str) -> Result<(String, String), Wrong> {
        let words: Vec<_> = text.split(' ').collect();
        let range = Thresholds::parse(&words, Language::It)?.range(latest.parse().ok())?;
        let shown = |price: Option<Price>| price.map_or("-".to_owned(), |price| price.to_string());
        Ok((shown(range.low()), shown(range.high())))
    }

    #[test]
    fn thresholds_are_numbers_dashes_and_percentages() {
        for (text, latest, low, high) in [
            ("170 200", "", "170", "200"),
            ("170,50 1234,567", "", "170.5", "1234.567"),
            ("- 200", "", "-", "200"),
            ("170 \u{2014}", "", "170", "-"),
            ("+5% -3%", "200", "194", "210"),
            ("-3% +5%", "200", "194", "210"),
            ("\u{2212}3% +5%", "200", "194", "210"),
            ("+5%", "200", "-", "210"),
            ("-2,5%", "200", "195", "-"),
            ("+5% -", "200", "-", "210"),
            ("- +5%", "200", "-", "210"),
            ("+5% 170", "200", "170", "210"),
            ("210 -3%", "200", "194", "210"),
            ("170 +5%", "187.23", "170", "196.59"),
            ("-1% +1%", "0.00012345", "0.00012222", "0.00012468"),
            ("-0.5% +0.5%", "1.08512", "1.07969", "1.09055"),
            ("-99% +10000%", "100", "1", "10100"),
            ("-10%", "0.5", "0.45", "-"),
        ] {
            assert_eq!(range(text, latest), Ok((low.into(), high.into())), "{text}");
        }
    }

    #[test]
    fn points_that_may_stand_between_thousands_are_not_guessed_at_in_italian() {
        for (text, value) in [
            ("50.000 60.000", "50.000"),
            ("1,5 1.500", "1.500"),
            ("- 1.234.567", "1.234.567"),
            ("+1.500% -", "1.500"),
            ("-3% +1.125%", "1.125"),
        ] {
            let value = value.to_owned();
            assert_eq!(range(text, "200"), Err(Wrong::Thousands { value }), "{text}");
        }
        for (text, low, high) in [
            ("0.500 1.50", "0.5", "1.5"),
            ("1,500 1500.125", "1.5", "1500.125"),
            ("1.2345 50000", "1.2345", "50000"),
        ] {
            assert_eq!(range(text, ""), Ok((low.into(), high.into())), "{text}");
        }
        let english = Thresholds::parse(&["1.500", "50.000"], Language::En).unwrap();
        assert_eq!(english.low, Threshold::At("1.5".parse().unwrap()));
        // What a question shows can be written into its answer.
        for shown in ["1.085", "1500", "50000.125", "1.5"] {
            let price: Price = shown.parse().unwrap();
            for language in Language::ALL {
                let written = crate::text::words::price(price, language);
                let read = Thresholds::parse(&["-", &written], language).unwrap();
                assert_eq!(read.high, Threshold::At(price), "{written}");
            }
        }
    }

    #[test]
    fn wrong_thresholds_are_told_for_what_they_are() {
        for (text, fault) in [
            ("5% 10%", PercentFault::NoSign),
            ("+5 -3", PercentFault::NoPercentSign),
            ("-5 1", PercentFault::NoPercentSign),
            ("+x% -3%", PercentFault::NotANumber),
            ("+٣% -3%", PercentFault::NotANumber),
            ("+%", PercentFault::NotANumber),
            ("+0%", PercentFault::Zero),
            ("-0.00%", PercentFault::Zero),
            ("+0.00001%", PercentFault::TooFine),
            ("-100%", PercentFault::WholePrice),
            ("+10000.1%", PercentFault::TooLarge),
        ] {
            let wrong = range(text, "100").unwrap_err();
            assert!(
                matches!(wrong, Wrong::Percent { fault: found, .. } if found == fault),
                "{text}: {wrong:?}"
            );
        }
        for text in [
            "x 1",
            "1 ٣",
            "1,000,000 2",
            "1.000,5 2",
            "99999999999999999999 1",
            "0 1",
            "1 1e3",
        ] {
            assert!(matches!(range(text, ""), Err(Wrong::Price(_))), "{text}");
        }
        for text in ["2 1", "1 1", "- -"] {
            assert!(matches!(range(text, ""), Err(Wrong::Range(_))), "{text}");
        }
        assert!(matches!(
            Thresholds::parse(&["1,5", "2"], Language::En),
            Err(Wrong::Price(_))
        ));
        assert_eq!(range("+5% +6%", "100"), Err(Wrong::SameSide));
        for text in ["170", "-", "1 2 3", ""] {
            assert!(
                matches!(range(text, ""), Err(Wrong::Shape { .. } | Wrong::Price(_))),
                "{text}"
            );
        }
        // The largest price and more.
        assert!(matches!(
            range("+50%", "92233720368"),
            Err(Wrong::Percent {
                fault: PercentFault::TooLarge,
                ..
            })
        ));
        assert!(matches!(range("300 +5%", "200"), Err(Wrong::Range(_))));
    }
}
