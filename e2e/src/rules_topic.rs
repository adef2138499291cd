//! The rules topic beside the database: every version of every rule, in order, and the newest one last.

use std::collections::BTreeMap;

use anyhow::Context as _;
use cqrs::domain::{Price, RuleId, RuleSnapshot, Timestamp};
use service::codec::{decode_rule, decode_rule_key};
use service::topics::RULES;

use crate::log;
use crate::servers::Servers;

/// All records of the topic, by rule, in the order of their offsets. A deletion is none.
#[derive(Debug, Default)]
pub struct RulesTopic {
    rules: BTreeMap<RuleId, Vec<Option<RuleSnapshot>>>,
}

impl RulesTopic {
    /// Reads it from its beginning to its end now.
    ///
    /// # Errors
    /// If the broker does not answer, or a record can't be decoded.
    pub fn read(bootstrap_servers: &str) -> anyhow::Result<Self> {
        let mut rules: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for record in log::read_all(bootstrap_servers, RULES)? {
            let rule = decode_rule_key(record.key.as_deref())?;
            let snapshot = record.payload.as_deref().map(decode_rule).transpose()?;
            rules.entry(rule).or_default().push(snapshot);
        }
        Ok(Self { rules })
    }

    /// Every rule that was ever in it.
    pub fn rules(&self) -> impl Iterator<Item = RuleId> + '_ {
        self.rules.keys().copied()
    }

    /// How many records there are.
    #[must_use]
    pub fn record_count(&self) -> usize {
        self.rules.values().map(Vec::len).sum()
    }

    /// Whether it has this version of a rule.
    #[must_use]
    pub fn has(&self, rule: RuleId, version: i64) -> bool {
        self.rules.get(&rule).is_some_and(|records| {
            let mut versions = records.iter().flatten().map(|rule| rule.version.get());
            versions.any(|other| other == version)
        })
    }

    /// Whether a rule's last record is its deletion.
    #[must_use]
    pub fn is_deleted(&self, rule: RuleId) -> bool {
        matches!(
            self.rules.get(&rule).and_then(|records| records.last()),
            Some(None)
        )
    }

    /// What a reader must not see: a version that is missing or comes for the first time after a newer one or after the
    /// deletion, and a last record that is not the newest. And how many records were repeats.
    #[must_use]
    pub fn order(&self) -> Order {
        let mut order = Order::default();
        for (rule, records) in &self.rules {
            follow(*rule, records, &mut order);
        }
        order
    }

    /// Where the database and the last records differ.
    ///
    /// # Errors
    /// If the database does not answer.
    pub fn differences(&self, servers: &Servers) -> anyhow::Result<Vec<String>> {
        let stored = servers.sql(
            "select id, user_id, ticker, low, high, greatest(paused, expired), expires_at, version, updated_at from rules",
        )?;
        let mut last: BTreeMap<RuleId, &RuleSnapshot> = self
            .rules
            .iter()
            .filter_map(|(rule, records)| Some((*rule, records.last()?.as_ref()?)))
            .collect();
        let mut differences = Vec::new();
        for line in stored.lines() {
            let id = line.split('\t').next().unwrap_or_default().parse()?;
            match last.remove(&id) {
                None => differences.push(format!("{id} is in the database and not in the topic")),
                Some(rule) if row_of(rule) != line => {
                    differences.push(format!(
                        "{id} is {line} in the database and {} in the topic",
                        row_of(rule)
                    ));
                }
                Some(_) => {}
            }
        }
        differences.extend(
            last.keys()
                .map(|id| format!("{id} is in the topic and not in the database")),
        );
        Ok(differences)
    }
}

/// What became of the order of versions.
#[derive(Debug, Default)]
pub struct Order {
    /// What must not be.
    pub faults: Vec<String>,
    /// Records of a version that was there before.
    pub repeats: usize,
    /// Repeats that came when a newer version was already there.
    pub late_repeats: usize,
}

