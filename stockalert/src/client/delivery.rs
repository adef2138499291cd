use proto::v1;

use super::rule::PAGE_SIZE;
use super::{Session, request_id, required};
use crate::cli::{DeliveriesArgs, DeliveryStatus};
use crate::failure::Failure;
use crate::screen::Style;
use crate::table::{Cell, Table};
use crate::view;

pub(super) async fn list(session: &Session, args: DeliveriesArgs) -> Result<(), Failure> {
    use v1::delivery::Status;
    let connection = session.connect().await?;
    let status = |status: &DeliveryStatus| match status {
        DeliveryStatus::Planned => Status::Planned,
        DeliveryStatus::Sending => Status::Sending,
        DeliveryStatus::Sent => Status::Sent,
        DeliveryStatus::Undeliverable => Status::Undeliverable,
        DeliveryStatus::Superseded => Status::Superseded,
    };
    let mut request = v1::ListDeliveriesRequest {
        rule_id: args.rule.unwrap_or_default(),
        statuses: args.statuses.iter().map(|s| status(s).into()).collect(),
        ..Default::default()
    };
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let mut deliveries = Vec::<view::Delivery>::new();
    loop {
        let missing = i32::try_from(limit - deliveries.len()).unwrap_or(PAGE_SIZE);
        request.page_size = missing.min(PAGE_SIZE);
        let page = connection.alerts().list_deliveries(request.clone()).await;
        let page = page.map_err(|status| connection.failure(&status))?.into_inner();
        deliveries.extend(page.deliveries.into_iter().map(Into::into));
        deliveries.truncate(limit);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() || deliveries.len() == limit {
            break;
        }
    }
    session.screen.result(&deliveries, || {
        if deliveries.is_empty() {
            "There are no such messages.\n".to_owned()
        } else {
            table(session, &deliveries)
        }
    })
}

fn table(session: &Session, deliveries: &[view::Delivery]) -> String {
    let screen = &session.screen;
    let columns = [
        "PLANNED", "TICKER", "ABOUT", ">PRICE", "STATUS", "SENT", ">TRIES", "RULE", "WHY",
    ];
    let mut table = Table::new(columns);
    let time = |time: Option<jiff::Timestamp>| time.map(|time| screen.time(time)).unwrap_or_default();
    for delivery in deliveries {
        let style = match delivery.status.as_str() {
            "sent" => Style::Green,
            "undeliverable" => Style::Red,
            "superseded" => Style::Faint,
            _ => Style::Plain,
        };
        table.row([
            time(delivery.plan_time).into(),
            Cell::styled(&delivery.ticker, Style::Strong),
            delivery.kind.replace('_', " ").into(),
            delivery.price.as_str().into(),
            Cell::styled(&delivery.status, style),
            time(delivery.send_time).into(),
            delivery.attempt_count.to_string().into(),
            delivery.rule_id.as_deref().unwrap_or_default().into(),
            delivery.reason.as_deref().unwrap_or_default().into(),
        ]);
    }
    screen.render(&table)
}

pub(super) async fn test(session: &Session) -> Result<(), Failure> {
    let connection = session.connect().await?;
    let request = v1::SendTestAlertRequest {
        request_id: request_id(),
    };
    let answer = connection.idempotent(|| {
        let (mut alerts, request) = (connection.alerts(), request.clone());
        async move { alerts.send_test_alert(request).await }
    });
    let answer = answer.await?;
    let alert: view::Alert = required(answer.alert, "alert")?.into();
    session.screen.result(&alert, || {
        "Raised a made-up alert; its message comes to your Telegram chat within seconds. If not, see \
         `stockalert deliveries`.\n"
            .to_owned()
    })
}
