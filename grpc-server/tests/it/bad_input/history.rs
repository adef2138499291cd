use prost_types::{Duration, Timestamp};
use proto::v1;

use super::{Scene, bad_tickers};
use crate::app::in_seconds;
use crate::refusal::assert_invalid;

const fn seconds(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

/// What is no time at all.
const BAD_TIMES: [Timestamp; 6] = [
    Timestamp {
        seconds: 5,
        nanos: -1,
    },
    Timestamp {
        seconds: 5,
        nanos: 1_000_000_000,
    },
    Timestamp {
        seconds: i64::MIN,
        nanos: i32::MIN,
    },
    seconds(i64::MAX),
    // The years 0 and 10000.
    seconds(-62_135_596_801),
    seconds(253_402_300_800),
];

#[tokio::test]
async fn lists_of_tickers_refuse_bad_pages() {
    let scene = Scene::new().await;
    let long = "x".repeat(10_000);
    for own in [false, true] {
        for (page_size, page_token, fields) in [
            (-1, "", &["page_size"][..]),
            (i32::MIN, "", &["page_size"]),
            (0, "x", &["page_token"]),
            (0, "e30", &["page_token"]),
            (0, "' or 1=1", &["page_token"]),
            (0, &long, &["page_token"]),
            (-1, "ü", &["page_size", "page_token"]),
        ] {
            let request = v1::ListTickersRequest {
                page_size,
                page_token: page_token.into(),
                own,
            };
            let result = scene.app.quotes().list_tickers(scene.caller.asks(request)).await;
            assert_invalid(result, fields, &format!("{own} {page_size} {page_token:.20}"));
        }
    }
    scene.nothing_was_stored().await;
}

#[tokio::test]
async fn lists_of_prices_refuse_bad_tickers_pages_and_times() {
    let scene = Scene::new().await;
    let list = async |request: v1::ListQuotesRequest, fields: &[&str], case: &str| {
        let result = scene.app.quotes().list_quotes(scene.caller.asks(request)).await;
        assert_invalid(result, fields, case);
    };
    let good = || v1::ListQuotesRequest {
        ticker: "AAPL".into(),
        ..Default::default()
    };
    for ticker in bad_tickers() {
        let case: String = ticker.chars().take(40).collect();
        list(v1::ListQuotesRequest { ticker, ..good() }, &["ticker"], &case).await;
    }
    for page_token in ["x", "e30", "' or 1=1", "ü"] {
        let request = v1::ListQuotesRequest {
            page_token: page_token.into(),
            ..good()
        };
        list(request, &["page_token"], page_token).await;
    }
    for time in BAD_TIMES {
        let (mut start, mut end) = (good(), good());
        start.start_time = Some(time);
        end.end_time = Some(time);
        list(start, &["start_time"], &format!("{time:?}")).await;
        list(end, &["end_time"], &format!("{time:?}")).await;
    }
    for (start, end) in [(0, 0), (0, -1), (3_600, -3_600)] {
        let request = v1::ListQuotesRequest {
            start_time: Some(seconds(start)),
            end_time: Some(seconds(end)),
            ..good()
        };
        list(request, &["end_time"], "the end is not after the start").await;
    }
    let all = v1::ListQuotesRequest {
        ticker: "?".into(),
        page_size: -1,
        page_token: "ü".into(),
        start_time: Some(BAD_TIMES[0]),
        end_time: Some(BAD_TIMES[1]),
    };
    let fields = ["ticker", "page_size", "page_token", "start_time", "end_time"];
    list(all, &fields, "all at once").await;
    scene.nothing_was_stored().await;
}

fn good_candles() -> v1::ListCandlesRequest {
    v1::ListCandlesRequest {
        ticker: "AAPL".into(),
        interval: Some(Duration {
            seconds: 60,
            nanos: 0,
        }),
        start_time: Some(in_seconds(-3_600)),
        end_time: None,
    }
}

#[tokio::test]
async fn candles_refuse_bad_tickers_intervals_and_times() {
    let scene = Scene::new().await;
    let list = async |request: v1::ListCandlesRequest, fields: &[&str], case: &str| {
        let result = scene.app.quotes().list_candles(scene.caller.asks(request)).await;
        assert_invalid(result, fields, case);
    };
    for ticker in bad_tickers() {
        let case: String = ticker.chars().take(40).collect();
        let request = v1::ListCandlesRequest {
            ticker,
            ..good_candles()
        };
        list(request, &["ticker"], &case).await;
    }
    for (seconds, nanos) in [
        (0, 0),
        (0, 999_999_999),
        (-60, 0),
        (60, 1),
        (60, -1),
        (86_400, 1),
        (86_401, 0),
        (i64::MAX, 999_999_999),
        (i64::MIN, i32::MIN),
    ] {
        let request = v1::ListCandlesRequest {
            interval: Some(Duration { seconds, nanos }),
            ..good_candles()
        };
        list(request, &["interval"], &format!("{seconds} s {nanos} ns")).await;
    }
    for time in BAD_TIMES {
        let (mut start, mut end) = (good_candles(), good_candles());
        start.start_time = Some(time);
        end.end_time = Some(time);
        list(start, &["start_time"], &format!("{time:?}")).await;
        list(end, &["end_time"], &format!("{time:?}")).await;
    }
    let none = v1::ListCandlesRequest::default();
    list(none, &["ticker", "interval", "start_time"], "nothing").await;
    scene.nothing_was_stored().await;
}

#[tokio::test]
async fn candles_refuse_a_time_that_has_no_part_or_too_many() {
    let scene = Scene::new().await;
    let between = async |start, end| {
        let request = v1::ListCandlesRequest {
            start_time: Some(start),
            end_time: end,
            ..good_candles()
        };
        scene.app.quotes().list_candles(scene.caller.asks(request)).await
    };
    for (start, end) in [(600, 600), (600, 599)] {
        let result = between(seconds(start), Some(seconds(end))).await;
        assert_invalid(result, &["end_time"], "the end is not after the start");
    }
    let result = between(in_seconds(3_600), None).await;
    assert_invalid(result, &["start_time"], "the start has not come yet");
    // All times that can be said, and one part more than the most.
    for (start, end) in [(-62_135_596_800, 253_402_300_799), (600, 60_601), (659, 60_601)] {
        let result = between(seconds(start), Some(seconds(end))).await;
        assert_invalid(result, &["interval"], "too many parts");
    }
    for (start, end) in [(600, 60_600), (659, 60_600)] {
        let answer = between(seconds(start), Some(seconds(end))).await.unwrap();
        assert_eq!(answer.into_inner().candles, []);
    }
    scene.nothing_was_stored().await;
}
