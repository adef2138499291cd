use cqrs::MAX_ITEMS;

use super::*;

const ALL: [DeliveryKind; 9] = [
    DeliveryKind::Breach,
    DeliveryKind::Jump,
    DeliveryKind::Reminder,
    DeliveryKind::BackInRange,
    DeliveryKind::CameAndWent,
    DeliveryKind::Test,
    DeliveryKind::FeedStale,
    DeliveryKind::FeedBack,
    DeliveryKind::Restated,
];

#[test]
fn the_largest_message_names_all_that_it_tells_of() {
    for kind in ALL {
        for side in [Side::Above, Side::Below] {
            let long = MessageFacts {
                ticker: "ABCDEFGHIJKLMNOPQRSTU.ABCDEFGHIJ".parse().unwrap(),
                note: "ß".repeat(500).parse().unwrap(),
                price: Price::from_units(i64::MAX).unwrap(),
                threshold: Price::from_units(i64::MAX - 1).unwrap(),
                side,
                ..facts(kind)
            };
            for language in Language::ALL {
                let mut message = message(vec![long.clone(); MAX_ITEMS], language);
                message.heading = Heading::AfterQuietHours;
                message.may_be_repeat = true;
                let text = render(&message, opened_at()).text.html();
                assert_eq!(text.matches(long.ticker.as_str()).count(), MAX_ITEMS, "{text}");
            }
        }
    }
}

#[test]
fn what_a_flapping_rule_tells_of_together_has_no_heading_and_no_time_to_delivery() {
    let shown = both(&[facts(DeliveryKind::Breach)], |message| {
        message.heading = Heading::AfterFlapping;
    });
    let plain = both(&[facts(DeliveryKind::Breach)], |_| ());
    for delay in ["1.2 s", "1,2 s"] {
        assert!(
            plain.contains(delay) && !shown.contains(delay),
            "{plain}\n{shown}"
        );
    }
    assert_eq!(shown.lines().next(), plain.lines().next());
}
