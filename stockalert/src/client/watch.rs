use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use proto::v1;
use tokio::time::MissedTickBehavior;
use tonic::{Code, Status};

use super::rule::PAGE_SIZE;
use super::{Session, alert, rule};
use crate::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::screen::{Style, printable};
use crate::view;

const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Rules change seldom: their tickers are read again every so many polls.
const POLLS_PER_RULES: u32 = 10;
/// At most this many prices are asked for at the same time.
const CONCURRENT_CALLS: usize = 8;

/// Prints what is new until Ctrl-C. A server that goes away is waited for: it may be restarting.
pub(super) async fn run(session: &Session) -> Result<(), Failure> {
    let connection = session.connect().await?;
    let mut watch = Watch {
        session,
        connection,
        tickers: BTreeSet::new(),
        prices: HashMap::new(),
        alerts: None,
    };
    let mut ticks = tokio::time::interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut polls = 0_u32;
    let mut away = false;
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        tokio::select! {
            _ = &mut interrupted => return Ok(()),
            _ = ticks.tick() => {}
        }
        let poll = tokio::select! {
            _ = &mut interrupted => return Ok(()),
            poll = watch.poll(polls.is_multiple_of(POLLS_PER_RULES)) => poll,
        };
        match poll {
            Ok(()) => {
                if away {
                    note("the server is back");
                }
                away = false;
                polls = polls.wrapping_add(1);
            }
            Err(failure) if failure.exit == Exit::Unavailable => {
                if !away {
                    note(&format!("{}; trying again until Ctrl-C", failure.message));
                }
                away = true;
            }
            Err(failure) => return Err(failure),
        }
    }
}

struct Watch<'a> {
    session: &'a Session,
    connection: Connection,
    tickers: BTreeSet<String>,
    /// The price last shown of each ticker, with its time.
    prices: HashMap<String, view::Quote>,
    /// None before the first poll: what is there already is not new.
    alerts: Option<KnownAlerts>,
}

/// Which alerts were seen.
struct KnownAlerts {
    ids: HashSet<String>,
    /// Alerts raised before this were there before the first poll but not on its page; they come into view when newer
    /// ones are deleted with their rule.
    since: Option<jiff::Timestamp>,
}

impl Watch<'_> {
    async fn poll(&mut self, rules_too: bool) -> Result<(), Failure> {
        if rules_too {
            let rules = rule::all(&self.connection).await;
            let rules = rules.map_err(|status| self.connection.failure(&status))?;
            self.tickers = rules.into_iter().map(|rule| rule.ticker).collect();
        }
        let alerts = self
            .new_alerts()
            .await
            .map_err(|status| self.connection.failure(&status))?;
        let quotes = self
            .new_quotes()
            .await
            .map_err(|status| self.connection.failure(&status))?;
        self.show_quotes(quotes)?;
        alerts.into_iter().try_for_each(|alert| self.show_alert(alert))
    }

    /// Alerts not seen before, oldest first. Goes back page by page until one has nothing new.
    async fn new_alerts(&mut self) -> Result<Vec<view::Alert>, Status> {
        let mut new = Vec::new();
        let mut page_token = String::new();
        loop {
            let (page, next) = alert::page(&self.connection, None, PAGE_SIZE, page_token).await?;
            let Some(known) = &mut self.alerts else {
                let since = if next.is_empty() {
                    None
                } else {
                    page.last().and_then(|alert| alert.raise_time)
                };
                self.alerts = Some(KnownAlerts {
                    ids: page.into_iter().map(|alert| alert.id).collect(),
                    since,
                });
                return Ok(Vec::new());
            };
            let before = new.len();
            new.extend(
                page.into_iter()
                    .filter(|alert| alert.raise_time >= known.since && !known.ids.contains(&alert.id)),
            );
            if next.is_empty() || new.len() == before {
                // Only now: a page that fails must not hide those of the pages before.
                known.ids.extend(new.iter().map(|alert| alert.id.clone()));
                new.reverse();
                return Ok(new);
            }
            page_token = next;
        }
    }

    /// Latest quotes whose price differs from the one shown, by ticker.
    async fn new_quotes(&mut self) -> Result<Vec<view::Quote>, Status> {
        let quotes = self.connection.quotes();
        let answers: Vec<Result<Option<view::Quote>, Status>> = stream::iter(self.tickers.clone())
            .map(|ticker| {
                let mut quotes = quotes.clone();
                async move {
                    match quotes
                        .get_latest_quote(v1::GetLatestQuoteRequest { ticker })
                        .await
                    {
                        Ok(answer) => Ok(answer.into_inner().quote.map(view::Quote::from)),
                        // None recorded yet.
                        Err(status) if status.code() == Code::NotFound => Ok(None),
                        Err(status) => Err(status),
                    }
                }
            })
            .buffered(CONCURRENT_CALLS)
            .collect()
            .await;
        let mut new = Vec::new();
        for quote in answers.into_iter().filter_map(Result::transpose) {
            let quote = quote?;
            if self
                .prices
                .get(&quote.ticker)
                .is_none_or(|shown| shown.price != quote.price)
            {
                new.push(quote);
            }
        }
        Ok(new)
    }

    /// All that changed on one line, or one JSON object each.
    fn show_quotes(&mut self, quotes: Vec<view::Quote>) -> Result<(), Failure> {
        let screen = &self.session.screen;
        let mut line = String::new();
        for quote in quotes {
            let quote = if screen.json {
                let event = view::Event::Quote(quote);
                screen.result(&event, String::new)?;
                let view::Event::Quote(quote) = event else {
                    continue;
                };
                quote
            } else {
                line.push_str(&format!("  {} {}", printable(&quote.ticker), self.price(&quote)));
                quote
            };
            self.prices.insert(quote.ticker.clone(), quote);
        }
        if line.is_empty() {
            return Ok(());
        }
        let time = screen.paint(&screen.time(jiff::Timestamp::now()), Style::Faint);
        screen.print(&format!("{time}{line}\n"))
    }

    /// The price, coloured by its direction.
    fn price(&self, quote: &view::Quote) -> String {
        let number = |quote: &view::Quote| quote.price.parse::<cqrs::domain::Price>().ok();
        let before = self.prices.get(&quote.ticker).and_then(number);
        let style = match (before, number(quote)) {
            (Some(before), Some(now)) if now > before => Style::Green,
            (Some(before), Some(now)) if now < before => Style::Red,
            _ => Style::Plain,
        };
        self.session.screen.paint(&printable(&quote.price), style)
    }

    fn show_alert(&self, alert: view::Alert) -> Result<(), Failure> {
        let screen = &self.session.screen;
        let event = view::Event::Alert(alert.clone());
        screen.result(&event, || {
            let (side, style) = alert::side(&alert);
            let time = alert.raise_time.map(|time| screen.time(time)).unwrap_or_default();
            let ticker = screen.paint(&printable(&alert.ticker), Style::Strong);
            let what = screen.paint(side, style);
            let (price, threshold) = (printable(&alert.price), printable(&alert.threshold));
            format!(
                "{time}  {ticker} {what}: {price} (threshold {threshold}), rule {}\n",
                alert.rule_id
            )
        })
    }
}

#[allow(
    clippy::print_stderr,
    reason = "remarks for the person at the terminal, beside the results"
)]
fn note(text: &str) {
    eprintln!("{}", printable(text));
}
