use std::fmt;
use std::num::NonZeroI64;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A price above zero in units of 1e-8, so at most 92,233,720,368.54775807. Prints as a decimal without trailing zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Price(NonZeroI64);

/// The text or number is not a price.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{value}\" is not a price: {reason}; give a decimal number above 0 with at most 8 decimals, such as 200.50"
)]
pub struct ParsePriceError {
    /// What was given, cut to 64 characters.
    pub value: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Price {
    /// Units in one.
    pub const SCALE: i64 = 100_000_000;
    const DECIMALS: usize = 8;

    /// From units of 1e-8.
    ///
    /// # Errors
    /// If it is zero or negative.
    pub fn from_units(units: i64) -> Result<Self, ParsePriceError> {
        match NonZeroI64::new(units) {
            Some(above_zero) if units > 0 => Ok(Self(above_zero)),
            _ => Err(ParsePriceError {
                value: units.to_string(),
                reason: "it is not above 0",
            }),
        }
    }

    /// From a binary floating-point number, rounded to `decimals` (at most 8): how providers send prices.
    ///
    /// # Errors
    /// If it is not finite, not above zero after rounding, or too large.
    pub fn from_f64(value: f64, decimals: u8) -> Result<Self, ParsePriceError> {
        if !value.is_finite() {
            return Err(ParsePriceError {
                value: value.to_string(),
                reason: "it is not a number",
            });
        }
        let decimals = usize::from(decimals).min(Self::DECIMALS);
        // Printing rounds the exact binary value correctly; arithmetic on floats would not.
        format!("{value:.decimals$}").parse()
    }

    /// Units of 1e-8.
    #[must_use]
    pub const fn units(self) -> i64 {
        self.0.get()
    }

    /// For charts and distances; not for comparing.
    #[must_use]
    #[allow(
        clippy::cast_precision_loss,
        reason = "shown to people, where 15 digits are plenty"
    )]
    pub fn to_f64(self) -> f64 {
        self.units() as f64 / Self::SCALE as f64
    }
}

impl FromStr for Price {
    type Err = ParsePriceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_units(text).map(Self).map_err(|reason| ParsePriceError {
            value: text.chars().take(64).collect(),
            reason,
        })
    }
}

fn parse_units(text: &str) -> Result<NonZeroI64, &'static str> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || unsigned.ends_with('.') {
        return Err("it is not a decimal number");
    }
    if negative {
        return Err("it is negative");
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > Price::DECIMALS {
        return Err("it has more than 8 decimals");
    }
    let too_large = |_| "it is above 92233720368.54775807";
    let whole: i64 = whole.parse().map_err(too_large)?;
    let fraction: i64 = if fraction.is_empty() {
        0
    } else {
        format!("{fraction:0<8}").parse().map_err(too_large)?
    };
    let units = whole
        .checked_mul(Price::SCALE)
        .and_then(|units| units.checked_add(fraction))
        .ok_or("it is above 92233720368.54775807")?;
    NonZeroI64::new(units).ok_or("it is not above 0")
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.units() / Self::SCALE, self.units() % Self::SCALE);
        if fraction == 0 {
            f.pad(&whole.to_string())
        } else {
            f.pad(format!("{whole}.{fraction:08}").trim_end_matches('0'))
        }
    }
}

impl TryFrom<String> for Price {
    type Error = ParsePriceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Price> for String {
    fn from(price: Price) -> Self {
        price.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_read_exactly() {
        for (text, units) in [
            ("1", 100_000_000),
            ("200.50", 20_050_000_000),
            ("0.00000001", 1),
            ("007.10", 710_000_000),
            ("1.1000000000000000", 110_000_000),
            ("92233720368.54775807", i64::MAX),
        ] {
            assert_eq!(text.parse::<Price>().map(Price::units), Ok(units), "{text}");
        }
    }

    #[test]
    fn what_is_no_price_is_refused_with_its_reason() {
        for (text, reason) in [
            ("", "it is not a decimal number"),
            ("NaN", "it is not a decimal number"),
            ("inf", "it is not a decimal number"),
            ("1e5", "it is not a decimal number"),
            ("1,5", "it is not a decimal number"),
            ("+1", "it is not a decimal number"),
            ("1.", "it is not a decimal number"),
            (".5", "it is not a decimal number"),
            (" 1", "it is not a decimal number"),
            ("٣", "it is not a decimal number"),
            ("--1", "it is not a decimal number"),
            ("-1", "it is negative"),
            ("0", "it is not above 0"),
            ("0.000", "it is not above 0"),
            ("0.000000001", "it has more than 8 decimals"),
            ("92233720368.54775808", "it is above 92233720368.54775807"),
            (
                "123456789012345678901234567890",
                "it is above 92233720368.54775807",
            ),
        ] {
            assert_eq!(
                text.parse::<Price>().map_err(|e| e.reason),
                Err(reason),
                "{text:?}"
            );
        }
    }

    #[test]
    fn float_noise_is_rounded_away() {
        assert_eq!(
            Price::from_f64(118.690_002_441_406_25, 2).map(|p| p.to_string()),
            Ok("118.69".into())
        );
        assert!(Price::from_f64(f64::NAN, 2).is_err());
        assert!(Price::from_f64(0.001, 2).is_err());
        assert!(Price::from_f64(1e300, 2).is_err());
    }

    proptest! {
        #[test]
        fn printing_and_reading_are_inverse(units in 1..=i64::MAX) {
            let price = Price::from_units(units).unwrap();
            prop_assert_eq!(price.to_string().parse::<Price>(), Ok(price));
        }
    }
}
