use proto::v1;

use super::{Session, required};
use crate::cli::AverageArgs;
use crate::failure::{Exit, Failure};
use crate::screen::Style;
use crate::table::{Cell, Table};
use crate::view;

pub(super) async fn price(session: &Session, ticker: String) -> Result<(), Failure> {
    let connection = session.connect().await?;
    let answer = connection
        .quotes()
        .get_latest_quote(v1::GetLatestQuoteRequest { ticker })
        .await;
    let answer = answer.map_err(|status| connection.failure(&status))?.into_inner();
    let quote: view::Quote = required(answer.quote, "quote")?.into();
    session.screen.result(&quote, || {
        let screen = &session.screen;
        let mut table = Table::new(["TICKER", ">PRICE", "CURRENCY", "TIME", "SOURCE"]);
        table.row([
            Cell::styled(&quote.ticker, Style::Strong),
            quote.price.as_str().into(),
            quote.currency.as_deref().unwrap_or_default().into(),
            quote
                .event_time
                .map(|time| screen.time(time))
                .unwrap_or_default()
                .into(),
            quote.source.as_str().into(),
        ]);
        screen.render(&table)
    })
}

pub(super) async fn average(session: &Session, args: AverageArgs) -> Result<(), Failure> {
    let range = match (args.range.last, args.range.window) {
        (Some(last), _) => v1::get_average_request::Range::Last(last),
        (None, Some(window)) => {
            let window = prost_types::Duration::try_from(window)
                .map_err(|error| Failure::new(Exit::Misuse, format!("the window is too long: {error}")))?;
            v1::get_average_request::Range::Window(window)
        }
        (None, None) => return Err(Failure::new(Exit::Misuse, "give --last or --window")),
    };
    let connection = session.connect().await?;
    let request = v1::GetAverageRequest {
        ticker: args.ticker.clone(),
        range: Some(range),
    };
    let answer = connection.quotes().get_average(request).await;
    let answer = answer.map_err(|status| connection.failure(&status))?.into_inner();
    let average = view::Average::new(args.ticker, answer);
    session.screen.result(&average, || {
        let screen = &session.screen;
        let time = |time: Option<jiff::Timestamp>| time.map(|time| screen.time(time)).unwrap_or_default();
        let mut table = Table::new(["TICKER", ">AVERAGE", ">QUOTES", "FROM", "TO"]);
        table.row([
            Cell::styled(&average.ticker, Style::Strong),
            average.average.as_str().into(),
            average.quote_count.to_string().into(),
            time(average.first_time).into(),
            time(average.last_time).into(),
        ]);
        screen.render(&table)
    })
}
