use super::requests::{self, Request};
use super::{Caller, Commands, Idempotency, RuleEdit};
use crate::domain::{Etag, Range, Rule, RuleId, Timestamp};
use crate::ledger::release_held;
use crate::rows::{self, RULE_COLUMNS};
use crate::transaction::Tx;
use crate::{CommandError, StoreError, dialect, outbox};

impl Commands {
    /// Changes a rule: a new version, whose state starts anew. New thresholds, and to resume it, end its being on hold. A rule that has expired comes back to life when its expiry
    /// is moved into the future or cleared.
    ///
    /// # Errors
    /// `RuleNotFound` (also another user's), `Changed`, `Range`, `ExpiryInPast`, `RequestIdReused`.
    pub async fn update_rule(
        &self,
        caller: Caller,
        rule: RuleId,
        edit: RuleEdit,
        idempotency: Option<Idempotency>,
    ) -> Result<Rule, CommandError> {
        let request = Request::of(caller, idempotency);
        self.transaction(move |tx| {
            let (request, edit) = (request.clone(), edit.clone());
            Box::pin(async move {
                let now = Timestamp::now();
                if let Some((_, rule)) = request.replay(tx, now).await? {
                    return Ok(rule);
                }
                let old = lock(tx, caller, rule).await?;
                still_is(&old, edit.etag.as_ref())?;
                let was_snoozed = old.snooze.is_some();
                let rule = edited(old, edit, now)?;
                update(tx, &rule).await?;
                if was_snoozed {
                    release_held(tx.connection(), caller.0, now).await?;
                }
                outbox::enqueue(tx, std::slice::from_ref(&rule)).await?;
                request.answer(tx, caller.0, &rule).await?;
                Ok(rule)
            })
        })
        .await
    }

    /// Deletes a rule for good.
    ///
    /// # Errors
    /// `RuleNotFound` (also another user's), `RequestIdReused`.
    pub async fn delete_rule(
        &self,
        caller: Caller,
        rule: RuleId,
        idempotency: Option<Idempotency>,
    ) -> Result<(), CommandError> {
        self.delete_rule_if(caller, rule, None, idempotency).await
    }

    /// As [`Self::delete_rule`], if the rule is still the one with this etag.
    ///
    /// # Errors
    /// `Changed`, and as [`Self::delete_rule`].
    pub async fn delete_rule_if(
        &self,
        caller: Caller,
        rule: RuleId,
        etag: Option<Etag>,
        idempotency: Option<Idempotency>,
    ) -> Result<(), CommandError> {
        let request = Request::of(caller, idempotency);
        self.transaction(move |tx| {
            let (request, etag) = (request.clone(), etag.clone());
            Box::pin(async move {
                let now = Timestamp::now();
                if let Some((_, ())) = request.replay(tx, now).await? {
                    return Ok(());
                }
                let rule = lock(tx, caller, rule).await?;
                still_is(&rule, etag.as_ref())?;
                sqlx::query("delete from rules where id = ?")
                    .bind(rule.id.to_string())
                    .execute(tx.connection())
                    .await?;
                outbox::enqueue_deleted(tx, &[rule], now).await?;
                request.answer(tx, caller.0, &()).await?;
                Ok(())
            })
        })
        .await
    }

    /// Marks up to `limit` rules whose time has passed as expired (a new version each). Returns how many; as many as
    /// `limit` means that there may be more. Also removes as many outdated answers of repeated requests and links that
    /// nobody used. To be called every few seconds, by any number of instances.
    ///
    /// # Errors
    /// Only the store's.
    pub async fn expire_rules(&self, now: Timestamp, limit: u32) -> Result<usize, CommandError> {
        let expired = self
            .transaction(move |tx| Box::pin(async move { expire(tx, now, limit).await }))
            .await?;
        self.transaction(move |tx| {
            Box::pin(async move {
                requests::sweep(tx, now, limit).await?;
                sqlx::query("delete from link_tokens where expires_at <= ?")
                    .bind(now.as_micros())
                    .execute(tx.connection())
                    .await?;
                Ok::<_, CommandError>(())
            })
        })
        .await?;
        Ok(expired)
    }
}

