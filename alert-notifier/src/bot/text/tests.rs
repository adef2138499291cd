//! Texts that conversations hardly bring about, in both languages: see `snapshots`.

mod lengths;
mod on_hold;

use std::fmt::Write as _;
use std::time::Duration;

use cqrs::domain::{
    AlertPosition, BreakerState, DeliveryId, FeedState, Language, Price, Quote, Range, RangeError, Rule,
    RuleId, RuleVersion, Side, Snooze, TickerFeed, Timestamp, User, UserId,
};
use cqrs::{Backlog, CommandError, DeliveryKind, DeliveryStatus, DeliveryView, OpenEpisode};

use super::rules::{ListPage, Watched};
use super::*;
use crate::text::rich::Text;

/// Texts under their names.
#[derive(Default)]
struct Pages(String);

impl Pages {
    fn add(&mut self, name: &str, text: &Text) {
        let _ = writeln!(self.0, "== {name}\n{}\n", text.html());
    }
}

fn now() -> Timestamp {
    "2026-01-30T14:30:00Z".parse().unwrap()
}

fn ago(seconds: u64) -> Timestamp {
    now().minus(Duration::from_secs(seconds))
}

fn reader(language: Language) -> Reader {
    Reader {
        language,
        time_zone: "Europe/Rome".parse().unwrap(),
        now: now(),
    }
}

fn price(text: &str) -> Price {
    text.parse().unwrap()
}

fn rule(ticker: &str, low: Option<&str>, high: Option<&str>) -> Rule {
    Rule {
        id: "0197a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b".parse().unwrap(),
        user_id: UserId::generate(),
        ticker: ticker.parse().unwrap(),
        range: Range::new(low.map(price), high.map(price)).unwrap(),
        note: Default::default(),
        paused: false,
        expired: false,
        expires_at: None,
        snooze: None,
        on_hold_since: None,
        version: RuleVersion::FIRST,
        created_at: now(),
        updated_at: now(),
    }
}

fn quote(ticker: &str, value: &str, seconds: u64) -> Quote {
    Quote {
        ticker: ticker.parse().unwrap(),
        price: price(value),
        currency: "USD".to_owned(),
        volume: None,
        trade_side: None,
        event_time: ago(seconds),
        ingest_time: ago(seconds),
        source: "yahoo".to_owned(),
    }
}

fn episode(side: Side, seconds: u64) -> OpenEpisode {
    OpenEpisode {
        rule_id: RuleId::generate(),
        side,
        position: AlertPosition {
            version: RuleVersion::FIRST,
            generation: 1,
            offset: 1,
        },
        opened_at: ago(seconds),
    }
}

fn user() -> User {
    User {
        id: UserId::generate(),
        email: "ada@example.org".parse().unwrap(),
        telegram_linked: true,
        reminder_interval: Some("15m".parse().unwrap()),
        chosen_language: None,
        messenger_language: None,
        time_zone: "Europe/Rome".parse().unwrap(),
        quiet_hours: None,
        chat_suspended_at: None,
        created_at: now(),
    }
}

fn in_both(name: &str, write: impl Fn(&mut Pages, &Reader)) {
    for language in Language::ALL {
        let mut pages = Pages::default();
        write(&mut pages, &reader(language));
        insta::assert_snapshot!(format!("{name}_{language}"), pages.0);
    }
}

