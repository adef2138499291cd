use super::requests::Request;
use super::tokens::{
    Holder, answered_when_noticed, count_revocation, lock_holder, replace_api_token, replace_link,
    until_noticed,
};
use super::{Caller, Commands, Idempotency, Registration, UserEdit, creation};
use crate::domain::{
    Email, Etag, Language, NewRule, ReminderInterval, Rule, TimeZone, Timestamp, User, UserId,
};
use crate::ledger::{release_held, reschedule_reminders};
use crate::rows::{self, RULE_COLUMNS, USER_COLUMNS};
use crate::transaction::Tx;
use crate::{CommandError, StoreError, dialect, outbox};

impl Commands {
    /// Registers a user with their first rules: all or nothing. Nobody has checked that the address is theirs, so others may
    /// have given the same. A repeat with the same request id answers the same user
    /// and rules with a fresh API token and link, which replace the first ones: secrets are not stored.
    ///
    /// # Errors
    /// `ExpiryInPast`, `TooManyRules`, `EmbeddedLogFull`, `RequestIdReused`.
    pub async fn register_user(
        &self,
        email: Email,
        rules: Vec<NewRule>,
        idempotency: Option<Idempotency>,
    ) -> Result<Registration, CommandError> {
        let limits = self.limits;
        let request = Request::of_anybody(idempotency);
        let (registration, repeated) = self
            .transaction(move |tx| {
                let (request, email, new) = (request.clone(), email.clone(), rules.clone());
                Box::pin(async move {
                    let now = Timestamp::now();
                    let (user, rules, repeated) = match request.replay::<Vec<Rule>>(tx, now).await? {
                        Some((id, rules)) => {
                            let user = lock_user(tx, Caller(id)).await?;
                            // The row was waited for: its owner may have ended all repeats meanwhile.
                            if request.replay::<Vec<Rule>>(tx, now).await?.is_none() {
                                return Err(StoreError::Overtaken.into());
                            }
                            (user, rules, true)
                        }
                        None => {
                            let user = insert(tx, email, request.hash(), now).await?;
                            let rules = creation::insert(tx, user.id, new, limits, now).await?;
                            request.answer(tx, user.id, &rules, now).await?;
                            (user, rules, false)
                        }
                    };
                    let link = replace_link(tx, user.id, now).await?;
                    let api_token = replace_api_token(tx, user.id, now).await?;
                    let registration = Registration {
                        user,
                        api_token,
                        link,
                        rules,
                    };
                    Ok::<_, CommandError>((registration, repeated))
                })
            })
            .await?;
        if repeated {
            until_noticed().await;
        }
        Ok(registration)
    }

    /// Changes the user's settings; a new reminder interval counts from each last message at once, and messages held back
    /// by quiet hours are looked at again when these or the time zone change. A repeat with the same request id answers the
    /// user as they are now.
    ///
    /// # Errors
    /// `Changed`, `UserNotFound`, `RequestIdReused`.
    pub async fn update_user(
        &self,
        caller: Caller,
        edit: UserEdit,
        idempotency: Option<Idempotency>,
    ) -> Result<User, CommandError> {
        let request = Request::of(caller, idempotency);
        self.transaction(move |tx| {
            let (request, edit) = (request.clone(), edit.clone());
            Box::pin(async move {
                let now = Timestamp::now();
                let old = lock_user(tx, caller).await?;
                // The answer is not stored, as it holds the e-mail address.
                if request.replay::<()>(tx, now).await?.is_some() {
                    return Ok(old);
                }
                if edit
                    .etag
                    .as_ref()
                    .is_some_and(|etag| *etag != Etag::of_user(&old))
                {
                    return Err(CommandError::Changed { what: "user" });
                }
                let holds_change = edit.quiet_hours.is_some() || edit.time_zone.is_some();
                let interval_changes = edit.reminder_interval.is_some();
                let user = edited(old, edit);
                update(tx, &user, now).await?;
                if interval_changes {
                    reschedule_reminders(tx.connection(), user.id, user.reminder_interval).await?;
                }
                if holds_change {
                    release_held(tx.connection(), user.id, now).await?;
                }
                request.answer(tx, caller.0, &(), now).await?;
                Ok(user)
            })
        })
        .await
    }

