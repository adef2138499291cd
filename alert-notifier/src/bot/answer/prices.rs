//! Prices and charts.

use std::sync::Arc;
use std::time::Duration;

use cqrs::StoreError;
use cqrs::domain::{Price, Rule, Side, Ticker, Timestamp};

use super::super::command::Command;
use super::super::parse::{chart, tickers};
use super::super::reply::Reply;
use super::super::text::{prices as text, refusals};
use super::known::SUGGESTIONS;
use super::{Asker, Desk, Failure, Replies};
use crate::buttons::Keyboard;
use crate::chart::{self as drawing, ChartSpec};
use crate::text::rich::Text;
use crate::text::words;

/// Tickers in one `/price`.
const MOST: usize = 10;
/// Points of a chart: as many as a phone has pixels across.
const POINTS: u32 = 600;
/// Alerts that are looked through for a chart's marks.
const ALERTS: u32 = 200;
/// The chart of a button.
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Desk {
    pub(super) async fn price(&self, asker: &Asker, rest: &str) -> Replies {
        let tickers = tickers(rest, MOST).map_err(|wrong| Failure::Wrong(Command::Price, wrong))?;
        let known = self.known(asker, &tickers).await?;
        let mut own: Vec<Vec<Rule>> = Vec::with_capacity(tickers.len());
        for ticker in &tickers {
            own.push(self.queries.rules_of(asker.caller, ticker).await?);
        }
        let quotes: Vec<_> = tickers
            .iter()
            .zip(&own)
            .filter_map(|(ticker, rules)| {
                let watched = rules.iter().map(|rule| known.of(rule)).collect();
                Some((known.latest(ticker)?, watched))
            })
            .collect();
        let mut answer = text::prices(&quotes, &asker.reader);
        for ticker in tickers.iter().filter(|ticker| known.latest(ticker).is_none()) {
            answer.append(self.unknown_ticker(asker, ticker, Command::Price).await?);
        }
        Ok(vec![answer.into()])
    }

    async fn unknown_ticker(
        &self,
        asker: &Asker,
        ticker: &Ticker,
        command: Command,
    ) -> Result<Text, StoreError> {
        let similar = self.queries.similar_tickers(ticker, SUGGESTIONS).await?;
        Ok(refusals::unknown_ticker(
            ticker,
            &similar,
            command,
            asker.language(),
        ))
    }

    pub(super) async fn chart(&self, asker: &Asker, rest: &str) -> Replies {
        let (ticker, length) = chart(rest).map_err(|wrong| Failure::Wrong(Command::Chart, wrong))?;
        Ok(vec![self.chart_of(asker, &ticker, length).await?])
    }

    pub(super) async fn chart_of(
        &self,
        asker: &Asker,
        ticker: &Ticker,
        length: Duration,
    ) -> Result<Reply, Failure> {
        let known = self.known(asker, std::slice::from_ref(ticker)).await?;
        let Some(newest) = known.latest(ticker) else {
            return Err(Failure::Told(
                self.unknown_ticker(asker, ticker, Command::Chart).await?,
            ));
        };
        let now = asker.reader.now;
        let from = now.minus(length);
        // The newest may be of a clock that is ahead.
        let to = now.max(newest.event_time).plus(Duration::from_micros(1));
        let series = self.queries.price_series(ticker, from, to, POINTS).await?;
        if series.is_empty() {
            return Err(Failure::Told(text::no_prices(
                ticker,
                length,
                newest,
                &asker.reader,
            )));
        }
        let mut rules = self.queries.rules_of(asker.caller, ticker).await?;
        rules.retain(Rule::is_active);
        let spec = ChartSpec {
            ticker: ticker.clone(),
            period: words::duration(length, asker.language()),
            currency: newest.currency.clone(),
            points: series.iter().map(|point| (point.time, point.last)).collect(),
            thresholds: thresholds(&rules),
            breaches: self.breaches(asker, ticker, from).await?,
            time_zone: asker.reader.time_zone.clone(),
            language: asker.language(),
        };
        Ok(Reply::Photo {
            png: self.draw(spec).await.map_err(|error| {
                tracing::error!(%error, stock.ticker = %ticker, "a chart could not be drawn");
                Failure::Told(refusals::broken(asker.language()))
            })?,
            caption: text::caption(newest, length, &asker.reader),
            keyboard: Keyboard::none(),
        })
    }

    /// When and where the asker was told that this ticker left a range.
    async fn breaches(
        &self,
        asker: &Asker,
        ticker: &Ticker,
        from: Timestamp,
    ) -> Result<Vec<(Timestamp, Price, Side)>, StoreError> {
        let alerts = self.queries.alerts(asker.caller, None, None, ALERTS).await?;
        Ok(alerts
            .items
            .iter()
            .filter(|alert| alert.ticker == *ticker && alert.side != Side::In && alert.quote_time >= from)
            .map(|alert| (alert.quote_time, alert.price, alert.side))
            .collect())
    }

    /// Off the threads that answer everybody.
    async fn draw(&self, spec: ChartSpec) -> Result<Vec<u8>, String> {
        let turn = Arc::clone(&self.charts)
            .acquire_owned()
            .await
            .map_err(|error| error.to_string())?;
        tokio::task::spawn_blocking(move || {
            let drawn = drawing::render(&spec);
            drop(turn);
            drawn
        })
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())
    }
}

/// Each once, with the side that lies beyond it.
fn thresholds(rules: &[Rule]) -> Vec<(Side, Price)> {
    let mut thresholds = Vec::new();
    for rule in rules {
        let low = rule.range.low().map(|low| (Side::Below, low));
        let high = rule.range.high().map(|high| (Side::Above, high));
        for threshold in low.into_iter().chain(high) {
            if !thresholds.contains(&threshold) {
                thresholds.push(threshold);
            }
        }
    }
    thresholds
}
