use unicode_width::UnicodeWidthStr as _;

use super::super::follow::Stream;
use super::*;

const NOW: &str = "2026-01-31T12:00:00Z";

fn screen(width: usize, colour: bool) -> Screen {
    Screen {
        json: false,
        width: Some(width),
        colour,
        can_draw: true,
        zone: jiff::tz::TimeZone::UTC,
    }
}

fn rule(number: u32, ticker: &str, low: Option<&str>, high: Option<&str>) -> view::Rule {
    let rule = proto::v1::Rule {
        id: format!("rule-{number}"),
        ticker: ticker.to_owned(),
        low: low.map(str::to_owned),
        high: high.map(str::to_owned),
        state: proto::v1::rule::State::Active.into(),
        version: 1,
        ..Default::default()
    };
    rule.into()
}

fn quote(ticker: &str, price: &str) -> view::Quote {
    let quote = proto::v1::Quote {
        ticker: ticker.to_owned(),
        price: price.to_owned(),
        ..Default::default()
    };
    quote.into()
}

fn alert(number: i64) -> view::Alert {
    let raised: jiff::Timestamp = "2025-12-31T10:00:00Z".parse().unwrap();
    view::Alert {
        id: format!("rule-1.1.1.{number}"),
        rule_id: "rule-1".into(),
        rule_version: 1,
        ticker: "AAPL".into(),
        side: view::Side::Above,
        price: format!("20{number}"),
        threshold: "200".into(),
        quote_time: Some(raised),
        raise_time: Some(raised),
        already_outside: false,
        currency: None,
    }
}

fn picture() -> Picture {
    let mut out = rule(1, "AAPL", Some("170"), Some("200"));
    // Alerts of an earlier version say nothing of it.
    out.version = 2;
    out.episode = Some(view::Episode {
        side: view::Side::Above,
        start_time: "2026-01-31T11:48:00Z".parse().ok(),
        price: "200.5".into(),
    });
    let mut paused = rule(2, "ZZZ", Some("1"), None);
    paused.state = view::RuleState::Paused;
    let mut picture = Picture {
        rules: Some(vec![
            rule(3, "IBM", Some("100"), Some("200")),
            paused,
            rule(4, "MSFT", None, Some("450")),
            rule(5, "NEW", Some("5"), None),
            out,
        ]),
        ..Picture::default()
    };
    for (ticker, price) in [
        ("IBM", "150"),
        ("MSFT", "445"),
        ("AAPL", "200"),
        ("AAPL", "201.25"),
        ("ZZZ", "2"),
    ] {
        picture.quote(quote(ticker, price));
    }
    picture
}

fn drawn(picture: &Picture, width: usize, height: usize, colour: bool) -> Vec<String> {
    picture.draw(&screen(width, colour), "http://h:1", height, NOW.parse().unwrap())
}

