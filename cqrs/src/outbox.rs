use std::collections::HashMap;
use std::sync::Arc;

use sqlx::any::AnyRow;
use sqlx::{Any, QueryBuilder, Row as _};

use crate::domain::{Rule, RuleChange, RuleId, RuleSnapshot, RuleVersion, Ticker, Timestamp};
use crate::rows::{self, RULE_COLUMNS};
use crate::transaction::Tx;
use crate::{Store, StoreError, sizes};

/// Rules in one transaction.
const CHUNK: usize = 512;

/// One rule change that waits to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// The version that the change made; names the entry together with the rule's id.
    pub version: RuleVersion,
    /// What to publish.
    pub change: RuleChange,
}

impl OutboxEntry {
    /// The rule that changed.
    #[must_use]
    pub const fn rule_id(&self) -> RuleId {
        match &self.change {
            RuleChange::Changed(snapshot) => snapshot.rule_id,
            RuleChange::Deleted { rule_id, .. } => *rule_id,
        }
    }
}

/// Rule changes on their way to the log.
#[derive(Debug, Clone)]
pub struct Outbox {
    store: Store,
}

impl Outbox {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// The oldest entries: by the change's time, so that versions of one rule come in order. A rule's versions become
    /// visible in order too, as each change holds the rule's row until it is committed.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn pending(&self, limit: u32) -> Result<Vec<OutboxEntry>, StoreError> {
        let rows = sqlx::query(
            "select rule_id, version, user_id, ticker, low, high, active, expires_at, updated_at, deleted,
                    (select generation from log_state where id = 1) as generation
             from outbox order by updated_at, rule_id, version limit ?",
        )
        .bind(i64::from(limit))
        .fetch_all(self.store.primary())
        .await?;
        rows.iter().map(entry).collect()
    }

    /// Forgets published entries.
    ///
    /// # Errors
    /// If the store fails. All of them may be forgotten then.
    pub async fn delete(&self, entries: &[OutboxEntry]) -> Result<(), StoreError> {
        let keys: Arc<[_]> = entries
            .iter()
            .map(|entry| (entry.rule_id().to_string(), entry.version.get()))
            .collect();
        self.store
            .transaction(move |tx| {
                let keys = Arc::clone(&keys);
                Box::pin(async move {
                    for portion in keys.chunks(sizes::BATCH) {
                        let mut delete = QueryBuilder::<Any>::new("delete from outbox where ");
                        let mut any_of = delete.separated(" or ");
                        for (rule_id, version) in sizes::filled_up(portion) {
                            any_of.push("(rule_id = ").push_bind_unseparated(rule_id.clone());
                            any_of
                                .push_unseparated(" and version = ")
                                .push_bind_unseparated(*version);
                            any_of.push_unseparated(")");
                        }
                        delete.build().execute(tx.connection()).await?;
                    }
                    Ok::<_, StoreError>(())
                })
            })
            .await
    }

    /// Rules that have entries: what a leader before may have touched.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn touched(&self) -> Result<Vec<(RuleId, Ticker)>, StoreError> {
        let rows = sqlx::query("select distinct rule_id, ticker from outbox order by rule_id")
            .fetch_all(self.store.primary())
            .await?;
        rows.iter()
            .map(|row| {
                Ok((
                    rows::text(row, "outbox", "rule_id")?,
                    rows::text(row, "outbox", "ticker")?,
                ))
            })
            .collect()
    }

    /// Puts the newest version of each of these rules into the outbox again (a deletion, if it is gone).
    ///
    /// # Errors
    /// If the store fails. Some rules may be in the outbox then; repeating it does no harm.
    pub async fn requeue(&self, rules: &[(RuleId, Ticker)]) -> Result<(), StoreError> {
        for chunk in rules.chunks(CHUNK) {
            let chunk = chunk.to_vec();
            self.store
                .transaction(move |tx| {
                    let chunk = chunk.clone();
                    Box::pin(async move { requeue(tx, &chunk, Timestamp::now()).await })
                })
                .await?;
        }
        Ok(())
    }

    /// Puts every rule into the outbox again: rebuilds the topic. With `new_log`, the log was lost or is a new one, and
    /// its generation grows. Returns how many rules.
    ///
    /// # Errors
    /// If the store fails. Some rules may be in the outbox then; repeating it does no harm.
    pub async fn republish_all(&self, new_log: bool) -> Result<u64, StoreError> {
        if new_log {
            self.store
                .transaction(|tx| {
                    Box::pin(async move {
                        sqlx::query(
                            "update log_state set generation = generation + 1, started_at = ? where id = 1",
                        )
                        .bind(Timestamp::now().as_micros())
                        .execute(tx.connection())
                        .await?;
                        Ok::<_, StoreError>(())
                    })
                })
                .await?;
        }
        let (mut after, mut count) = (String::new(), 0);
        loop {
            let start = after.clone();
            let rules = self
                .store
                .transaction(move |tx| {
                    let start = start.clone();
                    Box::pin(async move { republish_after(tx, &start).await })
                })
                .await?;
            count += u64::try_from(rules.len()).unwrap_or(u64::MAX);
            match rules.last() {
                Some(last) if rules.len() == CHUNK => after = last.to_string(),
                _ => return Ok(count),
            }
        }
    }
}

