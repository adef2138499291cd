//! `watch` on a terminal.

use std::time::{Duration, Instant};

use proto::v1;
use rustix::process::Signal;

use super::registered_home;
use crate::program::Home;
use crate::stub::{Stub, alert, rule};
use crate::terminal::Terminal;

/// The alternate screen without a cursor, and back.
const TAKEN: &str = "\u{1b}[?1049h\u{1b}[?25l";
const GIVEN_BACK: &str = "\u{1b}[?25h\u{1b}[?1049l";

fn watch(home: &Home, term: Option<&str>) -> Terminal {
    let mut command = home.command(["watch"]);
    if let Some(term) = term {
        command.env("TERM", term);
    }
    Terminal::start(command, 100, 24)
}

fn aapl() -> v1::Rule {
    let new = v1::NewRule {
        ticker: "AAPL".into(),
        high: Some("200".into()),
        ..Default::default()
    };
    rule(1, new)
}

#[tokio::test(flavor = "multi_thread")]
async fn however_the_picture_ends_the_terminal_is_given_back() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut watch = watch(&home, Some("xterm"));
        watch.until("a picture", |text| {
            text.contains(TAKEN) && text.contains("no rules")
        });
        watch.send(signal);
        assert_eq!(watch.code(), Some(0), "{signal:?}");
        watch.until("the terminal is given back", |text| text.ends_with(GIVEN_BACK));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_z_gives_the_terminal_to_the_shell_and_fg_takes_it_again() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    let mut watch = watch(&home, Some("xterm"));
    watch.until("a picture", |text| {
        text.contains(TAKEN) && text.contains("no rules")
    });
    watch.send(Signal::TSTP);
    watch.until_stopped();
    watch.until("the terminal is given back", |text| text.ends_with(GIVEN_BACK));
    watch.send(Signal::CONT);
    watch.until("the picture again", |text| {
        let after = text.rsplit_once(GIVEN_BACK).map_or("", |(_, after)| after);
        after.contains(TAKEN) && after.contains("no rules")
    });
    watch.send(Signal::TERM);
    assert_eq!(watch.code(), Some(0));
    watch.until("the terminal is given back", |text| text.ends_with(GIVEN_BACK));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_whose_cursor_cant_be_moved_gets_lines() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    for term in [Some("dumb"), None] {
        let watch = watch(&home, term);
        watch.until("a price", |text| text.contains("AAPL") && text.contains("187.25"));
        assert!(!watch.text().contains(TAKEN), "{term:?}: {:?}", watch.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_shown_at_once_without_reading_all_rules_again() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    stub.state().rules = vec![aapl()];
    let watch = watch(&home, Some("xterm"));
    watch.until("the rule", |text| text.contains("6.81 % away"));
    for number in 1..=20 {
        let side = if number % 2 == 0 {
            v1::Side::Above
        } else {
            v1::Side::In
        };
        stub.state().alerts.push(alert(number, side));
        std::thread::sleep(Duration::from_millis(20));
    }
    watch.until("where its price is", |text| text.contains("above for "));
    let lists = stub.state().rule_lists;
    assert!(lists <= 2, "rules were read {lists} times");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_room_is_away_and_asked_again_when_it_says() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    stub.state().rules = vec![aapl()];
    stub.state().full = Some(Duration::from_secs(4));
    let watch = watch(&home, Some("xterm"));
    watch.until("why", |text| {
        text.contains("the server has no room (too many streams are open)")
    });
    let begun = Instant::now();
    stub.state().full = None;
    watch.until("the rule", |text| text.contains("6.81 % away"));
    let waited = begun.elapsed();
    // It was told a moment before it was shown.
    assert!(waited > Duration::from_secs(2), "asked again after {waited:?}");
    assert_eq!(stub.state().alert_streams, 2);
}
