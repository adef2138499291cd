use std::time::Duration;

use proto::v1;

use super::Session;
use crate::failure::{Exit, Failure};
use crate::screen::{Screen, printable};
use crate::table::{Cell, Table};
use crate::view;

/// What a rule would have done.
pub(super) async fn run(
    session: &Session,
    rule: v1::NewRule,
    window: Option<Duration>,
) -> Result<(), Failure> {
    let window = window.map(prost_types::Duration::try_from).transpose();
    let window =
        window.map_err(|error| Failure::new(Exit::Misuse, format!("the window is too long: {error}")))?;
    let connection = session.connect().await?;
    let ticker = rule.ticker.clone();
    let request = v1::PreviewRuleRequest {
        rule: Some(rule),
        window,
    };
    let answer = connection.rules().preview_rule(request).await;
    let answer = answer.map_err(|status| connection.failure(&status))?.into_inner();
    let preview = answer.into();
    session
        .screen
        .result(&preview, || text(&session.screen, &ticker, &preview))
}

fn text(screen: &Screen, ticker: &str, preview: &view::Preview) -> String {
    let Some(first) = preview.first_time else {
        return format!("No price of {ticker} was recorded in this time: nothing can be said yet.\n");
    };
    let times = if preview.alert_count == 1 { "time" } else { "times" };
    let mut text = format!(
        "Would have fired {} {times} since {}, by {} recorded prices.\n",
        preview.alert_count,
        screen.time(first),
        preview.quote_count
    );
    if let Some(quote) = &preview.latest_quote {
        let side = preview.side.unwrap_or(view::Side::Unknown);
        let side = screen.paint(side.name(), side.style());
        text.push_str(&format!("{ticker} is at {} now, {side}", printable(&quote.price)));
        for (percent, what) in [
            (&preview.low_distance_percent, "above the low threshold"),
            (&preview.high_distance_percent, "below the high threshold"),
        ] {
            if let Some(percent) = percent.as_deref().filter(|percent| *percent != "0.00") {
                text.push_str(&format!("; {} % {what}", printable(percent)));
            }
        }
        text.push_str(".\n");
    }
    if !preview.alerts.is_empty() {
        let mut table = Table::new(["TIME", "SIDE", ">PRICE"]);
        for alert in &preview.alerts {
            table.row([
                alert
                    .quote_time
                    .map(|time| screen.time(time))
                    .unwrap_or_default()
                    .into(),
                Cell::styled(alert.side.name(), alert.side.style()),
                alert.price.as_str().into(),
            ]);
        }
        text.push('\n');
        text.push_str(&screen.render(&table));
    }
    text
}