fn follow(rule: RuleId, records: &[Option<RuleSnapshot>], order: &mut Order) {
    let (mut newest, mut deleted) = (0, false);
    for record in records {
        let Some(snapshot) = record else {
            order.repeats += usize::from(deleted);
            deleted = true;
            continue;
        };
        let version = snapshot.version.get();
        if version <= newest {
            order.repeats += 1;
            order.late_repeats += usize::from(version < newest || deleted);
            continue;
        }
        if version != newest + 1 {
            order.faults.push(format!("{rule}: {version} after {newest}"));
        }
        if deleted {
            order
                .faults
                .push(format!("{rule}: {version} is new after the deletion"));
        }
        newest = version;
    }
    let last = records
        .last()
        .map(|last| last.as_ref().map(|rule| rule.version.get()));
    let expected = (!deleted).then_some(newest);
    if last != Some(expected) {
        order
            .faults
            .push(format!("{rule}: the last record is {last:?}, not {expected:?}"));
    }
}

/// As the database shows it.
fn row_of(rule: &RuleSnapshot) -> String {
    let or_null = |value: Option<i64>| value.map_or_else(|| "NULL".to_owned(), |value| value.to_string());
    [
        rule.rule_id.to_string(),
        rule.user_id.to_string(),
        rule.ticker.to_string(),
        or_null(rule.range.low().map(Price::units)),
        or_null(rule.range.high().map(Price::units)),
        i64::from(!rule.active).to_string(),
        or_null(rule.expires_at.map(Timestamp::as_micros)),
        rule.version.to_string(),
        rule.updated_at.as_micros().to_string(),
    ]
    .join("\t")
}

/// How many rows there are, such as `outbox where deleted = 1`.
///
/// # Errors
/// If the database does not answer.
pub fn count(servers: &Servers, rows: &str) -> anyhow::Result<usize> {
    let count = servers.sql(&format!("select count(*) from {rows}"))?;
    count
        .trim()
        .parse()
        .with_context(|| format!("the count of {rows} is {count}"))
}

#[cfg(test)]
mod tests {
    use cqrs::domain::{Range, RuleVersion, UserId};

    use super::*;

    /// The faults and repeats of a rule with these records; 0 is the deletion.
    fn order_of(versions: &[i64]) -> (usize, usize, usize) {
        let rule = RuleId::generate();
        let record = |version: i64| RuleSnapshot {
            rule_id: rule,
            user_id: UserId::generate(),
            ticker: "AAPL".parse().unwrap(),
            range: Range::new(None, Some("1".parse().unwrap())).unwrap(),
            version: RuleVersion::try_from(version).unwrap(),
            active: true,
            expires_at: None,
            updated_at: Timestamp::from_micros(1),
            generation: 1,
        };
        let records = versions
            .iter()
            .map(|version| (*version > 0).then(|| record(*version)))
            .collect();
        let topic = RulesTopic {
            rules: BTreeMap::from([(rule, records)]),
        };
        let order = topic.order();
        (order.faults.len(), order.repeats, order.late_repeats)
    }

    #[test]
    fn repeats_are_counted_and_holes_wrong_orders_and_old_last_records_are_faults() {
        for (versions, expected) in [
            (&[1, 2, 3][..], (0, 0, 0)),
            (&[1, 1, 2, 1, 2, 3], (0, 3, 1)),
            (&[1, 2, 0], (0, 0, 0)),
            (&[1, 0, 1, 0], (0, 2, 1)),
            (&[1, 3], (1, 0, 0)),
            (&[2, 3], (1, 0, 0)),
            (&[1, 3, 2, 3], (1, 2, 1)),
            (&[1, 2, 1], (1, 1, 1)),
            (&[1, 0, 2, 0], (1, 1, 0)),
            (&[1, 0, 1], (1, 1, 1)),
        ] {
            assert_eq!(order_of(versions), expected, "{versions:?}");
        }
    }
}
