//! Yahoo's answers, good and bad, over a real socket.

use std::time::Duration;

use cqrs::domain::{Quote, Ticker, Timestamp};
use data_collector::breaker::{Breaker, CallError, Settings};
use data_collector::provider::yahoo::Chart;
use data_collector::provider::{Provider as _, ProviderError};
use data_collector::staleness::Trading;

use crate::stub::{Answer, Stub};

fn chart(meta: &str) -> String {
    format!(
        r#"{{"chart":{{"result":[{{"meta":{meta},"indicators":{{"quote":[{{"close":[1.5,null]}}]}}}}],"error":null}}}}"#
    )
}

fn ok(body: String) -> Answer {
    Answer::Full("200 OK", "content-type: application/json\r\n", body)
}

const AAPL: &str = r#"{"currency":"USD","symbol":"AAPL","regularMarketPrice":118.69000244140625,"regularMarketTime":1739998801,"priceHint":2}"#;

async fn fetch(answer: Answer, ticker: &str) -> Result<Quote, ProviderError> {
    let stub = Stub::start(answer).await;
    let ticker: Ticker = ticker.parse().unwrap();
    let fetched = Chart::new(stub.url()).unwrap().fetch(&ticker).await?;
    Ok(fetched.quote)
}

async fn error(answer: Answer) -> ProviderError {
    fetch(answer, "AAPL").await.unwrap_err()
}

fn is_bad(error: &ProviderError) -> bool {
    matches!(error, ProviderError::BadResponse { .. })
}

fn is_unavailable(error: &ProviderError) -> bool {
    matches!(error, ProviderError::Unavailable { .. })
}

#[tokio::test]
async fn a_price_is_rounded_by_its_hint_and_keeps_its_time_and_currency() {
    let quote = fetch(ok(chart(AAPL)), "AAPL").await.unwrap();
    assert_eq!(quote.price.to_string(), "118.69");
    assert_eq!(quote.event_time, Timestamp::from_micros(1_739_998_801_000_000));
    assert_eq!((quote.currency.as_str(), quote.source.as_str()), ("USD", "yahoo"));
    let pence = AAPL
        .replace("USD", "GBp")
        .replace("118.69000244140625", "0.1246")
        .replace(":2}", ":4}");
    let quote = fetch(ok(chart(&pence)), "AAPL").await.unwrap();
    assert_eq!(
        (quote.price.to_string().as_str(), quote.currency.as_str()),
        ("0.1246", "GBp")
    );
    let unnamed = AAPL.replace("\"USD\"", "null").replace(",\"priceHint\":2", "");
    let quote = fetch(ok(chart(&unnamed)), "AAPL").await.unwrap();
    assert_eq!(
        (quote.price.to_string().as_str(), quote.currency.as_str()),
        ("118.69000244", "")
    );
}

#[tokio::test]
async fn the_request_looks_like_a_browsers_and_names_the_symbol_behind_the_base_path() {
    let stub = Stub::start(ok(String::new())).await;
    for (base, ticker, expected) in [
        (
            "/",
            "^GSPC",
            "GET /v8/finance/chart/%5EGSPC?interval=1m&range=1d ",
        ),
        (
            "/proxy/",
            "M&M.NS",
            "GET /proxy/v8/finance/chart/M&M.NS?interval=1m&range=1d ",
        ),
        (
            "/a/b",
            "EURUSD=X",
            "GET /a/b/v8/finance/chart/EURUSD=X?interval=1m&range=1d ",
        ),
    ] {
        let ticker: Ticker = ticker.parse().unwrap();
        let yahoo = Chart::new(stub.url().join(base).unwrap()).unwrap();
        assert!(is_bad(&yahoo.fetch(&ticker).await.unwrap_err()));
        let request = stub.requests().pop().unwrap();
        assert!(request.starts_with(expected), "{request}");
        assert!(request.contains("user-agent: Mozilla/5.0"), "{request}");
    }
}