/// Adds a change of each rule as it is now.
pub(crate) async fn enqueue(tx: &mut Tx, rules: &[Rule]) -> Result<(), StoreError> {
    let rows: Vec<_> = rules.iter().map(OutboxRow::changed).collect();
    insert(tx, "insert into", rows).await
}

/// Adds the deletion of each rule, as the version after its last.
pub(crate) async fn enqueue_deleted(tx: &mut Tx, rules: &[Rule], now: Timestamp) -> Result<(), StoreError> {
    let deleted = |rule: &Rule| OutboxRow {
        version: rule.version.next().get(),
        updated_at: rule.next_update(now),
        deleted: true,
        ..OutboxRow::changed(rule)
    };
    insert(tx, "insert into", rules.iter().map(deleted).collect()).await
}

async fn republish_after(tx: &mut Tx, start: &str) -> Result<Vec<RuleId>, StoreError> {
    // The rows are kept from changing until these versions are in the outbox: a newer one can only come after them.
    let select = format!(
        "select {RULE_COLUMNS} from rules where id > ? order by id limit {CHUNK}{}",
        tx.dialect.for_update()
    );
    let found = crate::dialect::query(select)
        .bind(start.to_owned())
        .fetch_all(tx.connection())
        .await?;
    let rules = found.iter().map(rows::rule).collect::<Result<Vec<_>, _>>()?;
    let verb = tx.dialect.insert_ignore();
    insert(tx, verb, rules.iter().map(OutboxRow::changed).collect()).await?;
    Ok(rules.iter().map(|rule| rule.id).collect())
}

async fn requeue(tx: &mut Tx, rules: &[(RuleId, Ticker)], now: Timestamp) -> Result<(), StoreError> {
    let mut select = QueryBuilder::<Any>::new(format!("select {RULE_COLUMNS} from rules where id in ("));
    push_ids(&mut select, rules);
    // As in `republish_after`.
    select.push(")").push(tx.dialect.for_update());
    let found = select
        .build()
        .persistent(false)
        .fetch_all(tx.connection())
        .await?;
    let alive = found.iter().map(rows::rule).collect::<Result<Vec<_>, _>>()?;

    let mut select = QueryBuilder::<Any>::new(
        "select rule_id, max(updated_at) as updated_at from outbox where rule_id in (",
    );
    push_ids(&mut select, rules);
    select.push(") group by rule_id");
    let found = select
        .build()
        .persistent(false)
        .fetch_all(tx.connection())
        .await?;
    let waiting = found
        .iter()
        .map(|row| {
            Ok((
                rows::text::<RuleId>(row, "outbox", "rule_id")?,
                rows::time(row, "updated_at")?,
            ))
        })
        .collect::<Result<HashMap<_, _>, StoreError>>()?;

    let mut rows: Vec<_> = alive.iter().map(OutboxRow::changed).collect();
    let gone = rules
        .iter()
        .filter(|(id, _)| !alive.iter().any(|rule| rule.id == *id));
    rows.extend(gone.map(|(id, ticker)| {
        // After whatever of this rule still waits.
        let after = waiting
            .get(id)
            .map_or(now, |last| now.max(Timestamp::from_micros(last.as_micros() + 1)));
        OutboxRow::gone(*id, ticker, after)
    }));
    let verb = tx.dialect.insert_ignore();
    insert(tx, verb, rows).await
}

