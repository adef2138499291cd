use cqrs::domain::Timestamp;
use proto::v1;

use super::Session;
use super::rule::{PAGE_SIZE, wire_time};
use crate::cli::{CandlesArgs, QuotesArgs};
use crate::failure::{Exit, Failure};
use crate::screen::Style;
use crate::table::{Cell, Table};
use crate::view;

/// Candles where nobody says since when: a day of hours.
const DEFAULT_PARTS: u32 = 24;

pub(super) async fn quotes(session: &Session, args: QuotesArgs) -> Result<(), Failure> {
    let connection = session.connect().await?;
    let mut request = v1::ListQuotesRequest {
        ticker: args.ticker,
        start_time: args.since.map(wire_time),
        end_time: args.until.map(wire_time),
        ..Default::default()
    };
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let mut quotes = Vec::<view::Quote>::new();
    loop {
        let missing = i32::try_from(limit - quotes.len()).unwrap_or(PAGE_SIZE);
        request.page_size = missing.min(PAGE_SIZE);
        let page = connection.quotes().list_quotes(request.clone()).await;
        let page = page.map_err(|status| connection.failure(&status))?.into_inner();
        quotes.extend(page.quotes.into_iter().map(Into::into));
        quotes.truncate(limit);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() || quotes.len() == limit {
            break;
        }
    }
    session.screen.result(&quotes, || {
        let screen = &session.screen;
        let mut table = Table::new(["TIME", ">PRICE", "CURRENCY", "SOURCE"]);
        for quote in &quotes {
            table.row([
                quote
                    .event_time
                    .map(|time| screen.time(time))
                    .unwrap_or_default()
                    .into(),
                quote.price.as_str().into(),
                quote.currency.as_deref().unwrap_or_default().into(),
                quote.source.as_str().into(),
            ]);
        }
        or_none(screen.render(&table), "No such price was recorded.\n")
    })
}

pub(super) async fn candles(session: &Session, args: CandlesArgs) -> Result<(), Failure> {
    let until = args.until.unwrap_or_else(Timestamp::now);
    let since = args.since;
    let since = since.unwrap_or_else(|| until.minus(args.interval.saturating_mul(DEFAULT_PARTS)));
    let interval = prost_types::Duration::try_from(args.interval)
        .map_err(|error| Failure::new(Exit::Misuse, format!("the interval is too long: {error}")))?;
    let connection = session.connect().await?;
    let request = v1::ListCandlesRequest {
        ticker: args.ticker,
        interval: Some(interval),
        start_time: Some(wire_time(since)),
        end_time: Some(wire_time(until)),
    };
    let answer = connection.quotes().list_candles(request).await;
    let answer = answer.map_err(|status| connection.failure(&status))?.into_inner();
    let candles: Vec<view::Candle> = answer.candles.into_iter().map(Into::into).collect();
    session.screen.result(&candles, || {
        let screen = &session.screen;
        let mut table = Table::new(["FROM", ">OPEN", ">HIGH", ">LOW", ">CLOSE", ">QUOTES"]);
        for candle in &candles {
            table.row([
                candle
                    .start_time
                    .map(|time| screen.time(time))
                    .unwrap_or_default()
                    .into(),
                candle.open.as_str().into(),
                candle.high.as_str().into(),
                candle.low.as_str().into(),
                candle.close.as_str().into(),
                candle.quote_count.to_string().into(),
            ]);
        }
        or_none(screen.render(&table), "No price was recorded in this time.\n")
    })
}

pub(super) async fn tickers(session: &Session, own: bool) -> Result<(), Failure> {
    let connection = session.connect().await?;
    let mut tickers = Vec::<view::TickerSummary>::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListTickersRequest {
            page_size: PAGE_SIZE,
            page_token,
            own,
        };
        let page = connection.quotes().list_tickers(request).await;
        let page = page.map_err(|status| connection.failure(&status))?.into_inner();
        tickers.extend(page.tickers.into_iter().map(Into::into));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    session.screen.result(&tickers, || {
        let screen = &session.screen;
        let mut table = Table::new(["TICKER", ">PRICE", "CURRENCY", "TIME", ">RULES"]);
        for summary in &tickers {
            let quote = summary.latest_quote.as_ref();
            let time = quote.and_then(|quote| quote.event_time);
            table.row([
                Cell::styled(&summary.ticker, Style::Strong),
                quote.map_or("", |quote| &quote.price).into(),
                quote
                    .and_then(|quote| quote.currency.as_deref())
                    .unwrap_or_default()
                    .into(),
                time.map(|time| screen.time(time)).unwrap_or_default().into(),
                summary.rule_count.to_string().into(),
            ]);
        }
        or_none(
            screen.render(&table),
            "There are no tickers yet; add a rule for one.\n",
        )
    })
}

fn or_none(table: String, none: &str) -> String {
    if table.is_empty() { none.to_owned() } else { table }
}
