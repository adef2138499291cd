//! Prices that are counted anew: rules from before are put on hold, and their owners are asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::{AnyConnection, QueryBuilder, Row as _};

use super::DeliveryKind;
use super::reasons::RESTATED_AGAIN;
use super::rows::{PlannedDelivery, Reader, insert_new_deliveries};
use crate::domain::{
    AlertPosition, DeliveryId, Restatement, Rule, RuleId, RuleVersion, Side, Split, Timestamp, UserId,
};
use crate::rows::{self, RESTATEMENT_COLUMNS, RULE_COLUMNS};
use crate::sizes::push_in;
use crate::transaction::Tx;
use crate::{Store, StoreError, dialect, outbox};

/// Rules in one transaction, unless one user has more: few enough to hold their locks only for milliseconds.
const CHUNK: usize = 500;
/// How long after the first look the second comes: longer than a transaction can last, and than clocks differ.
const SECOND_LOOK: Duration = Duration::from_secs(60);
/// Restatements looked at again in one call.
const MAX_LOOKS: i64 = 100;

/// Puts the ticker's rules from before on hold, unless there is a newer restatement or that was done already. Gives how
/// many notices were planned. What an interrupted call has done is not done again.
pub(super) async fn fold(
    store: &Store,
    restatement: &Restatement,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let restatement = Arc::new(restatement.clone());
    let work = Arc::clone(&restatement);
    let looks = store
        .transaction(move |tx| {
            let work = Arc::clone(&work);
            Box::pin(async move { write_down(tx, &work).await })
        })
        .await?;
    match looks {
        Some(0) => look(store, &restatement, 0, now).await,
        _ => Ok(0),
    }
}

/// Looks once more for rules from before each restatement, a minute after it and after the first look: those that were not to
/// be seen then. A collector whose clock is ahead makes restatements of the future, and rules from before that.
pub(super) async fn look_again(store: &Store, now: Timestamp) -> Result<u64, StoreError> {
    let select = format!(
        "select {RESTATEMENT_COLUMNS} from restatements where looks = 1 and looked_at <= ? and restated_at <= ? \
         order by looked_at limit ?"
    );
    let before = now.minus(SECOND_LOOK).as_micros();
    let due = dialect::query(select)
        .bind(before)
        .bind(before)
        .bind(MAX_LOOKS)
        .fetch_all(store.primary())
        .await?;
    let mut planned = 0;
    for row in &due {
        let restatement = Arc::new(rows::restatement(row)?);
        planned += look(store, &restatement, 1, now).await?;
    }
    Ok(planned)
}

/// How often its rules were looked through. None: it is older than what is known of its ticker.
async fn write_down(tx: &mut Tx, restatement: &Restatement) -> Result<Option<i64>, StoreError> {
    let ticker = restatement.ticker.to_string();
    let newer: i64 =
        sqlx::query_scalar("select count(*) from restatements where ticker = ? and restated_at > ?")
            .bind(ticker.clone())
            .bind(restatement.restated_at.as_micros())
            .fetch_one(tx.connection())
            .await?;
    if newer > 0 {
        return Ok(None);
    }
    let shares = |of: fn(Split) -> u32| restatement.split.map(|split| i64::from(of(split)));
    let insert = format!(
        "{} restatements ({RESTATEMENT_COLUMNS}, looks, looked_at) values (?, ?, ?, ?, ?, ?, ?, 0, null)",
        tx.dialect.insert_ignore()
    );
    dialect::query(insert)
        .bind(ticker.clone())
        .bind(restatement.restated_at.as_micros())
        .bind(restatement.from.units())
        .bind(restatement.to.units())
        .bind(shares(Split::new_shares))
        .bind(shares(Split::old_shares))
        .bind(restatement.event_time.as_micros())
        .execute(tx.connection())
        .await?;
    let looks = sqlx::query_scalar("select looks from restatements where ticker = ? and restated_at = ?")
        .bind(ticker)
        .bind(restatement.restated_at.as_micros())
        .fetch_one(tx.connection())
        .await?;
    Ok(Some(looks))
}

