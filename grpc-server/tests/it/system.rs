//! How the system is, and rules on hold because of it.

use std::time::Duration;

use cqrs::domain::{BreakerState, FeedChange, FeedState, Restatement, Split, TickerFeed, Timestamp};
use prost_types::FieldMask;
use proto::v1;
use proto::v1::feed::Breaker;
use tonic::Code;

use crate::app::{App, Caller, Database, no_broker, some_rule};
use crate::refusal::refused;

on_both_stores! {
    the_status_shows_feeds_stale_tickers_and_restatements,
    lists_of_the_status_have_an_end,
    rules_on_hold_say_why_until_their_owner_has_looked_at_them,
}

async fn fold(database: &Database, changes: &[FeedChange]) {
    let store = database.open().await;
    store
        .ledger()
        .fold_feeds(changes, Timestamp::now())
        .await
        .unwrap();
    store.close().await;
}

fn feed(provider: &str, breaker: BreakerState, reason: Option<&str>, age_seconds: u64) -> FeedChange {
    FeedChange::Provider(FeedState {
        provider: provider.into(),
        instance: "3f2a9c1d".into(),
        breaker,
        reason: reason.map(Into::into),
        tickers: 7,
        last_success_at: reason.map(|_| ago(900)),
        updated_at: ago(age_seconds),
    })
}

fn ago(seconds: u64) -> Timestamp {
    Timestamp::now().minus(Duration::from_secs(seconds))
}

fn stale(ticker: &str, since: Option<Timestamp>) -> FeedChange {
    FeedChange::Ticker(TickerFeed {
        ticker: ticker.parse().unwrap(),
        stale_since: since,
        updated_at: Timestamp::now(),
    })
}

fn restated(ticker: &str, split: Option<Split>, restated_at: Timestamp) -> FeedChange {
    FeedChange::Restated(Restatement {
        ticker: ticker.parse().unwrap(),
        from: "645.7".parse().unwrap(),
        to: "92.42".parse().unwrap(),
        split,
        event_time: restated_at.minus(Duration::from_secs(300)),
        restated_at,
    })
}

fn micros(time: Option<prost_types::Timestamp>) -> i64 {
    let time = time.unwrap();
    time.seconds * 1_000_000 + i64::from(time.nanos / 1_000)
}

async fn status(app: &App, caller: &Caller) -> v1::GetStatusResponse {
    let request = caller.asks(v1::GetStatusRequest {});
    app.system().get_status(request).await.unwrap().into_inner()
}

async fn the_status_shows_feeds_stale_tickers_and_restatements(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let (caller, other) = (app.register().await, app.register().await);
    assert_eq!(status(&app, &caller).await, v1::GetStatusResponse::default());

    let day = 24 * 60 * 60;
    let (now, since, month) = (Timestamp::now(), ago(200), ago(29 * day));
    let changes = [
        feed("yahoo", BreakerState::Open, Some("HTTP 429"), 0),
        feed("binance", BreakerState::Closed, None, 61),
        feed("finnhub", BreakerState::HalfOpen, Some("trying"), 30),
        stale("MSFT", Some(since)),
        stale("IBM", None),
        restated("TSLA", None, ago(31 * day)),
        restated("AAPL", Split::new(7, 1), now),
        restated("GE", Split::new(1, 8), month),
    ];
    fold(&database, &changes).await;
    let found = status(&app, &caller).await;
    let shown = |feed: &v1::Feed| {
        (
            feed.provider.clone(),
            feed.breaker(),
            feed.reason.clone(),
            feed.last_success_time.is_some(),
            feed.gone,
        )
    };
    let feeds: Vec<_> = found.feeds.iter().map(shown).collect();
    assert_eq!(
        feeds,
        [
            ("binance".into(), Breaker::Closed, String::new(), false, true),
            ("finnhub".into(), Breaker::HalfOpen, "trying".into(), true, false),
            ("yahoo".into(), Breaker::Open, "HTTP 429".into(), true, false),
        ]
    );
    let yahoo = &found.feeds[2];
    assert_eq!((yahoo.instance.as_str(), yahoo.ticker_count), ("3f2a9c1d", 7));
    assert!(micros(yahoo.update_time) <= Timestamp::now().as_micros());
    let [msft] = found.stale_tickers.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!(
        (msft.ticker.as_str(), micros(msft.stale_time)),
        ("MSFT", since.as_micros())
    );
    let [aapl, ge] = found.restatements.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!((aapl.ticker.as_str(), ge.ticker.as_str()), ("AAPL", "GE"));
    let split = aapl.restating.clone().unwrap();
    assert_eq!(
        (split.from_price.as_str(), split.to_price.as_str()),
        ("645.7", "92.42")
    );
    assert_eq!((split.new_shares, split.old_shares), (7, 1));
    assert_eq!(micros(split.restate_time), now.as_micros());
    assert_eq!(micros(split.event_time), now.as_micros() - 300_000_000);
    assert_eq!(status(&app, &other).await, found, "the same for everybody");
    app.stop().await;
}

