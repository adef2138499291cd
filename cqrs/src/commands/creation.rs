use serde::{Deserialize, Serialize};
use sqlx::{Any, QueryBuilder};

use super::requests::Request;
use super::users::lock_user;
use super::{Caller, Commands, Idempotency, Limits};
use crate::domain::{NewRule, Rule, RuleId, RuleVersion, Timestamp, UserId};
use crate::rows::RULE_COLUMNS;
use crate::transaction::Tx;
use crate::{CommandError, StoreError, outbox};

/// Rules in one `insert`: sixteen values each stay below every database's limit on values.
const CHUNK: usize = 500;

/// Why one rule of several was not created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleRefusal {
    /// It would never be evaluated.
    ExpiryInPast {
        /// As given.
        expires_at: Timestamp,
    },
    /// The caller has as many rules as allowed.
    TooManyRules {
        /// How many are allowed for one user.
        limit: u32,
    },
    /// The embedded log can't hold more.
    EmbeddedLogFull {
        /// How many rules fit.
        limit: u32,
    },
}

impl From<RuleRefusal> for CommandError {
    fn from(refusal: RuleRefusal) -> Self {
        match refusal {
            RuleRefusal::ExpiryInPast { expires_at } => Self::ExpiryInPast { expires_at },
            RuleRefusal::TooManyRules { limit } => Self::TooManyRules { limit },
            RuleRefusal::EmbeddedLogFull { limit } => Self::EmbeddedLogFull { limit },
        }
    }
}

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
        let limits = self.limits;
        let request = Request::of(caller, idempotency);
        self.transaction(move |tx| {
            let (request, new) = (request.clone(), rule.clone());
            Box::pin(async move {
                let now = Timestamp::now();
                if let Some((_, rule)) = request.replay(tx, now).await? {
                    return Ok(rule);
                }
                lock_user(tx, caller).await?;
                let mut rules = insert(tx, caller.0, vec![new], limits, now).await?;
                let rule = rules.pop().ok_or(StoreError::Interrupted)?;
                request.answer(tx, caller.0, &rule).await?;
                Ok(rule)
            })
        })
        .await
    }

    /// Creates rules: all of them or none. They are returned in the order given.
    ///
    /// # Errors
    /// `ExpiryInPast`, `TooManyRules`, `EmbeddedLogFull`, `UserNotFound`, `RequestIdReused`.
    pub async fn create_rules(
        &self,
        caller: Caller,
        rules: Vec<NewRule>,
        idempotency: Option<Idempotency>,
    ) -> Result<Vec<Rule>, CommandError> {
        let limits = self.limits;
        let request = Request::of(caller, idempotency);
        self.transaction(move |tx| {
            let (request, new) = (request.clone(), rules.clone());
            Box::pin(async move {
                let now = Timestamp::now();
                if let Some((_, rules)) = request.replay(tx, now).await? {
                    return Ok(rules);
                }
                lock_user(tx, caller).await?;
                let rules = insert(tx, caller.0, new, limits, now).await?;
                request.answer(tx, caller.0, &rules).await?;
                Ok(rules)
            })
        })
        .await
    }

    /// Creates those of the rules that can be created. Each is given with its place in the caller's list, and has an
    /// outcome with it.
    ///
    /// # Errors
    /// `UserNotFound`, `RequestIdReused`.
    pub async fn create_each(
        &self,
        caller: Caller,
        rules: Vec<(usize, NewRule)>,
        idempotency: Option<Idempotency>,
    ) -> Result<Vec<(usize, Result<Rule, RuleRefusal>)>, CommandError> {
        let limits = self.limits;
        let request = Request::of(caller, idempotency);
        self.transaction(move |tx| {
            let (request, new) = (request.clone(), rules.clone());
            Box::pin(async move {
                let now = Timestamp::now();
                if let Some((_, outcomes)) = request.replay(tx, now).await? {
                    return Ok(outcomes);
                }
                lock_user(tx, caller).await?;
                let outcomes = insert_each(tx, caller.0, new, limits, now).await?;
                request.answer(tx, caller.0, &outcomes).await?;
                Ok(outcomes)
            })
        })
        .await
    }
}

