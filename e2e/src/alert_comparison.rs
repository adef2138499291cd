//! The alerts topic beside the oracle's answer, one for one.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use cqrs::domain::{Alert, AlertPosition, Side, Timestamp};
use service::codec::{decode_alert, decode_quote};
use service::kafka::Record;

use crate::rule_history::{AlertName, AlertText, History, LoggedQuote, Sees, alerts};

/// How long after it woke up an instance may still act on what it knew before.
const DROWSY: Duration = Duration::from_secs(30);
/// How many of each kind a report shows.
const SHOWN: usize = 5;

/// What was found.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Alerts that the oracle says.
    pub expected: usize,
    /// Alert records in the topic, deletions not counted.
    pub records: usize,
    /// Records with a name that came before.
    pub repeats: usize,
    /// Records of a version that was no longer the newest, written by an instance that had just woken up, and exactly what
    /// that version would have said. Folding drops them, or takes them for the change that came a moment later.
    pub outdated: usize,
    problems: BTreeMap<&'static str, Vec<String>>,
}

impl Comparison {
    /// Compares. `awakenings` are the times at which paused instances went on.
    ///
    /// # Errors
    /// If a record can't be decoded.
    pub fn of(
        histories: &[History],
        quotes: &[Record],
        records: &[Record],
        awakenings: &[Timestamp],
    ) -> anyhow::Result<Self> {
        let quotes = by_ticker(quotes)?;
        let expected = alerts(histories, &quotes, Sees::UntilItChanged);
        let mut comparison = Self {
            expected: expected.len(),
            ..Self::default()
        };
        let mut seen: HashMap<AlertName, AlertText> = HashMap::new();
        let mut unexpected = Vec::new();
        for record in records {
            let Some(payload) = &record.payload else { continue };
            let alert = decode_alert(payload)?;
            let (name, text) = (name_of(&alert), text_of(&alert));
            comparison.records += 1;
            if let Some(before) = seen.get(&name) {
                comparison.repeats += 1;
                if *before != text {
                    comparison.note("repeats that say something else", &name, &(before, &text));
                }
                continue;
            }
            match expected.get(&name) {
                Some(right) if *right == text => {}
                Some(right) => comparison.note("alerts that say something wrong", &name, &(right, &text)),
                None => unexpected.push((name.clone(), text.clone(), alert.raised_at)),
            }
            seen.insert(name, text);
        }
        for (name, right) in expected.iter().filter(|(name, _)| !seen.contains_key(*name)) {
            comparison.note("alerts that are missing", name, right);
        }
        if !unexpected.is_empty() {
            let outdated = alerts(histories, &quotes, Sees::ToTheEnd);
            for (name, text, raised_at) in &unexpected {
                let is_drowsy = awakenings
                    .iter()
                    .any(|woken| *raised_at >= *woken && raised_at.since(*woken) < DROWSY);
                if is_drowsy && outdated.get(name) == Some(text) {
                    comparison.outdated += 1;
                } else {
                    comparison.note("alerts that should not be", name, text);
                }
            }
        }
        comparison.check_last_records(histories, records)?;
        Ok(comparison)
    }

    /// The last record of each key must be the newest, and a deleted rule's a deletion: compaction keeps the last. Only the
    /// state of a version that is no longer the rule's may be any, since nobody goes on from it.
    fn check_last_records(&mut self, histories: &[History], records: &[Record]) -> anyhow::Result<()> {
        let mut keys: BTreeMap<&[u8], Vec<Written>> = BTreeMap::new();
        for record in records {
            let key = record
                .key
                .as_deref()
                .context("a record of the alerts topic has no key")?;
            let alert = record.payload.as_deref().map(decode_alert).transpose()?;
            keys.entry(key).or_default().push(Written {
                at: (record.partition, record.offset),
                state: alert.map(|alert| alert.position),
            });
        }
        for history in histories {
            let written = keys.remove(history.rule_id.as_bytes()).unwrap_or_default();
            let Some(last) = written.last() else { continue };
            let newest = written.iter().filter_map(|written| written.state).max();
            let version = history.versions.last().map_or(0, |version| version.number);
            let is_right = match (last.state, newest) {
                (last, _) if history.deleted => last.is_none(),
                (Some(last), Some(newest)) => last == newest || newest.version.get() < version,
                (None, _) | (_, None) => false,
            };
            if !is_right {
                let end = &written[written.len().saturating_sub(2 * SHOWN)..];
                self.problems
                    .entry("rules whose last record is not their newest")
                    .or_default()
                    .push(format!(
                        "rule {} of {}, deleted: {}, its last records: {end:?}",
                        history.rule_id, history.ticker, history.deleted
                    ));
            }
        }
        Ok(())
    }

    /// # Errors
    /// What is wrong, with the first few of each kind.
    pub fn verdict(&self) -> Result<(), String> {
        let mut report = String::new();
        for (kind, found) in &self.problems {
            let _ = writeln!(report, "{} {kind}, such as:", found.len());
            for line in found.iter().take(SHOWN) {
                let _ = writeln!(report, "    {line}");
            }
        }
        if self.expected == 0 {
            report.push_str("the oracle expects no alert: the test shows nothing\n");
        }
        if report.is_empty() { Ok(()) } else { Err(report) }
    }

    fn note(&mut self, kind: &'static str, name: &AlertName, what: &dyn std::fmt::Debug) {
        let (rule, version, offset) = name;
        self.problems
            .entry(kind)
            .or_default()
            .push(format!("rule {rule} version {version} offset {offset}: {what:?}"));
    }
}

/// One record of a rule: where it lies, and the state it holds unless it is a deletion.
struct Written {
    at: (i32, i64),
    state: Option<AlertPosition>,
}

impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (partition, offset) = self.at;
        match self.state {
            Some(state) => write!(f, "{state} at {partition}/{offset}"),
            None => write!(f, "deletion at {partition}/{offset}"),
        }
    }
}

fn by_ticker(records: &[Record]) -> anyhow::Result<BTreeMap<String, Vec<LoggedQuote>>> {
    let mut quotes: BTreeMap<String, Vec<LoggedQuote>> = BTreeMap::new();
    for record in records {
        let quote = decode_quote(record.payload.as_deref().unwrap_or_default())?;
        quotes
            .entry(quote.ticker.to_string())
            .or_default()
            .push(LoggedQuote {
                price: quote.price.units(),
                event_time_us: quote.event_time.as_micros(),
                ingest_time_us: quote.ingest_time.as_micros(),
                offset: record.offset,
            });
    }
    Ok(quotes)
}

fn name_of(alert: &Alert) -> AlertName {
    (
        alert.rule_id.to_string(),
        alert.position.version.get(),
        alert.position.offset,
    )
}

fn text_of(alert: &Alert) -> AlertText {
    AlertText {
        ticker: alert.ticker.to_string(),
        side: match alert.side {
            Side::In => "in",
            Side::Above => "above",
            Side::Below => "below",
        },
        price: alert.price.units(),
        threshold: alert.threshold.units(),
        quote_time_us: alert.quote_time.as_micros(),
        ingest_time_us: alert.quote_ingest_time.as_micros(),
        already_outside: alert.already_outside,
    }
}
