use std::collections::HashMap;

use super::super::alert::side;
use crate::failure::Failure;
use crate::screen::{Screen, Style, printable};
use crate::view;

/// A line, or a JSON object, for each alert and each price that differs from the one before.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    screen: &'a Screen,
    /// The price last shown of each ticker.
    prices: HashMap<String, String>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(screen: &'a Screen) -> Self {
        Self {
            screen,
            prices: HashMap::new(),
        }
    }

    pub(super) fn alert(&self, alert: view::Alert) -> Result<(), Failure> {
        let screen = self.screen;
        let line = alert_line(screen, &alert);
        screen.result(&view::Event::Alert(alert), || line + "\n")
    }

    pub(super) fn quote(&mut self, quote: view::Quote) -> Result<(), Failure> {
        let before = self.prices.insert(quote.ticker.clone(), quote.price.clone());
        if before.as_ref() == Some(&quote.price) {
            return Ok(());
        }
        let screen = self.screen;
        let time = screen.paint(&screen.time(jiff::Timestamp::now()), Style::Faint);
        let price = screen.paint(
            &printable(&quote.price),
            direction(before.as_deref(), &quote.price),
        );
        let line = format!("{time}  {} {price}\n", printable(&quote.ticker));
        screen.result(&view::Event::Quote(quote), || line)
    }
}

/// The colour of a price that was another before.
pub(super) fn direction(before: Option<&str>, now: &str) -> Style {
    let number = |text: &str| text.parse::<cqrs::domain::Price>().ok();
    match (before.and_then(number), number(now)) {
        (Some(before), Some(now)) if now > before => Style::Green,
        (Some(before), Some(now)) if now < before => Style::Red,
        _ => Style::Plain,
    }
}

pub(super) fn alert_line(screen: &Screen, alert: &view::Alert) -> String {
    format!(
        "{}, rule {}",
        alert_text(screen, alert),
        printable(&alert.rule_id)
    )
}

/// Without the rule's id, which a line of a picture may have no room for.
pub(super) fn alert_text(screen: &Screen, alert: &view::Alert) -> String {
    let (side, style) = side(alert);
    let time = alert.raise_time.map(|time| screen.time(time)).unwrap_or_default();
    let ticker = screen.paint(&printable(&alert.ticker), Style::Strong);
    let what = screen.paint(side, style);
    let (price, threshold) = (printable(&alert.price), printable(&alert.threshold));
    format!("{time}  {ticker} {what}: {price} (threshold {threshold})")
}
