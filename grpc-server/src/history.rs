//! Recorded prices as lists.

use cqrs::domain::{Ticker, Timestamp};
use proto::v1;
use tonic::{Request, Response, Status};

use crate::api::Api;
use crate::guard::caller_of;
use crate::status::of_store;
use crate::wire::{self, Fields};

impl Api {
    pub(crate) async fn listed_tickers(
        &self,
        request: Request<v1::ListTickersRequest>,
    ) -> Result<Response<v1::ListTickersResponse>, Status> {
        let caller = caller_of(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::default();
        let page = wire::page(&mut fields, message.page_size, message.page_token);
        let page = fields.finish(page)?;
        let token = page.token.as_deref();
        let tickers = if message.own {
            self.queries.own_tickers(caller, token, page.size).await
        } else {
            self.queries.tickers(caller, token, page.size).await
        };
        let tickers = tickers.map_err(|error| of_store(&error))?;
        Ok(Response::new(v1::ListTickersResponse {
            tickers: tickers.items.iter().map(wire::listed_ticker).collect(),
            next_page_token: tickers.next.unwrap_or_default(),
        }))
    }

    pub(crate) async fn recorded_quotes(
        &self,
        request: Request<v1::ListQuotesRequest>,
    ) -> Result<Response<v1::ListQuotesResponse>, Status> {
        caller_of(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::default();
        let ticker = fields.take("ticker", message.ticker.parse::<Ticker>());
        let page = wire::page(&mut fields, message.page_size, message.page_token);
        let times = wire::time_range(
            &mut fields,
            message.start_time.as_ref(),
            message.end_time.as_ref(),
        );
        let ((ticker, page), (from, to)) = fields.finish(ticker.zip(page).zip(times))?;
        let quotes = self
            .queries
            .quotes(&ticker, from, to, page.token.as_deref(), page.size)
            .await
            .map_err(|error| of_store(&error))?;
        Ok(Response::new(v1::ListQuotesResponse {
            quotes: quotes.items.iter().map(wire::quote).collect(),
            next_page_token: quotes.next.unwrap_or_default(),
        }))
    }

    pub(crate) async fn candles(
        &self,
        request: Request<v1::ListCandlesRequest>,
    ) -> Result<Response<v1::ListCandlesResponse>, Status> {
        caller_of(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::default();
        let ticker = fields.take("ticker", message.ticker.parse::<Ticker>());
        let range = wire::candle_range(&mut fields, &message, Timestamp::now());
        let (ticker, range) = fields.finish(ticker.zip(range))?;
        let _turn = self.turns.take().await?;
        let candles = self
            .queries
            .candles(&ticker, range.from, range.to, range.interval)
            .await
            .map_err(|error| of_store(&error))?;
        Ok(Response::new(v1::ListCandlesResponse {
            candles: candles.iter().map(wire::candle).collect(),
        }))
    }
}