#[test]
fn rules_are_shown_in_each_of_their_states() {
    in_both("rules", |pages, reader| {
        let language = reader.language;
        let latest = quote("AAPL", "187.23", 5);
        let outside = quote("AAPL", "210", 5);
        let plain = rule("AAPL", Some("170"), Some("200.5"));
        let noted = Rule {
            note: "sell <half> & wait".parse().unwrap(),
            ..rule("AAPL", None, Some("200"))
        };
        let long = Rule {
            note: "ß".repeat(500).parse().unwrap(),
            expired: true,
            ..plain.clone()
        };
        let paused = Rule {
            paused: true,
            ..plain.clone()
        };
        let snoozed = |snooze| Rule {
            snooze: Some(snooze),
            ..plain.clone()
        };
        let (above, below) = (episode(Side::Above, 60), episode(Side::Below, 86_400 * 2));
        let until_back = snoozed(Snooze::UntilBack);
        let for_an_hour = snoozed(Snooze::Until(now().plus(Duration::from_secs(3_600))));
        let for_days = snoozed(Snooze::Until(now().plus(Duration::from_secs(3 * 86_400))));
        let over = snoozed(Snooze::Until(ago(1)));
        let watched = |rule, latest, episode| Watched {
            rule,
            latest,
            episode,
            hold: None,
        };
        let rules = [
            watched(&plain, Some(&latest), None),
            watched(&noted, Some(&outside), Some(&above)),
            watched(&plain, Some(&latest), Some(&below)),
            watched(&plain, Some(&outside), None),
            watched(&plain, None, None),
            watched(&long, Some(&latest), None),
            watched(&paused, Some(&outside), Some(&above)),
            watched(&until_back, Some(&outside), Some(&above)),
            watched(&for_an_hour, Some(&latest), None),
            watched(&for_days, Some(&latest), None),
            watched(&over, Some(&latest), None),
        ];
        let page = ListPage {
            rules: &rules,
            before: 8,
            all: 30,
        };
        pages.add("a page", &rules::list(&page, reader));
        pages.add(
            "no rules",
            &rules::list(
                &ListPage {
                    rules: &[],
                    before: 0,
                    all: 0,
                },
                reader,
            ),
        );
        pages.add("edit", &rules::ask_thresholds(&rules[0], language));
        pages.add(
            "edit, one side",
            &rules::ask_thresholds(&watched(&noted, None, None), language),
        );
        pages.add("edited", &rules::changed(&rules[0], language));
        pages.add(
            "edited while paused",
            &rules::changed(&watched(&paused, None, None), language),
        );
        pages.add("delete", &rules::ask_delete(&plain, language));
        pages.add("deleted", &rules::deleted(&noted, language));
        let other = rule("MSFT", None, Some("3"));
        pages.add(
            "snoozed",
            &holds::snoozed(&[plain.clone(), other.clone()], Snooze::UntilBack, reader),
        );
        pages.add(
            "snoozed for days",
            &holds::snoozed(std::slice::from_ref(&plain), for_days.snooze.unwrap(), reader),
        );
        let many: Vec<Rule> = (0..30)
            .map(|number| rule(&format!("T{number}"), None, Some("1")))
            .collect();
        pages.add("unsnoozed", &holds::unsnoozed(&many, language));
        let quotes = [(&outside, vec![rules[1]])];
        pages.add("price", &prices::prices(&quotes, reader));
        pages.add(
            "chart",
            &prices::caption(&latest, Duration::from_secs(86_400), reader),
        );
        let old = quote("AAPL", "187.23", 86_400 * 5);
        pages.add(
            "no chart",
            &prices::no_prices(&plain.ticker, Duration::from_secs(86_400), &old, reader),
        );
    });
}

#[test]
fn accounts_are_greeted_shown_and_left() {
    in_both("account", |pages, reader| {
        let language = reader.language;
        pages.add("linked", &account::linked(&user(), 0, language));
        pages.add("linked with rules", &account::linked(&user(), 3, language));
        pages.add(
            "linked to another account",
            &account::linked(&user(), 3, language).with(account::left_another(language)),
        );
        pages.add(
            "linked in spite of the token",
            &account::linked_in_spite_of_token(language),
        );
        let (first, second) = (
            rule("AAPL", Some("170"), Some("200")),
            rule("MSFT", Some("300"), None),
        );
        let (above, below) = (episode(Side::Above, 3_700), episode(Side::Below, 86_400 * 2));
        let open = [(&above, &first), (&below, &second)];
        pages.add("resumed", &account::resumed(12, &open, reader));
        pages.add("resumed, nothing missed", &account::resumed(0, &[], reader));
        pages.add("resumed, one", &account::resumed(1, &open[..1], reader));
        pages.add(
            "resumed, one from before",
            &account::resumed(0, &open[..1], reader),
        );
        let mut linked_already = account::linked_already(2, language);
        linked_already.append(account::open(&open, reader));
        pages.add("linked already", &linked_already);
        let chosen = User {
            chosen_language: Some(language),
            reminder_interval: None,
            quiet_hours: Some("22:00-07:00".parse().unwrap()),
            ..user()
        };
        pages.add("settings", &account::settings(&chosen, 3, 200, reader));
        pages.add("suspended", &account::suspended(ago(86_400), reader));
        pages.add("stopped without rules", &account::stopped(0, language));
    });
}

