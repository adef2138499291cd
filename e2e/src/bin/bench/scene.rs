//! What lies in the topics before anything is measured, as a system that has run for a while leaves it.

use std::time::Duration;

use cqrs::domain::{Alert, AlertPosition, Quote, RuleSnapshot, Side, TickerMark, UserId};
use service::codec::{encode_alert, encode_rule, encode_ticker};
use service::kafka::Kafka;
use service::topics::{ALERTS, QUOTES, RULES, TICKERS as MARKS};

use crate::broker::{GroupOffsets, SYSTEM_GROUP};
use crate::workload::{Role, TICKERS, Workload};
use crate::writer::Writer;

/// Rules of one user.
const RULES_PER_USER: usize = 10;
/// librdkafka's own: large batches, as those of a bulk load are.
const LINGER: Duration = Duration::from_millis(5);

/// Topics in which every ticker has rules and one evaluated quote, and a tenth of the rules has an open episode.
pub(crate) struct Scene {
    pub(crate) kafka: Kafka,
    pub(crate) workload: Workload,
    /// How far the quotes are evaluated, by partition.
    pub(crate) evaluated: Vec<i64>,
    /// Records of rules, alerts and tickers together.
    pub(crate) state_records: usize,
}

impl Scene {
    /// Into topics that are empty.
    pub(crate) fn set(kafka: Kafka, rules_per_ticker: usize) -> anyhow::Result<Self> {
        let mut scene = Self {
            workload: Workload::open(kafka.partitions())?,
            evaluated: vec![0; usize::try_from(kafka.partitions())?],
            kafka,
            state_records: 0,
        };
        let writer = Writer::open(&scene.kafka, LINGER)?;
        let marks = scene.write_first_quotes(&writer)?;
        scene.write_rules(&writer, rules_per_ticker, &marks)?;
        writer.finish()?;
        GroupOffsets::of(&scene.kafka, SYSTEM_GROUP, QUOTES)?.commit(&scene.evaluated)?;
        Ok(scene)
    }

    /// One quote of each ticker with its mark; the marks in the order of the listings.
    fn write_first_quotes(&mut self, writer: &Writer) -> anyhow::Result<Vec<TickerMark>> {
        let mut marks = Vec::with_capacity(TICKERS);
        for _ in 0..TICKERS {
            let tick = self.workload.tick()?;
            let partition = self.workload.listings[tick.listing].partition;
            writer.write_quote(QUOTES.name, partition, &tick.quote)?;
            let end = &mut self.evaluated[usize::try_from(partition)?];
            let mark = mark(&tick.quote, *end);
            *end += 1;
            writer.write(
                MARKS.name,
                partition,
                mark.ticker.as_str(),
                &encode_ticker(&mark),
                None,
            )?;
            self.state_records += 1;
            marks.push((tick.listing, mark));
        }
        marks.sort_by_key(|(listing, _)| *listing);
        Ok(marks.into_iter().map(|(_, mark)| mark).collect())
    }

    fn write_rules(
        &mut self,
        writer: &Writer,
        rules_per_ticker: usize,
        marks: &[TickerMark],
    ) -> anyhow::Result<()> {
        let mut user_id = UserId::generate();
        for number in 0..rules_per_ticker {
            let role = Workload::role(number, rules_per_ticker);
            for (index, listing) in self.workload.listings.iter().enumerate() {
                if index % RULES_PER_USER == 0 {
                    user_id = UserId::generate();
                }
                let rule = self.workload.rule(index, number, role, user_id)?;
                let key = rule.rule_id.to_string();
                writer.write(RULES.name, listing.partition, &key, &encode_rule(&rule), None)?;
                self.state_records += 1;
                if let (Role::Open, Some(high)) = (role, rule.range.high()) {
                    let state = encode_alert(&opened(&rule, high, &marks[index]));
                    writer.write(ALERTS.name, listing.partition, &key, &state, None)?;
                    self.state_records += 1;
                }
            }
        }
        Ok(())
    }
}

fn mark(quote: &Quote, offset: i64) -> TickerMark {
    TickerMark {
        ticker: quote.ticker.clone(),
        price: quote.price,
        event_time: quote.event_time,
        ingest_time: quote.ingest_time,
        offset,
        restated_at: None,
    }
}

/// The alert that the ticker's first quote made.
fn opened(rule: &RuleSnapshot, threshold: cqrs::domain::Price, mark: &TickerMark) -> Alert {
    Alert {
        rule_id: rule.rule_id,
        user_id: rule.user_id,
        ticker: rule.ticker.clone(),
        position: AlertPosition {
            version: rule.version,
            generation: rule.generation,
            offset: mark.offset,
        },
        side: Side::Above,
        price: mark.price,
        threshold,
        currency: "USD".into(),
        quote_time: mark.event_time,
        quote_ingest_time: mark.ingest_time,
        raised_at: mark.ingest_time,
        already_outside: true,
    }
}
