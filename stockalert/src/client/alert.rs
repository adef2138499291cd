use proto::v1;

use super::Session;
use super::rule::PAGE_SIZE;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::screen::Style;
use crate::table::{Cell, Table};
use crate::view;

pub(super) async fn list(session: &Session, rule: Option<String>, limit: u32) -> Result<(), Failure> {
    let connection = session.connect().await?;
    let mut alerts = Vec::new();
    let mut page_token = String::new();
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    loop {
        let missing = i32::try_from(limit - alerts.len())
            .unwrap_or(PAGE_SIZE)
            .min(PAGE_SIZE);
        let page = page(&connection, rule.as_deref(), missing, page_token).await;
        let (items, next) = page.map_err(|status| connection.failure(&status))?;
        alerts.extend(items);
        alerts.truncate(limit);
        if next.is_empty() || alerts.len() == limit {
            break;
        }
        page_token = next;
    }
    session.screen.result(&alerts, || {
        if alerts.is_empty() {
            "There are no alerts yet.\n".to_owned()
        } else {
            table(session, &alerts)
        }
    })
}

/// A page of the caller's alerts, newest first, and the token of the next.
pub(super) async fn page(
    connection: &Connection,
    rule: Option<&str>,
    page_size: i32,
    page_token: String,
) -> Result<(Vec<view::Alert>, String), tonic::Status> {
    let rule_id = rule.unwrap_or_default().to_owned();
    let request = v1::ListAlertsRequest {
        page_size,
        page_token,
        rule_id,
    };
    let page = connection.alerts().list_alerts(request).await?.into_inner();
    Ok((
        page.alerts.into_iter().map(Into::into).collect(),
        page.next_page_token,
    ))
}

fn table(session: &Session, alerts: &[view::Alert]) -> String {
    let screen = &session.screen;
    let mut table = Table::new(["TIME", "TICKER", ">PRICE", "SIDE", ">THRESHOLD", "RULE"]);
    for alert in alerts {
        let (side, style) = side(alert);
        table.row([
            alert
                .raise_time
                .map(|time| screen.time(time))
                .unwrap_or_default()
                .into(),
            Cell::styled(&alert.ticker, Style::Strong),
            alert.price.as_str().into(),
            Cell::styled(side, style),
            alert.threshold.as_str().into(),
            alert.rule_id.as_str().into(),
        ]);
    }
    screen.render(&table)
}

/// The side an alert entered, for people.
pub(super) fn side(alert: &view::Alert) -> (&'static str, Style) {
    match (alert.side, alert.already_outside) {
        (view::Side::Above, false) => ("above", Style::Green),
        (view::Side::Above, true) => ("already above", Style::Green),
        (view::Side::Below, false) => ("below", Style::Red),
        (view::Side::Below, true) => ("already below", Style::Red),
        (view::Side::In, _) => ("back in range", Style::Cyan),
        (view::Side::Unknown, _) => ("unknown", Style::Plain),
    }
}