fn push_ids(statement: &mut QueryBuilder<Any>, rules: &[(RuleId, Ticker)]) {
    let mut ids = statement.separated(", ");
    for (id, _) in rules {
        ids.push_bind(id.to_string());
    }
}

struct OutboxRow {
    rule_id: String,
    version: i64,
    user_id: String,
    ticker: String,
    low: Option<i64>,
    high: Option<i64>,
    active: bool,
    expires_at: Option<i64>,
    updated_at: Timestamp,
    deleted: bool,
}

impl OutboxRow {
    fn changed(rule: &Rule) -> Self {
        Self {
            rule_id: rule.id.to_string(),
            version: rule.version.get(),
            user_id: rule.user_id.to_string(),
            ticker: rule.ticker.to_string(),
            low: rule.range.low().map(|low| low.units()),
            high: rule.range.high().map(|high| high.units()),
            active: rule.is_active(),
            expires_at: rule.expires_at.map(Timestamp::as_micros),
            updated_at: rule.updated_at,
            deleted: false,
        }
    }

    /// A deletion is final, so its version may be any above all others.
    fn gone(rule_id: RuleId, ticker: &Ticker, updated_at: Timestamp) -> Self {
        Self {
            rule_id: rule_id.to_string(),
            version: i64::MAX,
            user_id: String::new(),
            ticker: ticker.to_string(),
            low: None,
            high: None,
            active: false,
            expires_at: None,
            updated_at,
            deleted: true,
        }
    }
}

async fn insert(tx: &mut Tx, verb: &str, rows: Vec<OutboxRow>) -> Result<(), StoreError> {
    for portion in sizes::portions(&rows) {
        let mut insert = QueryBuilder::<Any>::new(format!(
            "{verb} outbox (rule_id, version, user_id, ticker, low, high, active, expires_at, updated_at, deleted) "
        ));
        insert.push_values(portion, |mut values, row| {
            values
                .push_bind(row.rule_id.clone())
                .push_bind(row.version)
                .push_bind(row.user_id.clone())
                .push_bind(row.ticker.clone())
                .push_bind(row.low)
                .push_bind(row.high)
                .push_bind(i64::from(row.active))
                .push_bind(row.expires_at)
                .push_bind(row.updated_at.as_micros())
                .push_bind(i64::from(row.deleted));
        });
        insert.build().execute(tx.connection()).await?;
    }
    Ok(())
}

fn entry(row: &AnyRow) -> Result<OutboxEntry, StoreError> {
    const TABLE: &str = "outbox";
    let version = rows::version(row, TABLE, "version")?;
    let (rule_id, ticker) = (
        rows::text(row, TABLE, "rule_id")?,
        rows::text(row, TABLE, "ticker")?,
    );
    let change = if rows::flag(row, "deleted")? {
        RuleChange::Deleted { rule_id, ticker }
    } else {
        RuleChange::Changed(RuleSnapshot {
            rule_id,
            user_id: rows::text(row, TABLE, "user_id")?,
            ticker,
            range: rows::range(row, TABLE)?,
            version,
            active: rows::flag(row, "active")?,
            expires_at: row
                .try_get::<Option<i64>, _>("expires_at")?
                .map(Timestamp::from_micros),
            updated_at: rows::time(row, "updated_at")?,
            generation: row.try_get("generation")?,
        })
    };
    Ok(OutboxEntry { version, change })
}
