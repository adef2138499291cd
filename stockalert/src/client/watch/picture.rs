use std::collections::{HashMap, VecDeque};

use cqrs::domain::Price;
use unicode_width::UnicodeWidthChar as _;

use super::bar::{bar, distance};
use super::follow::Absence;
use super::lines::{alert_text, direction};
use crate::screen::{Screen, Style, printable};
use crate::table::{Cell, Table};
use crate::view;

/// Alerts kept for the picture; most terminals show fewer.
const ALERTS: usize = 50;

/// Everything that is to be seen, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Picture {
    /// None: not read yet.
    rules: Option<Vec<view::Rule>>,
    /// Why the rules may be old.
    behind: Option<String>,
    /// The newest price of each ticker, and the one before.
    prices: HashMap<String, (String, Option<String>)>,
    /// The newest first.
    alerts: VecDeque<view::Alert>,
    pub absence: Absence,
}

/// How much there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Columns {
    All,
    WithoutBar,
    StateAlone,
}

impl Picture {
    /// All rules, or why they can't be read now: the ones before stay.
    pub(super) fn rules(&mut self, read: Result<Vec<view::Rule>, String>) {
        match read {
            Ok(rules) => {
                self.rules = Some(rules);
                self.behind = None;
            }
            Err(why) => self.behind = Some(why),
        }
    }

    pub(super) fn quote(&mut self, quote: view::Quote) {
        let before = self.prices.remove(&quote.ticker).map(|(price, _)| price);
        self.prices.insert(quote.ticker, (quote.price, before));
    }

    /// An alert is the new state of its rule, which need not be read again.
    pub(super) fn alert(&mut self, alert: view::Alert) {
        let mut rules = self.rules.iter_mut().flatten();
        let rule = rules.find(|rule| rule.id == alert.rule_id && rule.version == alert.rule_version);
        if let Some(rule) = rule {
            rule.episode = match alert.side {
                view::Side::Above | view::Side::Below => Some(view::Episode {
                    side: alert.side,
                    start_time: alert.quote_time,
                    price: alert.price.clone(),
                }),
                view::Side::In | view::Side::Unknown => None,
            };
        }
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
        let foot = match self.absence.why().or(self.behind.as_deref()) {
            Some(why) => screen.paint(&printable(&format!("{why}; trying again")), Style::Red),
            None => screen.paint(&format!("{}  Ctrl-C ends", printable(server)), Style::Faint),
        };
        // The foot, and an empty line before it.
        let room = height.saturating_sub(2);
        let mut lines = match self.rules.as_deref() {
            None => vec!["Reading your rules.".to_owned()],
            Some([]) => {
                vec!["You have no rules. Add one: stockalert rule add AAPL --low 170 --high 200".to_owned()]
            }
            Some(rules) => self
                .table(rules, screen, now)
                .lines()
                .map(str::to_owned)
                .collect(),
        };
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
                    .map(|alert| alert_text(screen, alert)),
            );
        }
        lines.push(String::new());
        lines.push(foot);
        match screen.width {
            Some(width) => lines.iter().map(|line| fit(line, width)).collect(),
            None => lines,
        }
    }

    /// A narrow terminal shows fewer columns, but a line for each rule all the same.
    fn table(&self, rules: &[view::Rule], screen: &Screen, now: jiff::Timestamp) -> String {
        let table = |columns| self.table_of(rules, columns, screen, now);
        let fits = |table: &Table| screen.width.is_none_or(|width| table.fits(width));
        let all = [Columns::All, Columns::WithoutBar].map(table);
        let table = all.into_iter().find(fits);
        screen.render(&table.unwrap_or_else(|| self.table_of(rules, Columns::StateAlone, screen, now)))
    }

    fn table_of(
        &self,
        rules: &[view::Rule],
        columns: Columns,
        screen: &Screen,
        now: jiff::Timestamp,
    ) -> Table {
        let mut rows: Vec<_> = rules.iter().map(|rule| (self.place(rule), rule)).collect();
        rows.sort_by(|(a, left), (b, right)| (a, &left.ticker, &left.id).cmp(&(b, &right.ticker, &right.id)));
        let mut table = Table::new(["TICKER", ">PRICE", ">LOW", "RANGE", ">HIGH", "~STATE"]);
        for ((_, far), rule) in rows {
            let known = self.prices.get(&rule.ticker);
            let price = known.map_or("", |(price, _)| price);
            let style = known.map_or(Style::Plain, |(price, before)| {
                direction(before.as_deref(), price)
            });
            let (state, state_style) = state(screen, rule, far, now);
            let (low, high) = (rule.low.as_deref(), rule.high.as_deref());
            let bar = match columns {
                Columns::All => bar(price.parse().ok(), threshold(low), threshold(high)),
                Columns::WithoutBar | Columns::StateAlone => String::new(),
            };
            let shown = |threshold: Option<&str>| match columns {
                Columns::All | Columns::WithoutBar => Cell::from(threshold.unwrap_or_default()),
                Columns::StateAlone => "".into(),
            };
            // A column without content is left out.
            table.row([
                Cell::styled(&rule.ticker, Style::Strong),
                Cell::styled(price, style),
                shown(low),
                Cell::styled(bar, state_style),
                shown(high),
                Cell::styled(state, state_style),
            ]);
        }
        table
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
        match (rule.state, &rule.episode, far) {
            (view::RuleState::Active, Some(_), far) => (0, far.unwrap_or(0)),
            (view::RuleState::Active, None, Some(far)) => (1, far),
            _ => (2, i128::MAX),
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

/// What the server says of the rule; of one that is evaluated, where its price is, and whether its messages are held back.
fn state(screen: &Screen, rule: &view::Rule, far: i128, now: jiff::Timestamp) -> (String, Style) {
    if rule.state != view::RuleState::Active {
        return (rule.state.name().to_owned(), Style::Faint);
    }
    let (mut text, style) = place_text(rule, far, now);
    if let Some(snooze) = &rule.snooze {
        text.push_str(&format!(", snoozed {}", snooze.text(screen)));
    }
    (text, style)
}

fn place_text(rule: &view::Rule, far: i128, now: jiff::Timestamp) -> (String, Style) {
    match &rule.episode {
        Some(episode) => {
            let since = episode.start_time.map(|start| age(now.duration_since(start)));
            let since = since.map(|age| format!(" for {age}")).unwrap_or_default();
            (format!("{}{since}", episode.side.name()), episode.side.style())
        }
        None if far == i128::MAX => ("no price yet".to_owned(), Style::Faint),
        // Its alert is on the way.
        None if far == 0 => ("threshold reached".to_owned(), Style::Plain),
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
