//! The oracle for rules that change. Every version of a rule walks over all quotes of its ticker, the slow and obvious
//! way; shares no code with the alert system on purpose.

use std::collections::BTreeMap;

use crate::oracle::{OracleRule, next_side};

/// One version of a rule. Times are microseconds since the epoch.
#[derive(Debug, Clone)]
pub struct Version {
    /// Counts from 1.
    pub number: i64,
    /// At or below is out; in units of 1e-8.
    pub low: Option<i64>,
    /// At or above is out; in units of 1e-8.
    pub high: Option<i64>,
    /// Neither paused nor expired when it was written.
    pub active: bool,
    /// Quotes that were ingested before are not for it.
    pub from_us: i64,
    /// Quotes that were ingested then or later are not for it.
    pub expires_us: Option<i64>,
    /// When the next version was written, or the rule deleted.
    pub until_us: Option<i64>,
}

/// A rule from its creation on.
#[derive(Debug, Clone)]
pub struct History {
    /// Its id.
    pub rule_id: String,
    /// What it watches.
    pub ticker: String,
    /// Oldest first.
    pub versions: Vec<Version>,
    /// The last thing that happened to it was its deletion.
    pub deleted: bool,
}

/// A quote as it lies in the log.
#[derive(Debug, Clone, Copy)]
pub struct LoggedQuote {
    /// In units of 1e-8.
    pub price: i64,
    /// When the price was made.
    pub event_time_us: i64,
    /// When it entered the system.
    pub ingest_time_us: i64,
    /// Where in its partition.
    pub offset: i64,
}

/// (rule, version, offset of the quote): an alert's name.
pub type AlertName = (String, i64, i64);

/// What an alert must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertText {
    /// Of what.
    pub ticker: String,
    /// The side entered: in, above or below.
    pub side: &'static str,
    /// The quote's.
    pub price: i64,
    /// The one that was crossed.
    pub threshold: i64,
    /// The quote's event time.
    pub quote_time_us: i64,
    /// The quote's ingest time.
    pub ingest_time_us: i64,
    /// The version's first quote caused it.
    pub already_outside: bool,
}

/// Which quotes a version sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sees {
    /// Those until the next version: what is right.
    UntilItChanged,
    /// All from its own time on: what an instance sees that has not heard of the change.
    ToTheEnd,
}

/// The alerts of all rules. The quotes of each ticker are given in the order of the log; every ticker always has a rule, so
/// that each quote that is not late is its ticker's newest.
#[must_use]
pub fn alerts(
    histories: &[History],
    quotes: &BTreeMap<String, Vec<LoggedQuote>>,
    sees: Sees,
) -> BTreeMap<AlertName, AlertText> {
    let evaluated: BTreeMap<&str, Vec<LoggedQuote>> = quotes
        .iter()
        .map(|(ticker, quotes)| (ticker.as_str(), without_late(quotes)))
        .collect();
    let mut alerts = BTreeMap::new();
    for history in histories {
        let Some(quotes) = evaluated.get(history.ticker.as_str()) else {
            continue;
        };
        for version in &history.versions {
            for (offset, text) in alerts_of(history, version, quotes, sees) {
                alerts.insert((history.rule_id.clone(), version.number, offset), text);
            }
        }
    }
    alerts
}

fn without_late(quotes: &[LoggedQuote]) -> Vec<LoggedQuote> {
    let mut newest = i64::MIN;
    let mut on_time = Vec::with_capacity(quotes.len());
    for quote in quotes {
        if quote.event_time_us >= newest {
            newest = quote.event_time_us;
            on_time.push(*quote);
        }
    }
    on_time
}

fn alerts_of(
    history: &History,
    version: &Version,
    quotes: &[LoggedQuote],
    sees: Sees,
) -> Vec<(i64, AlertText)> {
    let until = match sees {
        Sees::UntilItChanged => version.until_us,
        Sees::ToTheEnd => None,
    };
    let is_seen = |quote: &&LoggedQuote| {
        let time = quote.ingest_time_us;
        version.active
            && time >= version.from_us
            && version.expires_us.is_none_or(|expires| time < expires)
            && until.is_none_or(|until| time < until)
    };
    let rule = OracleRule {
        id: history.rule_id.clone(),
        ticker: history.ticker.clone(),
        low: version.low,
        high: version.high,
    };
    let mut found = Vec::new();
    let mut side = "in";
    for (count, quote) in quotes.iter().filter(is_seen).enumerate() {
        let next = next_side(&rule, side, i128::from(quote.price));
        if next == side {
            continue;
        }
        let crossed = if next == "in" { side } else { next };
        let threshold = if crossed == "below" {
            version.low
        } else {
            version.high
        };
        found.push((
            quote.offset,
            AlertText {
                ticker: history.ticker.clone(),
                side: next,
                price: quote.price,
                threshold: threshold.unwrap_or_default(),
                quote_time_us: quote.event_time_us,
                ingest_time_us: quote.ingest_time_us,
                already_outside: count == 0,
            },
        ));
        side = next;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: i64, from_us: i64, until_us: Option<i64>) -> Version {
        Version {
            number,
            low: None,
            high: Some(100),
            active: true,
            from_us,
            expires_us: None,
            until_us,
        }
    }

    /// (price, event time, ingest time) at offsets 0, 1, 2 ...; gives (version, offset, side).
    fn told(versions: Vec<Version>, quotes: &[(i64, i64, i64)], sees: Sees) -> Vec<(i64, i64, &'static str)> {
        let quotes = quotes
            .iter()
            .zip(0..)
            .map(|(&(price, event_time_us, ingest_time_us), offset)| LoggedQuote {
                price,
                event_time_us,
                ingest_time_us,
                offset,
            })
            .collect();
        let history = History {
            rule_id: "r".into(),
            ticker: "T".into(),
            versions,
            deleted: false,
        };
        alerts(&[history], &BTreeMap::from([("T".to_owned(), quotes)]), sees)
            .into_iter()
            .map(|((_, version, offset), text)| (version, offset, text.side))
            .collect()
    }

    #[test]
    fn each_version_starts_from_inside_and_sees_only_its_own_quotes() {
        let versions = vec![version(1, 0, Some(20)), version(2, 20, Some(40))];
        let quotes = [(100, 1, 10), (101, 2, 30), (50, 3, 31), (100, 4, 50)];
        assert_eq!(
            told(versions.clone(), &quotes, Sees::UntilItChanged),
            [(1, 0, "above"), (2, 1, "above"), (2, 2, "in")]
        );
        assert_eq!(
            told(versions[..1].to_vec(), &quotes, Sees::ToTheEnd),
            [(1, 0, "above"), (1, 2, "in"), (1, 3, "above")]
        );
    }

    #[test]
    fn a_late_quote_is_nobodys_and_one_of_equal_time_is_not_late() {
        let quotes = [(50, 5, 1), (100, 4, 2), (50, 5, 3), (100, 5, 4)];
        assert_eq!(
            told(vec![version(1, 0, None)], &quotes, Sees::UntilItChanged),
            [(1, 3, "above")]
        );
    }

    #[test]
    fn paused_and_expired_versions_see_nothing() {
        let paused = Version {
            active: false,
            ..version(1, 0, None)
        };
        let expired = Version {
            expires_us: Some(2),
            ..version(1, 0, None)
        };
        let quotes = [(100, 1, 1), (50, 2, 2)];
        assert_eq!(told(vec![paused], &quotes, Sees::UntilItChanged), []);
        assert_eq!(
            told(vec![expired], &quotes, Sees::UntilItChanged),
            [(1, 0, "above")]
        );
    }
}