#[test]
fn the_state_of_feeds_and_alerts_is_told() {
    let feed = |provider: &str, breaker, reason: Option<&str>, success, updated| FeedState {
        provider: provider.to_owned(),
        instance: "a".to_owned(),
        breaker,
        reason: reason.map(str::to_owned),
        tickers: 12,
        last_success_at: success,
        updated_at: ago(updated),
    };
    in_both("state", |pages, reader| {
        let status = state::Status {
            feeds: vec![
                feed("yahoo", BreakerState::Closed, None, Some(ago(4)), 1),
                feed(
                    "finnhub",
                    BreakerState::Open,
                    Some("429 <Too Many>"),
                    Some(ago(900)),
                    1,
                ),
                feed(
                    "twelvedata",
                    BreakerState::HalfOpen,
                    Some("no answer in time"),
                    None,
                    1,
                ),
                feed("binance", BreakerState::Closed, None, Some(ago(400)), 300),
            ],
            stale: vec![TickerFeed {
                ticker: "AAPL".parse().unwrap(),
                stale_since: Some(ago(400)),
                updated_at: ago(1),
            }],
            on_hold: vec![("AAPL".parse().unwrap(), 1), ("MSFT".parse().unwrap(), 2)],
            newest: Some(quote("MSFT", "350.5", 4)),
            oldest: Some(quote("AAPL", "187.23", 400)),
            backlog: Backlog { waiting: 3 },
        };
        pages.add("status", &state::status(&status, reader));
        let kinds = [
            (DeliveryKind::Breach, DeliveryStatus::Sent),
            (DeliveryKind::Jump, DeliveryStatus::Planned),
            (DeliveryKind::Reminder, DeliveryStatus::Superseded),
            (DeliveryKind::BackInRange, DeliveryStatus::Undeliverable),
            (DeliveryKind::CameAndWent, DeliveryStatus::Sending),
            (DeliveryKind::Test, DeliveryStatus::Sent),
            (DeliveryKind::FeedStale, DeliveryStatus::Sent),
            (DeliveryKind::FeedBack, DeliveryStatus::Sent),
            (DeliveryKind::Restated, DeliveryStatus::Sent),
        ];
        let deliveries: Vec<DeliveryView> = kinds
            .into_iter()
            .zip(0..)
            .map(|((kind, status), place)| DeliveryView {
                id: DeliveryId::generate(),
                rule_id: RuleId::generate(),
                position: episode(Side::Above, 1).position,
                kind,
                ticker: "AAPL".parse().unwrap(),
                price: price("210"),
                status,
                planned_at: ago(place * 20_000),
                attempts: 1,
                ambiguous_sends: 0,
                sent_at: None,
                message_id: None,
                reason: Some(if status == DeliveryStatus::Superseded {
                    cqrs::reasons::WENT_ON.to_owned()
                } else {
                    "the messenger refuses the message: <no>".to_owned()
                }),
            })
            .collect();
        pages.add("history", &state::history(&deliveries, reader));
        pages.add("test", &state::testing(reader.language));
        pages.add("no test while suspended", &state::not_testing(reader.language));
        pages.add("no test", &state::test_failed(reader.language));
    });
}

#[test]
fn every_refusal_says_what_to_do() {
    let errors = || {
        [
            CommandError::RuleNotFound(RuleId::generate()),
            CommandError::UserNotFound,
            CommandError::Range(RangeError::NoThreshold),
            CommandError::ExpiryInPast {
                expires_at: ago(86_400),
            },
            CommandError::TooManyRules { limit: 200 },
            CommandError::EmbeddedLogFull { limit: 100_000 },
            CommandError::RequestIdReused,
            CommandError::LinkInvalid,
            CommandError::PrivateChatsOnly,
            CommandError::RuleInRange {
                ticker: "AAPL".parse().unwrap(),
            },
            CommandError::RestatedAgain {
                ticker: "AAPL".parse().unwrap(),
            },
            CommandError::SnoozeInPast { until: ago(1) },
            CommandError::UnknownTicker("AAPL".parse().unwrap()),
        ]
    };
    in_both("refusals", |pages, reader| {
        for error in errors() {
            let name = format!("{error:?}");
            let name = name.split(['(', ' ', '{']).next().unwrap();
            pages.add(name, &refusals::refused(&error, reader).unwrap());
        }
        pages.add(
            "too large",
            &refusals::too_large(5_000_000, 1_048_576, reader.language),
        );
        pages.add("broken", &refusals::broken(reader.language));
        pages.add("too slow", &refusals::too_slow(reader.language));
        pages.add("too many", &refusals::too_many(reader.language));
        pages.add("rule gone", &refusals::rule_gone(reader.language));
        pages.add("a file", &transfer::bare_file(reader.language));
        pages.add("which table", &transfer::ask_table(reader.language));
        pages.add("nothing imported", &transfer::imported(0, 3, reader.language));
    });
    let store = CommandError::Store(cqrs::StoreError::Interrupted);
    assert_eq!(
        refusals::refused(&store, &reader(Language::En)),
        None,
        "internals are not told"
    );
}
