use cqrs::AverageRange;
use cqrs::domain::{Ticker, Timestamp};
use proto::v1;
use proto::v1::quote_service_server::QuoteService;
use tonic::codegen::BoxStream;
use tonic::{Code, Request, Response, Status};

use crate::api::Api;
use crate::guard::caller_of;
use crate::status::{field_refusal, of_store};
use crate::streams::watch_quotes;
use crate::wire::{self, Fields};

#[tonic::async_trait]
impl QuoteService for Api {
    async fn get_latest_quote(
        &self,
        request: Request<v1::GetLatestQuoteRequest>,
    ) -> Result<Response<v1::GetLatestQuoteResponse>, Status> {
        caller_of(&request)?;
        let mut fields = Fields::default();
        let ticker = fields.take("ticker", request.into_inner().ticker.parse::<Ticker>());
        let ticker = fields.finish(ticker)?;
        let quote = self
            .queries
            .latest_quote(&ticker)
            .await
            .map_err(|error| of_store(&error))?;
        let quote = quote.ok_or_else(|| no_quote(&ticker, "no price was recorded yet"))?;
        Ok(Response::new(v1::GetLatestQuoteResponse {
            quote: Some(wire::quote(&quote)),
        }))
    }

    async fn get_average(
        &self,
        request: Request<v1::GetAverageRequest>,
    ) -> Result<Response<v1::GetAverageResponse>, Status> {
        caller_of(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::default();
        let ticker = fields.take("ticker", message.ticker.parse::<Ticker>());
        let range = wire::average_range(&mut fields, message.range);
        let (ticker, range) = fields.finish(ticker.zip(range))?;
        let _turn = match range {
            AverageRange::Last(_) => None,
            AverageRange::Window(_) => Some(self.turns.take().await?),
        };
        let average = self
            .queries
            .average(&ticker, range, Timestamp::now())
            .await
            .map_err(|error| of_store(&error))?
            .ok_or_else(|| no_quote(&ticker, "no price was recorded in this range"))?;
        Ok(Response::new(v1::GetAverageResponse {
            average: average.price.to_string(),
            quote_count: average.count,
            first_time: Some(wire::timestamp(average.first)),
            last_time: Some(wire::timestamp(average.last)),
        }))
    }

    async fn list_tickers(
        &self,
        request: Request<v1::ListTickersRequest>,
    ) -> Result<Response<v1::ListTickersResponse>, Status> {
        self.listed_tickers(request).await
    }

    async fn list_quotes(
        &self,
        request: Request<v1::ListQuotesRequest>,
    ) -> Result<Response<v1::ListQuotesResponse>, Status> {
        self.recorded_quotes(request).await
    }

    async fn list_candles(
        &self,
        request: Request<v1::ListCandlesRequest>,
    ) -> Result<Response<v1::ListCandlesResponse>, Status> {
        self.candles(request).await
    }

    async fn watch_quotes(
        &self,
        request: Request<v1::WatchQuotesRequest>,
    ) -> Result<Response<BoxStream<v1::WatchQuotesResponse>>, Status> {
        watch_quotes(&self.streams, request).await
    }
}

fn no_quote(ticker: &Ticker, reason: &str) -> Status {
    field_refusal(
        Code::NotFound,
        "QUOTE_NOT_FOUND",
        "ticker",
        format!("{ticker}: {reason}; a ticker is recorded from the first rule on it"),
    )
}
