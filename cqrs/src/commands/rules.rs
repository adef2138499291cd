use super::changes::{Change, Outcome, RuleCommand, alone, write_rules};
use super::requests::{self, Request};
use super::{Caller, Commands, Idempotency, RuleEdit, tokens};
use crate::domain::{Etag, NewRule, Rule, RuleId, Timestamp};
use crate::rows::{self, RULE_COLUMNS};
use crate::transaction::{Ending, Tx};
use crate::{CommandError, StoreError, dialect, outbox};

impl Commands {
    /// Creates a rule.
    ///
    /// # Errors
    /// `ExpiryInPast`, `TooManyRules`, `EmbeddedLogFull`, `UserNotFound`, `RequestIdReused`.
    pub async fn create_rule(
        &self,
        caller: Caller,
        rule: NewRule,
        idempotency: Option<Idempotency>,
    ) -> Result<Rule, CommandError> {
        let rule = self.change(caller, Change::Create(rule), idempotency).await?;
        Ok(rule.ok_or(StoreError::Interrupted)?)
    }

    /// Changes a rule: a new version, whose state starts anew. New thresholds, and to resume it, end its being on hold. A
    /// rule that has expired comes back to life when its expiry is moved into the future or cleared.
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
        let change = Change::Update(rule, Box::new(edit));
        let rule = self.change(caller, change, idempotency).await?;
        Ok(rule.ok_or(StoreError::Interrupted)?)
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
        let change = Change::Delete(rule, etag);
        self.change(caller, change, idempotency).await.map(drop)
    }

    /// With others' changes in one transaction, where there are any at the moment.
    async fn change(
        &self,
        caller: Caller,
        change: Change,
        idempotency: Option<Idempotency>,
    ) -> Result<Option<Rule>, CommandError> {
        let command = RuleCommand {
            caller,
            request: Request::of(caller, idempotency),
            change,
        };
        match self.ending {
            Ending::Commits => match self.batches.put(command.clone()).await {
                Some(Outcome::Done(done)) => done,
                Some(Outcome::NotTogether) => alone(&self.store, self.limits, Ending::Commits, command).await,
                None => Err(StoreError::Interrupted.into()),
            },
            Ending::RollsBack => alone(&self.store, self.limits, Ending::RollsBack, command).await,
        }
    }

    /// Marks up to `limit` rules whose time has passed as expired (a new version each). Returns how many; as many as
    /// `limit` means that there may be more. Also removes as many outdated answers of repeated requests, and links and
    /// replaced tokens whose time is over. To be called every few seconds, by any number of instances.
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
                tokens::sweep(tx, now).await?;
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
        expired.push(rule);
    }
    write_rules(tx, &expired).await?;
    outbox::enqueue(tx, &expired).await?;
    Ok(expired.len())
}
