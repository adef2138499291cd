//! Texts at their longest.

use cqrs::domain::Split;

use super::super::on_hold::OnHold;
use super::*;

#[test]
fn the_longest_list_fits_into_a_message() {
    let long = Rule {
        note: "<".repeat(500).parse().unwrap(),
        ..rule(
            "ABCDEFGHIJKLMNOPQRSTU.ABCDEFGHIJ",
            Some("0.00000001"),
            Some("92233720368.54775807"),
        )
    };
    let latest = quote("ABCDEFGHIJKLMNOPQRSTU.ABCDEFGHIJ", "92233720368.54775807", 5);
    let open = episode(Side::Above, 86_400 * 500);
    let watched = Watched {
        rule: &long,
        latest: Some(&latest),
        episode: Some(&open),
        hold: None,
    };
    let on_hold = Watched {
        hold: Some(OnHold {
            split: Split::new(65_535, 65_534),
            adjusted: Some(long.range),
        }),
        ..watched
    };
    for (language, watched) in [
        (Language::En, watched),
        (Language::It, watched),
        (Language::En, on_hold),
        (Language::It, on_hold),
    ] {
        let rules = [watched; 8];
        let page = ListPage {
            rules: &rules,
            before: 192,
            all: 200,
        };
        let text = rules::list(&page, &reader(language));
        // Nothing is cut off, so that each rule has its buttons' number.
        assert!(text.plain().encode_utf16().count() <= 4_096);
        assert!(help::help(language).plain().encode_utf16().count() <= 4_096);
    }
}

#[test]
fn more_open_rules_than_fit_are_counted() {
    let rule = rule("EURUSD=X", Some("1.05342"), None);
    let below = episode(Side::Below, 86_400);
    let open = [(&below, &rule); 200];
    for (language, count, more) in [
        (Language::En, "; 200 still out of range.", "more"),
        (Language::It, "; 200 ancora fuori dall'intervallo.", "in più"),
    ] {
        let reader = reader(language);
        let resumed = account::resumed(3, &open, &reader);
        let mut linked = account::linked_already(200, language);
        linked.append(account::open(&open, &reader));
        assert!(!resumed.fits() && !linked.fits());
        let first = resumed.html().lines().next().unwrap().to_owned();
        assert!(first.ends_with(count), "{first}");
        for text in [resumed, linked] {
            let html = text.html().replace("<b>", "").replace("</b>", "");
            assert!(html.encode_utf16().count() <= 4_096, "{html}");
            let last = html.lines().last().unwrap();
            assert!(last.starts_with('…') && last.ends_with(more), "{last}");
            let left_out: usize = last.split(' ').find_map(|word| word.parse().ok()).unwrap();
            assert_eq!(html.matches("EURUSD=X").count() + left_out, 200);
        }
    }
}
