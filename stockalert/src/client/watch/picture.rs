use std::collections::{HashMap, VecDeque};

use cqrs::domain::Price;
use unicode_width::UnicodeWidthChar as _;

use super::bar::{bar, distance};
use super::lines::{alert_line, direction};
use crate::screen::{Screen, Style, printable};
use crate::table::{Cell, Table};
use crate::view;

/// Alerts kept for the picture; most terminals show fewer.
const ALERTS: usize = 50;

/// Everything that is to be seen, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Picture {
    pub rules: Vec<view::Rule>,
    /// The newest price of each ticker, and the one before.
    prices: HashMap<String, (String, Option<String>)>,
    /// The newest first.
    alerts: VecDeque<view::Alert>,
    /// Why the server can't be heard.
    pub away: Option<String>,
}

impl Picture {
    pub(super) fn quote(&mut self, quote: view::Quote) {
        let before = self.prices.remove(&quote.ticker).map(|(price, _)| price);
        self.prices.insert(quote.ticker, (quote.price, before));
    }

    pub(super) fn alert(&mut self, alert: view::Alert) {
        self.alerts.push_front(alert);
        self.alerts.truncate(ALERTS);
    }

    /// At most `height` lines: the rules that are out of range and those nearest to it first, then the newest alerts.
    pub(super) fn draw(
        &self,
        screen: &Screen,
        server: &str,
        height: usize,
        now: jiff::Timestamp,
    ) -> Vec<String> {
        let foot = match &self.away {
            Some(why) => screen.paint(&printable(&format!("{why}; trying again")), Style::Red),
            None => screen.paint(&format!("{}  Ctrl-C ends", printable(server)), Style::Faint),
        };
        // The foot, and an empty line before it.
        let room = height.saturating_sub(2);
        let mut lines: Vec<String> = self.rules(screen, now).lines().map(str::to_owned).collect();
        if self.rules.is_empty() {
            lines =
                vec!["You have no rules. Add one: stockalert rule add AAPL --low 170 --high 200".to_owned()];
        }
        // Alerts get a third of the terminal where rules would take it all.
        let for_alerts = self.alerts.len().min(room / 3);
        let for_rules = room.saturating_sub(if for_alerts == 0 { 0 } else { for_alerts + 2 });
        if lines.len() > for_rules {
            let hidden = lines.len() - for_rules.saturating_sub(1);
            lines.truncate(for_rules.saturating_sub(1));
            lines.push(screen.paint(&format!("and {hidden} more lines"), Style::Faint));
        }
        if for_alerts > 0 {
            lines.push(String::new());
            lines.push(screen.paint("ALERTS", Style::Strong));
            let rest = room.saturating_sub(lines.len());
            lines.extend(
                self.alerts
                    .iter()
                    .take(rest)
                    .map(|alert| alert_line(screen, alert)),
            );
        }
        lines.push(String::new());
        lines.push(foot);
        match screen.width {
            Some(width) => lines.iter().map(|line| fit(line, width)).collect(),
            None => lines,
        }
    }

    fn rules(&self, screen: &Screen, now: jiff::Timestamp) -> String {
        let mut rows: Vec<_> = self.rules.iter().map(|rule| (self.place(rule), rule)).collect();
        rows.sort_by(|(a, left), (b, right)| (a, &left.ticker, &left.id).cmp(&(b, &right.ticker, &right.id)));
        let mut table = Table::new(["TICKER", ">PRICE", ">LOW", "RANGE", ">HIGH", "~STATE"]);
        for ((_, far), rule) in rows {
            let known = self.prices.get(&rule.ticker);
            let price = known.map_or("", |(price, _)| price);
            let style = known.map_or(Style::Plain, |(price, before)| {
                direction(before.as_deref(), price)
            });
            let (state, state_style) = state(rule, far, now);
            let (low, high) = (threshold(rule.low.as_deref()), threshold(rule.high.as_deref()));
            table.row([
                Cell::styled(&rule.ticker, Style::Strong),
                Cell::styled(price, style),
                rule.low.as_deref().unwrap_or_default().into(),
                Cell::styled(bar(price.parse().ok(), low, high), state_style),
                rule.high.as_deref().unwrap_or_default().into(),
                Cell::styled(state, state_style),
            ]);
        }
        screen.render(&table)
    }

    /// Where a rule is in the list: out of range first, then by distance, then what is not known.
    fn place(&self, rule: &view::Rule) -> (u8, i128) {
        let price = self
            .prices
            .get(&rule.ticker)
            .and_then(|(price, _)| price.parse().ok());
        let far = price.and_then(|price: Price| {
            distance(
                price,
                threshold(rule.low.as_deref()),
                threshold(rule.high.as_deref()),
            )
        });
        let evaluated = !rule.paused && rule.hold.is_none();
        match (&rule.episode, far) {
            (Some(_), far) => (0, far.unwrap_or(0)),
            (None, Some(far)) if evaluated => (1, far),
            (None, _) => (2, i128::MAX),
        }
    }
}

/// A line that is no longer than the terminal is wide. Colours take no room, and end with the line.
fn fit(line: &str, width: usize) -> String {
    let (mut out, mut used, mut in_colour) = (String::new(), 0, false);
    for c in line.chars() {
        if c == '\u{1b}' {
            in_colour = true;
        } else if in_colour {
            in_colour = c != 'm';
        } else {
            used += c.width().unwrap_or(0);
            if used > width {
                // What follows is left out, but for the end of a colour.
                return if out.contains('\u{1b}') {
                    out + "\u{1b}[0m"
                } else {
                    out
                };
            }
        }
        out.push(c);
    }
    out
}

fn threshold(text: Option<&str>) -> Option<Price> {
    text?.parse().ok()
}

fn state(rule: &view::Rule, far: i128, now: jiff::Timestamp) -> (String, Style) {
    if rule.hold.is_some() {
        return ("on hold".to_owned(), Style::Faint);
    }
    if rule.paused {
        return ("paused".to_owned(), Style::Faint);
    }
    match &rule.episode {
        Some(episode) => {
            let since = episode.start_time.map(|start| age(now.duration_since(start)));
            let since = since.map(|age| format!(" for {age}")).unwrap_or_default();
            (format!("{}{since}", episode.side.name()), episode.side.style())
        }
        None if far == i128::MAX => ("no price yet".to_owned(), Style::Faint),
        None => (format!("{}.{:02} % away", far / 100, far % 100), Style::Plain),
    }
}

fn age(duration: jiff::SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
