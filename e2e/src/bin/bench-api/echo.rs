//! A tonic server that does nothing but answer: the same messages, over as many connections.

use proto::v1;
use proto::v1::quote_service_server::{QuoteService, QuoteServiceServer};
use proto::v1::rule_service_server::{RuleService, RuleServiceServer};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::bare;

/// Serves, having printed where.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let server = Server::builder()
        .add_service(RuleServiceServer::new(Answers))
        .add_service(QuoteServiceServer::new(Answers));
    bare::serve(server).await
}

#[derive(Debug, Clone, Copy)]
struct Answers;

#[tonic::async_trait]
impl RuleService for Answers {
    async fn create_rule(
        &self,
        request: Request<v1::CreateRuleRequest>,
    ) -> Result<Response<v1::CreateRuleResponse>, Status> {
        let rule = request.into_inner().rule.unwrap_or_default();
        Ok(Response::new(v1::CreateRuleResponse {
            rule: Some(v1::Rule {
                id: "0198f5a0-1111-7222-8333-444455556666".into(),
                ticker: rule.ticker,
                low: rule.low,
                high: rule.high,
                note: rule.note,
                version: 1,
                ..v1::Rule::default()
            }),
        }))
    }
}

#[tonic::async_trait]
impl QuoteService for Answers {
    async fn get_latest_quote(
        &self,
        request: Request<v1::GetLatestQuoteRequest>,
    ) -> Result<Response<v1::GetLatestQuoteResponse>, Status> {
        Ok(Response::new(v1::GetLatestQuoteResponse {
            quote: Some(v1::Quote {
                ticker: request.into_inner().ticker,
                price: "200.5".into(),
                currency: "USD".into(),
                source: "echo".into(),
                ..v1::Quote::default()
            }),
        }))
    }
}
