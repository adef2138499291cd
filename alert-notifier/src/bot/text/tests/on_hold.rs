//! Rules on hold.

use cqrs::domain::Split;
use cqrs::{HoldAnswer, Released};

use super::super::on_hold::{self, OnHold};
use super::*;

#[test]
fn rules_on_hold_are_listed_and_go_on() {
    let held = |low, high| Rule {
        on_hold_since: Some(ago(60)),
        ..rule("AAPL", low, high)
    };
    let hold = |rule: &Rule, split: Option<Split>| OnHold {
        split,
        adjusted: split.and_then(|split| split.adjust_range(rule.range)),
    };
    let split = held(Some("600"), Some("700"));
    let tiny = held(Some("0.00000001"), None);
    let paused = Rule {
        paused: true,
        ..held(None, Some("700"))
    };
    let expired = Rule {
        expired: true,
        ..split.clone()
    };
    let latest = quote("AAPL", "92.42", 5);
    in_both("on_hold", |pages, reader| {
        let language = reader.language;
        let watched = |rule, split| Watched {
            rule,
            latest: Some(&latest),
            episode: None,
            hold: Some(hold(rule, split)),
        };
        let seven = Split::new(7, 1);
        let rules = [
            watched(&split, seven),
            watched(&tiny, seven),
            watched(&paused, seven),
            watched(&split, None),
            watched(&expired, seven),
        ];
        let page = ListPage {
            rules: &rules,
            before: 0,
            all: 5,
        };
        pages.add("a list", &rules::list(&page, reader));
        pages.add(
            "prices",
            &prices::prices(&[(&latest, rules[..1].to_vec())], reader),
        );
        let ticker = &split.ticker;
        for (name, answer, released) in [
            (
                "adjusted",
                HoldAnswer::Adjust,
                Released {
                    rules: vec![split.clone(), paused.clone()],
                    left: vec![tiny.clone()],
                },
            ),
            (
                "kept",
                HoldAnswer::Keep,
                Released {
                    rules: vec![split.clone()],
                    left: vec![],
                },
            ),
            (
                "none could be",
                HoldAnswer::Adjust,
                Released {
                    rules: vec![],
                    left: vec![tiny.clone()],
                },
            ),
        ] {
            pages.add(name, &on_hold::released(ticker, answer, &released, language));
            let notice = on_hold::notice(ticker, &released, language);
            pages.add(name, &Text::new(language).with(notice));
        }
        let notice = on_hold::notice(ticker, &Released::default(), language);
        pages.add("answered before", &Text::new(language).with(notice));
    });
}
