//! From the alerts topic into the ledger.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use sqlx::{AnyConnection, QueryBuilder, Row as _};

use super::episode::{self, Episode, push_in};
use super::rows::{PlannedDelivery, Reader, insert_deliveries, side_text};
use super::{Folded, LedgerChange};
use crate::dialect::Dialect;
use crate::domain::{Alert, ReminderInterval, RuleId, Timestamp, UserId};
use crate::transaction::Tx;
use crate::{Store, StoreError};

/// Changes in one transaction: enough to pay for its commit, few enough to hold the rules' locks only for milliseconds.
pub(super) const MAX_CHANGES: usize = 200;

pub(super) async fn fold(
    store: &Store,
    changes: &[LedgerChange],
    now: Timestamp,
) -> Result<Folded, StoreError> {
    let changes: Arc<[LedgerChange]> = changes.into();
    store
        .transaction(move |tx| {
            let changes = Arc::clone(&changes);
            Box::pin(async move { fold_in(tx, &changes, now).await })
        })
        .await
}

async fn fold_in(tx: &mut Tx, changes: &[LedgerChange], now: Timestamp) -> Result<Folded, StoreError> {
    let dialect = tx.dialect;
    let connection = tx.connection();
    let touched: BTreeSet<RuleId> = changes.iter().map(LedgerChange::rule_id).collect();
    // The rule's row is the lock of all that the ledger knows of the rule: it is there before the first alert, and when it
    // is gone, so is everything that could be told.
    let owners = lock_rules(connection, dialect, &touched).await?;
    let reminders = reminder_intervals(connection, owners.values().copied()).await?;
    let mut episodes = episode::lock(connection, dialect, touched.iter().copied()).await?;

    let mut batch = Batch::default();
    let mut folded = Folded::default();
    for change in changes {
        let alert = match change {
            LedgerChange::Alert(alert) => alert,
            LedgerChange::RuleDeleted(rule) => {
                batch.delete(*rule);
                continue;
            }
        };
        let owner = owners
            .get(&alert.rule_id)
            .filter(|_| !batch.deleted.contains(&alert.rule_id));
        let Some(owner) = owner else {
            folded.orphaned += 1;
            continue;
        };
        let known = episodes.get(&alert.rule_id).map(|episode| episode.position);
        if known.is_some_and(|known| known >= alert.position) {
            folded.repeated += 1;
            continue;
        }
        folded.taken += 1;
        let episode = episodes
            .entry(alert.rule_id)
            .or_insert_with(|| Episode::before(alert));
        batch
            .planned
            .extend(episode.advance(alert, reminders.get(owner).copied(), now));
        batch.taken.push(alert);
    }
    folded.planned = batch.planned.len() as u64;

    insert_alerts(connection, dialect, &batch.taken).await?;
    let changed: HashSet<RuleId> = batch.taken.iter().map(|alert| alert.rule_id).collect();
    episodes.retain(|rule, _| changed.contains(rule));
    episode::save(connection, dialect, episodes.values()).await?;
    insert_deliveries(connection, &batch.planned).await?;
    forget_rules(connection, &batch.deleted).await?;
    Ok(folded)
}

#[derive(Default)]
struct Batch<'a> {
    taken: Vec<&'a Alert>,
    planned: Vec<PlannedDelivery>,
    deleted: HashSet<RuleId>,
}

impl Batch<'_> {
    fn delete(&mut self, rule: RuleId) {
        self.taken.retain(|alert| alert.rule_id != rule);
        self.planned.retain(|delivery| delivery.rule_id != rule);
        self.deleted.insert(rule);
    }
}

impl LedgerChange {
    fn rule_id(&self) -> RuleId {
        match self {
            Self::Alert(alert) => alert.rule_id,
            Self::RuleDeleted(rule) => *rule,
        }
    }
}

async fn lock_rules(
    connection: &mut AnyConnection,
    dialect: Dialect,
    rules: &BTreeSet<RuleId>,
) -> Result<HashMap<RuleId, UserId>, StoreError> {
    let mut select = QueryBuilder::new("select id, user_id from rules where id ");
    push_in(&mut select, rules.iter().map(ToString::to_string));
    select.push(" order by id").push(dialect.for_update());
    let read = Reader("rules");
    let rows = select.build().fetch_all(connection).await?;
    rows.iter()
        .map(|row| Ok((read.parsed(row, "id")?, read.parsed(row, "user_id")?)))
        .collect()
}

/// Of users who want reminders.
pub(super) async fn reminder_intervals(
    connection: &mut AnyConnection,
    users: impl Iterator<Item = UserId>,
) -> Result<HashMap<UserId, ReminderInterval>, StoreError> {
    let users: BTreeSet<UserId> = users.collect();
    let mut select = QueryBuilder::new(
        "select id, reminder_interval_secs from users where reminder_interval_secs is not null and id ",
    );
    push_in(&mut select, users.iter().map(ToString::to_string));
    let read = Reader("users");
    let rows = select.build().fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            let seconds: i64 = row.try_get("reminder_interval_secs")?;
            let interval = ReminderInterval::from_secs(seconds).map_err(|error| StoreError::Corrupt {
                table: "users",
                reason: format!("reminder_interval_secs: {error}"),
            })?;
            Ok((read.parsed(row, "id")?, interval))
        })
        .collect()
}

async fn insert_alerts(
    connection: &mut AnyConnection,
    dialect: Dialect,
    alerts: &[&Alert],
) -> Result<(), StoreError> {
    if alerts.is_empty() {
        return Ok(());
    }
    let mut insert = QueryBuilder::new(dialect.insert_ignore());
    insert.push(
        " alerts (rule_id, rule_version, log_generation, quote_offset, user_id, ticker, side, price, threshold, currency, \
         quote_time, quote_ingest_time, raised_at, already_outside) ",
    );
    insert.push_values(alerts, |mut row, alert| {
        row.push_bind(alert.rule_id.to_string())
            .push_bind(alert.position.version.get())
            .push_bind(alert.position.generation)
            .push_bind(alert.position.offset)
            .push_bind(alert.user_id.to_string())
            .push_bind(alert.ticker.as_str().to_owned())
            .push_bind(side_text(alert.side))
            .push_bind(alert.price.units())
            .push_bind(alert.threshold.units())
            .push_bind(alert.currency.clone())
            .push_bind(alert.quote_time.as_micros())
            .push_bind(alert.quote_ingest_time.as_micros())
            .push_bind(alert.raised_at.as_micros())
            .push_bind(i64::from(alert.already_outside));
    });
    insert.build().execute(connection).await?;
    Ok(())
}

/// Ends what waits to be sent of rules that are gone, and forgets their state: their ids are never used again.
async fn forget_rules(connection: &mut AnyConnection, rules: &HashSet<RuleId>) -> Result<(), StoreError> {
    if rules.is_empty() {
        return Ok(());
    }
    let mut delete = QueryBuilder::new("delete from episodes where rule_id ");
    push_in(&mut delete, rules.iter().map(ToString::to_string));
    delete.build().execute(&mut *connection).await?;
    let mut end = QueryBuilder::new(
        "update deliveries set status = 'superseded', reason = 'the rule was deleted' where status = 'planned' and rule_id ",
    );
    push_in(&mut end, rules.iter().map(ToString::to_string));
    end.build().execute(connection).await?;
    Ok(())
}