#[tokio::test]
async fn the_answer_says_when_the_market_is_open_if_it_says_so_well() {
    let period = |text: &str| AAPL.replace(":2}", &format!(r#":2,"currentTradingPeriod":{text}}}"#));
    let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
    let regular = r#"{"pre":{"start":1,"end":2},"regular":{"timezone":"EST","start":1739975400,"end":1739998800,"gmtoffset":-18000}}"#;
    let open = Trading::Between {
        start: at(1_739_975_400),
        end: at(1_739_998_800),
    };
    for (meta, trading) in [
        (period(regular), open),
        (AAPL.to_owned(), Trading::Unknown),
        (period("null"), Trading::Unknown),
        (period("[]"), Trading::Unknown),
        (period(r#"{"regular":{"start":5}}"#), Trading::Unknown),
        (period(r#"{"regular":{"start":"5","end":9}}"#), Trading::Unknown),
        (period(r#"{"regular":{"start":9,"end":9}}"#), Trading::Unknown),
        (
            period(r#"{"regular":{"start":1,"end":9223372036854775807}}"#),
            Trading::Unknown,
        ),
    ] {
        let stub = Stub::start(ok(chart(&meta))).await;
        let yahoo = Chart::new(stub.url()).unwrap();
        let fetched = yahoo.fetch(&"AAPL".parse().unwrap()).await.unwrap();
        assert_eq!(fetched.trading, trading, "{meta}");
        assert_eq!(
            fetched.quote.price.to_string(),
            "118.69",
            "the price all the same"
        );
    }
}

#[tokio::test]
async fn a_closed_market_still_has_its_last_price() {
    let body = format!(
        r#"{{"chart":{{"result":[{{"meta":{AAPL},"indicators":{{"quote":[{{}}]}}}}],"error":null}}}}"#
    );
    assert!(fetch(ok(body), "AAPL").await.is_ok());
}

#[tokio::test]
async fn what_is_no_price_of_this_symbol_is_no_price() {
    let phantom = r#"{"currency":null,"symbol":"AAPL","regularMarketTime":null}"#;
    for meta in [
        phantom.to_owned(),
        AAPL.replace("118.69000244140625", "0"),
        AAPL.replace("118.69000244140625", "0.001"),
        AAPL.replace("118.69000244140625", "-3.2"),
        AAPL.replace("118.69000244140625", "1e300"),
        AAPL.replace("118.69000244140625", "null"),
        AAPL.replace("1739998801", "null"),
        AAPL.replace("1739998801", "0"),
        AAPL.replace("1739998801", "9223372036854775807"),
        AAPL.replace("AAPL", "AAPB"),
    ] {
        let error = error(ok(chart(&meta))).await;
        assert!(matches!(error, ProviderError::NoPrice { .. }), "{meta}: {error}");
    }
    for body in [
        r#"{"chart":{"result":[],"error":null}}"#,
        r#"{"chart":{"result":null,"error":null}}"#,
        r#"{"chart":{"result":null,"error":{"code":"Bad Request","description":"Data doesn't exist"}}}"#,
    ] {
        assert!(
            matches!(error(ok(body.into())).await, ProviderError::NoPrice { .. }),
            "{body}"
        );
    }
}

#[tokio::test]
async fn statuses_are_sorted_by_what_is_to_be_done() {
    let of = async |status, headers, body: &str| error(Answer::Full(status, headers, body.to_owned())).await;
    let not_found = r#"{"chart":{"result":null,"error":{"code":"Not Found","description":"No data found"}}}"#;
    assert_eq!(
        of("404 Not Found", "", not_found).await,
        ProviderError::UnknownSymbol
    );
    assert_eq!(of("200 OK", "", not_found).await, ProviderError::UnknownSymbol);
    let limited = |retry_after| ProviderError::RateLimited { retry_after };
    assert_eq!(
        of("429 Too Many Requests", "", "Too Many Requests\r\n").await,
        limited(None)
    );
    let minute = limited(Some(Duration::from_secs(60)));
    assert_eq!(
        of("429 Too Many Requests", "retry-after: 60\r\n", "").await,
        minute
    );
    let past = limited(Some(Duration::ZERO));
    assert_eq!(
        of(
            "429 Too Many Requests",
            "retry-after: Wed, 21 Oct 2015 07:28:00 GMT\r\n",
            ""
        )
        .await,
        past
    );
    assert_eq!(
        of("401 Unauthorized", "", "{}").await,
        ProviderError::Unauthorized { status: 401 }
    );
    assert_eq!(
        of("403 Forbidden", "", "").await,
        ProviderError::Unauthorized { status: 403 }
    );
    for status in [
        "500 Internal Server Error",
        "502 Bad Gateway",
        "503 Service Unavailable",
        "408 Request Timeout",
    ] {
        assert!(is_unavailable(&of(status, "", "<html>").await), "{status}");
    }
    let no_data =
        r#"{"chart":{"result":null,"error":{"code":"Bad Request","description":"Data doesn't exist"}}}"#;
    assert!(matches!(
        of("400 Bad Request", "", no_data).await,
        ProviderError::NoPrice { .. }
    ));
    assert!(is_bad(&of("400 Bad Request", "", "<html>").await));
    assert!(is_bad(&of("418 I'm a teapot", "", "").await));
    assert!(is_bad(&of("304 Not Modified", "", "").await));
}

#[tokio::test]
async fn what_is_no_chart_is_a_bad_response() {
    for body in [
        "",
        "<!doctype html><html>consent</html>",
        "Edge: Too Many Requests",
        "{}",
        "null",
        "{\"chart\":",
    ] {
        assert!(is_bad(&error(ok(body.into())).await), "{body}");
    }
    let long = AAPL.replace("USD", "A CURRENCY OF MORE THAN 16");
    assert!(is_bad(&error(ok(chart(&long))).await));
}

#[tokio::test]
async fn a_body_above_one_mebibyte_is_given_up() {
    let fits = format!("{}{}", chart(AAPL), " ".repeat(1024 * 1024 - chart(AAPL).len()));
    assert!(fetch(ok(fits.clone()), "AAPL").await.is_ok());
    assert!(is_bad(&error(ok(format!("{fits} "))).await));
}

#[tokio::test]
async fn more_than_three_redirects_are_given_up() {
    let stub = Stub::start(Answer::Full("302 Found", "location: /again\r\n", String::new())).await;
    let error = Chart::new(stub.url())
        .unwrap()
        .fetch(&"AAPL".parse().unwrap())
        .await
        .unwrap_err();
    assert!(is_bad(&error), "{error}");
    assert_eq!(stub.count(), 4);
}

#[tokio::test]
async fn a_connection_that_breaks_is_unavailable_and_the_error_hides_the_url() {
    assert!(is_unavailable(&error(Answer::Reset).await));
    assert!(is_unavailable(&error(Answer::HalfBody(chart(AAPL))).await));
    let nobody = "http://user:secret@127.0.0.1:1".parse().unwrap();
    let error = Chart::new(nobody)
        .unwrap()
        .fetch(&"AAPL".parse().unwrap())
        .await
        .unwrap_err();
    assert!(
        is_unavailable(&error) && !error.to_string().contains("secret"),
        "{error}"
    );
}

#[tokio::test]
async fn an_answer_that_never_comes_or_never_ends_is_unavailable_when_the_breakers_time_is_over() {
    for answer in [Answer::Hang, Answer::HangAfterHeaders] {
        let stub = Stub::start(answer).await;
        let yahoo = Chart::new(stub.url()).unwrap();
        let settings = Settings {
            call_timeout: Duration::from_millis(300),
            ..Settings::default()
        };
        let ticker: Ticker = "AAPL".parse().unwrap();
        let error = Breaker::new("yahoo", "chart", &settings)
            .call(yahoo.fetch(&ticker))
            .await
            .unwrap_err();
        assert!(
            matches!(&error, CallError::Provider(error) if is_unavailable(error)),
            "{error}"
        );
    }
}