    /// Deletes the user and all that is theirs; each rule's deletion goes through the outbox.
    ///
    /// # Errors
    /// `UserNotFound`, `TokenInvalid`.
    pub async fn delete_user(&self, holder: impl Into<Holder>) -> Result<(), CommandError> {
        let holder = holder.into();
        let deleting = self.transaction(move |tx| {
            let holder = holder.clone();
            Box::pin(async move {
                lock_holder(tx, &holder).await?;
                delete(tx, holder.caller.0).await
            })
        });
        answered_when_noticed(deleting).await
    }
}

/// The user, kept from changing until the transaction ends.
pub(super) async fn lock_user(tx: &mut Tx, caller: Caller) -> Result<User, CommandError> {
    let select = format!(
        "select {USER_COLUMNS} from users where id = ?{}",
        tx.dialect.for_update()
    );
    let row = dialect::query(select)
        .bind(caller.0.to_string())
        .fetch_optional(tx.connection())
        .await?;
    Ok(rows::user(&row.ok_or(CommandError::UserNotFound)?)?)
}

async fn delete(tx: &mut Tx, user: UserId) -> Result<(), CommandError> {
    let select = format!(
        "select {RULE_COLUMNS} from rules where user_id = ?{}",
        tx.dialect.for_update()
    );
    let found = dialect::query(select)
        .bind(user.to_string())
        .fetch_all(tx.connection())
        .await?;
    let rules = found.iter().map(rows::rule).collect::<Result<Vec<_>, _>>()?;
    outbox::enqueue_deleted(tx, &rules, Timestamp::now()).await?;
    for delete in [
        "delete from rules where user_id = ?",
        "delete from api_tokens where user_id = ?",
        "delete from replaced_tokens where user_id = ?",
        "delete from link_tokens where user_id = ?",
        "delete from requests where user_id = ?",
        "delete from alerts where user_id = ?",
        "delete from episodes where user_id = ?",
        "delete from deliveries where user_id = ?",
        "delete from users where id = ?",
    ] {
        sqlx::query(delete)
            .bind(user.to_string())
            .execute(tx.connection())
            .await?;
    }
    Ok(count_revocation(tx).await?)
}

async fn insert(
    tx: &mut Tx,
    email: Email,
    request: Option<&str>,
    now: Timestamp,
) -> Result<User, CommandError> {
    let user = User {
        id: UserId::generate(),
        email,
        telegram_linked: false,
        reminder_interval: Some(ReminderInterval::DEFAULT),
        chosen_language: None,
        messenger_language: None,
        time_zone: TimeZone::UTC,
        quiet_hours: None,
        chat_suspended_at: None,
        created_at: now,
    };
    sqlx::query(
        "insert into users (id, email, chat_id, reminder_interval_secs, registration_request, created_at, updated_at)
         values (?, ?, null, ?, ?, ?, ?)",
    )
    .bind(user.id.to_string())
    .bind(user.email.as_str().to_owned())
    .bind(user.reminder_interval.map(ReminderInterval::as_secs))
    .bind(request.map(str::to_owned))
    .bind(now.as_micros())
    .bind(now.as_micros())
    .execute(tx.connection())
    .await?;
    Ok(user)
}

fn edited(old: User, edit: UserEdit) -> User {
    User {
        email: edit.email.unwrap_or(old.email),
        reminder_interval: edit.reminder_interval.unwrap_or(old.reminder_interval),
        chosen_language: edit.language.unwrap_or(old.chosen_language),
        time_zone: edit.time_zone.unwrap_or(old.time_zone),
        quiet_hours: edit.quiet_hours.unwrap_or(old.quiet_hours),
        ..old
    }
}

async fn update(tx: &mut Tx, user: &User, now: Timestamp) -> Result<(), CommandError> {
    sqlx::query(
        "update users
         set email = ?, reminder_interval_secs = ?, language = ?, time_zone = ?, quiet_from = ?, quiet_to = ?,
             updated_at = ?
         where id = ?",
    )
    .bind(user.email.as_str().to_owned())
    .bind(user.reminder_interval.map(ReminderInterval::as_secs))
    .bind(user.chosen_language.map(Language::code))
    .bind(user.time_zone.name().to_owned())
    .bind(user.quiet_hours.map(|hours| i64::from(hours.from())))
    .bind(user.quiet_hours.map(|hours| i64::from(hours.to())))
    .bind(now.as_micros())
    .bind(user.id.to_string())
    .execute(tx.connection())
    .await?;
    Ok(())
}
