//! What callers follow: nothing is left out, whichever server they come back to.

use std::time::Duration;

use cqrs::LedgerChange;
use cqrs::domain::{Alert, AlertPosition, Quote, RuleVersion, Side, Timestamp};
use proto::v1;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::app::{App, Caller, Database, PATIENCE, no_broker, some_rule, with_token};

on_both_stores! {
    alerts_go_on_at_another_server_where_the_cursor_is,
    a_stream_of_one_rule_leaves_out_the_others,
    the_last_alerts_of_a_deleted_rule_are_told_to_who_comes_back,
    a_stream_that_is_ahead_of_a_database_that_lost_alerts_ends,
    a_cursor_of_another_user_or_of_nothing_is_refused,
    a_stream_ends_with_its_user,
    prices_begin_with_the_latest_and_go_on_from_the_cursor,
    the_prices_of_ones_rules_follow_the_rules,
    streams_end_with_the_server_and_say_so,
    one_user_has_so_many_streams_and_no_more,
}

/// The rule's next alert; `number` tells them apart.
async fn raise(database: &Database, caller: &Caller, rule: &v1::Rule, number: i64) {
    let alert = Alert {
        rule_id: rule.id.parse().unwrap(),
        user_id: caller.user.id.parse().unwrap(),
        ticker: rule.ticker.parse().unwrap(),
        position: AlertPosition {
            version: RuleVersion::FIRST,
            generation: 1,
            offset: number,
        },
        side: if number % 2 == 0 { Side::Above } else { Side::In },
        price: "201".parse().unwrap(),
        threshold: "200".parse().unwrap(),
        currency: "USD".into(),
        quote_time: Timestamp::from_micros(1),
        quote_ingest_time: Timestamp::from_micros(2),
        // The later the number, the earlier it was raised: no time says what a caller has seen.
        raised_at: Timestamp::from_micros(1_000_000 - number),
        already_outside: false,
    };
    let store = database.open().await;
    let folded = store
        .ledger()
        .fold(&[LedgerChange::Alert(alert)], Timestamp::now())
        .await;
    assert_eq!(folded.unwrap().taken, 1);
    store.close().await;
}

async fn record(database: &Database, ticker: &str, price: &str, offset: i64) {
    let quote = Quote {
        ticker: ticker.parse().unwrap(),
        price: price.parse().unwrap(),
        currency: "USD".into(),
        volume: None,
        trade_side: None,
        event_time: Timestamp::from_micros(offset),
        ingest_time: Timestamp::from_micros(offset),
        source: "replay".into(),
    };
    let store = database.open().await;
    store.history().record(&[(quote, offset)]).await.unwrap();
    store.close().await;
}

async fn alerts(app: &App, caller: &Caller, cursor: &str) -> Streaming<v1::WatchAlertsResponse> {
    let request = v1::WatchAlertsRequest {
        cursor: cursor.to_owned(),
        rule_id: String::new(),
    };
    app.alerts()
        .watch_alerts(caller.asks(request))
        .await
        .unwrap()
        .into_inner()
}

async fn next<T>(stream: &mut Streaming<T>) -> Result<T, Status> {
    let next = tokio::time::timeout(PATIENCE, stream.message()).await;
    next.expect("an answer comes in time")
        .map(|answer| answer.expect("the stream goes on"))
}

/// The numbers of the next alerts, and the cursor after them.
async fn numbers(stream: &mut Streaming<v1::WatchAlertsResponse>, count: usize) -> (Vec<String>, String) {
    let (mut numbers, mut cursor) = (Vec::new(), String::new());
    while numbers.len() < count {
        let answer = next(stream).await.unwrap();
        cursor = answer.cursor;
        if let Some(alert) = answer.alert {
            numbers.push(alert.id.rsplit('.').next().unwrap().to_owned());
        }
    }
    (numbers, cursor)
}

