//! What callers can read: prices and alerts.

use cqrs::LedgerChange;
use cqrs::domain::{Alert, AlertPosition, Quote, RuleVersion, Side, Timestamp};
use proto::v1;
use proto::v1::get_average_request::Range;

use crate::app::{App, Database, no_broker, some_rule};

on_both_stores! {
    the_latest_price_and_averages_come_from_the_recorded_history,
    alerts_are_listed_newest_first_and_stay_when_their_rule_goes,
}

fn quote(price: &str, age_seconds: u64) -> Quote {
    let time = Timestamp::now().minus(std::time::Duration::from_secs(age_seconds));
    Quote {
        ticker: "AAPL".parse().unwrap(),
        price: price.parse().unwrap(),
        currency: "USD".into(),
        volume: None,
        trade_side: None,
        event_time: time,
        ingest_time: time,
        source: "replay".into(),
    }
}

async fn the_latest_price_and_averages_come_from_the_recorded_history(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    let quotes = [
        (quote("100", 3_000), 0),
        (quote("200.5", 20), 1),
        (quote("201", 10), 2),
    ];
    database.open().await.history().record(&quotes).await.unwrap();

    let request = caller.asks(v1::GetLatestQuoteRequest {
        ticker: "AAPL".into(),
    });
    let latest = app
        .quotes()
        .get_latest_quote(request)
        .await
        .unwrap()
        .into_inner()
        .quote
        .unwrap();
    assert_eq!(
        (
            latest.price.as_str(),
            latest.currency.as_str(),
            latest.source.as_str()
        ),
        ("201", "USD", "replay")
    );
    let time = latest.event_time.unwrap();
    assert_eq!(
        time.seconds * 1_000_000 + i64::from(time.nanos / 1_000),
        quotes[2].0.event_time.as_micros()
    );

    let average = async |range| {
        let request = v1::GetAverageRequest {
            ticker: "AAPL".into(),
            range: Some(range),
        };
        let answer = app
            .quotes()
            .get_average(caller.asks(request))
            .await
            .unwrap()
            .into_inner();
        assert!(answer.first_time.unwrap().seconds <= answer.last_time.unwrap().seconds);
        (answer.average, answer.quote_count)
    };
    assert_eq!(average(Range::Last(2)).await, ("200.75".to_owned(), 2));
    assert_eq!(average(Range::Last(10_000)).await, ("167.16666667".to_owned(), 3));
    let window = |seconds| Range::Window(prost_types::Duration { seconds, nanos: 0 });
    assert_eq!(average(window(600)).await, ("200.75".to_owned(), 2));
    assert_eq!(average(window(2_592_000)).await.1, 3);
    app.stop().await;
}

async fn alerts_are_listed_newest_first_and_stay_when_their_rule_goes(database: Database) {
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    let rules = [
        caller.creates(&app, some_rule()).await,
        caller.creates(&app, some_rule()).await,
    ];
    let alert = |rule: &v1::Rule, offset: i64, side| Alert {
        rule_id: rule.id.parse().unwrap(),
        user_id: caller.user.id.parse().unwrap(),
        ticker: "AAPL".parse().unwrap(),
        position: AlertPosition {
            version: RuleVersion::FIRST,
            generation: 1,
            offset,
        },
        side,
        price: "201".parse().unwrap(),
        threshold: "200.25".parse().unwrap(),
        currency: "USD".into(),
        quote_time: Timestamp::from_micros(1_700_000_000_000_000 + offset),
        quote_ingest_time: Timestamp::from_micros(1_700_000_000_000_000 + offset),
        raised_at: Timestamp::from_micros(1_700_000_000_000_000 + offset),
        already_outside: offset == 1,
    };
    let changes = [
        LedgerChange::Alert(alert(&rules[0], 1, Side::Above)),
        LedgerChange::Alert(alert(&rules[1], 2, Side::Above)),
        LedgerChange::Alert(alert(&rules[0], 3, Side::In)),
    ];
    database
        .open()
        .await
        .ledger()
        .fold(&changes, Timestamp::now())
        .await
        .unwrap();

    let list = async |page_size, page_token: &str, rule_id: &str| {
        let request = v1::ListAlertsRequest {
            page_size,
            page_token: page_token.into(),
            rule_id: rule_id.into(),
        };
        app.alerts()
            .list_alerts(caller.asks(request))
            .await
            .unwrap()
            .into_inner()
    };
    let ids = |alerts: &[v1::Alert]| alerts.iter().map(|alert| alert.id.clone()).collect::<Vec<_>>();
    let name = |rule: &v1::Rule, offset| format!("{}.1.1.{offset}", rule.id);
    let all = [name(&rules[0], 3), name(&rules[1], 2), name(&rules[0], 1)];
    let page = list(2, "", "").await;
    assert_eq!(ids(&page.alerts), all[..2]);
    let rest = list(2, &page.next_page_token, "").await;
    assert_eq!(
        (ids(&rest.alerts), rest.next_page_token.as_str()),
        (all[2..].to_vec(), "")
    );
    let first = &rest.alerts[0];
    assert_eq!(
        (first.side(), first.price.as_str(), first.threshold.as_str()),
        (v1::Side::Above, "201", "200.25")
    );
    assert!(first.already_outside);
    assert_eq!(ids(&list(0, "", &rules[1].id).await.alerts), all[1..2]);

    let delete = v1::DeleteRuleRequest {
        rule_id: rules[1].id.clone(),
        ..Default::default()
    };
    app.rules().delete_rule(caller.asks(delete)).await.unwrap();
    assert_eq!(ids(&list(0, "", &rules[1].id).await.alerts), all[1..2]);
    let other = app.register().await;
    let request = other.asks(v1::ListAlertsRequest::default());
    assert_eq!(
        app.alerts()
            .list_alerts(request)
            .await
            .unwrap()
            .into_inner()
            .alerts,
        []
    );
    app.stop().await;
}