async fn lists_of_the_status_have_an_end(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    let changes = (0..101).flat_map(|number| {
        let ticker = format!("T{number}");
        [
            stale(&ticker, Some(ago(1_000 - number))),
            restated(&ticker, None, ago(1_000 - number)),
        ]
    });
    fold(&database, &changes.collect::<Vec<_>>()).await;
    let found = status(&app, &caller).await;
    let stale: Vec<_> = found.stale_tickers.iter().map(|stale| &stale.ticker).collect();
    assert_eq!((stale.len(), stale[0].as_str()), (100, "T0"), "the longest");
    let restated: Vec<_> = found.restatements.iter().map(|one| &one.ticker).collect();
    assert_eq!(
        (restated.len(), restated[0].as_str()),
        (100, "T100"),
        "the newest"
    );
    app.stop().await;
}

async fn rules_on_hold_say_why_until_their_owner_has_looked_at_them(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    let rule = caller.creates(&app, some_rule()).await;
    assert_eq!(rule.hold, None);
    let update = async |paths: &[&str], new: v1::Rule| {
        let request = v1::UpdateRuleRequest {
            rule: Some(v1::Rule {
                id: rule.id.clone(),
                ..new
            }),
            update_mask: Some(FieldMask {
                paths: paths.iter().map(ToString::to_string).collect(),
            }),
            ..Default::default()
        };
        app.rules().update_rule(caller.asks(request)).await
    };
    let nothing = v1::Rule::default;
    let low = || v1::Rule {
        low: Some("20".into()),
        ..nothing()
    };
    let ends: [(&[&str], v1::Rule, bool); 4] = [
        (&["note"], nothing(), false),
        (&["paused"], nothing(), true),
        (&["low"], low(), true),
        (&["note", "high"], nothing(), true),
    ];
    for (paths, new, ended) in ends {
        let now = Timestamp::now();
        fold(&database, &[restated("AAPL", Split::new(7, 1), now)]).await;
        let request = v1::GetRuleRequest {
            rule_id: rule.id.clone(),
        };
        let got = app.rules().get_rule(caller.asks(request)).await.unwrap();
        let got = got.into_inner().rule.unwrap();
        let list = caller.asks(v1::ListRulesRequest::default());
        let listed = app.rules().list_rules(list).await.unwrap().into_inner();
        assert_eq!(listed.rules, std::slice::from_ref(&got));
        let hold = got.hold.clone().unwrap();
        assert_eq!(hold.old_shares, 1);
        assert!(!got.paused, "a hold is no pause");

        let refusal = refused(update(&["hold"], nothing()).await);
        assert_eq!(refusal.code, Code::InvalidArgument);
        let updated = update(paths, new).await.unwrap().into_inner().rule.unwrap();
        assert_eq!(updated.hold.is_none(), ended, "{paths:?}");
        if !ended {
            assert_eq!(updated.hold, Some(hold), "{paths:?}");
        }
        assert_eq!(updated.version, got.version + 1);
    }
    app.stop().await;
}
