//! Prices, made up.

use proto::v1;
use proto::v1::quote_service_server::QuoteService;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::{Stub, TIME, quote};

#[tonic::async_trait]
impl QuoteService for Stub {
    async fn get_latest_quote(
        &self,
        request: Request<v1::GetLatestQuoteRequest>,
    ) -> Result<Response<v1::GetLatestQuoteResponse>, Status> {
        let ticker = self.authenticated(request)?.ticker;
        if ticker == "NOBODY" {
            return Err(Status::internal("the store failed"));
        }
        let price = self.state().price.clone();
        let price =
            price.ok_or_else(|| Status::not_found(format!("no quote of {ticker} was recorded yet")))?;
        let quote = quote(&ticker, &price);
        Ok(Response::new(v1::GetLatestQuoteResponse { quote: Some(quote) }))
    }

    async fn get_average(
        &self,
        request: Request<v1::GetAverageRequest>,
    ) -> Result<Response<v1::GetAverageResponse>, Status> {
        let request = self.authenticated(request)?;
        self.state().averages.push(request);
        Ok(Response::new(v1::GetAverageResponse {
            average: "186.33333333".into(),
            quote_count: 3,
            first_time: Some(TIME),
            last_time: Some(TIME),
        }))
    }

    async fn list_quotes(
        &self,
        request: Request<v1::ListQuotesRequest>,
    ) -> Result<Response<v1::ListQuotesResponse>, Status> {
        let request = self.authenticated(request)?;
        let from: usize = request.page_token.parse().unwrap_or(0);
        // Two a page, five in all.
        let quotes = (from..from + 2).map(|number| quote(&request.ticker, &(100 + number).to_string()));
        Ok(Response::new(v1::ListQuotesResponse {
            quotes: quotes.take(5 - from).collect(),
            next_page_token: if from < 4 {
                (from + 2).to_string()
            } else {
                String::new()
            },
        }))
    }

    async fn list_candles(
        &self,
        request: Request<v1::ListCandlesRequest>,
    ) -> Result<Response<v1::ListCandlesResponse>, Status> {
        let request = self.authenticated(request)?;
        let hour = request.interval.is_some_and(|interval| interval.seconds == 3_600);
        let candle = v1::Candle {
            start_time: request.start_time,
            open: "100".into(),
            high: "101.5".into(),
            low: "99".into(),
            close: "100.25".into(),
            quote_count: 60,
        };
        Ok(Response::new(v1::ListCandlesResponse {
            candles: if hour { vec![candle] } else { Vec::new() },
        }))
    }

    async fn list_tickers(
        &self,
        request: Request<v1::ListTickersRequest>,
    ) -> Result<Response<v1::ListTickersResponse>, Status> {
        let own = self.authenticated(request)?.own;
        let summary = |ticker: &str, price: Option<&str>| v1::TickerSummary {
            ticker: ticker.into(),
            latest_quote: price.map(|price| quote(ticker, price)),
            rule_count: price.is_none().into(),
        };
        let mut tickers = vec![summary("AAPL", Some("187.25")), summary("NEW", None)];
        tickers.retain(|ticker| !own || ticker.rule_count > 0);
        Ok(Response::new(v1::ListTickersResponse {
            tickers,
            next_page_token: String::new(),
        }))
    }

    async fn watch_quotes(
        &self,
        request: Request<v1::WatchQuotesRequest>,
    ) -> Result<Response<BoxStream<v1::WatchQuotesResponse>>, Status> {
        let mut cursor = self.authenticated(request)?.cursor;
        Ok(self.stream(move |state| {
            let price = state.price.clone().filter(|price| *price != cursor)?;
            cursor.clone_from(&price);
            Some(v1::WatchQuotesResponse {
                quote: Some(quote("AAPL", &price)),
                cursor: price,
                skipped_count: 0,
            })
        }))
    }
}