async fn alerts_go_on_at_another_server_where_the_cursor_is(database: Database) {
    let first = App::start(&database, &no_broker()).await;
    let caller = first.register().await;
    let rule = caller.creates(&first, some_rule()).await;
    raise(&database, &caller, &rule, 0).await;
    let mut stream = alerts(&first, &caller, "").await;
    let begin = next(&mut stream).await.unwrap();
    assert_eq!(begin.alert, None, "what was before is not news");
    for number in [1, 2, 3] {
        raise(&database, &caller, &rule, number).await;
    }
    let (seen, cursor) = numbers(&mut stream, 3).await;
    assert_eq!(seen, ["1", "2", "3"]);
    first.kill().await;
    raise(&database, &caller, &rule, 4).await;

    let second = App::start(&database, &no_broker()).await;
    let mut stream = alerts(&second, &caller, &cursor).await;
    raise(&database, &caller, &rule, 5).await;
    assert_eq!(numbers(&mut stream, 2).await.0, ["4", "5"]);
    let mut all = alerts(&second, &caller, &begin.cursor).await;
    assert_eq!(numbers(&mut all, 5).await.0, ["1", "2", "3", "4", "5"]);
    second.stop().await;
}

async fn a_stream_of_one_rule_leaves_out_the_others(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    let (ours, other) = (
        caller.creates(&app, some_rule()).await,
        caller.creates(&app, some_rule()).await,
    );
    let request = v1::WatchAlertsRequest {
        cursor: String::new(),
        rule_id: ours.id.clone(),
    };
    let mut stream = app
        .alerts()
        .watch_alerts(caller.asks(request))
        .await
        .unwrap()
        .into_inner();
    next(&mut stream).await.unwrap();
    raise(&database, &caller, &other, 7).await;
    raise(&database, &caller, &ours, 8).await;
    let answer = next(&mut stream).await.unwrap();
    assert_eq!(answer.alert.unwrap().rule_id, ours.id);
    app.stop().await;
}

async fn the_last_alerts_of_a_deleted_rule_are_told_to_who_comes_back(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let (caller, other) = (app.register().await, app.register().await);
    let rule = caller.creates(&app, some_rule()).await;
    let watch = async |who: &Caller, cursor: &str| {
        let request = v1::WatchAlertsRequest {
            cursor: cursor.to_owned(),
            rule_id: rule.id.clone(),
        };
        app.alerts().watch_alerts(who.asks(request)).await
    };
    let mut stream = watch(&caller, "").await.unwrap().into_inner();
    let cursor = next(&mut stream).await.unwrap().cursor;
    drop(stream);
    raise(&database, &caller, &rule, 0).await;
    let delete = v1::DeleteRuleRequest {
        rule_id: rule.id.clone(),
        ..Default::default()
    };
    app.rules().delete_rule(caller.asks(delete)).await.unwrap();
    let mut stream = watch(&caller, &cursor).await.unwrap().into_inner();
    assert_eq!(numbers(&mut stream, 1).await.0, ["0"]);
    watch(&caller, "").await.unwrap();
    let refused = watch(&other, "").await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    app.stop().await;
}

async fn a_stream_that_is_ahead_of_a_database_that_lost_alerts_ends(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    let rule = caller.creates(&app, some_rule()).await;
    let mut stream = alerts(&app, &caller, "").await;
    next(&mut stream).await.unwrap();
    raise(&database, &caller, &rule, 0).await;
    numbers(&mut stream, 1).await;
    let pool = sqlx::AnyPool::connect(&database.url).await.unwrap();
    for lost in ["delete from alerts", "update users set alerts_numbered = 0"] {
        sqlx::query(lost).execute(&pool).await.unwrap();
    }
    pool.close().await;
    let status = loop {
        if let Err(status) = next(&mut stream).await {
            break status;
        }
    };
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    app.stop().await;
}

async fn a_cursor_of_another_user_or_of_nothing_is_refused(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let (ada, bob) = (app.register().await, app.register().await);
    let cursor = next(&mut alerts(&app, &bob, "").await).await.unwrap().cursor;
    let long = "f".repeat(100_000);
    for cursor in [cursor.as_str(), "x", "00", &long] {
        let request = v1::WatchAlertsRequest {
            cursor: cursor.to_owned(),
            rule_id: String::new(),
        };
        let refused = app.alerts().watch_alerts(ada.asks(request)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        let details = refused.get_error_details();
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "cursor");
        let request = v1::WatchQuotesRequest {
            tickers: vec!["AAPL".into(), "a b".into()],
            cursor: cursor.to_owned(),
        };
        let refused = app.quotes().watch_quotes(ada.asks(request)).await.unwrap_err();
        let details = refused.get_error_details();
        let fields: Vec<_> = details
            .bad_request()
            .unwrap()
            .field_violations
            .iter()
            .map(|v| &v.field)
            .collect();
        assert_eq!(fields, ["cursor", "tickers[1]"]);
    }
    let request = v1::WatchAlertsRequest::default();
    let refused = app
        .alerts()
        .watch_alerts(with_token(request, "wrong"))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    app.stop().await;
}

