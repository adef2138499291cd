use std::collections::BTreeMap;

use super::requests::Request;
use super::rules::lock;
use super::{Caller, Commands, Idempotency};
use crate::domain::{Rule, RuleId, Snooze, Timestamp};
use crate::ledger::release_held;
use crate::transaction::Tx;
use crate::{CommandError, rows};

impl Commands {
    /// As [`Self::snooze_rules`], of one rule. A repeat with the same request id answers the rule as the first did.
    ///
    /// # Errors
    /// `RequestIdReused`, and as [`Self::snooze_rules`].
    pub async fn snooze_rule(
        &self,
        caller: Caller,
        rule: RuleId,
        snooze: Option<Snooze>,
        idempotency: Option<Idempotency>,
    ) -> Result<Rule, CommandError> {
        let request = Request::of(caller, idempotency);
        self.transaction(move |tx| {
            let request = request.clone();
            Box::pin(async move {
                let now = Timestamp::now();
                lock(tx, caller, rule).await?;
                if let Some((_, snoozed)) = request.replay(tx, now).await? {
                    return Ok(snoozed);
                }
                let snoozed = snooze_in(tx, caller, &[rule], snooze, now).await?.pop();
                let snoozed = snoozed.ok_or(CommandError::RuleNotFound(rule))?;
                request.answer(tx, caller.0, &snoozed, now).await?;
                Ok(snoozed)
            })
        })
        .await
    }

    /// Holds messages of these rules back, or holds them back no longer: all of the rules or none. Evaluation goes on and
    /// the versions stay. The rules are returned in the order given.
    ///
    /// # Errors
    /// `RuleNotFound` (also another user's), `SnoozeInPast`; `RuleInRange`: one of the rules can't be snoozed until the
    /// price is back, because it is not out of range.
    pub async fn snooze_rules(
        &self,
        caller: Caller,
        rules: &[RuleId],
        snooze: Option<Snooze>,
    ) -> Result<Vec<Rule>, CommandError> {
        let wanted = rules.to_vec();
        self.transaction(move |tx| {
            let wanted = wanted.clone();
            Box::pin(async move { snooze_in(tx, caller, &wanted, snooze, Timestamp::now()).await })
        })
        .await
    }
}

async fn snooze_in(
    tx: &mut Tx,
    caller: Caller,
    wanted: &[RuleId],
    snooze: Option<Snooze>,
    now: Timestamp,
) -> Result<Vec<Rule>, CommandError> {
    if let Some(Snooze::Until(until)) = snooze
        && until <= now
    {
        return Err(CommandError::SnoozeInPast { until });
    }
    // By id, as the ledger locks them.
    let mut rules: BTreeMap<RuleId, Option<Rule>> = wanted.iter().map(|rule| (*rule, None)).collect();
    for (id, rule) in &mut rules {
        let found = lock(tx, caller, *id).await?;
        if snooze == Some(Snooze::UntilBack) && !is_out_of_range(tx, &found).await? {
            return Err(CommandError::RuleInRange { ticker: found.ticker });
        }
        write(tx, *id, snooze).await?;
        *rule = Some(Rule { snooze, ..found });
    }
    release_held(tx.connection(), caller.0, now).await?;
    let in_order = wanted.iter().filter_map(|id| rules.get(id).cloned().flatten());
    Ok(in_order.collect())
}

/// As far as its alerts have been taken. What an old version of the rule was is nothing to the rule as it is.
async fn is_out_of_range(tx: &mut Tx, rule: &Rule) -> Result<bool, CommandError> {
    let open: i64 = sqlx::query_scalar(
        "select count(*) from episodes where rule_id = ? and rule_version = ? and episode_id is not null",
    )
    .bind(rule.id.to_string())
    .bind(rule.version.get())
    .fetch_one(tx.connection())
    .await?;
    Ok(open > 0)
}

async fn write(tx: &mut Tx, rule: RuleId, snooze: Option<Snooze>) -> Result<(), CommandError> {
    let (until, until_back) = rows::snooze_columns(snooze);
    sqlx::query("update rules set snoozed_until = ?, snoozed_until_back = ? where id = ?")
        .bind(until)
        .bind(until_back)
        .bind(rule.to_string())
        .execute(tx.connection())
        .await?;
    Ok(())
}
