//! From the alerts topic into the ledger.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use sqlx::{AnyConnection, QueryBuilder};

use super::episode::{self, Episode};
use super::reasons::RULE_DELETED;
use super::rows::{PlannedDelivery, Reader, insert_deliveries, insert_new_deliveries, side_text};
use super::{DeliveryKind, Folded, LedgerChange, settings};
use crate::dialect::Dialect;
use crate::domain::{Alert, DeliveryId, RuleId, Timestamp, UserId};
use crate::sizes::push_in;
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
    let testers = changes.iter().filter_map(|change| match change {
        LedgerChange::TestAlert(alert) => Some(alert.user_id),
        LedgerChange::Alert(_) | LedgerChange::RuleDeleted(_) => None,
    });
    let users = settings::of_users(connection, owners.values().copied().chain(testers)).await?;
    let mut episodes = episode::lock(connection, dialect, touched.iter().copied()).await?;

    let mut batch = Batch::default();
    let mut folded = Folded::default();
    for change in changes {
        let alert = match change {
            LedgerChange::Alert(alert) => alert,
            LedgerChange::TestAlert(alert) if users.contains_key(&alert.user_id) => {
                batch.tests.push(test(alert, now));
                continue;
            }
            LedgerChange::TestAlert(_) => {
                folded.orphaned += 1;
                continue;
            }
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
            .extend(episode.advance(alert, users.get(owner).and_then(|user| user.reminder), now));
        batch.taken.push(alert);
    }
    folded.planned = batch.planned.len() as u64;

    insert_alerts(connection, dialect, &batch.taken).await?;
    let changed: HashSet<RuleId> = batch.taken.iter().map(|alert| alert.rule_id).collect();
    episodes.retain(|rule, _| changed.contains(rule));
    episode::save(connection, dialect, episodes.values()).await?;
    insert_deliveries(connection, &batch.planned).await?;
    end_snoozes(connection, &batch.planned).await?;
    let tests = insert_new_deliveries(connection, dialect, &batch.tests).await?;
    folded.taken += tests;
    folded.repeated += batch.tests.len() as u64 - tests;
    folded.planned += tests;
    forget_rules(connection, &batch.deleted).await?;
    Ok(folded)
}

#[derive(Default)]
struct Batch<'a> {
    taken: Vec<&'a Alert>,
    planned: Vec<PlannedDelivery>,
    tests: Vec<PlannedDelivery>,
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
            Self::Alert(alert) | Self::TestAlert(alert) => alert.rule_id,
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

/// The message that a test asks for. It has the name of the rule that there is none of: told twice, planned once.
fn test(alert: &Alert, now: Timestamp) -> PlannedDelivery {
    let id = DeliveryId::of_test(alert.rule_id);
    PlannedDelivery {
        id,
        user_id: alert.user_id,
        rule_id: alert.rule_id,
        position: alert.position,
        episode_id: id,
        kind: DeliveryKind::Test,
        planned_at: now,
        ticker: alert.ticker.clone(),
        side: alert.side,
        price: alert.price,
        threshold: alert.threshold,
        currency: alert.currency.clone(),
        quote_time: alert.quote_time,
        quote_ingest_time: alert.quote_ingest_time,
        already_outside: false,
        opened_at: alert.quote_time,
        after_quiet: None,
    }
}

/// The price is back, which is what some rules were snoozed for.
pub(super) async fn end_snoozes(
    connection: &mut AnyConnection,
    planned: &[PlannedDelivery],
) -> Result<(), StoreError> {
    let mut back = Vec::new();
    for delivery in planned {
        if delivery.kind == DeliveryKind::BackInRange {
            back.push(delivery.rule_id.to_string());
        }
    }
    if back.is_empty() {
        return Ok(());
    }
    let mut update =
        QueryBuilder::new("update rules set snoozed_until_back = 0 where snoozed_until_back = 1 and id ");
    push_in(&mut update, back);
    update.build().execute(connection).await?;
    Ok(())
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

/// Ends what waits to be sent of rules that are gone, and forgets their state: their ids are never used again. Tests are told
/// all the same: there never was a rule, and its deletion only clears the topic.
async fn forget_rules(connection: &mut AnyConnection, rules: &HashSet<RuleId>) -> Result<(), StoreError> {
    if rules.is_empty() {
        return Ok(());
    }
    let mut delete = QueryBuilder::new("delete from episodes where rule_id ");
    push_in(&mut delete, rules.iter().map(ToString::to_string));
    delete.build().execute(&mut *connection).await?;
    let mut end = QueryBuilder::new("update deliveries set status = 'superseded', reason = ");
    end.push_bind(RULE_DELETED);
    end.push(" where status = 'planned' and kind <> 'test' and rule_id ");
    push_in(&mut end, rules.iter().map(ToString::to_string));
    end.build().execute(connection).await?;
    Ok(())
}
