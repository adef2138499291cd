//! What users read. Plain text without markup, so nothing in it needs escaping; far below Telegram's 4,096 characters.

use std::fmt::Write as _;
use std::time::Duration;

use cqrs::domain::{Price, Side, Timestamp};
use cqrs::{DeliveryKind, MessageFacts};

/// The text of a message.
#[must_use]
pub fn render(facts: &MessageFacts) -> String {
    let mut text = headline(facts);
    let _ = write!(text, "\n{}", price_line(facts));
    let outside = facts.quote_time.since(facts.opened_at);
    match facts.kind {
        DeliveryKind::Breach
        | DeliveryKind::Jump
        | DeliveryKind::Test
        | DeliveryKind::FeedStale
        | DeliveryKind::FeedBack => {}
        DeliveryKind::Reminder => {
            if outside >= Duration::from_secs(1) {
                let _ = write!(text, "\nOut of range for {}", duration(outside));
            }
        }
        DeliveryKind::BackInRange | DeliveryKind::CameAndWent => {
            let _ = write!(text, "\nIt was out of range for {}", duration(outside));
        }
    }
    let _ = write!(text, "\nQuote of {}", time(facts.quote_time));
    if !facts.note.as_str().is_empty() {
        let _ = write!(text, "\nNote: {}", facts.note);
    }
    text
}

fn headline(facts: &MessageFacts) -> String {
    let MessageFacts {
        ticker, threshold, ..
    } = facts;
    let (mark, side) = match facts.side {
        Side::Above => ("▲", "above"),
        Side::Below => ("▼", "below"),
        Side::In => ("●", "back in range"),
    };
    // The boundary counts as out.
    let place = if facts.price == *threshold { "at" } else { side };
    match facts.kind {
        DeliveryKind::BackInRange => format!("● {ticker} is back in range"),
        DeliveryKind::CameAndWent => format!("● {ticker} was out of range and is back"),
        DeliveryKind::FeedStale => format!("● No prices of {ticker} are coming"),
        DeliveryKind::FeedBack => format!("● Prices of {ticker} are coming again"),
        DeliveryKind::Test => format!("{mark} Test: {ticker} is {place} {threshold}"),
        DeliveryKind::Reminder => format!("{mark} Reminder: {ticker} is still {place} {threshold}"),
        DeliveryKind::Jump => {
            let other = if facts.side == Side::Above {
                "below"
            } else {
                "above"
            };
            format!("{mark} {ticker} jumped from {other} your range to {side} {threshold}")
        }
        DeliveryKind::Breach if facts.already_outside => {
            format!("{mark} {ticker} is already {place} {threshold}")
        }
        DeliveryKind::Breach => format!("{mark} {ticker} is {place} {threshold}"),
    }
}

fn price_line(facts: &MessageFacts) -> String {
    let MessageFacts {
        price,
        threshold,
        currency,
        ..
    } = facts;
    let amount = if currency.is_empty() {
        price.to_string()
    } else {
        format!("{price} {currency}")
    };
    match facts.side {
        Side::In => {
            // Inside again: the threshold that was crossed lies on the side the price came from.
            let side = if price < threshold { "below" } else { "above" };
            format!(
                "Price {amount}, {} {side} the threshold {threshold} that it had crossed",
                distance(*price, *threshold)
            )
        }
        Side::Above | Side::Below if price == threshold => {
            format!("Price {amount}, exactly at your threshold")
        }
        Side::Above => format!(
            "Price {amount}, {} above your high threshold",
            distance(*price, *threshold)
        ),
        Side::Below => format!(
            "Price {amount}, {} below your low threshold",
            distance(*price, *threshold)
        ),
    }
}

/// How far apart, in percent of the threshold.
fn distance(price: Price, threshold: Price) -> String {
    let percent = (price.to_f64() / threshold.to_f64() - 1.0).abs() * 100.0;
    if percent < 0.01 {
        "less than 0.01%".to_owned()
    } else {
        format!("{percent:.2}%")
    }
}

