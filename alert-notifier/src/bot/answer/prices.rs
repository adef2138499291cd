//! Prices and charts.

use std::sync::Arc;
use std::time::Duration;

use cqrs::domain::{Price, Quote, Rule, Side, Ticker};
use cqrs::{Queries, StoreError};

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
/// Most breaches that a chart marks: of more, the newest.
const MARKS: u32 = 200;
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
        let Some(spec) = spec(&self.queries, asker, newest, length).await? else {
            return Err(Failure::Told(text::no_prices(
                ticker,
                length,
                newest,
                &asker.reader,
            )));
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

/// What a chart of this length shows to the asker. None: no price of that time is known.
async fn spec(
    queries: &Queries,
    asker: &Asker,
    newest: &Quote,
    length: Duration,
) -> Result<Option<ChartSpec>, StoreError> {
    let ticker = &newest.ticker;
    let now = asker.reader.now;
    let from = now.minus(length);
    // The newest may be of a clock that is ahead.
    let to = now.max(newest.event_time).plus(Duration::from_micros(1));
    let series = queries.price_series(ticker, from, to, POINTS).await?;
    if series.is_empty() {
        return Ok(None);
    }
    let mut rules = queries.rules_of(asker.caller, ticker).await?;
    rules.retain(Rule::is_active);
    let breaches = queries.breaches(asker.caller, ticker, from, MARKS).await?;
    Ok(Some(ChartSpec {
        ticker: ticker.clone(),
        period: words::duration(length, asker.language()),
        currency: newest.currency.clone(),
        points: series.iter().map(|point| (point.time, point.last)).collect(),
        thresholds: thresholds(&rules),
        breaches: breaches
            .iter()
            .map(|breach| (breach.time, breach.price, breach.side))
            .collect(),
        time_zone: asker.reader.time_zone.clone(),
        language: asker.language(),
    }))
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

#[cfg(test)]
mod tests {
    use cqrs::domain::{Alert, AlertPosition, Language, NewRule, Note, Range, RuleVersion, Timestamp};
    use cqrs::{Caller, LedgerChange, Limits, Store, UserEdit};
    use service::config::DatabaseArgs;

    use super::super::reader;
    use super::*;

    fn price(text: &str) -> Price {
        text.parse().unwrap()
    }

    fn breach(rule: &Rule, offset: i64, at: Timestamp) -> LedgerChange {
        LedgerChange::Alert(Alert {
            rule_id: rule.id,
            user_id: rule.user_id,
            ticker: rule.ticker.clone(),
            position: AlertPosition {
                version: RuleVersion::FIRST,
                generation: 1,
                offset,
            },
            side: Side::Above,
            price: price("210"),
            threshold: price("200"),
            currency: "USD".to_owned(),
            quote_time: at,
            quote_ingest_time: at,
            raised_at: at,
            already_outside: false,
        })
    }

    #[tokio::test]
    async fn a_chart_has_its_readers_thresholds_breaches_and_clock() {
        let folder = tempfile::tempdir().unwrap();
        let database = DatabaseArgs::single(format!("sqlite://{}/stock.db", folder.path().display()));
        let store = Store::open(&database.store_settings()).await.unwrap();
        let commands = store.commands(Limits::default());
        let rules = ["AAPL", "MSFT"].map(|ticker| NewRule {
            ticker: ticker.parse().unwrap(),
            range: Range::new(Some(price("170")), Some(price("200"))).unwrap(),
            note: Note::default(),
            paused: false,
            expires_at: None,
        });
        let email = "ada@example.org".parse().unwrap();
        let registered = commands.register_user(email, rules.to_vec(), None).await.unwrap();
        let caller = Caller(registered.user.id);
        let edit = UserEdit {
            time_zone: Some("Asia/Tokyo".parse().unwrap()),
            language: Some(Some(Language::It)),
            ..UserEdit::default()
        };
        let user = commands.update_user(caller, edit, None).await.unwrap();

        let now = Timestamp::now();
        let ago = |minutes: u64| now.minus(Duration::from_secs(60 * minutes));
        let newest = Quote {
            ticker: "AAPL".parse().unwrap(),
            price: price("187.23"),
            currency: "USD".to_owned(),
            volume: None,
            trade_side: None,
            event_time: ago(1),
            ingest_time: ago(1),
            source: "synthetic".to_owned(),
        };
        store.history().record(&[(newest.clone(), 1)]).await.unwrap();
        let [rule, other] = &registered.rules[..] else {
            panic!("two rules")
        };
        // Many alerts of another ticker came since.
        let mut changes = vec![breach(rule, 1, ago(5))];
        changes.extend((1..=300).map(|offset| breach(other, offset, ago(2))));
        store.ledger().fold(&changes, now).await.unwrap();

        let asker = Asker {
            caller,
            reader: reader(&user),
            user,
            update: 1,
        };
        let drawn = spec(&store.queries(), &asker, &newest, DAY)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            drawn,
            ChartSpec {
                ticker: newest.ticker.clone(),
                period: "1 g".to_owned(),
                currency: "USD".to_owned(),
                points: vec![(ago(1), price("187.23"))],
                thresholds: vec![(Side::Below, price("170")), (Side::Above, price("200"))],
                breaches: vec![(ago(5), price("210"), Side::Above)],
                time_zone: "Asia/Tokyo".parse().unwrap(),
                language: Language::It,
            }
        );
    }
}
