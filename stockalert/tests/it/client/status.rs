//! How the system is, and rules on hold because of it.

use proto::v1;
use proto::v1::feed::Breaker;
use serde_json::{Value, json};

use super::registered_home;
use crate::stub::{Stub, TIME, rule};

fn restating(new_shares: i32, old_shares: i32) -> v1::Restating {
    v1::Restating {
        restate_time: Some(TIME),
        from_price: "645.7".into(),
        to_price: "92.42".into(),
        new_shares,
        old_shares,
        event_time: Some(TIME),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_shows_feeds_stale_tickers_and_restatements() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    assert_eq!(home.run(&["status"]).out, "No data collector has reported yet.\n");
    stub.state().status.feeds = vec![v1::Feed::default()];
    let out = home.run(&["status"]).out;
    assert!(out.ends_with("\n\nThe prices of all tickers come.\n"), "{out}");
    let feed = |provider: &str, breaker: Breaker, reason: &str, gone: bool| v1::Feed {
        provider: provider.into(),
        instance: "3f2a9c1d".into(),
        breaker: breaker.into(),
        reason: reason.into(),
        ticker_count: 12,
        last_success_time: (!gone).then_some(TIME),
        update_time: Some(TIME),
        gone,
    };
    let stale = |ticker: &str| v1::StaleTicker {
        ticker: ticker.into(),
        stale_time: Some(TIME),
    };
    let restated = |ticker: &str, restating| v1::TickerRestatement {
        ticker: ticker.into(),
        restating: Some(restating),
    };
    stub.state().status = v1::GetStatusResponse {
        feeds: vec![
            feed("binance", Breaker::Closed, "", true),
            feed("finnhub", Breaker::HalfOpen, "trying again", false),
            feed("twelvedata", Breaker::Closed, "", false),
            feed("yahoo", Breaker::Open, "HTTP 429 Too Many Requests", false),
        ],
        stale_tickers: vec![stale("MSFT"), stale("IBM")],
        restatements: vec![
            restated("AAPL", restating(7, 1)),
            restated("TSCO.L", restating(0, 0)),
        ],
    };
    insta::assert_snapshot!(home.run(&["status"]).out, @r"
    FEED        BREAKER    TICKERS  LAST ANSWER  TOLD        INSTANCE  REASON
    binance     gone            12               2013-10-07  3f2a9c1d
    finnhub     half-open       12  2013-10-07   2013-10-07  3f2a9c1d  trying again
    twelvedata  closed          12  2013-10-07   2013-10-07  3f2a9c1d
    yahoo       open            12  2013-10-07   2013-10-07  3f2a9c1d  HTTP 429 Too Many Requests

    NO FRESH PRICES  SINCE
    MSFT             2013-10-07
    IBM              2013-10-07

    COUNTED ANEW  SINCE        FROM     TO  LOOKS LIKE
    AAPL          2013-10-07  645.7  92.42  7:1 split
    TSCO.L        2013-10-07  645.7  92.42  another unit
    ");
    let status = home.json(&["status"]);
    let breakers: Vec<_> = status["feeds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|feed| &feed["breaker"])
        .collect();
    assert_eq!(breakers, ["closed", "half-open", "closed", "open"]);
    assert_eq!(status["feeds"][0]["gone"], json!(true));
    assert_eq!(status["feeds"][0]["reason"], Value::Null);
    assert_eq!(
        status["restatements"][1],
        json!({
            "ticker": "TSCO.L",
            "restating": {
                "restate_time": "2013-10-07T14:30:00Z",
                "from_price": "645.7",
                "to_price": "92.42",
                "new_shares": null,
                "old_shares": null,
                "event_time": "2013-10-07T14:30:00Z",
            },
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_on_hold_are_listed_as_such() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    let on_hold = |number, paused, hold: Option<v1::Restating>| v1::Rule {
        paused,
        state: if hold.is_some() {
            v1::rule::State::OnHold.into()
        } else {
            v1::rule::State::Active.into()
        },
        hold,
        ..rule(
            number,
            v1::NewRule {
                ticker: "AAPL".into(),
                low: Some("600".into()),
                ..Default::default()
            },
        )
    };
    stub.state().rules = vec![
        on_hold(1, false, Some(restating(7, 1))),
        on_hold(2, true, Some(restating(0, 0))),
        on_hold(3, false, None),
    ];
    insta::assert_snapshot!(home.run(&["rule", "list"]).out, @r"
    ID                                    TICKER  LOW  STATE
    0198c1de-7d1c-7c3a-9d57-000000000001  AAPL    600  on hold: 7:1 split
    0198c1de-7d1c-7c3a-9d57-000000000002  AAPL    600  paused, on hold: another unit
    0198c1de-7d1c-7c3a-9d57-000000000003  AAPL    600  active
    ");
    let rules = home.json(&["rule", "list"]);
    assert_eq!(rules[0]["hold"]["new_shares"], json!(7));
    assert_eq!(rules[2]["hold"], Value::Null);
}