#[test]
fn what_is_out_of_range_comes_first_and_then_what_is_nearest_to_it() {
    let mut picture = picture();
    picture.alert(alert(0));
    picture.alert(alert(1));
    insta::assert_snapshot!(drawn(&picture, 100, 24, false).join("\n"), @r"
    TICKER   PRICE  LOW  RANGE                    HIGH  STATE
    AAPL    201.25  170  |····················●|   200  above for 12 min
    MSFT       445        ·················●···|   450  1.13 % away
    IBM        150  100  |··········●··········|   200  33.34 % away
    NEW               5  |·····················         no price yet
    ZZZ          2    1  |····················●         paused

    ALERTS
    2025-12-31  AAPL above: 201 (threshold 200)
    2025-12-31  AAPL above: 200 (threshold 200)

    http://h:1  Ctrl-C ends
    ");
}

#[test]
fn a_narrow_terminal_shows_fewer_columns_and_a_line_for_each_rule() {
    let picture = picture();
    insta::assert_snapshot!(drawn(&picture, 60, 24, false)[..3].join("\n"), @r"
    TICKER   PRICE  LOW  HIGH  STATE
    AAPL    201.25  170   200  above for 12 min
    MSFT       445        450  1.13 % away
    ");
    insta::assert_snapshot!(drawn(&picture, 36, 24, false)[..3].join("\n"), @r"
    TICKER   PRICE  STATE
    AAPL    201.25  above for 12 min
    MSFT       445  1.13 % away
    ");
}

#[test]
fn a_picture_never_leaves_its_terminal() {
    let mut picture = picture();
    for number in 0..60 {
        picture.alert(alert(number));
    }
    for height in [3, 5, 8, 12, 40] {
        for width in [20, 50, 80, 200] {
            for colour in [false, true] {
                let lines = drawn(&picture, width, height, colour);
                assert!(lines.len() <= height, "{height}: {lines:#?}");
                for line in lines {
                    let plain = without_colours(&line);
                    assert!(plain.width() <= width, "{width}: {plain}");
                    assert_eq!(
                        line.matches("\u{1b}[0m").count() > 0,
                        line.contains('\u{1b}'),
                        "{line:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_server_that_is_away_is_said_below_the_last_prices() {
    let mut picture = picture();
    picture
        .absence
        .begins(Stream::Alerts, "the server is away (x\u{1b}[2J)");
    let lines = drawn(&picture, 100, 24, true);
    assert!(lines.iter().any(|line| line.contains("201.25")));
    let last = lines.last().unwrap();
    assert!(
        last.contains("trying again") && !last.contains("\u{1b}[2J"),
        "{last:?}"
    );
}

#[test]
fn who_has_no_rules_is_told_how_to_add_one() {
    let mut picture = Picture::default();
    assert_eq!(drawn(&picture, 100, 24, false)[0], "Reading your rules.");
    picture.rules(Ok(Vec::new()));
    let lines = drawn(&picture, 100, 24, false);
    assert!(lines[0].contains("stockalert rule add"), "{lines:?}");
}

#[test]
fn what_the_server_says_of_a_rule_is_shown_whatever_its_price() {
    let mut rules = Vec::new();
    for (number, state) in [
        view::RuleState::Expired,
        view::RuleState::OnHold,
        view::RuleState::Unknown,
    ]
    .into_iter()
    .enumerate()
    {
        let number = u32::try_from(number).unwrap();
        let mut rule = rule(number, &format!("T{number}"), Some("170"), Some("200"));
        rule.state = state;
        rules.push(rule);
    }
    let mut until_time = rule(7, "T7", Some("170"), Some("200"));
    until_time.snooze = Some(view::Snooze {
        until_time: "2025-12-31T13:00:00Z".parse().ok(),
        until_back: false,
    });
    let mut until_back = rule(8, "T8", Some("180"), Some("200"));
    until_back.snooze = Some(view::Snooze {
        until_time: None,
        until_back: true,
    });
    rules.extend([until_time, until_back]);
    let mut picture = Picture::default();
    for rule in &rules {
        picture.quote(quote(&rule.ticker, "185"));
    }
    picture.rules(Ok(rules));
    insta::assert_snapshot!(drawn(&picture, 100, 24, false).join("\n"), @r"
    TICKER  PRICE  LOW  RANGE                    HIGH  STATE
    T8        185  180  |·····●···············|   200  2.71 % away, snoozed until back
    T7        185  170  |··········●··········|   200  8.11 % away, snoozed until 2025-12-31
    T0        185  170  |··········●··········|   200  expired
    T1        185  170  |··········●··········|   200  on hold
    T2        185  170  |··········●··········|   200  unknown

    http://h:1  Ctrl-C ends
    ");
}

#[test]
fn an_alert_changes_its_rule_in_the_picture_without_reading_it_again() {
    let mut picture = Picture::default();
    picture.rules(Ok(vec![rule(1, "AAPL", Some("170"), Some("200"))]));
    picture.quote(quote("AAPL", "200.5"));
    picture.alert(alert(0));
    let line = |picture: &Picture| drawn(picture, 100, 24, false)[1].clone();
    assert!(line(&picture).contains("above for "), "{}", line(&picture));
    let mut old = alert(1);
    old.side = view::Side::In;
    old.rule_version = 0;
    picture.alert(old);
    assert!(
        line(&picture).contains("above for "),
        "an old version's says nothing"
    );
    let mut back = alert(2);
    back.side = view::Side::In;
    picture.alert(back);
    picture.quote(quote("AAPL", "199"));
    assert!(line(&picture).ends_with("0.51 % away"), "{}", line(&picture));
}

#[test]
fn rules_that_cant_be_read_stay_and_may_be_old() {
    let mut picture = picture();
    picture.rules(Err("the server has no room (x)".to_owned()));
    let lines = drawn(&picture, 100, 24, false);
    assert!(lines[1].starts_with("AAPL"), "{lines:?}");
    assert!(lines.last().unwrap().contains("no room"), "{lines:?}");
    picture.rules(Ok(Vec::new()));
    assert!(
        !drawn(&picture, 100, 24, false)
            .last()
            .unwrap()
            .contains("no room")
    );
}

fn without_colours(line: &str) -> String {
    let mut plain = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    plain + rest
}
