//! What supervisors and load balancers see.

use service::kafka::EmbeddedBroker;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use proto::v1;
use tonic::Code;

use crate::app::{App, Database, PATIENCE, no_broker, some_rule};
use crate::refusal::refusal_of;

async fn status(app: &App, service: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest {
        service: service.into(),
    };
    let answer = HealthClient::new(app.channel.clone()).check(request).await;
    answer
        .map(|answer| answer.into_inner().status())
        .map_err(|status| status.code())
}

async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn every_service_is_healthy_while_the_database_answers() {
    let database = Database::sqlite();
    let app = App::start(&database, &no_broker()).await;
    for service in [
        "",
        "stockalert.v1.UserService",
        "stockalert.v1.RuleService",
        "stockalert.v1.QuoteService",
        "stockalert.v1.AlertService",
        "stockalert.v1.SystemService",
    ] {
        eventually(service, async || {
            status(&app, service).await == Ok(ServingStatus::Serving)
        })
        .await;
    }
    assert_eq!(status(&app, "stockalert.v1.NoService").await, Err(Code::NotFound));
    app.stop().await;
}

#[tokio::test]
async fn a_failing_database_is_unavailable_and_its_errors_stay_inside() {
    let database = Database::sqlite();
    let app = App::start(&database, &no_broker()).await;
    let caller = app.register().await;
    let pool = sqlx::AnyPool::connect(&database.url).await.unwrap();
    for table in ["users", "rules"] {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "alter table {table} rename to hidden_{table}"
        )))
        .execute(&pool)
        .await
        .unwrap();
    }
    let read = app
        .users()
        .get_user(caller.asks(v1::GetUserRequest {}))
        .await
        .unwrap_err();
    let create = v1::CreateRuleRequest {
        rule: Some(some_rule()),
        ..Default::default()
    };
    let write = app.rules().create_rule(caller.asks(create)).await.unwrap_err();
    for status in [read, write] {
        let refusal = refusal_of(&status);
        assert_eq!(
            (refusal.code, refusal.reason.as_str()),
            (Code::Unavailable, "DATABASE_UNAVAILABLE")
        );
        let sent = format!("{status:?}");
        assert!(
            !sent.contains("table") && !sent.contains("users") && !sent.contains("sql"),
            "{sent}"
        );
    }
    app.stop().await;
}

#[tokio::test]
async fn without_a_broker_callers_are_served_but_the_process_is_not_ready() {
    let database = Database::sqlite();
    let app = App::start(&database, &no_broker()).await;
    app.register().await;
    eventually("the database is ready", async || {
        app.context
            .health
            .readiness()
            .is_err_and(|missing| !missing.contains("database"))
    })
    .await;
    assert!(
        app.context
            .health
            .readiness()
            .unwrap_err()
            .contains("outbox relay")
    );
    app.stop().await;

    let broker = EmbeddedBroker::start(4).unwrap();
    let app = App::start(&database, broker.settings()).await;
    eventually("ready", async || app.context.health.readiness().is_ok()).await;
    app.stop().await;
}
