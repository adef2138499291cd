//! Many rules at once.

use proto::v1;
use proto::v1::batch_create_rules_result::Outcome;
use tonic::Code;

use crate::app::{App, Caller, Database, no_broker, some_rule};
use crate::refusal::{assert_invalid, refused};

on_both_stores! {
    a_batch_creates_what_it_can_and_says_of_the_rest_why_not,
    a_thousand_rules_are_created_at_once_and_a_repeat_gets_the_same_answer,
}

async fn create(
    app: &App,
    caller: &Caller,
    rules: Vec<v1::NewRule>,
    request_id: &str,
) -> Result<Vec<v1::BatchCreateRulesResult>, tonic::Status> {
    let request = v1::BatchCreateRulesRequest {
        rules,
        request_id: request_id.into(),
        ..Default::default()
    };
    let answer = app.rules().batch_create_rules(caller.asks(request)).await;
    answer.map(|answer| answer.into_inner().results)
}

fn error(result: &v1::BatchCreateRulesResult) -> (Code, &str, Vec<&str>) {
    match &result.outcome {
        Some(Outcome::Error(error)) => {
            assert!(!error.message.is_empty());
            assert!(error.fields.iter().all(|field| !field.description.is_empty()));
            (
                Code::from(error.code),
                &error.reason,
                error.fields.iter().map(|field| field.field.as_str()).collect(),
            )
        }
        other => panic!("{other:?}"),
    }
}

async fn a_batch_creates_what_it_can_and_says_of_the_rest_why_not(database: Database) {
    let app = App::start_with(&database, &no_broker(), |config| config.max_rules_per_user = 3).await;
    let caller = app.register().await;
    caller.creates(&app, some_rule()).await;
    let ticker = |ticker: &str| v1::NewRule {
        ticker: ticker.into(),
        ..some_rule()
    };
    let nothing = v1::NewRule {
        note: "x".repeat(501),
        ..Default::default()
    };
    let rules = vec![ticker("MSFT"), nothing, ticker("IBM"), ticker("GE")];
    let results = create(&app, &caller, rules, "").await.unwrap();
    let shown = |result: &v1::BatchCreateRulesResult| match &result.outcome {
        Some(Outcome::Rule(rule)) => rule.clone(),
        other => panic!("{other:?}"),
    };
    let [msft, invalid, ibm, full] = results.as_slice() else {
        panic!("{results:?}")
    };
    assert_eq!(
        error(invalid),
        (
            Code::InvalidArgument,
            "INVALID_FIELDS",
            vec!["ticker", "low", "note"]
        )
    );
    assert_eq!(error(full), (Code::ResourceExhausted, "TOO_MANY_RULES", vec![]));
    let list = app
        .rules()
        .list_rules(caller.asks(v1::ListRulesRequest::default()))
        .await;
    let stored = list.unwrap().into_inner().rules;
    assert_eq!(stored[1..], [shown(msft), shown(ibm)]);
    app.stop().await;
}

async fn a_thousand_rules_are_created_at_once_and_a_repeat_gets_the_same_answer(database: Database) {
    let app = App::start_with(&database, &no_broker(), |config| {
        config.max_rules_per_user = 10_000
    })
    .await;
    let caller = app.register().await;
    let rules = vec![
        v1::NewRule {
            note: "\u{1f600}".repeat(400),
            ..some_rule()
        };
        1_000
    ];
    let first = create(&app, &caller, rules.clone(), "batch").await.unwrap();
    assert_eq!(first.len(), 1_000);
    assert!(
        first
            .iter()
            .all(|result| matches!(result.outcome, Some(Outcome::Rule(_))))
    );
    assert_eq!(
        create(&app, &caller, rules.clone(), "batch").await.unwrap(),
        first
    );
    assert_eq!(database.row_counts().await[2], ("rules", 1_000));
    let other = v1::BatchCreateRulesRequest {
        rules: rules[1..].to_vec(),
        request_id: "batch".into(),
        ..Default::default()
    };
    let other = app.rules().batch_create_rules(caller.asks(other)).await;
    assert_eq!(refused(other).reason, "REQUEST_ID_REUSED");
    for count in [0, 1_001] {
        let request = v1::BatchCreateRulesRequest {
            rules: vec![v1::NewRule::default(); count],
            request_id: "\u{fc}".into(),
            ..Default::default()
        };
        let result = app.rules().batch_create_rules(caller.asks(request)).await;
        assert_invalid(result, &["request_id", "rules"], "size");
    }
    app.stop().await;
}
