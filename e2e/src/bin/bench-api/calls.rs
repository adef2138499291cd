//! The calls that are measured.

use proto::v1;
use proto::v1::quote_service_client::QuoteServiceClient;
use proto::v1::rule_service_client::RuleServiceClient;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::scene::{Caller, TICKERS, ticker};

/// One kind of call.
pub(crate) trait Call: Copy + Send + 'static {
    /// The `n`-th call of a client, on behalf of one of its callers.
    fn call(
        self,
        channel: Channel,
        caller: &Caller,
        n: usize,
    ) -> impl Future<Output = Result<(), Status>> + Send;
}

/// Each with a request id of its own, as good clients do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CreateRule;

impl Call for CreateRule {
    async fn call(self, channel: Channel, caller: &Caller, n: usize) -> Result<(), Status> {
        let request = v1::CreateRuleRequest {
            rule: Some(v1::NewRule {
                ticker: ticker(n % TICKERS),
                low: Some("101.25".into()),
                high: Some("250.75".into()),
                note: "measured".into(),
                ..v1::NewRule::default()
            }),
            request_id: uuid::Uuid::new_v4().to_string(),
            validate_only: false,
        };
        RuleServiceClient::new(channel)
            .create_rule(authorised(request, caller))
            .await
            .map(drop)
    }
}

/// Of one of many tickers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GetLatestQuote;

impl Call for GetLatestQuote {
    async fn call(self, channel: Channel, caller: &Caller, n: usize) -> Result<(), Status> {
        let request = v1::GetLatestQuoteRequest {
            ticker: ticker(n % TICKERS),
        };
        QuoteServiceClient::new(channel)
            .get_latest_quote(authorised(request, caller))
            .await
            .map(drop)
    }
}

fn authorised<T>(message: T, caller: &Caller) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("authorization", caller.bearer.clone());
    request
}