async fn insert_each(
    tx: &mut Tx,
    user: UserId,
    new: Vec<(usize, NewRule)>,
    limits: Limits,
    now: Timestamp,
) -> Result<Vec<(usize, Result<Rule, RuleRefusal>)>, CommandError> {
    let mut room = Room::of(tx, user, limits).await?;
    let (mut outcomes, mut places, mut taken) = (Vec::with_capacity(new.len()), Vec::new(), Vec::new());
    for (place, rule) in new {
        match room.take(&rule, now) {
            Ok(()) => {
                places.push(place);
                taken.push(rule);
            }
            Err(refusal) => outcomes.push((place, Err(refusal))),
        }
    }
    let created = write(tx, user, taken, now).await?;
    outcomes.extend(places.into_iter().zip(created.into_iter().map(Ok)));
    outcomes.sort_unstable_by_key(|(place, _)| *place);
    Ok(outcomes)
}

/// Adds rules of a user whose row is locked (so that the count can't change meanwhile), and their outbox rows.
pub(super) async fn insert(
    tx: &mut Tx,
    user: UserId,
    new: Vec<NewRule>,
    limits: Limits,
    now: Timestamp,
) -> Result<Vec<Rule>, CommandError> {
    let mut room = Room::of(tx, user, limits).await?;
    for rule in &new {
        room.take(rule, now)?;
    }
    write(tx, user, new, now).await
}

/// The rows of rules for which there is room.
async fn write(
    tx: &mut Tx,
    user: UserId,
    new: Vec<NewRule>,
    now: Timestamp,
) -> Result<Vec<Rule>, CommandError> {
    let rules: Vec<_> = new.into_iter().map(|rule| created(user, rule, now)).collect();
    for chunk in rules.chunks(CHUNK) {
        let mut insert = QueryBuilder::<Any>::new(format!("insert into rules ({RULE_COLUMNS}) "));
        insert.push_values(chunk, |mut values, rule| {
            values
                .push_bind(rule.id.to_string())
                .push_bind(rule.user_id.to_string())
                .push_bind(rule.ticker.to_string())
                .push_bind(rule.range.low().map(|low| low.units()))
                .push_bind(rule.range.high().map(|high| high.units()))
                .push_bind(rule.note.to_string())
                .push_bind(i64::from(rule.paused))
                .push_bind(i64::from(rule.expired))
                .push_bind(rule.expires_at.map(Timestamp::as_micros))
                // Nobody snoozes a rule that is only just made.
                .push_bind(None::<i64>)
                .push_bind(0_i64)
                // Its thresholds are of now.
                .push_bind(None::<i64>)
                .push_bind(rule.version.get())
                .push_bind(rule.created_at.as_micros())
                .push_bind(rule.updated_at.as_micros());
        });
        // Kept prepared: nearly always one row, and closing a statement costs MySQL a delayed acknowledgement (40 ms).
        insert.build().execute(tx.connection()).await?;
    }
    outbox::enqueue(tx, &rules).await?;
    Ok(rules)
}

/// How many rules more there may be.
struct Room {
    limits: Limits,
    theirs: i64,
    all: i64,
}

impl Room {
    async fn of(tx: &mut Tx, user: UserId, limits: Limits) -> Result<Self, StoreError> {
        let theirs = sqlx::query_scalar("select count(*) from rules where user_id = ?")
            .bind(user.to_string())
            .fetch_one(tx.connection())
            .await?;
        let all = match limits.rules_in_all {
            None => 0,
            Some(_) => {
                sqlx::query_scalar("select count(*) from rules")
                    .fetch_one(tx.connection())
                    .await?
            }
        };
        Ok(Self { limits, theirs, all })
    }

    /// One rule less of it, if the rule can be at all.
    fn take(&mut self, rule: &NewRule, now: Timestamp) -> Result<(), RuleRefusal> {
        if let Some(expires_at) = rule.expires_at.filter(|time| *time <= now) {
            return Err(RuleRefusal::ExpiryInPast { expires_at });
        }
        let limit = self.limits.rules_per_user;
        if self.theirs >= i64::from(limit) {
            return Err(RuleRefusal::TooManyRules { limit });
        }
        if let Some(limit) = self.limits.rules_in_all
            && self.all >= i64::from(limit)
        {
            return Err(RuleRefusal::EmbeddedLogFull { limit });
        }
        self.theirs += 1;
        self.all += 1;
        Ok(())
    }
}

fn created(user_id: UserId, new: NewRule, now: Timestamp) -> Rule {
    Rule {
        id: RuleId::generate(),
        user_id,
        ticker: new.ticker,
        range: new.range,
        note: new.note,
        paused: new.paused,
        expired: false,
        expires_at: new.expires_at,
        snooze: None,
        on_hold_since: None,
        version: RuleVersion::FIRST,
        created_at: now,
        updated_at: now,
    }
}
