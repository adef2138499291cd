use proto::v1;

use super::Session;
use crate::failure::Failure;
use crate::screen::{Screen, Style};
use crate::table::{Cell, Table};
use crate::view;

pub(super) async fn status(session: &Session) -> Result<(), Failure> {
    let connection = session.connect().await?;
    let answer = connection.system().get_status(v1::GetStatusRequest {}).await;
    let answer = answer.map_err(|status| connection.failure(&status))?.into_inner();
    let status = view::Status::from(answer);
    let screen = &session.screen;
    screen.result(&status, || {
        let mut parts = vec![feeds(screen, &status.feeds)];
        // Where nobody reports, nobody knows.
        if !status.feeds.is_empty() || !status.stale_tickers.is_empty() {
            parts.push(stale(screen, &status.stale_tickers));
        }
        if !status.restatements.is_empty() {
            parts.push(restatements(screen, &status.restatements));
        }
        parts.join("\n")
    })
}

fn feeds(screen: &Screen, feeds: &[view::Feed]) -> String {
    if feeds.is_empty() {
        return "No data collector has reported yet.\n".to_owned();
    }
    let mut table = Table::new([
        "FEED",
        "BREAKER",
        ">TICKERS",
        "LAST ANSWER",
        "TOLD",
        "INSTANCE",
        "REASON",
    ]);
    for feed in feeds {
        let breaker = match (feed.gone, feed.breaker) {
            (true, _) => Cell::styled("gone", Style::Faint),
            (false, view::Breaker::Closed) => Cell::styled("closed", Style::Green),
            (false, view::Breaker::HalfOpen) => Cell::styled("half-open", Style::Cyan),
            (false, view::Breaker::Open) => Cell::styled("open", Style::Red),
            (false, view::Breaker::Unknown) => "unknown".into(),
        };
        table.row([
            Cell::styled(&feed.provider, Style::Strong),
            breaker,
            feed.ticker_count.to_string().into(),
            time(screen, feed.last_success_time).into(),
            time(screen, feed.update_time).into(),
            feed.instance.as_str().into(),
            feed.reason.as_deref().unwrap_or_default().into(),
        ]);
    }
    screen.render(&table)
}

fn stale(screen: &Screen, tickers: &[view::StaleTicker]) -> String {
    if tickers.is_empty() {
        return "The prices of all tickers come.\n".to_owned();
    }
    let mut table = Table::new(["NO FRESH PRICES", "SINCE"]);
    for stale in tickers {
        table.row([
            Cell::styled(&stale.ticker, Style::Strong),
            time(screen, stale.stale_time).into(),
        ]);
    }
    screen.render(&table)
}

fn restatements(screen: &Screen, restatements: &[view::TickerRestatement]) -> String {
    let mut table = Table::new(["COUNTED ANEW", "SINCE", ">FROM", ">TO", "LOOKS LIKE"]);
    for view::TickerRestatement { ticker, restating } in restatements {
        table.row([
            Cell::styled(ticker, Style::Strong),
            time(screen, restating.restate_time).into(),
            restating.from_price.as_str().into(),
            restating.to_price.as_str().into(),
            restating.name().into(),
        ]);
    }
    screen.render(&table)
}

fn time(screen: &Screen, time: Option<jiff::Timestamp>) -> String {
    time.map(|time| screen.time(time)).unwrap_or_default()
}