async fn a_stream_ends_with_its_user(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    let mut stream = alerts(&app, &caller, "").await;
    next(&mut stream).await.unwrap();
    app.users()
        .delete_user(caller.asks(v1::DeleteUserRequest::default()))
        .await
        .unwrap();
    assert_eq!(next(&mut stream).await.unwrap_err().code(), Code::Unauthenticated);
    app.stop().await;
}

/// The next prices, and the cursor after them.
async fn prices(stream: &mut Streaming<v1::WatchQuotesResponse>, count: usize) -> (Vec<String>, String) {
    let (mut prices, mut cursor) = (Vec::new(), String::new());
    while prices.len() < count {
        let answer = next(stream).await.unwrap();
        cursor = answer.cursor;
        prices.extend(
            answer
                .quote
                .map(|quote| format!("{} {}", quote.ticker, quote.price)),
        );
    }
    prices.sort_unstable();
    (prices, cursor)
}

async fn prices_begin_with_the_latest_and_go_on_from_the_cursor(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    record(&database, "AAPL", "100", 1).await;
    record(&database, "MSFT", "50", 1).await;
    let watch = async |app: &App, cursor: String| {
        let tickers = vec!["MSFT".into(), "AAPL".into(), "MSFT".into()];
        let request = v1::WatchQuotesRequest { tickers, cursor };
        app.quotes()
            .watch_quotes(caller.asks(request))
            .await
            .unwrap()
            .into_inner()
    };
    let mut stream = watch(&app, String::new()).await;
    assert_eq!(prices(&mut stream, 2).await.0, ["AAPL 100", "MSFT 50"]);
    record(&database, "AAPL", "101", 2).await;
    let (new, cursor) = prices(&mut stream, 1).await;
    assert_eq!(new, ["AAPL 101"]);
    app.kill().await;
    record(&database, "MSFT", "51", 2).await;
    let app = App::start(&database, &no_broker()).await;
    let mut stream = watch(&app, cursor).await;
    assert_eq!(
        prices(&mut stream, 1).await.0,
        ["MSFT 51"],
        "the caller has the other one"
    );
    app.stop().await;
}

async fn the_prices_of_ones_rules_follow_the_rules(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    record(&database, "AAPL", "100", 1).await;
    let request = v1::WatchQuotesRequest::default();
    let mut stream = app
        .quotes()
        .watch_quotes(caller.asks(request))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        next(&mut stream).await.unwrap().quote,
        None,
        "there is no rule yet"
    );
    caller.creates(&app, some_rule()).await;
    assert_eq!(prices(&mut stream, 1).await.0, ["AAPL 100"]);
    app.stop().await;
}

async fn streams_end_with_the_server_and_say_so(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    let mut stream = alerts(&app, &caller, "").await;
    next(&mut stream).await.unwrap();
    let began = std::time::Instant::now();
    let (stopped, ended) = tokio::join!(app.stop(), next(&mut stream));
    let () = stopped;
    let ended = ended.unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
    assert_eq!(
        ended.get_error_details().error_info().unwrap().reason,
        "SERVER_ENDING"
    );
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

async fn one_user_has_so_many_streams_and_no_more(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(alerts(&app, &caller, "").await);
    }
    let request = v1::WatchAlertsRequest::default();
    let refused = app.alerts().watch_alerts(caller.asks(request)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    drop(open);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let request = v1::WatchAlertsRequest::default();
        match app.alerts().watch_alerts(caller.asks(request)).await {
            Ok(_) => break,
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted),
        }
        assert!(tokio::time::Instant::now() < deadline, "places come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    app.stop().await;
}