/// Goes through the ticker's rules, owner by owner; `number`: which look this is, from 0.
async fn look(
    store: &Store,
    restatement: &Arc<Restatement>,
    number: i64,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let (mut after, mut planned) = (String::new(), 0);
    while let Some((last, rules)) = next(store, restatement, &after).await? {
        after = last;
        let work = Arc::new((Arc::clone(restatement), rules));
        planned += store
            .transaction(move |tx| {
                let work = Arc::clone(&work);
                Box::pin(async move { hold(tx, &work.0, &work.1, number, now).await })
            })
            .await?;
    }
    sqlx::query(
        "update restatements set looks = ?, looked_at = ? where ticker = ? and restated_at = ? and looks = ?",
    )
    .bind(number + 1)
    .bind(now.as_micros())
    .bind(restatement.ticker.to_string())
    .bind(restatement.restated_at.as_micros())
    .bind(number)
    .execute(&store.write)
    .await?;
    Ok(planned)
}

/// Rules from before, of the owners that come next, and the last of these: all of each, as they are to hear of them
/// together. Takes no lock, so whoever holds them looks again.
async fn next(
    store: &Store,
    restatement: &Restatement,
    after: &str,
) -> Result<Option<(String, Vec<RuleId>)>, StoreError> {
    let limit = i64::try_from(CHUNK + 1).unwrap_or(i64::MAX);
    let mut found = find(store, restatement, ">", after, limit).await?;
    let Some((last, _)) = found.last().cloned() else {
        return Ok(None);
    };
    if found.len() > CHUNK {
        // Not all of the last one's may be there.
        found.retain(|(user, _)| *user != last);
        if found.is_empty() {
            found = find(store, restatement, "=", &last, i64::MAX).await?;
        }
    }
    let last = found.last().map(|(user, _)| user.clone()).unwrap_or(last);
    Ok(Some((last, found.into_iter().map(|(_, rule)| rule).collect())))
}

/// Owners and rules, in this order.
async fn find(
    store: &Store,
    restatement: &Restatement,
    which: &str,
    user: &str,
    limit: i64,
) -> Result<Vec<(String, RuleId)>, StoreError> {
    let select = format!(
        "select user_id, id from rules where ticker = ? and user_id {which} ? and updated_at < ? and expired = 0 \
         order by user_id, id limit ?"
    );
    let rows = dialect::query(select)
        .bind(restatement.ticker.to_string())
        .bind(user.to_owned())
        .bind(restatement.restated_at.as_micros())
        .bind(limit)
        .fetch_all(store.primary())
        .await?;
    rows.iter()
        .map(|row| Ok((row.try_get("user_id")?, Reader("rules").parsed(row, "id")?)))
        .collect()
}

/// Gives how many notices were planned.
async fn hold(
    tx: &mut Tx,
    restatement: &Restatement,
    found: &[RuleId],
    look: i64,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut select = QueryBuilder::new(format!("select {RULE_COLUMNS} from rules where id "));
    push_in(&mut select, found.iter().map(ToString::to_string));
    select.push(" order by id").push(tx.dialect.for_update());
    let rows = select.build().fetch_all(tx.connection()).await?;
    let rules = rows.iter().map(rows::rule).collect::<Result<Vec<_>, _>>()?;
    let held: Vec<Rule> = rules
        .into_iter()
        .filter(|rule| rule.updated_at < restatement.restated_at && !rule.expired)
        .map(|old| on_hold(old, restatement))
        .collect();
    if held.is_empty() {
        return Ok(0);
    }
    let mut update = QueryBuilder::new("update rules set version = version + 1, updated_at = ");
    update.push_bind(restatement.restated_at.as_micros());
    update
        .push(", restated_at = coalesce(restated_at, ")
        .push_bind(restatement.restated_at.as_micros());
    update.push("), snoozed_until = null, snoozed_until_back = 0 where id ");
    push_in(&mut update, held.iter().map(|rule| rule.id.to_string()));
    update.build().execute(tx.connection()).await?;
    outbox::enqueue(tx, &held).await?;
    tell(tx, restatement, &held, look, now).await
}

