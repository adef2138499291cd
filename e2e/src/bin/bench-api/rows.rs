//! A tonic server that answers when one short row of the call is durable, and does nothing else: no token, no rule, no change
//! to publish. What the database and the machine leave of the echo's rate to any server that keeps what it is told.

use anyhow::Context as _;
use proto::v1;
use proto::v1::rule_service_server::{RuleService, RuleServiceServer};
use sqlx::mysql::MySqlConnection;
use sqlx::{Connection as _, MySql, QueryBuilder};
use tokio::sync::{mpsc, oneshot};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::bare;

/// Rows of one transaction, as grpc-server has it.
const BATCH: usize = 64;

type Waiting = (v1::NewRule, oneshot::Sender<v1::Rule>);

/// Serves, having printed where.
pub(crate) async fn serve(database_url: &str) -> anyhow::Result<()> {
    let mut connection = MySqlConnection::connect(database_url)
        .await
        .context("bench-api needs MySQL or MariaDB")?;
    let create = "create table bench_rows (id varchar(36) not null primary key, ticker varchar(32) not null, note varchar(500) not null)";
    sqlx::query(create).execute(&mut connection).await?;
    let (calls, waiting) = mpsc::channel(BATCH);
    let server = Server::builder().add_service(RuleServiceServer::new(Rows(calls)));
    tokio::select! {
        served = bare::serve(server) => served,
        written = write(connection, waiting) => written,
    }
}

/// What came meanwhile is the next batch.
async fn write(mut connection: MySqlConnection, mut calls: mpsc::Receiver<Waiting>) -> anyhow::Result<()> {
    let mut waiting = Vec::new();
    loop {
        // Whoever is ready to call gets the chance to.
        tokio::task::yield_now().await;
        if waiting.is_empty() && calls.recv_many(&mut waiting, BATCH).await == 0 {
            return Ok(());
        }
        while waiting.len() < BATCH
            && let Ok(call) = calls.try_recv()
        {
            waiting.push(call);
        }
        // A power of two: few different statements to prepare.
        let rest = waiting.split_off(1 << waiting.len().ilog2());
        let batch = std::mem::replace(&mut waiting, rest);
        let rules: Vec<_> = batch.iter().map(|(rule, _)| created(rule)).collect();
        let mut insert = QueryBuilder::<MySql>::new("insert into bench_rows (id, ticker, note) ");
        insert.push_values(&rules, |mut values, rule| {
            values
                .push_bind(&rule.id)
                .push_bind(&rule.ticker)
                .push_bind(&rule.note);
        });
        let mut transaction = connection.begin().await?;
        insert.build().execute(&mut *transaction).await?;
        transaction.commit().await?;
        for ((_, answer), rule) in batch.into_iter().zip(rules) {
            let _ = answer.send(rule);
        }
    }
}

fn created(rule: &v1::NewRule) -> v1::Rule {
    v1::Rule {
        id: uuid::Uuid::now_v7().to_string(),
        ticker: rule.ticker.clone(),
        low: rule.low.clone(),
        high: rule.high.clone(),
        note: rule.note.clone(),
        version: 1,
        ..v1::Rule::default()
    }
}

#[derive(Debug)]
struct Rows(mpsc::Sender<Waiting>);

#[tonic::async_trait]
impl RuleService for Rows {
    async fn create_rule(
        &self,
        request: Request<v1::CreateRuleRequest>,
    ) -> Result<Response<v1::CreateRuleResponse>, Status> {
        let ended = || Status::unavailable("the database refused a row");
        let (answer, answered) = oneshot::channel();
        let call = (request.into_inner().rule.unwrap_or_default(), answer);
        self.0.send(call).await.map_err(|_| ended())?;
        let rule = Some(answered.await.map_err(|_| ended())?);
        Ok(Response::new(v1::CreateRuleResponse { rule }))
    }
}