/// The two largest units: `45 s`, `12 min 5 s`, `2 h 10 min`, `3 d 4 h`.
fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (large, large_unit, small, small_unit) = match seconds {
        0 => return "less than a second".to_owned(),
        1..60 => return format!("{seconds} s"),
        60..3_600 => (seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => (seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => (seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    };
    if small == 0 {
        format!("{large} {large_unit}")
    } else {
        format!("{large} {large_unit} {small} {small_unit}")
    }
}

/// `2026-01-31 14:30:00 UTC`
pub(crate) fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.as_micros()).map_or_else(
        |_| at.to_string(),
        |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn facts() -> MessageFacts {
        let opened_at: Timestamp = "2026-01-30T14:30:00Z".parse().unwrap();
        MessageFacts {
            kind: DeliveryKind::Breach,
            ticker: "AAPL".parse().unwrap(),
            note: "sell *half* <now>".parse().unwrap(),
            side: Side::Above,
            price: "201.30".parse().unwrap(),
            threshold: "200.50".parse().unwrap(),
            currency: "USD".to_owned(),
            quote_time: opened_at,
            quote_ingest_time: opened_at,
            already_outside: false,
            opened_at,
            range: None,
            told_side: Side::In,
            peak: None,
            crossings: 1,
        }
    }

    fn later(seconds: u64) -> Timestamp {
        facts().opened_at.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn a_breach_says_what_where_and_by_how_much() {
        assert_snapshot!(render(&facts()), @"
        ▲ AAPL is above 200.5
        Price 201.3 USD, 0.40% above your high threshold
        Quote of 2026-01-30 14:30:00 UTC
        Note: sell *half* <now>
        ");
    }

    #[test]
    fn a_breach_below_without_currency_and_note_leaves_them_out() {
        let facts = MessageFacts {
            side: Side::Below,
            price: "180".parse().unwrap(),
            threshold: "190".parse().unwrap(),
            currency: String::new(),
            note: Default::default(),
            ..facts()
        };
        assert_snapshot!(render(&facts), @"
        ▼ AAPL is below 190
        Price 180, 5.26% below your low threshold
        Quote of 2026-01-30 14:30:00 UTC
        ");
    }

    #[test]
    fn a_price_exactly_at_the_threshold_is_out() {
        assert_snapshot!(render(&MessageFacts { price: facts().threshold, ..facts() }), @"
        ▲ AAPL is at 200.5
        Price 200.5 USD, exactly at your threshold
        Quote of 2026-01-30 14:30:00 UTC
        Note: sell *half* <now>
        ");
    }

    #[test]
    fn a_rule_made_while_the_price_is_outside_says_already() {
        assert_snapshot!(render(&MessageFacts { already_outside: true, ..facts() }), @"
        ▲ AAPL is already above 200.5
        Price 201.3 USD, 0.40% above your high threshold
        Quote of 2026-01-30 14:30:00 UTC
        Note: sell *half* <now>
        ");
    }

    #[test]
    fn a_jump_names_both_sides() {
        let facts = MessageFacts {
            kind: DeliveryKind::Jump,
            side: Side::Below,
            price: "180".parse().unwrap(),
            threshold: "190".parse().unwrap(),
            ..facts()
        };
        assert_snapshot!(render(&facts), @"
        ▼ AAPL jumped from above your range to below 190
        Price 180 USD, 5.26% below your low threshold
        Quote of 2026-01-30 14:30:00 UTC
        Note: sell *half* <now>
        ");
    }

    #[test]
    fn a_reminder_says_for_how_long() {
        let facts = MessageFacts {
            kind: DeliveryKind::Reminder,
            quote_time: later(7_830),
            ..facts()
        };
        assert_snapshot!(render(&facts), @"
        ▲ Reminder: AAPL is still above 200.5
        Price 201.3 USD, 0.40% above your high threshold
        Out of range for 2 h 10 min
        Quote of 2026-01-30 16:40:30 UTC
        Note: sell *half* <now>
        ");
    }

    #[test]
    fn a_return_says_how_long_it_took() {
        let facts = MessageFacts {
            kind: DeliveryKind::BackInRange,
            side: Side::In,
            price: "199".parse().unwrap(),
            quote_time: later(725),
            ..facts()
        };
        assert_snapshot!(render(&facts), @"
        ● AAPL is back in range
        Price 199 USD, 0.75% below the threshold 200.5 that it had crossed
        It was out of range for 12 min 5 s
        Quote of 2026-01-30 14:42:05 UTC
        Note: sell *half* <now>
        ");
    }

    #[test]
    fn durations_show_their_two_largest_units() {
        for (seconds, shown) in [
            (0, "less than a second"),
            (59, "59 s"),
            (60, "1 min"),
            (3_599, "59 min 59 s"),
            (3_600, "1 h"),
            (7_830, "2 h 10 min"),
            (273_600, "3 d 4 h"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), shown);
        }
    }

    #[test]
    fn the_longest_message_fits_into_one_of_telegrams() {
        let facts = MessageFacts {
            ticker: "ABCDEFGHIJKLMNOPQRSTU.ABCDEFGHIJ".parse().unwrap(),
            note: "ß".repeat(500).parse().unwrap(),
            price: Price::from_units(i64::MAX).unwrap(),
            threshold: Price::from_units(1).unwrap(),
            currency: "X".repeat(16),
            ..facts()
        };
        assert!(render(&facts).chars().count() < 1_000);
    }
}