fn still_is(rule: &Rule, etag: Option<&Etag>) -> Result<(), CommandError> {
    if etag.is_none_or(|etag| *etag == Etag::of_rule(rule)) {
        Ok(())
    } else {
        Err(CommandError::Changed { what: "rule" })
    }
}

fn edited(old: Rule, edit: RuleEdit, now: Timestamp) -> Result<Rule, CommandError> {
    if let Some(Some(expires_at)) = edit
        .expires_at
        .filter(|time| time.is_some_and(|time| time <= now))
    {
        return Err(CommandError::ExpiryInPast { expires_at });
    }
    let expires_at = edit.expires_at.unwrap_or(old.expires_at);
    // Whoever names thresholds, or wants the rule to go on, has looked at it.
    let looked_at = edit.low.is_some() || edit.high.is_some() || edit.paused == Some(false);
    Ok(Rule {
        range: Range::new(
            edit.low.unwrap_or(old.range.low()),
            edit.high.unwrap_or(old.range.high()),
        )?,
        note: edit.note.unwrap_or_else(|| old.note.clone()),
        paused: edit.paused.unwrap_or(old.paused),
        expired: expires_at.is_some_and(|time| time <= now),
        expires_at,
        // What was snoozed were the old thresholds.
        snooze: None,
        on_hold_since: old.on_hold_since.filter(|_| !looked_at),
        version: old.version.next(),
        updated_at: old.next_update(now),
        ..old
    })
}

/// The caller's rule, kept from changing until the transaction ends.
pub(super) async fn lock(tx: &mut Tx, caller: Caller, rule: RuleId) -> Result<Rule, CommandError> {
    let select = format!(
        "select {RULE_COLUMNS} from rules where id = ? and user_id = ?{}",
        tx.dialect.for_update()
    );
    let row = dialect::query(select)
        .bind(rule.to_string())
        .bind(caller.0.to_string())
        .fetch_optional(tx.connection())
        .await?;
    Ok(rows::rule(&row.ok_or(CommandError::RuleNotFound(rule))?)?)
}

pub(super) async fn update(tx: &mut Tx, rule: &Rule) -> Result<(), StoreError> {
    sqlx::query(
        "update rules
         set low = ?, high = ?, note = ?, paused = ?, expired = ?, expires_at = ?, version = ?, updated_at = ?,
             snoozed_until = null, snoozed_until_back = 0, restated_at = ?
         where id = ?",
    )
    .bind(rule.range.low().map(|low| low.units()))
    .bind(rule.range.high().map(|high| high.units()))
    .bind(rule.note.to_string())
    .bind(i64::from(rule.paused))
    .bind(i64::from(rule.expired))
    .bind(rule.expires_at.map(Timestamp::as_micros))
    .bind(rule.version.get())
    .bind(rule.updated_at.as_micros())
    .bind(rule.on_hold_since.map(Timestamp::as_micros))
    .bind(rule.id.to_string())
    .execute(tx.connection())
    .await?;
    Ok(())
}

async fn expire(tx: &mut Tx, now: Timestamp, limit: u32) -> Result<usize, CommandError> {
    let select = format!(
        "select {RULE_COLUMNS} from rules where expired = 0 and expires_at <= ? order by expires_at limit ?{}",
        tx.dialect.for_update_skip_locked()
    );
    let found = dialect::query(select)
        .bind(now.as_micros())
        .bind(i64::from(limit))
        .fetch_all(tx.connection())
        .await?;
    let mut expired = Vec::with_capacity(found.len());
    for row in &found {
        let old = rows::rule(row)?;
        let rule = Rule {
            expired: true,
            snooze: None,
            version: old.version.next(),
            updated_at: old.next_update(now),
            ..old
        };
        update(tx, &rule).await?;
        expired.push(rule);
    }
    outbox::enqueue(tx, &expired).await?;
    Ok(expired.len())
}