/// By the restatement's own time, which is after the rule's: so a rule is put on hold once, whoever does it and whatever
/// their clock, and what its owner answers is newer.
fn on_hold(old: Rule, restatement: &Restatement) -> Rule {
    Rule {
        // What was snoozed were the old thresholds.
        snooze: None,
        on_hold_since: old.on_hold_since.or(Some(restatement.restated_at)),
        version: old.version.next(),
        updated_at: old.next_update(restatement.restated_at),
        ..old
    }
}

/// One notice to each owner; those about earlier restatements that still wait have nothing more to say.
async fn tell(
    tx: &mut Tx,
    restatement: &Restatement,
    held: &[Rule],
    look: i64,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let currency: Option<String> = sqlx::query_scalar("select currency from latest_quotes where ticker = ?")
        .bind(restatement.ticker.to_string())
        .fetch_optional(tx.connection())
        .await?;
    // Where the unit may have changed, it may be of either.
    let is_of_both = restatement.split.is_some_and(|split| {
        !matches!(
            (split.new_shares(), split.old_shares()),
            (100 | 1_000, 1) | (1, 100 | 1_000)
        )
    });
    let currency = currency.filter(|_| is_of_both).unwrap_or_default();
    let owners: BTreeMap<UserId, DeliveryId> = held
        .iter()
        .map(|rule| {
            let (ticker, restated_at) = (&restatement.ticker, restatement.restated_at);
            let id = DeliveryId::of_restatement(ticker, restated_at, rule.user_id, look);
            (rule.user_id, id)
        })
        .collect();
    let dialect = tx.dialect;
    supersede(tx.connection(), restatement, &owners, now).await?;
    let notices: Vec<_> = owners
        .into_iter()
        .map(|(user, id)| notice(restatement, user, id, &currency, now))
        .collect();
    insert_new_deliveries(tx.connection(), dialect, &notices).await
}

async fn supersede(
    connection: &mut AnyConnection,
    restatement: &Restatement,
    owners: &BTreeMap<UserId, DeliveryId>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut update = QueryBuilder::new("update deliveries set status = 'superseded', reason = ");
    update.push_bind(RESTATED_AGAIN);
    update.push(", due_at = ").push_bind(now.as_micros());
    // `planned_at > 0` names the rest of the index by user for SQLite.
    update.push(" where status = 'planned' and planned_at > 0 and kind = 'restated' and ticker = ");
    update
        .push_bind(restatement.ticker.to_string())
        .push(" and opened_at < ")
        .push_bind(restatement.restated_at.as_micros())
        .push(" and user_id ");
    push_in(&mut update, owners.keys().map(ToString::to_string));
    update.build().execute(connection).await?;
    Ok(())
}

/// What it says of rules is looked up when it goes.
fn notice(
    restatement: &Restatement,
    user: UserId,
    id: DeliveryId,
    currency: &str,
    now: Timestamp,
) -> PlannedDelivery {
    PlannedDelivery {
        id,
        user_id: user,
        rule_id: RuleId::of_none(id),
        position: AlertPosition {
            version: RuleVersion::FIRST,
            generation: 0,
            offset: 0,
        },
        episode_id: id,
        kind: DeliveryKind::Restated,
        planned_at: now,
        ticker: restatement.ticker.clone(),
        side: Side::In,
        price: restatement.to,
        threshold: restatement.from,
        currency: currency.to_owned(),
        quote_time: restatement.event_time,
        quote_ingest_time: restatement.restated_at,
        already_outside: false,
        opened_at: restatement.restated_at,
        after_quiet: None,
    }
}
